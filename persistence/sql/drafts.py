"""The rows of a payer's open cycle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from persistence.reading import ClosedCycle, DraftRows
from projections import Accrual, Amount, CostCenterRow, OpenCycle

_All = Callable[[str, Sequence[Any]], list[Any]]


def draft_rows(
    select: _All,
    payer: bytes,
    *,
    cost_center: CostCenterRow | None,
    accrual: Accrual,
    balance_cents: int,
) -> DraftRows:
    """Give what an invoice draft is made of."""
    rows = select("SELECT * FROM open_cycles WHERE payer = ?", (payer,))
    cycle = OpenCycle(*rows[0]) if rows else None
    number = cycle.number if cycle else 0
    lines = select(
        "SELECT workspace_class, late_for, count, cents, seconds FROM cycle_lines"
        " WHERE payer = ? AND number = ?",
        (payer, number),
    )
    accruals = select(
        "SELECT workspace_class, sum(count), sum(cents), sum(seconds) FROM accruals"
        " WHERE payer = ? GROUP BY workspace_class",
        (payer,),
    )
    bases = select(
        "SELECT workspace_class, count, cents, seconds FROM cycle_bases WHERE payer = ?", (payer,)
    )
    closed = select(
        "SELECT number, start, opened_position, accrued_to, accrual_position, closed_position"
        " FROM closed_cycles WHERE payer = ? ORDER BY number",
        (payer,),
    )
    voided_notes = select(
        "SELECT late_for, count, cents FROM cycle_voided_notes WHERE payer = ? AND number = ?",
        (payer, number),
    )
    return DraftRows(
        cycle,
        cost_center,
        {(row[0], row[1]): Amount(*row[2:]) for row in lines},
        {row[0]: Amount(*row[1:]) for row in accruals},
        {row[0]: Amount(*row[1:]) for row in bases},
        [ClosedCycle(*row) for row in closed],
        {row[0]: (row[1], row[2]) for row in voided_notes},
        accrual,
        balance_cents,
    )
