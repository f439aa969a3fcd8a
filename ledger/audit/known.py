"""A payer's entries as they were known at one position of the log.

Sums that a follower of the log keeps are used where there are any. What it has not reached, or
what is not there, is read from the entries: that changes no answer, only how long it takes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from functools import cached_property

from ledger.audit.kept import Kept
from ledger.audit.sums import (
    CREDIT_NOTES,
    DAY_MS,
    DAYS,
    DAYS_A_MONTH,
    INSTANCES,
    INVOICES,
    MONTHS,
    Sums,
    add,
    add_all,
    bounds_of,
    by_day,
    day_of,
    key_of,
    year_of,
)
from persistence import (
    DAYS_AXIS,
    LOG_AXIS,
    Change,
    Life,
    OtherChange,
    OtherStand,
    Reader,
    Stand,
    clocks_tail,
)
from projections import Accrual, Amount

# Both axes count from 1: any day of the calendar is above 0 then.
DAYS_BEFORE_1970 = 1 << 20
_DAYS_END = 1 << 23


Kinds = tuple[int, ...]
OTHERS: Kinds = (INVOICES, CREDIT_NOTES)


class Known:
    """Entries of one payer at a cut. All of it is asked inside one snapshot of the reader."""

    def __init__(self, reader: Reader, payer: bytes, position: int, *, head: int) -> None:
        """Look at the log up to and with a position; it ends at `head` today."""
        self._head = head
        self.payer = payer
        self.position = position
        self._reader = reader
        self.rows = reader.clocks
        self._sealed = reader.sealed

    # What the follower has --------------------------------------------------------------------

    @cached_property
    def _tail(self) -> int:
        """Where the follower stands: what lies beyond it is not to be believed."""
        return self._reader.tails().get(clocks_tail(self._reader.serves()), 0)

    @cached_property
    def _block(self) -> Kept | None:
        found = self._sealed.block_at(self.payer, min(self.position, self._tail))
        return None if found is None else Kept(self._sealed, self.payer, found)

    @cached_property
    def _next_block(self) -> int | None:
        """Position of the oldest block at or behind the cut."""
        found = self._sealed.block_from(self.payer, self.position)
        return None if found is None or found > self._tail else found

    @cached_property
    def _last_block(self) -> int | None:
        """Position of the newest block: up to there it is known what ran through where."""
        found = self._sealed.block_at(self.payer, min(self._head, self._tail))
        return None if found is None else found.position

    @cached_property
    def _since(self) -> tuple[list[Change], list[OtherChange]]:
        """What came and went since the block."""
        after = 0 if self._block is None else self._block.position
        stretch = {"after": after, "upto": self.position}
        return (
            self.rows.changes(self.payer, **stretch),
            self.rows.other_changes(self.payer, **stretch),
        )

    @cached_property
    def _since_by_day(self) -> dict[int, Sums]:
        return by_day(*self._since)

    # Sums --------------------------------------------------------------------------------------

    def sums(self, end: int | None) -> Sums:
        """Sum the entries dated before a time; None: all."""
        if end not in self._summed:
            self._summed[end] = self._sums(end)
        return dict(self._summed[end])

    @cached_property
    def _summed(self) -> dict[int | None, Sums]:
        return {}

    def _sums(self, end: int | None) -> Sums:
        if end is None:
            return self._sums_before(None)
        sums = self._sums_before(day_of(end))
        start = end // DAY_MS * DAY_MS
        if start < end:
            add_all(sums, self.instances_dated(start, end))
            for other in self.rows.others_dated(self.payer, self.position, start=start, end=end):
                add(sums, key_of(other.kind), Amount(1, other.cents, 0))
        return sums

    def instances_dated(self, start: int, end: int) -> Sums:
        """Sum the instances' entries dated in [start, end): reads them."""
        found = self.rows.dated_sums(self.payer, self.position, start=start, end=end)
        return {(INSTANCES, name): amount for name, amount in found}

    def _sums_before(self, day: int | None) -> Sums:
        sums = {} if self._block is None else self._block.before(day)
        for date, amounts in self._since_by_day.items():
            if day is None or date < day:
                add_all(sums, amounts)
        return sums

    def days_changed(self, last: int, *, after: int) -> list[int]:
        """Give the days up to one whose entries changed since a position, and some more."""
        days = {day for day in self._since_by_day if day <= last}
        if self._block is not None and after < self._block.position:
            days.update(self._touched_days(last, after=after, upto=self._block.position))
        return sorted(days)

    def _touched_days(self, last: int, *, after: int, upto: int) -> list[int]:
        """Only in months of years that changed, however far back there are entries."""
        assert self._block is not None
        touched = functools.partial(self._sealed.touched, self.payer, after=after, upto=upto)
        last_month = last // DAYS_A_MONTH
        years = [
            bounds_of(year)
            for year, position in self._block.sums.touched.items()
            if position > after and year <= year_of(last)
        ]
        months = touched([(MONTHS, first, min(end, last_month + 1)) for first, end in years])
        starts = [month * DAYS_A_MONTH for month in months]
        return touched([(DAYS, day, min(day + DAYS_A_MONTH, last + 1)) for day in starts])

    def of_days(self, days: Iterable[int]) -> dict[int, Sums]:
        """Sum the entries of each of some days."""
        found: dict[int, Sums] = {day: {} for day in days}
        if self._block is not None:
            for month in {day // DAYS_A_MONTH for day in found}:
                for day, amounts in self._block.days(month).items():
                    if day in found:
                        add_all(found[day], amounts)
        for day, amounts in self._since_by_day.items():
            if day in found:
                add_all(found[day], amounts)
        return found

    # One by one, by date -----------------------------------------------------------------------

    def page(
        self,
        *,
        start: int,
        end: int,
        key: tuple[int, bytes] | None,
        ascending: bool,
        limit: int,
    ) -> list[Stand]:
        """Give instances' entries dated in [start, end) beyond a (time, id), in order."""
        if key is not None:
            start, end = (max(start, key[0]), end) if ascending else (start, min(end, key[0] + 1))
        found: list[Stand] = []
        for first, last in self._stretches((INSTANCES,), start, end, ascending=ascending):
            found += self.rows.page(
                self.payer,
                self.position,
                user=b"",
                start=first,
                end=last,
                key=key,
                ascending=ascending,
                limit=limit - len(found),
            )
            if len(found) == limit:
                break
        return found

    def others_page(
        self, *, start: int, end: int, key: tuple[int, bytes] | None, limit: int
    ) -> list[OtherStand]:
        """Give invoices and credit notes dated in [start, end) beyond a (time, id), in order."""
        start = start if key is None else max(start, key[0])
        found: list[OtherStand] = []
        for first, last in self._stretches(OTHERS, start, end, ascending=True):
            found += self.rows.others_page(
                self.payer,
                self.position,
                start=first,
                end=last,
                key=key,
                limit=limit - len(found),
            )
            if len(found) == limit:
                break
        return found

    def _stretches(
        self, kinds: Kinds, start: int, end: int, *, ascending: bool
    ) -> Iterable[tuple[int, int]]:
        """Cut from [start, end) the days that have entries, in order; at most a month at once.

        Between them may lie any number that were recorded later.
        """
        run: list[int] = []
        for day in self._filled_days(kinds, start, end, ascending=ascending):
            if run and (abs(day - run[-1]) > 1 or day // DAYS_A_MONTH != run[-1] // DAYS_A_MONTH):
                yield max(start, min(run) * DAY_MS), min(end, (max(run) + 1) * DAY_MS)
                run.clear()
            run.append(day)
        if run:
            yield max(start, min(run) * DAY_MS), min(end, (max(run) + 1) * DAY_MS)

    def _filled_days(self, kinds: Kinds, start: int, end: int, *, ascending: bool) -> Iterable[int]:
        """Give the days of [start, end) that have entries, and some more, one after the other."""
        if start >= end:
            return
        first, last = day_of(start), day_of(end - 1)
        since = {day for day, sums in self._since_by_day.items() if _has(sums, kinds)}
        kept = self._block
        years = set(map(year_of, since))
        if kept is not None:
            years |= _filled(kept.sums.years, kinds)
        for year in _between(years, year_of(first), year_of(last), ascending=ascending):
            months = {day // DAYS_A_MONTH for day in since if year_of(day) == year}
            if kept is not None:
                months |= _filled(kept.months(year), kinds)
            for month in _between(
                months, first // DAYS_A_MONTH, last // DAYS_A_MONTH, ascending=ascending
            ):
                days = {day for day in since if day // DAYS_A_MONTH == month}
                if kept is not None:
                    days |= _filled(kept.days(month), kinds)
                yield from _between(days, first, last, ascending=ascending)

    # What ran ----------------------------------------------------------------------------------

    @cached_property
    def accrual(self) -> Accrual:
        """The last reconcile; position 0 before the first one."""
        return self.rows.accrual(self.position)

    @cached_property
    def open(self) -> list[Life]:
        """What had started and was no entry yet."""
        by, last = self.position, self._last_block
        between = functools.partial(self.rows.ended_between, self.payer, by=by)
        found = self.rows.open_now(self.payer, by)
        if last is None or by >= last:
            ended = between(after=by, upto=None)
        else:
            found += self._stab(LOG_AXIS, by, by)
            ended = between(after=by, upto=self._next_block) + between(after=last, upto=None)
        found += [each.life for each in ended]
        return list({life.start_position: life for life in found}.values())

    def spanning(self, started: int, day: int) -> list[Life]:
        """Give what had started by a time and is dated in a day or later."""
        found: dict[int, Life] = {}
        if self._block is not None:
            point = day + DAYS_BEFORE_1970
            for life in self._stab(DAYS_AXIS, point, self._block.position):
                if life.started <= started:
                    found[life.start_position] = life
        # What came and went between two blocks is in none of them.
        for sign, stand in sorted(self._since[0], key=_in_order):
            if day_of(stand.effective) < day or stand.started is None or stand.started > started:
                continue
            if sign > 0:
                found[stand.start_position] = life_of(stand)
            else:
                found.pop(stand.start_position, None)
        return list(found.values())

    def _stab(self, axis: int, point: int, position: int) -> list[Life]:
        highest = self._head if axis == LOG_AXIS else _DAYS_END
        return self._sealed.stab(self.payer, axis, point, highest=highest, position=position)


def _has(sums: Sums, kinds: Kinds) -> bool:
    return any(amount.count for key, amount in sums.items() if key[0] in kinds)


def _filled(buckets: Mapping[int, Sums], kinds: Kinds) -> set[int]:
    return {number for number, sums in buckets.items() if _has(sums, kinds)}


def _between(numbers: Iterable[int], first: int, last: int, *, ascending: bool) -> list[int]:
    return sorted((n for n in numbers if first <= n <= last), reverse=not ascending)


def _in_order(change: Change) -> tuple[int, int]:
    """By position; of one event what goes before what comes."""
    sign, stand = change
    assert stand.known_to is not None or sign > 0
    position = stand.changed_position if sign > 0 else stand.known_to
    return position or 0, sign


def life_of(stand: Stand) -> Life:
    """Give an entry as what it was while it ran."""
    assert stand.started is not None
    return Life(
        stand.start_position,
        stand.entry_id,
        stand.user,
        stand.workspace_class,
        stand.rate,
        stand.started,
    )
