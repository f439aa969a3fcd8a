"""What the product says at a moment, in the words of the plain fold."""

from __future__ import annotations

from typing import Any

from events import Recorded, decode
from events.readable import uuid_text
from ledger.audit.clocks import At, Moment, look
from ledger.queries import Queries
from persistence import Reader
from projections import OWN_PERIOD
from tests.clocks.plain import Draft, Log

EVER = (-(2**52), 2**52)
EVERYTHING = 1_000_000


def log_of(reader: Reader) -> list[Recorded]:
    return [
        Recorded(e.stream, e.version, decode(e.topic, e.state), e.position)
        for e in reader.log(after=0, limit=EVERYTHING)
    ]


def product_says(queries: Queries, payer: bytes, moment: Moment) -> dict[str, Any]:
    with queries.reader.snapshot():
        at = look(queries, payer, moment)
        return {
            "balance": at.balance(),
            "usage": usage_of(at),
            "totals": totals_of(at),
            "terms": _terms(at),
            "draft": draft_of(at),
        }


def plain_says(log: Log, as_of: int | None) -> dict[str, Any]:
    items = log.items(as_of)
    usage = sorted((item.dated, item.instance, item.cents, item.draft, item.user) for item in items)
    return {
        "balance": log.balance(as_of),
        "usage": usage,
        "totals": (len(items), sum(item.cents for item in items)),
        "terms": log.terms(as_of),
        "draft": log.draft(as_of),
    }


def usage_of(at: At) -> list[tuple[Any, ...]]:
    start, end = EVER
    found = at.usage(user=b"", start=start, end=end, key=None, ascending=True, limit=EVERYTHING)
    return sorted(
        (row.effective, uuid_text(row.instance), row.cents, bool(row.draft), row.user)
        for row in found.rows
    )


def totals_of(at: At) -> tuple[int, int]:
    start, end = EVER
    return at.standing.usage_totals(start=start, end=end, user=b"")


def _terms(at: At) -> tuple[Any, ...] | None:
    row = at.cost_center()
    if row is None:
        return None
    return row.spending_limit, row.strategy, row.cycle_start, row.next_billing


def draft_of(at: At) -> Draft:
    draft = at.draft()
    rows, cycle = draft.rows, draft.rows.cycle
    lines = [(line.workspace_class, _period(line.late_for), *line.amount) for line in draft.lines]
    voided = [(_period(each.late_for), each.notes, each.cents) for each in draft.voided_notes]
    assert draft.total_cents == rows.balance_cents
    return Draft(
        cycle=cycle.number if cycle else 0,
        carried_cents=cycle.carried_cents if cycle else 0,
        lines=tuple(sorted(lines, key=repr)),
        notes=(cycle.note_count, cycle.note_cents) if cycle else (0, 0),
        invoices=(cycle.invoice_count, cycle.invoice_cents) if cycle else (0, 0),
        voided_notes=tuple(sorted(voided, key=repr)),
    )


def _period(late_for: int) -> int | None:
    return None if late_for == OWN_PERIOD else late_for
