"""Connections for reading that are kept, each with one question at a time, off the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ledger.errors import LedgerError
from ledger.queries import Queries

T = TypeVar("T")


def in_context(threads: concurrent.futures.Executor, work: Callable[[], T]) -> asyncio.Future[T]:
    """Do work on another thread, for whoever asks: an answer may depend on who that is."""
    context = contextvars.copy_context()
    return asyncio.get_running_loop().run_in_executor(threads, context.run, work)


class _Place:
    """A connection, once somebody needed it."""

    def __init__(self) -> None:
        self.queries: Queries | None = None

    def close(self) -> None:
        queries, self.queries = self.queries, None
        if queries is not None:
            queries.reader.close()


class Readers:
    """So many connections; whoever finds none free waits. Its coroutines run on one event loop."""

    def __init__(
        self,
        new_queries: Callable[[], Queries],
        count: int,
        threads: concurrent.futures.Executor,
    ) -> None:
        """Open nothing yet. `threads` has a thread for each of them."""
        self._new_queries = new_queries
        self._threads = threads
        self._places = [_Place() for _ in range(count)]
        self._free: asyncio.Queue[_Place] = asyncio.Queue()
        for place in self._places:
            self._free.put_nowait(place)

    async def ask(self, question: Callable[[Queries], T]) -> T:
        """Ask on the connection that has been free for longest."""
        place = await self._free.get()

        def give_back(asked: asyncio.Future[T]) -> None:
            self._free.put_nowait(place)
            if not asked.cancelled():
                asked.exception()  # nobody may be there any more to whom it matters

        asked = in_context(self._threads, partial(self._ask, place, question))
        # Whoever waits may be cancelled; the thread goes on with this connection until it is done.
        asked.add_done_callback(give_back)
        return await asyncio.shield(asked)

    def _ask(self, place: _Place, question: Callable[[Queries], T]) -> T:
        if place.queries is None:
            place.queries = self._new_queries()
        try:
            return question(place.queries)
        except LedgerError:
            raise  # an answer as well
        except BaseException:
            # It may still be in a snapshot, which would grow old and keep the write-ahead log.
            place.close()
            raise

    def close(self) -> None:
        """Close the connections; the threads have ended."""
        for place in self._places:
            place.close()
