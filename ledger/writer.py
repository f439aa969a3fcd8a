"""The writer thread: does what waits in one transaction and answers all of it (group commit).

Two queues: commands, and batches of published events a chunk at a time. While both wait they take
turns, and a group of events ends early, or our own publisher would starve the calls. What folds
views in the background joins the end of a group and ends none early.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from ledger import tracing
from ledger.core import Core, Work
from ledger.errors import UnavailableError
from ledger.group import Group
from ledger.metrics import Instruments
from persistence import StoreUnavailableError

BULK_SECONDS_MAX = 0.2  # a group of published events ends after this, when no command is near
BULK_WITH_COMMAND_SECONDS_MAX = 0.01  # ... and after this when one waits, or came lately
BUSY_SECONDS = 0.1  # so long after published events more are expected
QUIET_SECONDS = 2.0  # so long after a command none is near
COMMANDS_MAX = 1_000  # in one group
CHECKPOINT_ROWS = 120_000  # written: about 40,000 events, or 100 MB of write-ahead log
RETRY_SECONDS = 0.5  # how often a store that refused a write is tried again

T = TypeVar("T")

log = logging.getLogger(__name__)


class Submitted(Work):
    """Work with somebody waiting for it on an event loop."""

    __slots__ = ("asked_in", "future", "position")

    def __init__(
        self,
        act: Callable[[Group], Any],
        author: str,
        future: asyncio.Future[Any],
        *,
        is_background: bool = False,
    ) -> None:
        """Remember who waits."""
        super().__init__(act, author, is_background=is_background)
        self.future = future
        self.position = 0  # of the log's head once this was committed
        self.asked_in = tracing.current().here()  # the span of who waits


class _Bulk(Submitted):
    """Published events; the queue tells them from commands."""

    __slots__ = ()


class Writer:
    """Runs the core on a thread of its own."""

    def __init__(
        self,
        core: Core,
        *,
        on_append: Callable[[int], None] = lambda _head: None,
        instruments: Instruments | None = None,
    ) -> None:
        """Start the thread with `start`.

        `on_append` is told every new head on the writer's thread.
        """
        self._core = core
        self._on_append = on_append
        self._instruments = instruments or Instruments()
        self._commands: deque[Submitted] = deque()
        self._bulk: deque[Submitted] = deque()
        self._background: deque[Submitted] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._rows_at_checkpoint = 0
        self._last_command = 0.0  # when commands last waited, by the monotonic clock
        self._last_bulk = 0.0  # when published events were last stored
        self._commands_only = False  # whether the last group was for commands alone
        self._checkpointer: threading.Thread | None = None
        self.refused = ""  # why nothing can be stored, while that is so

    @property
    def is_busy(self) -> bool:
        """Tell whether published events wait, or came just now."""
        return bool(self._bulk) or time.monotonic() - self._last_bulk < BUSY_SECONDS

    def start(self) -> None:
        """Start taking work."""
        self._thread.start()

    def stop(self) -> None:
        """Do what was submitted, then end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:  # a service that could not start has no thread to end
            self._thread.join()
        if self._checkpointer is not None:
            self._checkpointer.join()

    @property
    def waiting(self) -> tuple[int, int]:
        """Count the commands and the batches of events that wait."""
        return len(self._commands), len(self._bulk)

    async def command(self, act: Callable[[Group], T], author: str) -> tuple[T, int]:
        """Do a command; give its result and the head of the log once it is durable."""
        return await self._submit(Submitted(act, author, self._future()), self._commands)

    async def bulk(self, act: Callable[[Group], Any], author: str) -> tuple[Any, int]:
        """Take published events in; they wait for commands."""
        return await self._submit(_Bulk(act, author, self._future()), self._bulk)

    async def background(self, act: Callable[[Group], T]) -> T:
        """Do something that nobody waits for, behind what waits; give its result."""
        result: T
        work = Submitted(act, "", self._future(), is_background=True)
        result, _ = await self._submit(work, self._background)
        return result

    @property
    def _has_work(self) -> bool:
        return bool(self._commands or self._bulk or self._background)

    @staticmethod
    def _future() -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    async def _submit(self, work: Submitted, queue: deque[Submitted]) -> tuple[Any, int]:
        with self._wake:
            if self._stopping:
                raise UnavailableError("the service is shutting down")
            queue.append(work)
            self._wake.notify()
        try:
            return await work.future, work.position
        except asyncio.CancelledError:
            work.cancelled = True  # not begun: then it is left out
            raise

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not (self._has_work or self._stopping):
                    if not self._wake.wait(RETRY_SECONDS if self.refused else None):
                        break
                if self._stopping and not self._has_work:
                    return
            try:
                if self._has_work:
                    self._group()
                else:
                    self._probe()
            except BaseException:
                log.exception("the writer failed")

    def _probe(self) -> None:
        """Find out without a caller whether a store that refused a write takes one again."""
        try:
            self._core.store.probe()
            self.refused = ""
        except StoreUnavailableError as error:
            self.refused = str(error)

    def _group(self) -> None:
        self._commands_only = bool(self._commands) and not self._commands_only
        now = time.monotonic()
        if self._commands:
            self._last_command = now
        # Long groups are a fifth cheaper an event, short ones keep the next command from waiting.
        is_quiet = now - self._last_command > QUIET_SECONDS
        feed = _Feed(
            self._commands,
            self._bulk,
            self._background,
            commands_only=self._commands_only,
            bulk_seconds_max=BULK_SECONDS_MAX if is_quiet else BULK_WITH_COMMAND_SECONDS_MAX,
        )
        head = self._core.head
        try:
            with tracing.current().group(feed.taken):
                self._core.run(feed)
            if self.refused and self._core.head == head:
                self._probe()  # a group that appended nothing proves nothing
            else:
                self.refused = ""
        except StoreUnavailableError as error:
            self.refused = str(error)
        finally:
            if feed.has_bulk:
                self._last_bulk = time.monotonic()
            _answer(feed.taken, self._core.head)
        if self._core.head != head:
            self._instruments.append_seconds.observe(time.monotonic() - now)
            self._on_append(self._core.head)
        self._maybe_checkpoint()

    def _maybe_checkpoint(self) -> None:
        """Move pages to the file beside the writer, then those that came meanwhile."""
        running = self._checkpointer
        if running is not None and not running.is_alive():
            self._checkpointer = None
            self._checkpoint(self._core.store.checkpoint)
            return
        # Rows, not events: rejects, repeats and counts are written, too.
        rows = self._core.store.rows_written()
        if running is None and rows - self._rows_at_checkpoint >= CHECKPOINT_ROWS:
            self._rows_at_checkpoint = rows
            self._checkpointer = threading.Thread(
                target=self._checkpoint,
                args=(self._core.store.checkpoint_beside,),
                name="checkpointer",
                daemon=True,
            )
            self._checkpointer.start()

    def _checkpoint(self, checkpoint: Callable[[], None]) -> None:
        self._core.failpoint("before-checkpoint")
        checkpoint()
        self._core.failpoint("after-checkpoint")


class _Feed:
    """Gives a group its work, piece by piece, and decides when the group is full.

    Commands that wait get a group of their own, which takes milliseconds; the next group is for
    published events, and takes in at its end the commands that came meanwhile.
    """

    def __init__(
        self,
        commands: deque[Submitted],
        bulk: deque[Submitted],
        background: deque[Submitted],
        *,
        commands_only: bool,
        bulk_seconds_max: float,
    ) -> None:
        self._commands = commands
        self._background = background
        # One piece a group, as its last, and none where commands have a group of their own.
        self._commands_only = commands_only
        self._has_ended = False
        self._bulk_seconds_max = bulk_seconds_max
        self._bulk = bulk
        self._bulk_ended = commands_only
        self._began = time.monotonic()
        self.taken: list[Submitted] = []
        self.has_bulk = False  # whether published events are among them
        self._command_count = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> Submitted:
        if self._has_ended:
            raise StopIteration
        if not self._bulk_ended:
            elapsed = time.monotonic() - self._began
            limit = BULK_WITH_COMMAND_SECONDS_MAX if self._commands else self._bulk_seconds_max
            if self._bulk and elapsed < limit:
                self.has_bulk = True
                return self._take(self._bulk)
            self._bulk_ended = True
        if self._commands and self._command_count < COMMANDS_MAX:
            self._command_count += 1
            return self._take(self._commands)
        if self._background and not self._commands_only:
            # What comes meanwhile gets a group of its own, which looks at the clock anew.
            self._has_ended = True
            return self._take(self._background)
        raise StopIteration

    def _take(self, queue: deque[Submitted]) -> Submitted:
        work = queue.popleft()
        self.taken.append(work)
        return work


def _answer(works: list[Submitted], head: int) -> None:
    """Wake everybody who waits, with one call per event loop."""
    for work in works:
        work.position = head
    by_loop: dict[asyncio.AbstractEventLoop, list[Submitted]] = {}
    for work in works:
        by_loop.setdefault(work.future.get_loop(), []).append(work)
    for loop, done in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, done)
        except RuntimeError:
            log.debug("nobody waits any more: the event loop is closed")


def _resolve(works: list[Submitted]) -> None:
    for work in works:
        if work.future.done():
            continue
        if work.error is not None:
            work.future.set_exception(work.error)
        else:
            work.future.set_result(work.result)
