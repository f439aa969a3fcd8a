"""The invoice draft at a moment: what entries are then, less what they were at the boundary.

Most entries of a cycle came into being in it: those are sums, also of the days of earlier cycles
that have some. One by one go those that ran at the boundary or run at the moment, and those of the
boundary that were changed or voided since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ledger.audit.standing import Standing, instances
from ledger.audit.sums import CREDIT_NOTES, DAY_MS, INVOICES, Sums, add_all, day_of
from persistence import Boundary, Stand
from projections import OWN_PERIOD, Amount, accrued

_NOTHING = Amount(0, 0, 0)
NO_CYCLE = Boundary(0, None, 0, None, 0, 0)

Lines = dict[tuple[str, int], Amount]  # by workspace class and period


class Counts(NamedTuple):
    """How one instance counts: what for, and where it is dated."""

    workspace_class: str
    amount: Amount
    dated: int | None  # None: it runs
    is_entry: bool


class OtherSums(NamedTuple):
    """Invoices and credit notes of a cycle."""

    note_count: int
    note_cents: int
    invoice_count: int
    invoice_cents: int
    voided_notes: dict[int, tuple[int, int]]


class DraftAt:
    """The lines of one payer's cycle at a moment."""

    def __init__(
        self, now: Standing, base: Standing, cycle: Boundary, closed: Sequence[Boundary]
    ) -> None:
        """`base` is the live answer at the boundary; `closed` are older cycles, newest first."""
        self._now = now
        self._base = base
        self._cycle = cycle
        self._closed = closed
        self._since = (base.known.position, now.known.position)
        # What is dated in [begin, end) is of the cycle's own period.
        self._begin = cycle.start
        self._end = now.end

    def lines(self) -> Lines:
        """Give the lines, by class and period."""
        lines: Lines = {}
        for period, sums in self._by_period():
            for (_, name), amount in instances(sums).items():
                _add(lines, (name, period), amount)
        for now, base in self._single():
            for counts, sign in ((now, -1), (base, 1)):
                if counts is not None and counts.is_entry:
                    assert counts.dated is not None
                    key, amount = (
                        (counts.workspace_class, self._late_for(counts.dated)),
                        counts.amount,
                    )
                    if self._is_not_yet(counts.dated):
                        _add(lines, key, _taken_back(amount), -1)
                    else:
                        _add(lines, key, amount, sign)
            self._add_line(lines, now, base)
        return {key: amount for key, amount in lines.items() if any(amount)}

    def _is_not_yet(self, dated: int) -> bool:
        return self._end is not None and dated >= self._end

    # Sums --------------------------------------------------------------------------------------

    def _by_period(self) -> Iterable[tuple[int, Sums]]:
        """Sum what is there now and was not at the boundary, and take back what is not any more.

        That is all there is to an entry that came since the boundary and is as it came, and to one
        of the boundary that is dated after the moment.
        """
        now, base = self._now.known, self._base.known
        if self._begin is None or self._end is None or self._begin < self._end:
            own = now.sums(self._end)
            add_all(own, base.sums(self._end), -1)
            if self._begin is not None:
                add_all(own, now.sums(self._begin), -1)
                add_all(own, base.sums(self._begin))
            yield OWN_PERIOD, own
        yield from self._late()
        if self._end is not None:
            edges = self._edges(self._end, None)
            for start, end in zip(edges, [*edges[1:], None], strict=True):
                later = base.sums(end)
                add_all(later, base.sums(start), -1)
                yield self._late_for(start), {key: _taken_back(each) for key, each in later.items()}

    def _late(self) -> Iterable[tuple[int, Sums]]:
        """Only days count in which something changed since the boundary."""
        before = self._before()
        if before is None:
            return
        now, base = self._now.known, self._base.known
        days = now.days_changed(day_of(before - 1), after=self._since[0])
        of_base = base.of_days(days)
        for day, sums in now.of_days(days).items():
            start, end = day * DAY_MS, min((day + 1) * DAY_MS, before)
            edges = self._edges(start, end)
            if end % DAY_MS == 0 and len(edges) == 1:
                add_all(sums, of_base[day], -1)
                yield self._late_for(start), sums
                continue
            for first, last in pairwise([*edges, end]):
                some = now.instances_dated(first, last)
                add_all(some, base.instances_dated(first, last), -1)
                yield self._late_for(first), some

    def _edges(self, start: int, end: int | None) -> list[int]:
        """Give where [start, end) begins, and where cycles begin in it; None: it has no end."""
        begins = {self._begin, *(cycle.start for cycle in self._closed)}
        inside = {each for each in begins if each is not None and start < each}
        return [start, *sorted(each for each in inside if end is None or each < end)]

    def _add_line(self, lines: Lines, now: Counts | None, base: Counts | None) -> None:
        """By the rules of the live draft (`projections/invoice_drafts.py`)."""
        if now is None:
            if base is not None:
                assert base.dated is not None
                _add(
                    lines,
                    (base.workspace_class, self._late_for(base.dated)),
                    _taken_back(base.amount),
                )
            return
        before = _NOTHING if base is None else base.amount
        if base is not None and base.is_entry and now.amount[1:] == before[1:]:
            return
        late_for = OWN_PERIOD if now.dated is None else self._late_for(now.dated)
        grown = Amount(1, now.amount.cents - before.cents, now.amount.seconds - before.seconds)
        _add(lines, (now.workspace_class, late_for), grown)

    def _late_for(self, dated: int) -> int:
        if self._begin is None or dated >= self._begin:
            return OWN_PERIOD
        for cycle in self._closed:
            if cycle.start is not None and cycle.start <= dated:
                return cycle.number
        return 0

    # One by one --------------------------------------------------------------------------------

    def _single(self) -> Iterable[tuple[Counts | None, Counts | None]]:
        """Give what sums cannot tell, as it counts now and as it counted at the boundary."""
        running = {each.life.start_position: each for each in self._now.running}
        ran = {
            life.start_position: life
            for life in self._base.known.open
            if self._cycle.accrued_to is not None
            and life.start_position <= self._cycle.accrual_position
        }
        after, upto = self._since
        gone = self._now.known.rows.gone(self._now.known.payer, after=after, upto=upto)
        wanted = {*running, *ran, *(s.start_position for s in gone)}
        stands: dict[int, list[Stand]] = {}
        for stand in self._now.known.rows.stands_of(sorted(wanted)):
            stands.setdefault(stand.start_position, []).append(stand)
        for start in sorted(wanted):
            now: Counts | None = None
            if start in running:
                each = running[start]
                now = Counts(each.life.workspace_class, each.amount, None, is_entry=False)
            else:
                entry = _known_at(stands.get(start, ()), upto)
                if entry is not None and (self._end is None or entry.effective < self._end):
                    now = _as_entry(entry)
            entry = _known_at(stands.get(start, ()), after)
            base = None if entry is None else _as_entry(entry)
            if start in ran:
                life, instant = ran[start], self._cycle.accrued_to
                assert instant is not None
                amount = accrued(life.rate, life.started, instant)
                base = Counts(life.workspace_class, amount, instant, is_entry=False)
            yield now, base

    def _before(self) -> int | None:
        """Give the time before which what changed since the boundary is late."""
        if self._begin is None or self._end is None:
            return self._begin
        return min(self._begin, self._end)

    # Invoices and credit notes -----------------------------------------------------------------

    def others(self) -> OtherSums:
        """Sum up invoices and credit notes; what counts no more is taken back."""
        after, upto = self._since
        known = self._now.known
        voided = known.rows.voided_notes(known.payer, after=after, upto=upto)
        now, base = known.sums(self._end), self._base.known.sums(None)
        not_yet: Sums = dict(base)
        add_all(not_yet, base if self._end is None else self._base.known.sums(self._end), -1)
        by_period: dict[int, tuple[int, int]] = {}
        for note in voided:
            count, cents = by_period.get(self._late_for(note.effective), (0, 0))
            by_period[self._late_for(note.effective)] = count + 1, cents - note.cents
        sums: list[tuple[int, int]] = []
        for kind in (CREDIT_NOTES, INVOICES):
            amount, before = now.get((kind, ""), _NOTHING), base.get((kind, ""), _NOTHING)
            gone = not_yet.get((kind, ""), _NOTHING).count
            if kind == CREDIT_NOTES:
                gone += sum(self._end is None or note.effective < self._end for note in voided)
            sums.append((amount.count - before.count + 2 * gone, amount.cents - before.cents))
        notes, invoices = sums
        return OtherSums(*notes, *invoices, by_period)


def _known_at(stands: Iterable[Stand], position: int) -> Stand | None:
    for stand in stands:
        if stand.changed_position <= position and (
            stand.known_to is None or position < stand.known_to
        ):
            return stand
    return None


def _taken_back(amount: Amount) -> Amount:
    return Amount(amount.count, -amount.cents, -amount.seconds)


def _as_entry(stand: Stand) -> Counts:
    amount = Amount(1, stand.cents, stand.seconds)
    return Counts(stand.workspace_class, amount, stand.effective, is_entry=True)


def _add(lines: Lines, key: tuple[str, int], amount: Amount, sign: int = 1) -> None:
    known = lines.get(key, _NOTHING)
    lines[key] = Amount(
        known.count + sign * amount.count,
        known.cents + sign * amount.cents,
        known.seconds + sign * amount.seconds,
    )
