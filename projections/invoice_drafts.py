"""Invoice drafts: what changed in each payer's open cycle.

A cycle's line of an instance is its entry as it stands at the cycle's end (or now) less its entry
as it stood at the boundary that began the cycle. For what still runs, entries are sums by class:
the open cycle shows `lines + accruals - bases`, the bases being what those same instances had
accrued at the boundary. When an instance ends, it takes its share out of the bases and gets a line.

What is voided has no line of the open cycle any more, but for what it was at the boundary: that is
taken back by a line that names the period in which it was dated then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events import BillingCycleStarted, CostCenterImported, CostCenterOpened
from projections.entries import accrued
from projections.rows import (
    OWN_PERIOD,
    Accrual,
    Amount,
    AtBoundary,
    BaseKey,
    Entry,
    EntryChange,
    LineKey,
    NoteKey,
    OpenCycle,
    OtherEntry,
    Rows,
    Told,
    VoidedInstance,
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
        self._corrections: dict[tuple[int, int], AtBoundary] = {}
        self._voided_notes: dict[NoteKey, tuple[int, int]] = {}
        self._closed: dict[bytes, list[tuple[int, int | None]]] = {}

    def fold(self, told: Told) -> None:
        """Take changes of entries, notes and invoices, and what was voided."""
        self._load(
            {change.after.payer for change in told.changes}
            | {other.payer for other in told.others}
            | {each.entry.payer for each in told.voided}
            | {note.payer for note in told.voided_notes}
        )
        for change in told.changes:
            self._change(change)
        for each in told.voided:
            self._voided(each)
        self._fold_others(told.others)
        for note in told.voided_notes:
            self._voided_note(note)

    def _fold_others(self, others: Sequence[OtherEntry]) -> None:
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
            base, own, _ = self._base_of(before, cycle)
            # An entry of an earlier cycle has a line here only while it differs from what it was
            # there: a stopping time that says nothing new is no change of this cycle.
            if own or _amount(before) != base:
                self._add_line(before, before.effective, cycle, _difference(before, base), -1)
            if not own and _amount(after) == base:
                return
        self._add_line(after, after.effective, cycle, _difference(after, base), 1)

    def _voided(self, voided: VoidedInstance) -> None:
        entry, cycle = voided.entry, self._cycles[voided.entry.payer]
        if voided.was_running:
            base, dated = self._accrued_at_boundary(entry, cycle), cycle.accrued_to
            if base.count:
                self._add_base(entry, base, -1)
        else:
            base, own, dated = self._base_of(entry, cycle)
            if own or _amount(entry) != base:
                self._add_line(entry, entry.effective, cycle, _difference(entry, base), -1)
        if base.count:
            assert dated is not None, "what was at the boundary was dated there"
            taken_back = Amount(base.count, -base.cents, -base.seconds)
            self._add_line(entry, dated, cycle, taken_back, 1)

    def _voided_note(self, note: OtherEntry) -> None:
        cycle = self._cycles[note.payer]
        self._dirty.add(note.payer)
        cycle.note_cents -= note.cents
        if note.position > cycle.opened_position:
            cycle.note_count -= 1
            return
        cycle.note_count += 1
        key = note.payer, cycle.number, self._late_for(note.payer, note.effective, cycle)
        count, cents = self._voided_notes.get(key, (0, 0))
        self._voided_notes[key] = count + 1, cents - note.cents

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

    def _base_of(self, before: Entry, cycle: OpenCycle) -> tuple[Amount, bool, int | None]:
        """Give what an entry was at the boundary, whether the open cycle made it, and its date.

        The date is that at the boundary.
        """
        if before.ended_position > cycle.opened_position:
            return self._accrued_at_boundary(before, cycle), True, cycle.accrued_to
        key = before.start_position, cycle.number
        kept = self._corrections.get(key) or self._rows.correction(*key)
        if kept is None:
            kept = AtBoundary(before.cents, before.seconds, before.effective)
            self._corrections[key] = kept
        return Amount(1, kept.cents, kept.seconds), False, kept.effective

    def _add_line(
        self, entry: Entry, dated: int, cycle: OpenCycle, amount: Amount, sign: int
    ) -> None:
        late_for = self._late_for(entry.payer, dated, cycle)
        key = entry.payer, cycle.number, entry.workspace_class, late_for
        self._lines[key] = _sum(self._lines.get(key, _NOTHING), amount, sign)

    def _late_for(self, payer: bytes, dated: int, cycle: OpenCycle) -> int:
        """Give the newest closed cycle that had started at a date, else 0; or the open one's own.

        The open one's own is from its start on.
        """
        if cycle.start is None or dated >= cycle.start:
            return OWN_PERIOD
        closed = self._closed.get(payer)
        if closed is None:
            closed = self._closed[payer] = self._rows.closed_cycles(payer)
        return period_of(dated, cycle.start, closed)

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
        if self._voided_notes:
            self._rows.add_voided_notes(self._voided_notes)
        self._cycles, self._dirty = {}, set()
        self._lines, self._bases, self._corrections, self._closed = {}, {}, {}, {}
        self._voided_notes = {}


def period_of(dated: int, start: int | None, closed: Iterable[tuple[int, int | None]]) -> int:
    """Give in which period a line of a cycle that started then lies.

    `closed`: number and start of the cycles closed before, newest first.
    """
    if start is None or dated >= start:
        return OWN_PERIOD
    for number, began in closed:
        if began is not None and began <= dated:
            return number
    return 0


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
