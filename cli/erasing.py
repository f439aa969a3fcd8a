"""Erasing the personal data of a user, and what was erased."""

import sys
from collections.abc import Sequence

from cli.connection import READ_SECONDS, connected
from cli.exits import FAILED, OK
from cli.json_form import encode, plain
from cli.pages import Page, show_listing, walk
from cli.progress import counting
from cli.tables import note
from cli.values import time_text
from usage_ledger.v1 import audit_erasure_pb2 as audit

_STATES = {
    audit.ERASURE_STATE_ERASING: "under way",
    audit.ERASURE_STATE_SCRUBBING: "copies left in the files",
    audit.ERASURE_STATE_DONE: "done",
}
COLUMNS = (
    "user", ">number", "asked for (UTC)", "by", "reason",
    ">personal rows", ">dead letters", "state",
)  # fmt: skip


def erase_user(
    user: str, *, reason: str, also: Sequence[str], dry_run: bool, target: str, as_json: bool
) -> int:
    """Erases, or counts; takes as long as it takes, so it has no deadline."""
    request = audit.EraseUserRequest(user_id=user, reason=reason, texts=also, dry_run=dry_run)
    erasure: audit.Erasure | None = None
    with connected(target) as services, counting(quiet=as_json) as tell:
        for answer in services.audit.EraseUser(request):
            if answer.HasField("erasure"):
                erasure = answer.erasure
            else:
                tell(f"shard {answer.shard}", answer.looked_at, answer.events)
    if erasure is None:
        note("The service ended before the erasure did: run it again, or leave it to the service.")
        return FAILED
    if as_json:
        sys.stdout.write(f"{encode(plain(erasure), indent=2)}\n")
    else:
        _tell(erasure)
    return OK


def _tell(erasure: audit.Erasure) -> None:
    what = (
        f"{erasure.personal_rows:,} rows of personal data and {erasure.dead_letters:,} dead letters"
    )
    if erasure.state == audit.ERASURE_STATE_COUNTED:
        failures = f", and what {erasure.failures:,} failures say" if erasure.failures else ""
        note(f"Would erase {what}{failures}. Nothing is changed.")
        return
    when = f"{time_text(erasure.requested)} by {erasure.author}"
    if erasure.repeated:
        note(f"Nothing is left to erase: {what} were erased at {when}.")
    else:
        note(f"Erased {what}, recorded as asked for at {when}.")
    if erasure.state == audit.ERASURE_STATE_SCRUBBING:
        note(
            "The files still hold copies, because a reader needs an older state; the service tries"
            " again until they are gone. `usage-ledger erase list` shows it."
        )


def list_erasures(
    *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """Erasures, user by user."""
    with connected(target) as services:

        def ask(size: int, after: str) -> Page:
            request = audit.ListErasuresRequest(page_size=size, cursor=after)
            answer = services.audit.ListErasures(request, timeout=READ_SECONDS)
            return list(answer.erasures), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="erasures",
            columns=COLUMNS,
            row=_row,
            as_json=as_json,
        )
    return OK


def _row(erasure: audit.Erasure) -> tuple[str, ...]:
    return (
        erasure.user_id,
        f"{erasure.number}",
        time_text(erasure.requested),
        erasure.author,
        erasure.reason,
        f"{erasure.personal_rows:,}",
        f"{erasure.dead_letters:,}",
        _STATES.get(erasure.state, "unknown"),
    )
