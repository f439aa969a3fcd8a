"""A cost center's terms as they had been decided, from its stream."""

from __future__ import annotations

from aggregates import add_months
from events import CostCenterImported, LedgerEvent, decode
from ledger.group import cost_center_stream
from persistence import Reader
from projections import CostCenterRow, fold_cost_center


def terms_at(
    reader: Reader, payer: bytes, *, decided: int, position: int, as_of: int | None
) -> CostCenterRow | None:
    """Give the terms after the events up to `decided`, of those known at a position.

    Of a cost center that was taken over later the history it came with tells.
    """
    row: CostCenterRow | None = None
    taken_over: CostCenterImported | None = None
    for stored in reader.stream(cost_center_stream(payer)):
        if stored.position > position:
            break
        event: LedgerEvent = decode(stored.topic, stored.state)
        if stored.position <= decided:
            row = fold_cost_center(row, event)
        elif isinstance(event, CostCenterImported):
            taken_over = event
    if row is None and taken_over is not None and as_of is not None:
        return _before_import(taken_over, as_of)
    return row


def _before_import(event: CostCenterImported, as_of: int) -> CostCenterRow | None:
    """Give the newest terms that the other ledger had by then; its cycles had no numbers here."""
    known = [terms for terms in event.history if terms.created <= as_of]
    if not known:
        return None
    terms = known[-1]
    due = terms.next_billing
    if due is None or due <= terms.cycle_start:
        due = add_months(terms.cycle_start, 1)
    return CostCenterRow(
        event.payer, terms.spending_limit, terms.strategy, 0, terms.cycle_start, due
    )
