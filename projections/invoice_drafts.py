"""Invoice drafts: what changed in each payer's open cycle.

A cycle's line of an instance is its entry as it stands at the cycle's end (or now) less its entry
as it stood at the boundary that began the cycle. For what still runs, entries are sums by class:
the open cycle shows `lines + accruals - bases`, the bases being what those same instances had
accrued at the boundary. When an instance ends, it takes its share out of the bases and gets a line.
"""

from __future__ import annotations

from collections.abc import Sequence

from events import BillingCycleStarted, CostCenterImported, CostCenterOpened
from projections.entries import accrued
from projections.rows import (
    OWN_PERIOD,
    Accrual,
    Amount,
    BaseKey,
    Entry,
    EntryChange,
    LineKey,
    OpenCycle,
    OtherEntry,
    Rows,
)

Boundary = CostCenterOpened | BillingCycleStarted | CostCenterImported
_NOTHING = Amount(0, 0, 0)


def _sum(a: Amount, b: Amount, sign: int = 1) -> Amount:
    return Amount(a.count + sign * b.count, a.cents + sign * b.cents, a.seconds + sign * b.seconds)


class InvoiceDraftFold:
    """Folds entry changes, notes, invoices and boundaries into open cycles."""

    def __init__(self, rows: Rows) -> None:
        """Start with nothing folded."""
        self._rows = rows
        self._cycles: dict[bytes, OpenCycle] = {}
        self._dirty: set[bytes] = set()
        self._lines: dict[LineKey, Amount] = {}
        self._bases: dict[BaseKey, Amount] = {}
        self._corrections: dict[tuple[int, int], tuple[int, int]] = {}
        self._closed: dict[bytes, list[tuple[int, int | None]]] = {}

    def fold(self, changes: Sequence[EntryChange], others: Sequence[OtherEntry]) -> None:
        """Take changes of entries, and notes and invoices."""
        self._load({change.after.payer for change in changes} | {other.payer for other in others})
        for change in changes:
            self._change(change)
        for other in others:
            cycle = self._cycles[other.payer]
            self._dirty.add(other.payer)
            if other.kind == "credit_note":
                cycle.note_count += 1
                cycle.note_cents += other.cents
            else:
                cycle.invoice_count += 1
                cycle.invoice_cents += other.cents

    def _load(self, payers: set[bytes]) -> None:
        missing = [payer for payer in payers if payer not in self._cycles]
        if not missing:
            return
        found = self._rows.open_cycles(missing)
        self._cycles.update(found)
        for payer in missing:
            if payer not in found:
                self._cycles[payer] = OpenCycle(payer, 0, None, 0, None, 0, 0, 0, 0, 0, 0)
                self._dirty.add(payer)

    def _change(self, change: EntryChange) -> None:
        cycle = self._cycles[change.after.payer]
        before, after = change.before, change.after
        if before is None:
            base = _NOTHING
            if change.was_running:
                base = self._accrued_at_boundary(after, cycle)
                if base.count:
                    self._add_base(after, base, -1)
        else:
            base, own = self._base_of(before, cycle)
            # An entry of an earlier cycle has a line here only while it differs from what it was
            # there: a stopping time that says nothing new is no change of this cycle.
            if own or _amount(before) != base:
                self._add_line(before, cycle, _difference(before, base), -1)
            if not own and _amount(after) == base:
                return
        self._add_line(after, cycle, _difference(after, base), 1)

    def _accrued_at_boundary(self, entry: Entry, cycle: OpenCycle) -> Amount:
        """Give what an instance that ran at the boundary had accrued there.

        Nothing if it was not listed.
        """
        if (
            cycle.accrued_to is None
            or entry.started is None
            or entry.start_position > cycle.accrual_position
        ):
            return _NOTHING
        return accrued(entry.rate, entry.started, cycle.accrued_to)

    def _base_of(self, before: Entry, cycle: OpenCycle) -> tuple[Amount, bool]:
        """Give what an entry was at the boundary, and whether the open cycle made it."""
        if before.ended_position > cycle.opened_position:
            return self._accrued_at_boundary(before, cycle), True
        key = before.start_position, cycle.number
        kept = self._corrections.get(key) or self._rows.correction(*key)
        if kept is not None:
            return Amount(1, *kept), False
        self._corrections[key] = before.cents, before.seconds
        return _amount(before), False

    def _add_line(self, entry: Entry, cycle: OpenCycle, amount: Amount, sign: int) -> None:
        late_for = OWN_PERIOD
        if cycle.start is not None and entry.effective < cycle.start:
            late_for = self._period_of(entry)
        key = entry.payer, cycle.number, entry.workspace_class, late_for
        self._lines[key] = _sum(self._lines.get(key, _NOTHING), amount, sign)

    def _period_of(self, entry: Entry) -> int:
        """Give the newest closed cycle that had started when the entry is dated, else 0."""
        closed = self._closed.get(entry.payer)
        if closed is None:
            closed = self._closed[entry.payer] = self._rows.closed_cycles(entry.payer)
        for number, start in closed:
            if start is not None and start <= entry.effective:
                return number
        return 0

    def _add_base(self, entry: Entry, amount: Amount, sign: int) -> None:
        key = entry.payer, entry.workspace_class
        self._bases[key] = _sum(self._bases.get(key, _NOTHING), amount, sign)

    def boundary(self, event: Boundary, accrual: Accrual, position: int) -> None:
        """Close the payer's open cycle and start the next.

        Everything before must have been flushed.
        """
        payer = event.payer
        self._load({payer})
        closing = self._cycles.pop(payer)
        self._dirty.discard(payer)
        self._closed.pop(payer, None)
        running: dict[str, Amount] = {}
        for (_, _, workspace_class), amount in self._rows.accruals(payer).items():
            running[workspace_class] = _sum(running.get(workspace_class, _NOTHING), amount)
        lines = dict.fromkeys(
            ((payer, closing.number, workspace_class, OWN_PERIOD) for workspace_class in running),
            _NOTHING,
        )
        bases = self._rows.bases(payer)
        for workspace_class, amount in running.items():
            base = bases.get(workspace_class, _NOTHING)
            grown = Amount(amount.count, amount.cents - base.cents, amount.seconds - base.seconds)
            lines[payer, closing.number, workspace_class, OWN_PERIOD] = grown
        carried = (
            closing.carried_cents
            + self._rows.line_total(payer, closing.number)
            + sum(amount.cents for amount in lines.values())
            + closing.note_cents
            + closing.invoice_cents
        )
        self._rows.close_cycle(closing, closed_position=position, lines=lines)
        self._rows.replace_bases(payer, running)
        number, start = _next_cycle(event)
        self._cycles[payer] = OpenCycle(
            payer,
            number,
            start,
            position,
            accrual.instant if accrual.position else None,
            accrual.position,
            carried,
            0,
            0,
            0,
            0,
        )
        self._dirty.add(payer)

    def flush(self) -> None:
        """Write what was folded and forget it."""
        if self._dirty:
            self._rows.put_open_cycles([self._cycles[payer] for payer in self._dirty])
        if self._lines:
            self._rows.add_lines(self._lines)
        if self._bases:
            self._rows.add_bases(self._bases)
        if self._corrections:
            self._rows.put_corrections(self._corrections)
        self._cycles, self._dirty = {}, set()
        self._lines, self._bases, self._corrections, self._closed = {}, {}, {}, {}


def _amount(entry: Entry) -> Amount:
    return Amount(1, entry.cents, entry.seconds)


def _difference(entry: Entry, base: Amount) -> Amount:
    return Amount(1, entry.cents - base.cents, entry.seconds - base.seconds)


def _next_cycle(event: Boundary) -> tuple[int, int]:
    match event:
        case CostCenterOpened():
            return 1, event.cycle_start
        case BillingCycleStarted():
            return event.cycle_number, event.cycle_start
        case CostCenterImported():
            return event.cycle_number, event.history[-1].cycle_start
