"""Cost centers as they are now."""

from __future__ import annotations

from events import (
    BillingCycleStarted,
    CostCenterImported,
    CostCenterOpened,
    LedgerEvent,
    SpendingLimitSet,
)
from projections.rows import CostCenterRow, Rows


def fold_cost_center(row: CostCenterRow | None, event: LedgerEvent) -> CostCenterRow | None:
    """Fold one event into a payer's row."""
    match event:
        case CostCenterOpened():
            return CostCenterRow(
                event.payer,
                event.spending_limit,
                event.strategy,
                1,
                event.cycle_start,
                event.next_billing,
            )
        case SpendingLimitSet():
            assert row is not None
            row.spending_limit = event.spending_limit
            return row
        case BillingCycleStarted():
            return CostCenterRow(
                event.payer,
                event.spending_limit,
                event.strategy,
                event.cycle_number,
                event.cycle_start,
                event.next_billing,
            )
        case CostCenterImported():
            terms = event.history[-1]
            return CostCenterRow(
                event.payer,
                terms.spending_limit,
                terms.strategy,
                event.cycle_number,
                terms.cycle_start,
                event.next_billing,
            )
        case _:
            return row


class CostCenterFold:
    """Folds cost center events; rows are loaded when an event asks for them."""

    def __init__(self, rows: Rows) -> None:
        """Start with nothing folded."""
        self._rows = rows
        self._known: dict[bytes, CostCenterRow | None] = {}

    def fold(self, event: LedgerEvent) -> None:
        """Take one cost center event."""
        payer: bytes = event.payer  # type: ignore[attr-defined]  # every event handed in here has one
        if payer not in self._known:
            self._known[payer] = self._rows.cost_center(payer)
        self._known[payer] = fold_cost_center(self._known[payer], event)

    def flush(self) -> None:
        """Write what was folded and forget it."""
        if self._known:
            self._rows.put_cost_centers([row for row in self._known.values() if row is not None])
            self._known = {}
