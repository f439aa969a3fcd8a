"""One shard: its store, the core and writer over it, and how it is read and followed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from ledger.clock import Clock
from ledger.core import Core
from ledger.errors import UnavailableError
from ledger.group import FOLDED_INLINE_MAX, Group
from ledger.metrics import Instruments
from ledger.patience import current_patience
from ledger.projector import Projector
from ledger.queries import Queries
from ledger.readers import Readers, in_context
from ledger.stores import OpenStore
from ledger.watching import Watch
from ledger.writer import Writer
from persistence import Progress, Transaction
from projections import Pause

READERS = 6  # connections of a shared store that calls read on at once, if its pool has so many
# ... of an embedded one, beside that of the event loop: behind one slow question others go on,
# and each has a cache of its own.
KEPT = 2
# Long questions of calls at once; more of them wait. On threads of their own, because whoever
# publishes or asks something short must not wait behind them, and few, because each has a
# connection, of which a shared store's pool has so many.
LONG = 2
# Of a pool's connections, those that are no call's: one for what reads everything, and three for
# what looks at a shard now and then: the watch, followers, figures.
_OTHERS = 4
T = TypeVar("T")


class Shard:
    """A log of its own with everything that belongs to it. Coroutines run on one event loop."""

    def __init__(
        self,
        number: int,
        opened: OpenStore,
        clock: Clock,
        *,
        holder: str,
        projects: bool,
        before_fold: Callable[[str], None] | None,
        failpoint: Callable[[str], None],
        instruments: Instruments,
    ) -> None:
        """Bring the read model up to date where that is the writer's; start nothing yet."""
        self.number = number
        self.store = opened.store
        self._new_reader = opened.new_reader
        self._clock = clock
        self._holder = holder
        self.instruments = instruments
        self.core = Core(
            self.store, clock, before_fold=before_fold, failpoint=failpoint, shard=number
        )
        self.queries = self.new_queries()
        self._appended: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.watch: Watch | None = None
        self.projector: Projector | None = None
        self._readers: Readers | None = None
        self._readers_count, long = READERS if self.store.is_shared else KEPT, LONG
        if opened.pool_size:
            # Two calls are answered at once before there is a second long question.
            long = max(1, min(LONG, opened.pool_size - _OTHERS - 2))
            self._readers_count = max(1, min(READERS, opened.pool_size - long - _OTHERS))
        self._threads = concurrent.futures.ThreadPoolExecutor(
            self._readers_count + (2 if self.store.is_shared else 0),
            thread_name_prefix=f"shard-{number}",
        )
        self._long, self._whole = (
            concurrent.futures.ThreadPoolExecutor(
                count, thread_name_prefix=f"shard-{number}-{kind}"
            )
            for kind, count in (("long", long), ("whole", 1))
        )
        if self.store.is_shared:
            self.watch = Watch(self.store, self._progressed)
            if projects:
                self.projector = Projector(
                    self.store,
                    holder,
                    before_fold=before_fold,
                    failpoint=failpoint,
                    on_folded=self.watch.nudge,
                )
        self.writer = Writer(self.core, on_append=self._on_append, instruments=instruments)

    # Life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads; call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        if self.store.is_shared:  # nobody asks on it any more: the connection is another's
            self.queries.reader.close()
        self.writer.start()
        self._readers = Readers(self.new_queries, self._readers_count, self._threads)
        if self.watch is not None:
            self.watch.start(self._loop)
        if self.projector is not None:
            self.projector.start()

    def close(self) -> None:
        """Finish what was submitted and close the store."""
        self.writer.stop()
        if self.projector is not None:
            self.projector.stop()
        if self.watch is not None:
            self.watch.stop()
        # Whoever asked at length is gone; what a thread does just now ends by itself.
        self._long.shutdown(wait=False, cancel_futures=True)
        self._whole.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown()
        if self._readers is not None:
            self._readers.close()
        self.queries.reader.close()
        self.core.failpoint("before-close")
        self.store.checkpoint()
        self.store.close()

    # Reading -----------------------------------------------------------------------------------

    def new_queries(self) -> Queries:
        """Give queries on a connection of their own, for a thread."""
        return Queries(self._new_reader(), self._clock, self._paused)

    def _paused(self) -> Mapping[str, Pause]:
        """Give the projections that stand still.

        While some do, in a store of this process alone, it is asked: a generation in which nothing
        stands still may be served by now, and the writer hears of it with its next group only.
        """
        paused = self.core.paused
        return self.store.progress().paused if paused and not self.store.is_shared else paused

    async def read(self, ask: Callable[[Queries], T]) -> T:
        """Ask on a reading connection.

        An embedded store answers on the event loop, which is faster than another thread; a server
        is asked on one of a few threads, so that others need not wait for the network.
        """
        return await self.read_aside(ask) if self.store.is_shared else ask(self.queries)

    async def read_aside(self, ask: Callable[[Queries], T]) -> T:
        """Ask what may take a while: on one of a few threads, of an embedded store as well.

        They are the shard's own, so that whatever else is done on threads need not wait.
        """
        return ask(self.queries) if self._readers is None else await self._readers.ask(ask)

    async def read_long(self, ask: Callable[[Queries], T]) -> T:
        """Ask something that takes long, on a connection of its own; behind others, if need be."""
        return await self.work_long(partial(self.ask_apart, ask))

    async def work_long(self, work: Callable[[], T]) -> T:
        """Do work on one of the threads of long questions; it has a connection while it works."""
        return await in_context(self._long, work)

    async def read_whole(self, ask: Callable[[Queries], T]) -> T:
        """Ask something that reads everything there is, one such question after the other."""
        return await self.work_whole(partial(self.ask_apart, ask))

    async def work_whole(self, work: Callable[[], T]) -> T:
        """Do work on the thread of such questions; it has a connection while it works."""
        return await in_context(self._whole, work)

    def ask_apart(self, ask: Callable[[Queries], T]) -> T:
        """Ask right here, on a connection of its own; from any thread but the event loop's."""
        queries = self.new_queries()
        try:
            return ask(queries)
        finally:
            queries.reader.close()

    # Writing -----------------------------------------------------------------------------------

    async def command(self, act: Callable[[Group], Any], author: str) -> Any:
        """Do a command; give its result once it is durable and visible, patience allowing."""
        result, position = await self.writer.command(act, author)
        await self._visible(position)
        return result

    async def decide(self, act: Callable[[Group], Any], author: str) -> Any:
        """Do a command that decides on what is folded; what came before is folded first."""
        await self.nearly_folded()
        return await self.command(act, author)

    async def bulk(self, act: Callable[[Group], Any], author: str) -> Any:
        """Take published events in; give the outcome once it is durable and visible."""
        result, position = await self.writer.bulk(act, author)
        await self._visible(position)
        return result

    async def feed(self, act: Callable[[Group], Any], author: str) -> tuple[Any, int]:
        """Take events of the bus in; give the outcome and the head once they are durable."""
        return await self.writer.bulk(act, author)

    async def beside(self, act: Callable[[Transaction], T], *, background: bool = False) -> T:
        """Do a small transaction that appends nothing; `background`: nobody waits for it."""
        if not self.store.is_shared:
            if background:
                return await self.writer.background(lambda group: act(group.transaction))
            result, _ = await self.writer.command(lambda group: act(group.transaction), "")
            return result

        def run() -> T:
            with self.store.beside() as transaction:
                return act(transaction)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def holds_lease(self, name: str, seconds: float) -> bool:
        """Take or renew a lease; False while another process has it."""
        if not self.store.is_shared:
            return True
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self.store.hold_lease, name, self._holder, seconds
        )

    async def release_lease(self, name: str) -> None:
        """Let another process have a lease."""
        if self.store.is_shared:
            await asyncio.get_running_loop().run_in_executor(
                self._threads, self.store.release_lease, name, self._holder
            )

    async def _visible(self, position: int) -> None:
        """Wait until everything up to a position is folded, as long as the call's patience."""
        if self.watch is None or self.watch.folded >= position:
            return
        patience = current_patience()
        try:
            async with asyncio.timeout(patience.seconds):
                await self.watch.until_folded(position)
        except TimeoutError:
            patience.gave_up(self.number, position)

    async def nearly_folded(self) -> None:
        """Wait until the rest is so little that the command can fold it itself."""
        if self.watch is None:
            return
        wanted = self.head - FOLDED_INLINE_MAX // 2
        try:
            async with asyncio.timeout(current_patience().seconds):
                await self.watch.until_folded(wanted)
        except TimeoutError:
            raise UnavailableError(
                f"the projections are {self.head - self.watch.folded} events behind the log: try"
                " again when they have caught up; see `usage-ledger status`"
            ) from None

    async def until_current(self, timeout_seconds: float) -> None:
        """Return when this process has folded what was in the log at its start, or stands by."""
        projector, watch = self.projector, self.watch
        if projector is None or watch is None:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, projector.settled.wait, timeout_seconds)
        await loop.run_in_executor(self._threads, watch.look)
        await asyncio.sleep(0)  # what was seen is told on this loop

    # Following the log -------------------------------------------------------------------------

    @property
    def head(self) -> int:
        """Give the newest position that is known here."""
        if self.watch is not None:
            return max(self.core.head, self.watch.progress.head)
        return self.core.head

    @property
    def unfolded(self) -> int:
        """Count the events that reads do not show yet; those of paused projections left out."""
        return 0 if self.watch is None else max(self.head - self.watch.folded, 0)

    async def appended(self, after: int, timeout_seconds: float) -> None:
        """Return when the log goes beyond a position, or at the timeout."""
        event = asyncio.Event()
        self._appended.add(event)
        try:
            # Awaited right here: a task that is cancelled before it began leaves it behind.
            async with asyncio.timeout(timeout_seconds):
                while self.head <= after:
                    await event.wait()
                    event.clear()
        except TimeoutError:
            pass
        finally:
            self._appended.discard(event)

    def _on_append(self, _head: int) -> None:
        """Hear of a new head on the writer's thread."""
        if self.projector is not None:
            self.projector.nudge()
        if self.watch is not None:
            self.watch.nudge()
        if self._appended and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake_tails)

    def _progressed(self, progress: Progress) -> None:
        self.core.paused = progress.paused
        self._wake_tails()

    def _wake_tails(self) -> None:
        for event in self._appended:
            event.set()

    @property
    def refused(self) -> str:
        """Say why nothing can be stored; empty while it can."""
        return self.writer.refused or (self.watch.trouble if self.watch is not None else "")


def new_holder() -> str:
    """Name this process for leases."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
