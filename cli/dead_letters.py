"""Events that were rejected: listed, shown with their original bytes, tried again."""

import sys

from cli.connection import READ_SECONDS, connected
from cli.exits import OK, REJECTED
from cli.json_form import encode, plain
from cli.original_bytes import headers_and_key, readable
from cli.pages import show_listing, walk
from cli.tables import note, print_pairs, print_table
from cli.values import time_text
from usage_ledger.v1 import admin_pb2 as admin
from usage_ledger.v1 import queries_pb2 as queries

# Of an original this much is shown on the screen; --raw writes all of it.
SHOWN_CHARACTERS_MAX = 8_192
# As many as one call retries.
RETRIED_A_CALL = 1_000


def list_dead_letters(
    *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """Dead letters, newest first."""
    with connected(target) as services:

        def ask(size: int, after: str) -> tuple[list[queries.DeadLetter], str]:
            request = queries.ListDeadLettersRequest(page_size=size, cursor=after)
            answer = services.queries.ListDeadLetters(request, timeout=READ_SECONDS)
            return list(answer.dead_letters), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="dead_letters",
            columns=(">id", "last rejected (UTC)", ">times", "delivery", ">line", "reason"),
            row=_row,
            as_json=as_json,
        )
    return OK


def _row(letter: queries.DeadLetter) -> tuple[str, ...]:
    return (
        f"{letter.id}",
        time_text(letter.last_rejected),
        f"{letter.times:,}",
        letter.delivery,
        f"{letter.line}",
        letter.reason,
    )


def show_dead_letter(number: int, *, raw: bool, target: str, as_json: bool) -> int:
    """One dead letter; `raw` writes its original bytes and nothing else."""
    with connected(target) as services:
        request = queries.GetDeadLetterRequest(id=number)
        answer = services.queries.GetDeadLetter(request, timeout=READ_SECONDS)
    if raw:
        sys.stdout.buffer.write(answer.original)
        sys.stdout.buffer.flush()
        return OK
    if as_json:
        sys.stdout.write(f"{encode(plain(answer), indent=2)}\n")
        return OK
    letter = answer.dead_letter
    pairs = (
        ("dead letter", f"{letter.id}"),
        ("delivery, line", f"{letter.delivery}, {letter.line}"),
        ("reason", letter.reason),
        ("first rejected", time_text(letter.first_rejected)),
        ("last rejected", time_text(letter.last_rejected)),
        ("times", f"{letter.times:,}"),
        ("size", f"{letter.size_bytes:,} bytes"),
        ("kind", letter.kind),
        *headers_and_key(answer),
    )
    print_pairs("", pairs)
    note("")
    text = readable(answer)
    for line in text[:SHOWN_CHARACTERS_MAX].splitlines():
        note(line)
    if len(text) > SHOWN_CHARACTERS_MAX:
        note(f"… cut off; --raw writes all of the {len(answer.original):,} bytes that are kept.")
    return OK


def retry_dead_letters(numbers: list[int], *, every_one: bool, target: str, as_json: bool) -> int:
    """Tries dead letters again; those now accepted move from rejected to recorded."""
    sum_of = admin.RetryDeadLettersResponse()
    # An empty list goes out once: for --all, or for the service to say what is missing.
    pieces = [numbers[i : i + RETRIED_A_CALL] for i in range(0, len(numbers), RETRIED_A_CALL)]
    with connected(target) as services:
        for piece in pieces or [[]]:
            request = admin.RetryDeadLettersRequest(ids=piece, all=every_one)
            answer = services.admin.RetryDeadLetters(request)
            sum_of.retried += answer.retried
            sum_of.recorded += answer.recorded
            sum_of.repeated += answer.repeated
            sum_of.rejects.extend(answer.rejects)
    if as_json:
        sys.stdout.write(f"{encode(plain(sum_of), indent=2)}\n")
    else:
        note(
            f"tried {sum_of.retried:,} = recorded {sum_of.recorded:,} + "
            f"repeated {sum_of.repeated:,} + still rejected {len(sum_of.rejects):,}"
        )
        if sum_of.rejects:
            rows = [(f"{one.dead_letter_id}", one.reason) for one in sum_of.rejects]
            print_table("", (">dead letter", "reason"), rows)
    return REJECTED if sum_of.rejects else OK
