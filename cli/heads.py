"""Signed heads: listed, shown, signed; and trees built anew."""

import io
import sys

from cli.connection import READ_SECONDS, WRITE_SECONDS, Services, connected
from cli.exits import OK, CommandFailed
from cli.json_form import encode, plain
from cli.pages import Page, show_listing, walk
from cli.tables import note, print_table
from cli.values import time_text
from usage_ledger.v1 import audit_proofs_pb2 as audit

COLUMNS = (">head", ">events", "recorded up to (UTC)", "signed (UTC)", "key", "author")


def list_heads(
    shard: int, *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """A shard's heads, newest first."""
    with connected(target) as services:

        def ask(size: int, after: str) -> Page:
            request = audit.ListHeadsRequest(shard=shard, page_size=size, cursor=after)
            answer = services.audit.ListHeads(request, timeout=READ_SECONDS)
            return list(answer.heads), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="heads",
            columns=COLUMNS,
            row=_row,
            as_json=as_json,
        )
    return OK


def _row(head: audit.SignedHead) -> tuple[str, ...]:
    return (
        f"{head.number}",
        f"{head.size:,}",
        time_text(head.recorded),
        time_text(head.signed),
        head.key_name,
        head.author,
    )


def show_head(number: int, *, shard: int, target: str, as_json: bool) -> int:
    """A head as it was signed."""
    with connected(target) as services:
        head = find_head(services, number, shard=shard)
    if as_json:
        sys.stdout.write(f"{encode(plain(head), indent=2)}\n")
    else:
        _write_exactly(head.note)
    return OK


def _write_exactly(text: str) -> None:
    """Writes what is signed, whatever signs the terminal knows."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(text)


def find_head(services: Services, number: int, *, shard: int) -> audit.SignedHead:
    """Gives a head, the newest for 0."""
    request = audit.ListHeadsRequest(shard=shard, number=number, page_size=1)
    heads = services.audit.ListHeads(request, timeout=READ_SECONDS).heads
    if not heads:
        raise CommandFailed(f"Shard {shard} has no head yet: `usage-ledger heads sign`.")
    return heads[0]


def sign_heads(*, target: str, as_json: bool) -> int:
    """Signs heads now."""
    with connected(target) as services:
        answer = services.audit.SignHeads(audit.SignHeadsRequest(), timeout=WRITE_SECONDS)
    if as_json:
        sys.stdout.write(f"{encode(plain(answer), indent=2)}\n")
        return OK
    print_table("", ("shard", *COLUMNS), ((f"{head.shard}", *_row(head)) for head in answer.heads))
    if answer.uncovered:
        note(
            f"{answer.uncovered:,} events are not in the trees yet, and in no head: look at"
            " `usage-ledger status`."
        )
    return OK


def rebuild_tree(shard: int, *, target: str) -> int:
    """Lets a tree be computed anew."""
    with connected(target) as services:
        services.audit.RebuildTree(audit.RebuildTreeRequest(shard=shard), timeout=WRITE_SECONDS)
    note(f"The tree of shard {shard} is being built anew: see `usage-ledger status`.")
    return OK
