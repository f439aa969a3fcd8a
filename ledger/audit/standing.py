"""A payer's entries at a moment: as known at a cut of the log, and as of an effective time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from ledger.audit.known import Known
from ledger.audit.sums import DAY_MS, INSTANCES, Sums, add, cents_in, day_of
from persistence import Life, Reader, Stand
from projections import Accrual, Amount, accrued


class Counted(NamedTuple):
    """An instance that counts up to an instant, without an end as of the moment."""

    life: Life
    instant: int
    amount: Amount


class Standing:
    """One payer at one moment. All of it is asked inside one snapshot of the reader."""

    def __init__(
        self, reader: Reader, payer: bytes, position: int, *, head: int, as_of: int | None
    ) -> None:
        """Without `as_of` it is the live answer at the cut."""
        self.known = Known(reader, payer, position, head=head)
        self.as_of = as_of

    @property
    def end(self) -> int | None:
        """The time before which entries are dated that count; None: all do."""
        return None if self.as_of is None else self.as_of + 1

    @cached_property
    def accrued_to(self) -> int | None:
        """The instant up to which running instances count; None: they do not yet."""
        if self.as_of is not None:
            return self.as_of
        accrual = self.known.accrual
        return accrual.instant if accrual.position else None

    @cached_property
    def running(self) -> list[Counted]:
        """What counts up to the instant: what had started and not ended by then."""
        if self.as_of is None:
            accrual = self.known.accrual
            lives = [life for life in self.known.open if is_listed(life, accrual)]
        else:
            lives = [life for life in self.known.open if life.started <= self.as_of]
            lives += self._ending_later(self.as_of)
        instant = self.accrued_to
        if instant is None:
            return []
        return [Counted(life, instant, accrued(life.rate, life.started, instant)) for life in lives]

    def _ending_later(self, as_of: int) -> Iterable[Life]:
        """Of the entries dated later those of instances that had started: they ran."""
        day = day_of(as_of)
        yield from self.known.spanning(as_of, day + 1)
        yield from self.known.rows.ending(
            self.known.payer,
            self.known.position,
            started=as_of,
            start=as_of + 1,
            end=(day + 1) * DAY_MS,
        )

    @cached_property
    def entries(self) -> Sums:
        """Sums of the entries that count, without what runs."""
        return self.known.sums(self.end)

    def balance(self) -> int:
        """Give what the payer owes in cents."""
        return cents_in(self.entries) + sum(each.amount.cents for each in self.running)

    def usage_totals(self, *, start: int, end: int, user: bytes) -> tuple[int, int]:
        """Give (count, cents) of the instances dated in [start, end)."""
        upto = end if self.end is None else min(end, self.end)
        running = [each for each in self.running if start <= each.instant < end]
        if user:
            running = [each for each in running if each.life.user == user]
        count, cents = len(running), sum(each.amount.cents for each in running)
        if start >= upto:
            return count, cents
        if user:
            known = self.known
            some = known.rows.user_totals(
                known.payer, known.position, user=user, start=start, end=upto
            )
            return count + some[0], cents + some[1]
        sums = instances(self.known.sums(upto))
        for key, amount in instances(self.known.sums(start)).items():
            add(sums, key, amount, -1)
        return (
            count + sum(amount.count for amount in sums.values()),
            cents + cents_in(sums),
        )


def is_listed(life: Life, accrual: Accrual) -> bool:
    """Say whether a running instance is accrued by a reconcile: its start was recorded before."""
    return life.start_position < accrual.position


def is_draft(stand: Stand, position: int, as_of: int | None) -> bool:
    """Say whether an entry was not final yet: its stop not known, or later."""
    if not 0 < stand.final_position <= position:
        return True
    return as_of is not None and stand.stopped is not None and stand.stopped > as_of


def instances(sums: Sums) -> Sums:
    """Leave out invoices and credit notes."""
    return {key: amount for key, amount in sums.items() if key[0] == INSTANCES}
