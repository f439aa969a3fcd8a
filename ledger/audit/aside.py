"""A follower of the log that reads on a connection and a thread of its own.

What it works out takes a while, and neither calls on the event loop nor the writer wait for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ClassVar, TypeVar

from ledger.queries import Queries
from ledger.shards import Shard
from ledger.tails import Tail
from persistence import Reader

T = TypeVar("T")


class AsideTail(Tail):
    """Follows one shard's log beside everything else."""

    # The first event waits so long for others, because a step ends in a transaction.
    linger_seconds: ClassVar[float]
    # While events wait for the writer, it rests so many times as long as it worked.
    patient_share: ClassVar[int]

    def __init__(self, shard: Shard, name: str, *, batch_max: int) -> None:
        """Prepare to follow."""
        super().__init__(shard, name, batch_max=batch_max)
        self._queries: Queries | None = None
        self._reading = threading.Lock()

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            await super().run()
        finally:
            await asyncio.to_thread(self._close)

    async def _go_on(self) -> float:
        self._worked = 0.0
        count = await self.step()
        self.waiting = ""
        if count == self._batch_max:
            return self.patient_share * self._worked if self.shard.writer.is_busy else 0.0
        await self._listen()
        return self.linger_seconds

    async def _ask(self, ask: Callable[[Reader], T]) -> T:
        """Ask off the event loop, one question at a time."""

        def run() -> T:
            with self._reading:
                if self._queries is None:
                    self._queries = self.shard.new_queries()
                try:
                    return ask(self._queries.reader)
                finally:
                    if self.shard.store.is_shared:  # others may need the connection meanwhile
                        self._queries.reader.close()

        return await asyncio.to_thread(run)

    def _close(self) -> None:
        with self._reading:  # a cancelled step may still be reading
            if self._queries is not None:
                self._queries.reader.close()
                self._queries = None
