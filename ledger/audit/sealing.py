"""The follower of the log that keeps sums of entries, and where instances ran through.

Each payer's history is cut into blocks of so many events that changed something. At the end of
each one it is kept what entries come to then, by day, and which instances ran through a midnight or
through the end of a block. Nothing is ever changed of it but where a state of an entry ended, which
was open.

Whatever it has not reached is read from the entries, so nobody waits for it, and all of it can be
thrown away.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from events import Recorded
from ledger.audit.aside import AsideTail
from ledger.audit.known import DAYS_BEFORE_1970, life_of
from ledger.audit.sums import (
    BlockSums,
    Bucket,
    Sums,
    add_all,
    buckets_of,
    by_day,
    day_of,
    pack,
    pack_block,
    unpack,
    unpack_block,
    year_of,
)
from ledger.folding import decoded
from ledger.shards import Shard
from persistence import (
    CLOCKS_TAIL,
    DAYS_AXIS,
    FIRST,
    LOG_AXIS,
    SUMMED_PROJECTIONS,
    Block,
    Change,
    Ended,
    Life,
    PositionMovedError,
    Reader,
    Span,
    Stand,
    Transaction,
    clocks_tail,
    fork,
)

BATCH_MAX = 10_000  # events looked at in one step
# Of a payer, that changed something: so many changes an answer reads at either end of a block. A
# start changes nothing yet, so a block is a thousand events or more.
BLOCK_EVENTS = 500
# Where blocks are missing, such as after they were thrown away, they are made so many a step.
BLOCKS_A_STEP = 20
PAYERS_MAX = 200_000  # whose events are counted in memory
LINGER_SECONDS = 0.5  # a step is a transaction: it waits for others
PATIENT_SHARE = 9  # while events wait for the writer, a tenth of the time
TO_THIS_DAY = 2**62


class Sealed(NamedTuple):
    """What a block of a payer adds."""

    payer: bytes
    block: Block
    sums: dict[Bucket, bytes]
    spans: list[Span]
    ended: list[Span]
    is_first: bool


class Step(NamedTuple):
    """What the next events fill."""

    after: int
    generation: int  # of the entries
    events: int  # how many
    position: int
    sealed: list[Sealed]


class Sealing:
    """Counts events and seals blocks, whoever follows the log."""

    def __init__(self, *, batch_max: int = BATCH_MAX, block_events: int = BLOCK_EVENTS) -> None:
        """Start with nothing counted."""
        self._batch_max = batch_max
        self._block_events = block_events
        self._counts: dict[bytes, int] = {}
        self._counted_to = FIRST, 0

    def look(self, reader: Reader) -> Step:
        """Work out what to keep of the next events, as far as they are folded."""
        with reader.snapshot():
            generation = reader.serves()
            after = reader.tails().get(clocks_tail(generation), 0)
            if (generation, after) != self._counted_to:  # others went on, or it was folded anew
                self._counts.clear()
            folded = reader.clocks.folded()
            stored = reader.log(after=after, limit=self._batch_max)
            events = decoded([event for event in stored if event.position <= folded])
            position = events[-1].position if events else after
            sealed: list[Sealed] = []
            for payer in self._due(events):
                sealer = Sealer(reader, payer, self._block_events, tail=after)
                sealed += sealer.blocks(position)
                self._counts[payer] = sealer.left
        self._counted_to = generation, position
        return Step(after, generation, len(events), position, sealed)

    def _due(self, events: Sequence[Recorded]) -> Iterable[bytes]:
        """Give the payers of whom a block may be full: as many events changed something at most.

        Of those met for the first time it is not known.
        """
        if len(self._counts) > PAYERS_MAX:
            self._counts.clear()
        counts, full = self._counts, self._block_events
        due: dict[bytes, None] = {}
        for _, _, event, _ in events:
            payer: bytes | None = getattr(event, "payer", None)
            if payer is None:
                continue
            count = counts[payer] = counts.get(payer, full) + 1
            if count >= full:
                due[payer] = None
        return due

    def keep(self, transaction: Transaction, step: Step) -> None:
        """Keep what was worked out, and move the position by compare-and-set."""
        if step.after == 0:
            # It has no row yet for which whoever empties the entries would wait.
            transaction.lock_projections()
        if transaction.generation != step.generation:
            raise PositionMovedError(f"generation {step.generation} is not served any more")
        name = clocks_tail(step.generation)
        transaction.advance_tail(name, expected=step.after, position=step.position)
        standing, _ = transaction.standing()
        if min(standing[projection] for projection in SUMMED_PROJECTIONS) < step.position:
            raise PositionMovedError("the entries are folded anew")
        rows = transaction.sealed
        for each in step.sealed:
            if each.is_first:
                rows.forget(each.payer)
            rows.put_block(each.payer, each.block)
            rows.put_sums(each.payer, each.block.position, each.sums)
            rows.put_spans(each.payer, each.spans)
            rows.end_spans(each.payer, each.ended)

    def forget_counts(self) -> None:
        """Count anew: what was counted may not be kept."""
        self._counts.clear()


class SealingTail(AsideTail):
    """Follows one shard's log, as far as it is folded."""

    linger_seconds = LINGER_SECONDS
    patient_share = PATIENT_SHARE

    def __init__(self, shard: Shard, *, batch_max: int = BATCH_MAX) -> None:
        """Prepare to follow."""
        super().__init__(shard, CLOCKS_TAIL, batch_max=batch_max)
        self._sealing = Sealing(batch_max=batch_max)

    async def step(self) -> int:
        """Seal the blocks that the next events fill; give how many events."""

        def look(reader: Reader) -> Step:
            began = time.thread_time()
            step = self._sealing.look(reader)
            self._worked += time.thread_time() - began
            return step

        try:
            step = await self._ask(look)
            if step.events:
                await self._keep(step)
        except BaseException:
            self._sealing.forget_counts()
            raise
        self.position = step.position
        return step.events

    async def _keep(self, step: Step) -> None:
        def keep(transaction: Transaction) -> None:
            began = time.monotonic()
            self._sealing.keep(transaction, step)
            self.shard.core.failpoint("sums-written")
            self._worked += time.monotonic() - began

        await self.shard.beside(keep, background=True)
        self.shard.core.failpoint("sums-kept")


class Sealer:
    """Makes one payer's next blocks."""

    def __init__(self, reader: Reader, payer: bytes, block_events: int, *, tail: int) -> None:
        """Begin behind the newest block.

        The follower's position moves with what it keeps. Where a block lies beyond it, rows were
        emptied while blocks were made: nothing of them is believed.
        """
        self._block_events = block_events
        self._rows = reader.clocks
        self._sealed = reader.sealed
        self._payer = payer
        self._tail = tail
        block = self._sealed.block_at(payer, tail)
        if self._sealed.block_from(payer, tail + 1) is not None:
            block = None
        self._kept = self.position = 0 if block is None else block.position
        self._sums = BlockSums({}, {}, {}) if block is None else unpack_block(block.sums)
        self._buckets: dict[Bucket, Sums] = {}
        self.left = 0  # events that changed something behind the last block, at most

    def blocks(self, position: int) -> Iterable[Sealed]:
        """Give the blocks that are full at a position; not all of them where many are missing.

        A block is so many events that changed something, behind the one before: nothing but the
        log says where it ends, however that is followed.
        """
        for made in itertools.count(1):
            changed = self._rows.changed(
                self._payer, after=self.position, upto=position, limit=self._block_events
            )
            self.left = len(changed)
            missing = self.position < self._tail and made > BLOCKS_A_STEP
            if self.left < self._block_events or missing:
                return
            yield self._block(changed[-1])

    def _block(self, position: int) -> Sealed:
        after = self.position
        stretch = {"after": after, "upto": position}
        changes = self._rows.changes(self._payer, **stretch)
        others = self._rows.other_changes(self._payer, **stretch)
        touched: dict[Bucket, Sums] = {}
        for day, amounts in by_day(changes, others).items():
            add_all(self._sums.all, amounts)
            year = year_of(day)
            add_all(self._sums.years.setdefault(year, {}), amounts)
            self._sums.touched[year] = position
            for bucket in buckets_of(day):
                sums = touched[bucket] = self._bucket(bucket)
                add_all(sums, amounts)
        ended = self._rows.ended_between(self._payer, **stretch, by=after)
        spans = [span for span in map(_log_span, ended) if span is not None]
        new, gone = _day_spans(changes, after=after, upto=position)
        self.position = position
        return Sealed(
            self._payer,
            Block(position, pack_block(self._sums)),
            {bucket: pack(sums) for bucket, sums in touched.items()},
            spans + new,
            gone,
            is_first=after == 0,
        )

    def _bucket(self, bucket: Bucket) -> Sums:
        known = self._buckets.get(bucket)
        if known is None:
            packed = None
            if self._kept:
                packed = self._sealed.sums_of(self._payer, self._kept, bucket)
            known = self._buckets[bucket] = {} if packed is None else unpack(packed)
        return known


def _day_spans(
    changes: Sequence[Change], *, after: int, upto: int
) -> tuple[list[Span], list[Span]]:
    """Give the midnights that instances ran through: states that came, and that went."""
    came: list[Span] = []
    went: list[Span] = []
    for sign, stand in changes:
        # What went behind the block is said by the one in which it went.
        known_to = stand.known_to
        if known_to is None or known_to > upto:
            known_to = TO_THIS_DAY
        if sign > 0 and after < stand.changed_position and known_to <= upto:
            continue  # it came and went between two blocks
        span = _day_span(stand, known_to)
        if span is not None:
            (came if sign > 0 else went).append(span)
    return came, went


def _day_span(stand: Stand, known_to: int) -> Span | None:
    if stand.started is None:
        return None
    first, last = day_of(stand.started) + 1, day_of(stand.effective)
    if first > last:
        return None
    return _span(
        DAYS_AXIS,
        (first + DAYS_BEFORE_1970, last + DAYS_BEFORE_1970),
        life_of(stand),
        (stand.changed_position, known_to),
    )


def _log_span(ended: Ended) -> Span | None:
    """Give the positions at which an instance ran; it does not any more at that of its end."""
    life, position = ended
    inside = life.start_position, position - 1
    return _span(LOG_AXIS, inside, life, (life.start_position, position))


def _span(axis: int, inside: tuple[int, int], life: Life, known: tuple[int, int]) -> Span | None:
    lower, upper = inside
    if lower > upper:
        return None
    return Span(
        axis,
        fork(lower, upper),
        lower,
        upper,
        life.start_position,
        *known,
        life.entry_id,
        life.user,
        life.workspace_class,
        life.rate,
        life.started,
    )
