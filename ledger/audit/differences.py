"""What lies between two answers about one payer, entry by entry.

Instances come in three runs: those of which something was learned between the two cuts, by where
that lies in the log; those dated between the two times, by date; those that count to another
instant. Then invoices and credit notes, in the first two of these ways. Each one comes once, so the
differences add up to that of the balances.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ledger.audit.standing import Standing
from ledger.errors import InvalidArgumentError
from persistence import OtherStand, Stand

BATCH = 500  # candidates read at a time
LOOKED_AT_MAX = 10_000  # ... for one page, which may be short then: most of them may be the same
_EVER = 1 << 62

CHANGED, DATED, COUNTED, OTHERS, OTHERS_DATED = range(5)


class Cause(enum.Enum):
    """What makes the difference."""

    RECORDED = "recorded"  # one of the cuts does not know of it yet
    ENDED = "ended"  # it ran as far as one cut knows, and has an end in the other
    CORRECTED = "corrected"  # the cuts know another end or amount
    VOIDED = "voided"
    TIME = "time"  # both know the same: it is counted to another instant, or dated in between


class Side(NamedTuple):
    """How an entry counts in one of the answers."""

    dated: int
    cents: int
    running: bool


class Difference(NamedTuple):
    """An entry that counts in another way in the second answer, or in one of them only."""

    kind: str
    entry_id: bytes
    instance: bytes  # empty of others
    workspace_class: str
    user: bytes
    first: Side | None
    second: Side | None
    cause: Cause
    position: int  # of the event that says it; 0 where nothing was learned


class Place(NamedTuple):
    """Where a page ends: everything up to there was told."""

    run: int
    key: int
    entry_id: bytes = bytes(16)


class Page(NamedTuple):
    """Some differences, and where to go on; None: that was all."""

    differences: list[Difference]
    place: Place | None


class Differences:
    """Between two standings of one payer, inside one snapshot."""

    def __init__(self, first: Standing, second: Standing) -> None:
        """Read nothing yet."""
        self._sides = (first, second)
        self._payer = first.known.payer
        self._rows = first.known.rows
        positions = first.known.position, second.known.position
        self._low, self._high = min(positions), max(positions)
        self._newer = first if positions[0] > positions[1] else second
        ends = [_EVER if side.end is None else side.end for side in self._sides]
        self._begin, self._end = min(ends), max(ends)
        self._running = tuple(
            {each.life.start_position: each for each in side.running} for side in self._sides
        )

    def page(self, after: Place | None, limit: int) -> Page:
        """Give the differences behind a place."""
        found: list[Difference] = []
        place, looked = after or Place(CHANGED, -1), 0
        runs: dict[int, Callable[[Place], Sequence[tuple[Place, Difference | None]]]] = {
            CHANGED: self._changed,
            DATED: self._dated,
            COUNTED: self._counted,
            OTHERS: self._others,
            OTHERS_DATED: self._others_dated,
        }
        while True:
            some = runs[place.run](place)
            for where, difference in some:
                if difference is not None:
                    if len(found) == limit:
                        return Page(found, place)
                    found.append(difference)
                place, looked = where, looked + 1
                if looked >= LOOKED_AT_MAX:
                    return Page(found, place)
            if not some:
                if place.run == OTHERS_DATED:
                    return Page(found, None)
                place = Place(place.run + 1, -_EVER)

    # Instances ---------------------------------------------------------------------------------

    def _changed(self, place: Place) -> list[tuple[Place, Difference | None]]:
        """Go through the log between the cuts: each life at what was last learned of it."""
        after = max(place.key, self._low)
        learned = self._rows.learned(self._payer, after=after, upto=self._high, limit=BATCH)
        told = self._told([start for _, start in learned])
        return [(Place(CHANGED, position), told.get(start)) for position, start in learned]

    def _dated(self, place: Place) -> list[tuple[Place, Difference | None]]:
        """Go through the dates between the times, of what both cuts know in the same way."""
        if self._begin == self._end:
            return []
        stands = self._newer.known.page(
            start=self._begin,
            end=self._end,
            key=None if place.key == -_EVER else (place.key, place.entry_id),
            ascending=True,
            limit=BATCH,
        )
        same = [stand.start_position for stand in stands if stand.changed_position <= self._low]
        told = self._told(same)
        return [
            (Place(DATED, stand.effective, stand.entry_id), told.get(stand.start_position))
            for stand in stands
        ]

    def _counted(self, place: Place) -> list[tuple[Place, Difference | None]]:
        """Go through the rest of what runs in one of the answers."""
        first, second = self._running
        starts = sorted(start for start in first.keys() | second.keys() if start > place.key)
        starts = starts[:BATCH]
        states = self._states(starts)
        open_ = {life.start_position for life in self._newer.known.open}
        rest = []
        for start in starts:
            entry = known_at(states.get(start, ()), self._high)
            if entry is None:
                belongs = start in open_  # else it was voided, which was learned
            else:
                belongs = entry.changed_position <= self._low and entry.effective >= self._end
            if belongs:
                rest.append(start)
        told = self._told(rest)
        return [(Place(COUNTED, start), told.get(start)) for start in starts]

    def _states(self, starts: Sequence[int]) -> dict[int, list[Stand]]:
        states: dict[int, list[Stand]] = {}
        for stand in self._rows.stands_of(starts):
            states.setdefault(stand.start_position, []).append(stand)
        return states

    def _told(self, starts: Sequence[int]) -> dict[int, Difference]:
        """Compare lives, by their start; those that count alike are left out."""
        states = self._states(starts)
        sides: dict[int, tuple[Side | None, Side | None]] = {}
        for start in starts:
            stands = states.get(start, [])
            first, second = (self._side(index, start, stands) for index in range(len(self._sides)))
            if first != second:
                sides[start] = first, second
        details = self._rows.details(self._payer, list(sides))
        found: dict[int, Difference] = {}
        for start, (first, second) in sides.items():
            stands = states.get(start, [])
            cause, position = self._cause(start, stands)
            about = details[start]
            found[start] = Difference(
                "workspace_instance",
                self._entry_id(start, stands),
                about.instance,
                about.workspace_class,
                about.user,
                first,
                second,
                cause,
                position,
            )
        return found

    def _entry_id(self, start: int, stands: Sequence[Stand]) -> bytes:
        for running in self._running:
            if start in running:
                return running[start].life.entry_id
        return stands[0].entry_id

    def _side(self, index: int, start: int, stands: Sequence[Stand]) -> Side | None:
        standing = self._sides[index]
        counted = self._running[index].get(start)
        if counted is not None:
            return Side(counted.instant, counted.amount.cents, running=True)
        entry = known_at(stands, standing.known.position)
        if entry is None or (standing.end is not None and entry.effective >= standing.end):
            return None
        return Side(entry.effective, entry.cents, running=False)

    def _cause(self, start: int, stands: Sequence[Stand]) -> tuple[Cause, int]:
        older, newer = known_at(stands, self._low), known_at(stands, self._high)
        if newer is None:
            voided = self._rows.voided_at(start)
            if voided is not None and self._low < voided <= self._high:
                return Cause.VOIDED, voided
        if start > self._low:
            return Cause.RECORDED, start
        if newer is None or newer == older:
            return Cause.TIME, 0
        cause = Cause.ENDED if older is None else Cause.CORRECTED
        return cause, newer.changed_position

    # Invoices and credit notes -----------------------------------------------------------------

    def _others(self, place: Place) -> list[tuple[Place, Difference | None]]:
        """Go through the log between the cuts: each one at what was last learned of it."""
        after = max(place.key, self._low)
        learned = self._rows.others_learned(self._payer, after=after, upto=self._high, limit=BATCH)
        return [(Place(OTHERS, position), self._other(stand)) for position, stand in learned]

    def _others_dated(self, place: Place) -> list[tuple[Place, Difference | None]]:
        """Go through the dates between the times, of what both cuts know in the same way."""
        if self._begin == self._end:
            return []
        stands = self._newer.known.others_page(
            start=self._begin,
            end=self._end,
            key=None if place.key == -_EVER else (place.key, place.entry_id),
            limit=BATCH,
        )
        return [
            (
                Place(OTHERS_DATED, stand.effective, stand.entry_id),
                self._other(stand) if stand.position <= self._low else None,
            )
            for stand in stands
        ]

    def _other(self, stand: OtherStand) -> Difference | None:
        first, second = (
            Side(stand.effective, stand.cents, running=False)
            if stand.position <= side.known.position
            and (stand.known_to is None or side.known.position < stand.known_to)
            and (side.end is None or stand.effective < side.end)
            else None
            for side in self._sides
        )
        if first == second:
            return None
        cause, position = Cause.TIME, 0
        if stand.known_to is not None and self._low < stand.known_to <= self._high:
            cause, position = Cause.VOIDED, stand.known_to
        elif stand.position > self._low:
            cause, position = Cause.RECORDED, stand.position
        return Difference(
            stand.kind, stand.entry_id, b"", "", stand.user, first, second, cause, position
        )


def known_at(stands: Sequence[Stand], position: int) -> Stand | None:
    """Give the state of an entry that is known at a position."""
    for stand in stands:
        if stand.changed_position <= position and (
            stand.known_to is None or position < stand.known_to
        ):
            return stand
    return None


def write_place(place: Place, positions: tuple[int, int]) -> bytes:
    """Write where a page ends, and the cuts that it is of: the log goes on meanwhile."""
    numbers = (*positions, place.run, place.key)
    return b"".join(number.to_bytes(8, signed=True) for number in numbers) + place.entry_id


PLACE_BYTES = 4 * 8 + 16


def read_place(raw: bytes) -> tuple[Place, tuple[int, int]]:
    """Read what `write_place` wrote; InvalidArgumentError for anything else."""
    first, second, run, key = _numbers(raw)
    if run not in range(OTHERS_DATED + 1) or min(first, second) < 0:
        raise InvalidArgumentError("cursor: use next_cursor of the page before")
    return Place(run, key, raw[32:]), (first, second)


def _numbers(raw: bytes) -> Iterator[int]:
    return (int.from_bytes(raw[at : at + 8], signed=True) for at in range(0, 32, 8))
