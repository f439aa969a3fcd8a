"""Watching a shared store: how far its log has come, and how far it is folded.

Other processes append and fold. One thread looks every few milliseconds while somebody waits, and
seldom otherwise; the process's own writer and projector nudge it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from persistence import Progress, StoreUnavailableError, WritableStore

WAITED_FOR_SECONDS = 0.005  # between two looks while a call waits
IDLE_SECONDS = 0.05  # ... and otherwise; a follower of the log hears of news that late
TROUBLE_SECONDS = 0.5  # while the store cannot be read

log = logging.getLogger(__name__)


class Watch:
    """The newest progress, and who waits for which position."""

    def __init__(self, store: WritableStore, on_change: Callable[[Progress], None]) -> None:
        """Look once, so that there is something to tell; `on_change` is told on the event loop."""
        self._store = store
        self._on_change = on_change
        self.progress = store.progress()
        self.trouble = ""  # why the store cannot be read, while that is so
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._wake = threading.Condition()
        self._nudged = False
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look; waiters live on this loop."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self.nudge()
        if self._thread.ident is not None:
            self._thread.join()

    def nudge(self) -> None:
        """Look now; from any thread."""
        with self._wake:
            self._nudged = True
            self._wake.notify()

    @property
    def folded(self) -> int:
        """Give the position up to which everything is visible, paused projections left out."""
        return folded_of(self.progress)

    async def until_folded(self, position: int) -> None:
        """Return once everything up to a position is visible."""
        if self.folded >= position:
            return
        future = asyncio.get_running_loop().create_future()
        entry = position, future
        self._waiting.append(entry)
        self.nudge()
        try:
            await future
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _run(self) -> None:
        while not self._stopping:
            pause = self.look()
            with self._wake:
                if not self._nudged:
                    self._wake.wait(pause)
                self._nudged = False

    def look(self) -> float:
        """Look now, on this thread; give how long to wait before the next look."""
        try:
            progress = self._store.progress()
        except StoreUnavailableError as error:
            if not self.trouble:
                log.error("the store cannot be read: %s", error)  # noqa: TRY400  # not our mistake
            self.trouble = str(error)
            return TROUBLE_SECONDS
        self.trouble = ""
        if progress != self.progress and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._tell, progress)
            except RuntimeError:
                log.debug("nobody waits any more: the event loop is closed")
        return WAITED_FOR_SECONDS if self._waiting else IDLE_SECONDS

    def _tell(self, progress: Progress) -> None:
        self.progress = progress
        folded = self.folded
        still = []
        for position, future in self._waiting:
            if future.done():
                continue
            if folded >= position:
                future.set_result(None)
            else:
                still.append((position, future))
        self._waiting = still
        self._on_change(progress)


def folded_of(progress: Progress) -> int:
    """Give the position up to which every projection that is not paused has folded."""
    return min(
        (at for name, at in progress.standing.items() if name not in progress.paused),
        default=progress.head,
    )
