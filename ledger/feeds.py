"""Feeding events of a bus into the ledger: each exactly once, whatever the consumer goes through.

A partition's position lies in each shard beside the events that it fed. A batch is split by shard;
each part is one transaction that moves the shard's position by compare-and-set and takes in what
lies behind it. A consumer that was thought dead and wakes with an old batch loses the comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ledger import tracing
from ledger.errors import FailedPreconditionError, LedgerError, NotFoundError
from ledger.group import Group
from ledger.intake import Batch, Line, Receipt, Reject, payer_of_line, take
from ledger.shards import Shard
from persistence import Act, Counts, PositionMovedError, SourceKey, Transaction

if TYPE_CHECKING:
    from ledger.application import Ledger

DELIVERY_PREFIX = "kafka:"

SOURCE_SHAPE = "CLUSTER:TOPIC:TOPIC-ID:PARTITION"

T = TypeVar("T")


def parse_source(text: str) -> tuple[SourceKey, str]:
    """Read a partition's source and topic as the intake names them; ValueError says the shape."""
    parts = text.removeprefix(DELIVERY_PREFIX).split(":")
    if len(parts) != 4 or not all(parts) or not parts[3].isdecimal():
        raise ValueError(f"{text[:80]!r}: must be {SOURCE_SHAPE}")
    cluster, topic, topic_id, partition = parts
    return SourceKey(cluster, topic_id, int(partition)), topic


class SourceMovedError(LedgerError):
    """Another consumer took over the partition: what is buffered must be read anew."""


class Message(NamedTuple):
    """What was read from one message: several lines when it was packed."""

    offset: int
    lines: Sequence[Line]


class FeedReceipt(NamedTuple):
    """What became of a batch."""

    counts: Counts
    rejects: list[Reject]
    heads: dict[int, int]  # by shard, the head of its log after the batch


class Feed:
    """One partition's way in. Its blocking methods are called from a consumer's thread."""

    def __init__(self, ledger: Ledger, source: SourceKey, topic: str) -> None:
        """Feed a ledger from a partition of a topic."""
        self._ledger = ledger
        self.source = source
        self.topic = topic
        self.delivery = (
            f"{DELIVERY_PREFIX}{source.cluster}:{topic}:{source.topic_id}:{source.partition}"
        )
        # By shard, where its position is known to stand; a shard that is not named must be asked.
        self._known: dict[int, int | None] = {}

    def position(self) -> int | None:
        """Give the lowest next offset over the shards, as stored; None before the first batch."""
        return self._wait(self.read_position())

    def take(self, messages: Sequence[Message], after: int) -> FeedReceipt:
        """Take in the messages up to the offset `after`, which is the next one to read.

        SourceMovedError: another consumer took over. UnavailableError: it cannot be stored now;
        the same batch may be tried again, whatever became of it.
        """
        return self._wait(self.take_batch(messages, after))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._ledger.loop).result()

    async def read_position(self) -> int | None:
        """The same as `position`, on the event loop."""
        self._known.clear()
        positions = [await self._expected(shard) for shard in self._shards]
        stored = [position for position in positions if position is not None]
        if not stored:
            return None
        if len(stored) < len(positions):
            await self._begin(min(stored))
        return min(stored)

    async def _begin(self, offset: int) -> None:
        """Let the shards that have no position begin at an offset, before they are fed.

        Only then is a part that failed told from a shard that was opened later, whose payers have
        no events before it.
        """
        for shard in self._shards:
            if await self._expected(shard) is None:
                await shard.beside(partial(self._begin_at, offset=offset))
                self._known[shard.number] = offset

    def _begin_at(self, transaction: Transaction, offset: int) -> None:
        try:
            transaction.advance_intake(
                self.source, topic=self.topic, expected=None, position=offset
            )
        except PositionMovedError as error:
            raise SourceMovedError(str(error)) from error

    async def accept_gap(self, *, lost_from: int, go_on_at: int, author: str) -> None:
        """Go on at an offset although messages from `lost_from` on are lost; no event says so.

        NotFoundError: nothing was taken from there. FailedPreconditionError: it stands elsewhere,
        so that this gap was accepted before, or never was.
        """
        position = await self.read_position()
        if position is None:
            raise NotFoundError(f"nothing was taken from {self.delivery}")
        if position != lost_from:
            raise FailedPreconditionError(
                f"{self.delivery} goes on at offset {position}, not {lost_from}: "
                "what the intake waits for says which gap there is"
            )
        detail = f"{self.delivery} from offset {lost_from} to {go_on_at}"
        act = Act(self._ledger.now(), author, "accept-gap", detail)
        for shard in self._shards:
            await shard.beside(
                partial(self._pass_gap, forward=go_on_at > lost_from, go_on_at=go_on_at, act=act)
            )
        self._known.clear()

    def _pass_gap(
        self, transaction: Transaction, *, forward: bool, go_on_at: int, act: Act
    ) -> None:
        stands = transaction.intake_position(self.source)
        assert stands is not None  # `read_position` has let every shard begin
        # Shards need not stand at the same offset; none is moved away from the others.
        position = max(stands, go_on_at) if forward else min(stands, go_on_at)
        if position == stands:
            return
        transaction.add_act(act)
        try:
            transaction.advance_intake(
                self.source, topic=self.topic, expected=stands, position=position
            )
        except PositionMovedError as error:
            raise SourceMovedError(str(error)) from error

    async def _expected(self, shard: Shard) -> int | None:
        if shard.number not in self._known:
            self._known[shard.number] = await shard.beside(
                lambda transaction: transaction.intake_position(self.source)
            )
        return self._known[shard.number]

    async def take_batch(self, messages: Sequence[Message], after: int) -> FeedReceipt:
        """The same as `take`, on the event loop."""
        with tracing.span(
            "intake batch",
            **{
                "messaging.destination.name": self.topic,
                "messaging.destination.partition.id": str(self.source.partition),
                "messaging.batch.message_count": len(messages),
            },
        ):
            return await self._take_batch(messages, after)

    async def _take_batch(self, messages: Sequence[Message], after: int) -> FeedReceipt:
        if len(self._shards) > 1:
            expected = [await self._expected(shard) for shard in self._shards]
            begun = [position for position in expected if position is not None]
            if len(begun) < len(expected):
                first = messages[0].offset if messages else after
                await self._begin(min(begun, default=first))
        parts = await self._split(messages)
        outcomes = await asyncio.gather(
            *[self._take_part(shard, parts.get(shard.number, []), after) for shard in self._shards],
            return_exceptions=True,
        )
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failed:
            # Whether the failed parts were stored is asked before they are tried again.
            self._known.clear()
            raise failed[0]
        return _added_up(
            [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        )

    @property
    def _shards(self) -> Sequence[Shard]:
        return self._ledger.shards

    async def _split(self, messages: Sequence[Message]) -> dict[int, list[tuple[int, Line]]]:
        """Give (offset, line) by shard; what nobody can be charged for goes to the first."""
        if len(self._shards) == 1:
            return {0: [(message.offset, line) for message in messages for line in message.lines]}
        payers = {payer_of_line(line) for message in messages for line in message.lines}
        placed = await self._ledger.placing.place(payer for payer in payers if payer is not None)
        parts: dict[int, list[tuple[int, Line]]] = {}
        for message in messages:
            for line in message.lines:
                payer = payer_of_line(line)
                number = 0 if payer is None else placed[payer]
                parts.setdefault(number, []).append((message.offset, line))
        return parts

    async def _take_part(
        self, shard: Shard, lines: Sequence[tuple[int, Line]], after: int
    ) -> tuple[int, Receipt | None, int]:
        expected = await self._expected(shard)
        if expected is not None and after <= expected:
            return shard.number, None, shard.head  # a try before this one has stored it
        batch = Batch(
            self.delivery,
            [line for offset, line in lines if expected is None or offset >= expected],
        )
        advance = partial(self._advance, expected=expected, after=after)
        receipt: Receipt | None = None
        if not batch.lines and len(self._shards) > 1:
            # Nothing is appended, so nobody has to wait for the append lock.
            await shard.beside(advance)
            head = shard.head
        else:

            def act(group: Group) -> Receipt:
                group.context.failpoint("before-intake-position")
                advance(group.transaction)
                group.context.failpoint("after-intake-position")
                return take(group, batch)

            receipt, head = await shard.feed(act, self._ledger.operator)
        self._known[shard.number] = after
        return shard.number, receipt, head

    def _advance(self, transaction: Transaction, *, expected: int | None, after: int) -> None:
        try:
            transaction.advance_intake(
                self.source, topic=self.topic, expected=expected, position=after
            )
        except PositionMovedError as error:
            self._ledger.instruments.lost_compare_and_sets.add("intake")
            raise SourceMovedError(str(error)) from error


def _added_up(outcomes: Sequence[tuple[int, Receipt | None, int]]) -> FeedReceipt:
    counts = Counts()
    rejects: list[Reject] = []
    heads: dict[int, int] = {}
    for number, receipt, head in outcomes:
        heads[number] = head
        if receipt is not None:
            counts = counts.plus(receipt.counts)
            rejects += receipt.rejects
    return FeedReceipt(counts, rejects, heads)
