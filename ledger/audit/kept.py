"""The sums that a follower of the log has kept of a payer, as known at the end of a block.

A block says what all entries come to, and those of every 1,024 days. What is kept beside it adds up
to that, or somebody has deleted some of it: no answer is worked out then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledger.audit.sums import (
    DAYS,
    DAYS_A_MONTH,
    MONTHS,
    NO_BUCKETS,
    Sums,
    add_all,
    bounds_of,
    unpack,
    unpack_block,
    year_of,
)
from ledger.errors import FailedPreconditionError
from persistence import SealedReader
from persistence.clocks import Block


class Kept:
    """Sums at a block, each of which is read once."""

    def __init__(self, sealed: SealedReader, payer: bytes, block: Block) -> None:
        """Read nothing yet."""
        self._sealed = sealed
        self._payer = payer
        self.position = block.position
        self.sums = unpack_block(block.sums)
        self._read: dict[tuple[int, int], dict[int, Sums]] = {}

    def before(self, day: int | None) -> Sums:
        """Sum the entries dated before a day; None: all."""
        sums: Sums = {}
        if day is None:
            add_all(sums, self.sums.all)
            return sums
        year, month = year_of(day), day // DAYS_A_MONTH
        for buckets, end in (
            (self.sums.years, year),
            (self.months(year), month),
            (self.days(month), day),
        ):
            for number, amounts in buckets.items():
                if number < end:
                    add_all(sums, amounts)
        return sums

    def months(self, year: int) -> Mapping[int, Sums]:
        """Give the sums of the 32 days in some 1,024."""
        return self._inside(MONTHS, year, self.sums.years.get(year))

    def days(self, month: int) -> Mapping[int, Sums]:
        """Give the sums of each day in some 32."""
        year = year_of(month * DAYS_A_MONTH)
        return self._inside(DAYS, month, self.months(year).get(month))

    def _inside(self, level: int, larger: int, whole: Sums | None) -> Mapping[int, Sums]:
        if not whole:
            return {}
        if (level, larger) not in self._read:
            buckets = level, *bounds_of(larger)
            found = self._sealed.sums(self._payer, self.position, (buckets, NO_BUCKETS))
            read = {number: unpack(packed) for number, packed in found}
            if _total(read.values()) != _total([whole]):
                raise FailedPreconditionError(
                    "the sums that are kept of this payer's entries do not add up: rows of"
                    " sealed_sums are missing; empty all tables of sums in the way that"
                    " docs/time-travel.md says, and they are made anew"
                )
            self._read[level, larger] = read
        return self._read[level, larger]


def _total(many: Iterable[Sums]) -> Sums:
    total: Sums = {}
    for sums in many:
        add_all(total, sums)
    return {key: amount for key, amount in total.items() if any(amount)}
