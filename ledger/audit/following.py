"""The follower of the log that keeps its tree: a leaf for each event, some time after its commit.

Leaves are computed on a thread of the follower's own; the transaction only writes tiles, and moves
size and position by compare-and-set. Money never waits for it. A tree that does not fit together
stands still and says so, and intake and reads go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from events import UnreadableEventError
from ledger.audit.aside import AsideTail
from ledger.audit.leaves import leaf_of
from ledger.audit.looking import BY_SIGNING, look
from ledger.audit.tiles import Edge, TreeBrokenError
from ledger.shards import Shard
from persistence import (
    TREE_TAIL,
    PositionMovedError,
    Reader,
    StreamEvent,
    Tile,
    Transaction,
)

# While events come, a batch waits for the end of the writer's group, up to a fifth of a second.
BATCH_MAX = 10_000
# So long the first event waits for others: a transaction costs more than many leaves.
LINGER_SECONDS = 0.2
BROKEN_SECONDS = 5.0  # between two looks whether a broken tree was mended
PATIENT_SHARE = 4  # while events wait for the writer, leaves take a fifth of the time


class TreeTail(AsideTail):
    """Follows one shard's log and adds a leaf for each event."""

    linger_seconds = LINGER_SECONDS
    patient_share = PATIENT_SHARE

    def __init__(self, shard: Shard, *, batch_max: int = BATCH_MAX) -> None:
        """Prepare to follow."""
        super().__init__(shard, TREE_TAIL, batch_max=batch_max)
        self._edge = Edge(0, {})
        self._has_looked_at_end = False

    async def _go_on(self) -> float:
        try:
            return await super()._go_on()
        except TreeBrokenError as error:
            self._is_positioned = False
            await self._tell_fault(str(error))
            return self._wait_for(f"the tree to be mended: {error}", BROKEN_SECONDS)

    async def find_position(self) -> int:
        """Give the position up to which events are in the tree, once it is seen to fit together."""
        if not self._is_positioned:
            found = await self._ask(look)
            self.position, self._edge = found.position, found.edge
            self._is_positioned = True
            self._has_looked_at_end = False
            # What a look cannot find it cannot find mended: the next head that is signed does.
            if found.state.fault and not found.state.fault.startswith(BY_SIGNING):
                await self._tell_fault("")
        return self.position

    async def step(self) -> int:
        """Add the next leaves; give how many."""
        after = await self.find_position()
        edge = self._edge

        def read(reader: Reader) -> tuple[list[StreamEvent], Edge, list[Tile]]:
            began = time.thread_time()  # not what other threads did meanwhile
            if reader.tree.position() != after:  # an operator has the tree built anew
                raise PositionMovedError(f"the tree is not at {after}")
            stored = reader.log(after=after, limit=self._batch_max)
            grown, tiles = edge.grown(leaves_of(stored), [event.position for event in stored])
            self._worked += time.thread_time() - began
            return stored, grown, tiles

        stored, grown, tiles = await self._ask(read)
        if not stored:
            await self._look_at_end()
            return 0
        await self._keep(after, stored[-1].position, grown, tiles)
        return len(stored)

    async def _keep(self, after: int, position: int, grown: Edge, tiles: Sequence[Tile]) -> None:
        size = self._edge.size

        def keep(transaction: Transaction) -> None:
            began = time.monotonic()
            transaction.tree.resize(expected=size, size=grown.size)
            transaction.advance_tail(self.name, expected=after, position=position)
            transaction.tree.put(tiles)
            self.shard.core.failpoint("tree-grown")
            self._worked += time.monotonic() - began

        await self.shard.beside(keep, background=True)
        self.shard.core.failpoint("tree-kept")
        self.position, self._edge = position, grown

    async def _look_at_end(self) -> None:
        """See once, with all that the log has, whether the heads go beyond it."""
        if not self._has_looked_at_end:
            await self._ask(look)
            self._has_looked_at_end = True

    async def _tell_fault(self, fault: str) -> None:
        """Keep what is wrong where every process can tell it."""
        await self.shard.beside(lambda t: t.tree.find_fault(fault), background=True)


def leaves_of(stored: Sequence[StreamEvent]) -> list[bytes]:
    """Hash events into leaves; TreeBrokenError names one that cannot be."""
    try:
        return [leaf_of(event) for event in stored]
    except UnreadableEventError:
        damaged = next(event for event in stored if not _has_leaf(event))
        raise TreeBrokenError(
            f"the event at position {damaged.position:,}, {damaged.stream} version"
            f" {damaged.version}, is damaged"
        ) from None


def _has_leaf(event: StreamEvent) -> bool:
    try:
        leaf_of(event)
    except UnreadableEventError:
        return False
    return True
