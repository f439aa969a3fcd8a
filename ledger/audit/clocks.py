"""Two clocks: what a payer's numbers were as of a time, as they were known at another.

Without either these are the live answers. Nothing here opens or resets a cost center.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ledger.audit.cuts import Cut, KnownAt, NotFoldedError, cut_at, last_recorded_by
from ledger.audit.differences import Differences, Page, Place
from ledger.audit.drafts import NO_CYCLE, DraftAt
from ledger.audit.listing import Usage, list_page
from ledger.audit.standing import Standing
from ledger.audit.terms import terms_at
from ledger.errors import InvalidArgumentError
from ledger.patience import current_patience
from ledger.queries import Draft, Queries, draft_of
from ledger.shards import Shard
from persistence import ClosedCycle, DraftRows
from projections import Accrual, CostCenterRow, OpenCycle

if TYPE_CHECKING:
    from ledger.application import Ledger

LOOK_AGAIN_SECONDS = 0.05  # while a projector folds up to a cut

T = TypeVar("T")


class Moment(NamedTuple):
    """What is asked for: times in ms; None leaves a clock at the newest."""

    as_of: int | None = None
    known_at: KnownAt = KnownAt()
    shard: int | None = None  # of a position in `known_at`, if it was named


class Answer(NamedTuple):
    """Which moment an answer is of."""

    shard: int
    cut: Cut
    as_of: int | None


class At:
    """One payer's answers at one moment, inside one snapshot."""

    def __init__(self, queries: Queries, payer: bytes, cut: Cut, as_of: int | None) -> None:
        """Read nothing yet."""
        self._queries = queries
        self._reader = queries.reader
        self.payer = payer
        self.cut = cut
        self.as_of = as_of
        self.standing = self._standing(cut.position, as_of)

    def _standing(self, position: int, as_of: int | None) -> Standing:
        return Standing(self._reader, self.payer, position, head=self.cut.head, as_of=as_of)

    def balance(self) -> int:
        """Give what the payer owes in cents."""
        return self.standing.balance()

    def _decided(self) -> int:
        """Give the position up to which cost centers and cycles are decided at the moment.

        They change when the event that changes them is recorded.
        """
        if self.as_of is None:
            return self.cut.position
        return min(self.cut.position, last_recorded_by(self._reader.clocks, self.as_of, self.cut))

    def cost_center(self) -> CostCenterRow | None:
        """Give the cost center's terms; None when it had none."""
        return terms_at(
            self._reader,
            self.payer,
            decided=self._decided(),
            position=self.cut.position,
            as_of=self.as_of,
        )

    def draft(self) -> Draft:
        """Give the cycle that was open."""
        cycles = self._reader.clocks.boundaries(self.payer, self._decided())
        cycle, closed = (cycles[0], cycles[1:]) if cycles else (NO_CYCLE, [])
        made = DraftAt(self.standing, self._standing(cycle.opened_position, None), cycle, closed)
        others = made.others()
        instant = self.standing.accrued_to
        rows = DraftRows(
            None
            if not cycles
            else OpenCycle(
                self.payer,
                cycle.number,
                cycle.start,
                cycle.opened_position,
                cycle.accrued_to,
                cycle.accrual_position,
                cycle.carried_cents,
                *others[:4],
            ),
            self.cost_center(),
            made.lines(),
            {},
            {},
            [ClosedCycle(*each[:5], 0) for each in reversed(closed)],
            others.voided_notes,
            Accrual(0, 0) if instant is None else Accrual(instant, 1),
            self.balance(),
        )
        return draft_of(rows)

    def usage(
        self,
        *,
        user: bytes,
        start: int,
        end: int,
        key: tuple[int, bytes] | None,
        ascending: bool,
        limit: int,
    ) -> Usage:
        """Give a page of usage entries dated in [start, end) beyond a (time, id)."""
        total, cents = self.standing.usage_totals(start=start, end=end, user=user)
        rows = list_page(
            self.standing,
            user=user,
            start=start,
            end=end,
            key=key,
            ascending=ascending,
            limit=limit,
        )
        return Usage(rows, total, cents)


async def ask(
    ledger: Ledger, payer: bytes, moment: Moment, question: Callable[[At], T]
) -> tuple[T, Answer]:
    """Ask about a payer at a moment."""
    shard = await ledger.placing.find(payer)
    refuse_other_shard(shard, moment)

    def read(queries: Queries) -> tuple[T, Answer]:
        with queries.reader.snapshot():
            at = look(queries, payer, moment)
            return question(at), Answer(shard.number, at.cut, at.as_of)

    return await patiently(shard, read)


class Comparison(NamedTuple):
    """Two answers, and a page of what lies between them."""

    answers: tuple[Answer, Answer]
    balances: tuple[int, int]
    page: Page


async def compare(
    ledger: Ledger,
    payer: bytes,
    moments: tuple[Moment, Moment],
    *,
    after: Place | None,
    limit: int,
) -> Comparison:
    """Compare a payer's balances at two moments, from a place on."""
    shard = await ledger.placing.find(payer)
    for moment in moments:
        refuse_other_shard(shard, moment)

    def read(queries: Queries) -> Comparison:
        with queries.reader.snapshot():
            first, second = (look(queries, payer, moment) for moment in moments)
            page = Differences(first.standing, second.standing).page(after, limit)
            return Comparison(
                (
                    Answer(shard.number, first.cut, first.as_of),
                    Answer(shard.number, second.cut, second.as_of),
                ),
                (first.balance(), second.balance()),
                page,
            )

    return await patiently(shard, read)


def look(queries: Queries, payer: bytes, moment: Moment) -> At:
    """Look at a payer at a moment, inside a snapshot."""
    queries.refuse_if_paused("instances", "invoice-drafts")
    cut = cut_at(queries.reader.clocks, moment.known_at, now=queries.now())
    return At(queries, payer, cut, moment.as_of)


def refuse_other_shard(shard: Shard, moment: Moment) -> None:
    """Refuse a position of another shard's log than the payer's."""
    if moment.shard not in (None, shard.number):
        raise InvalidArgumentError(
            f"known_at is a position of shard {moment.shard}, and the payer's events lie in shard"
            f" {shard.number}"
        )


async def patiently(shard: Shard, read: Callable[[Queries], T]) -> T:
    """Read; while a projector has not reached the cut, look again as long as the call may wait.

    Never on the event loop: before there are sums, a large payer's entries take seconds.
    """
    until = None
    while True:
        try:
            return await shard.read_aside(read)
        except NotFoldedError:
            seconds = current_patience().seconds
            if until is None:
                until = time.monotonic() + (seconds if seconds is not None else 0.0)
            if time.monotonic() >= until:
                raise
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
