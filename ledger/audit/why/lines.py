"""Lines of a cycle: what each entry was at its end, or is now, less what it was at its boundary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from events import Recorded
from events.readable import uuid_text
from ledger.audit.why.basis import Basis, accrual_before
from ledger.audit.why.cursors import Place, integer, raw
from ledger.audit.why.folders import Folder, Page
from ledger.audit.why.numbers import (
    AS_IT_STANDS,
    AS_IT_STOOD,
    DRAFT_LINE,
    ENTRY_CHANGE,
    Number,
)
from ledger.audit.why.usage import life_number, life_with, told
from persistence import CycleRow, LifeAt
from projections import OWN_PERIOD, Amount, period_of

SCANNED_MAX = 5_000  # lives that one page looks at: a class may have few lines of a period
_CHUNK = 250
_FOREVER = 2**62
_CHANGED, _VOIDED, _RUNNING = range(3)  # where lives are found, one after the other


class Change(NamedTuple):
    """What a life adds to a line of a cycle."""

    late_for: int
    cents: int
    was_there: bool  # at the boundary


class Window:
    """A cycle between its boundaries, with the accruals at both."""

    def __init__(self, basis: Basis, cycle: CycleRow) -> None:
        """Take a cycle of the payer."""
        self.cycle = cycle
        self.opened = cycle.opened_position
        self.closed = cycle.closed_position or _FOREVER
        self.before = accrual_before(cycle)
        self.after = basis.accrual_after(cycle)
        earlier = basis.cycles[: basis.cycles.index(cycle)]
        self._earlier = [(one.number, one.start) for one in reversed(earlier)]

    def late_for(self, dated: int) -> int:
        """Give the period in which something that is dated then took place."""
        return period_of(dated, self.cycle.start, self._earlier)

    def dated(self, late_for: int) -> tuple[int, int]:
        """Give where entries of a line can be dated now; anywhere, once the cycle is closed."""
        start = self.cycle.start
        if self.closed != _FOREVER or start is None:
            return -_FOREVER, _FOREVER
        return (start, _FOREVER) if late_for == OWN_PERIOD else (-_FOREVER, start)

    def split(self, life: Sequence[Recorded]) -> tuple[list[Recorded], list[Recorded]]:
        """Give the events of a life up to the boundary, and up to the end."""
        return (
            [one for one in life if one.position <= self.opened],
            [one for one in life if one.position < self.closed],
        )

    def change(self, life: Sequence[Recorded]) -> Change | None:
        """Say what a life adds to which line; None where it has none."""
        early, late = self.split(life)
        before, after = told(early), told(late)
        base, now = before.entry(self.before), after.entry(self.after)
        was_there = before.has_entry or before.runs_at(self.before)
        if after.has_entry:
            if before.has_entry and base == now:
                return None  # nothing that this cycle has to say
            return Change(self.late_for(after.end() or 0), now[1] - base[1], was_there)
        if after.runs_at(self.after):
            return Change(OWN_PERIOD, now[1] - base[1], was_there)
        if not was_there:
            return None
        dated = before.end() if before.has_entry else self.before.instant
        return Change(self.late_for(dated or 0), -base[1], was_there)


class LineFolder(Folder):
    """A line of a cycle."""

    kind, holds_folders = DRAFT_LINE, False

    def __init__(
        self, basis: Basis, cycle: CycleRow, workspace_class: str, late_for: int, amount: Amount
    ) -> None:
        """Explain the line of a class and a period."""
        self._basis = basis
        self._window = Window(basis, cycle)
        self._cycle, self._class, self._late_for = cycle, workspace_class, late_for
        self._amount = amount
        self.key = (cycle.number, workspace_class, late_for)

    def whole(self) -> Number:
        """Give the line."""
        late = "" if self._late_for == OWN_PERIOD else f", late for cycle {self._late_for}"
        return Number(
            DRAFT_LINE,
            f"{self._class} in cycle {self._cycle.number}{late}",
            self._amount.cents,
            self._basis.payer,
            part_count=self._amount.count,
            workspace_class=self._class,
            late_for=None if self._late_for == OWN_PERIOD else self._late_for,
            period=period_bounds(self._basis, self._late_for),
            cycle=self._cycle.number,
        )

    def page(self, after: Place, limit: int) -> Page:
        """Give changes of entries; fewer than `limit` where many lives have none in this line."""
        parts: list[Number] = []
        place: Place = after or (_CHANGED, self._window.opened)
        for scanned, (at, life) in enumerate(self._lives(place), start=1):
            change = self._window.change(life)
            if change is not None and self._is_mine(life, change):
                if len(parts) == limit:
                    return Page(parts, place)
                parts.append(self._number(life, change))
            place = at
            if scanned == SCANNED_MAX:
                return Page(parts, place)
        return Page(parts, None)

    def _is_mine(self, life: Sequence[Recorded], change: Change) -> bool:
        early, late = self._window.split(life)
        start = told(late).start or told(early).start
        return (
            start is not None
            and start.workspace_class == self._class
            and change.late_for == self._late_for
        )

    def _lives(self, place: Place) -> Iterator[tuple[Place, list[Recorded]]]:
        """Give lives that may have changed within the cycle, each with its place."""
        first = integer(place, 0)
        for where in range(first, _RUNNING + 1):
            last = self._begin(where)
            if where == first:
                last = raw(place, 1) if where == _RUNNING else integer(place, 1)
            while True:
                found = self._found(where, last)
                streams = self._basis.instances(one.instance for one in found)
                for one in found:
                    yield (where, one.place), life_with(streams[one.instance], one.start_position)
                if len(found) < _CHUNK:
                    break
                last = found[-1].place

    def _begin(self, where: int) -> int | bytes:
        return b"" if where == _RUNNING else self._window.opened

    def _found(self, where: int, last: int | bytes) -> list[LifeAt]:
        why, payer = self._basis.why, self._basis.payer
        if where == _RUNNING:
            assert isinstance(last, bytes)
            return why.running_lives(
                payer,
                self._class,
                after=last,
                begun_before=min(self._window.after.position, self._window.closed),
                limit=_CHUNK,
            )
        assert isinstance(last, int)
        if where == _VOIDED:
            return why.voided_lives(payer, after=last, limit=_CHUNK)
        return why.changed_lives(
            payer,
            self._class,
            after=last,
            begun_before=self._window.closed,
            dated=self._window.dated(self._late_for),
            limit=_CHUNK,
        )

    def _number(self, life: Sequence[Recorded], change: Change) -> Number:
        window, basis = self._window, self._basis
        early, late = window.split(life)
        stands = life_number(basis, late, window.after, kind=AS_IT_STANDS)
        stands.title = "as it stands" if window.closed == _FOREVER else "at the end of the cycle"
        parts = [stands]
        if change.was_there:
            stood = life_number(basis, early, window.before, kind=AS_IT_STOOD, taken_away=True)
            stood.title = "less what it was at the boundary that began the cycle"
            parts.append(stood)
        return Number(
            ENTRY_CHANGE,
            f"workspace instance {uuid_text(stands.instance)}",
            change.cents,
            basis.payer,
            part_count=len(parts),
            parts=parts,
            entry_id=stands.entry_id,
            instance=stands.instance,
            effective=stands.effective,
            draft=stands.draft,
            workspace_class=self._class,
            cycle=self._cycle.number,
        )


def lines_of(basis: Basis, cycle: CycleRow) -> dict[tuple[str, int], Amount]:
    """Give the lines of a cycle by class and period."""
    if cycle.closed_position:
        return dict(basis.why.cycle_lines(basis.payer, cycle.number))
    draft = basis.queries.draft(basis.payer)
    return {(line.workspace_class, line.late_for): line.amount for line in draft.lines}


def period_bounds(basis: Basis, number: int) -> tuple[int | None, int | None]:
    """Give begin and end of a cycle: it ends where the next one that has a time begins."""
    if number == OWN_PERIOD:
        return None, None
    begin = next((one.start for one in basis.cycles if one.number == number), None)
    starts = [one.start for one in basis.cycles if one.number > number and one.start is not None]
    return begin, min(starts, default=None)
