"""The billing periods of a subscription, as Stripe counts them.

Whole months from its start, a month's last day clamped, until Stripe tells otherwise: somebody has
moved its billing anchor, say. What Stripe told of is kept, and months go on from there.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import msgspec

from aggregates.calendar import add_months, periods_until


class Period(NamedTuple):
    """[start, end) in ms, and how it is counted: `number` months after the anchor.

    One that no whole month gives ends at its anchor, as number -1.
    """

    start: int
    end: int
    anchor: int
    number: int


def month_from(start: int) -> Period:
    """Give a month that begins at its own anchor."""
    return Period(start, add_months(start, 1), start, 0)


def second_behind(instant: int) -> int:
    """Give the start of the second behind the one that holds an instant, in ms."""
    return (instant // 1_000 + 1) * 1_000


def month_at(anchor: int, instant: int) -> Period:
    """Give the month, counted from an anchor, that holds an instant, or the first one."""
    number = periods_until(anchor, instant)
    return Period(add_months(anchor, number), add_months(anchor, number + 1), anchor, number)


class Periods(msgspec.Struct, frozen=True, gc=False):
    """The periods of one subscription."""

    told: tuple[tuple[int, int], ...]  # (start, end) by start; the first is where it begins

    @classmethod
    def beginning_at(cls, start: int) -> Periods:
        """Give those of a subscription of which no more is known than when it began."""
        return cls(((start, add_months(start, 1)),))

    def with_told(self, start: int, end: int) -> Periods:
        """Take in what Stripe tells of a period; of one start what was told last counts."""
        others = [one for one in self.told if one[0] != start]
        return Periods(tuple(sorted([*others, (start, end)])))

    @property
    def first_start(self) -> int:
        """Give when the subscription began."""
        return self.told[0][0]

    @property
    def newest_told(self) -> int:
        """Give the start that was told last: by Stripe's clock it is past."""
        return self.told[-1][0]

    def at(self, instant: int) -> Period:
        """Give the period that holds an instant; the first one for what was before it."""
        after = bisect_right(self.told, instant, key=lambda one: one[0])
        start, end = self.told[max(after - 1, 0)]
        whole = month_from(start)
        period = whole if whole.end == end else Period(start, end, end, -1)
        if instant >= end:
            period = month_at(whole.anchor if whole.end == end else end, instant)
        if 0 < after < len(self.told):
            # It was cut off by one that began earlier than was counted.
            period = period._replace(end=min(period.end, self.told[after][0]))
        return period

    def until(self, instant: int) -> list[Period]:
        """Give the periods that began before an instant, oldest first."""
        found = [self.at(self.first_start)]
        while found[-1].end < instant:
            found.append(self.at(found[-1].end))
        return [one for one in found if one.start < instant]

    def ending_at(self, instant: int) -> list[tuple[int, int]]:
        """Give start and end of each, where the subscription ends at an instant.

        The last one may be cut off, or be the one that began in that very second: it has an
        invoice, too, but only Stripe can tell that it did begin.
        """
        found = self.until(instant)
        if self.is_told(instant) or not found:
            found.append(self.at(instant))
        return [(one.start, min(one.end, instant)) for one in found]

    def has(self, start: int, end: int) -> bool:
        """Say whether [start, end) is one of them."""
        period = self.at(start)
        return (period.start, period.end) == (start, end)

    def is_told(self, start: int) -> bool:
        """Say whether Stripe itself told that one begins here, or the subscription does."""
        return any(one[0] == start for one in self.told)
