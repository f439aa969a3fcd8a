"""Followers of the log: the relay to a bus, and the views that live in this process.

A tail reads the log from its stored position on, hands batches over in order, and moves its
position by compare-and-set. What is handed to another system is handed over at least once; what is
folded into the ledger's own store is folded in the transaction that moves the position.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from events import Recorded, UnreadableEventError
from ledger.errors import UnavailableError
from ledger.folding import decoded
from ledger.queries import Queries
from ledger.shards import Shard
from persistence import (
    PositionMovedError,
    StoreUnavailableError,
    StreamEvent,
    Transaction,
)

BATCH_MAX = 2_000  # events handed over at once
LOOK_SECONDS = 1.0  # how long to listen for news before looking again
LEASE_SECONDS = 10.0  # after so long without a sign of life another process takes over
RENEW_SECONDS = 3.0
TROUBLE_SECONDS = 1.0
PATIENT_SHARE = 9  # a tail that folds takes a tenth of the writer's time while events wait for it
NEWER_SECONDS = 5.0  # while the log holds what only a newer version can read
SAID_AGAIN_SECONDS = 30.0

Deliver = Callable[[int, Sequence[Recorded]], Awaitable[None]]
Fold = Callable[[Transaction, Sequence[Recorded]], None]

log = logging.getLogger(__name__)


class Tail:
    """Follows one shard's log under a name; with a lease, in one process at a time."""

    def __init__(
        self,
        shard: Shard,
        name: str,
        deliver: Deliver | None = None,
        *,
        fold: Fold | None = None,
        batch_max: int = BATCH_MAX,
    ) -> None:
        """Deliver to another system, or fold into the shard's store."""
        assert deliver is None or fold is None, "a tail delivers or folds"
        self.shard = shard
        self.name = name
        self.position = 0
        self.waiting = ""  # what it waits for; empty while it goes on
        self.holds_lease = False
        self.stands_by = False  # while another process follows
        self._deliver = deliver
        self._fold = fold
        self._batch_max = batch_max
        self._renewed = 0.0
        self._worked = 0.0  # seconds of the last step, without what it waited for
        self._is_positioned = False
        self._said = 0.0

    @property
    def lag(self) -> int:
        """Count the events it has not handed over."""
        return max(self.shard.head - self.position, 0)

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            while True:
                pause = await self._try_step()
                if pause:
                    await asyncio.sleep(pause)
        finally:
            if self.holds_lease:
                self.holds_lease = False
                await self.shard.release_lease(self.name)

    async def _try_step(self) -> float:
        try:
            if not await self._has_lease():
                self.stands_by, self.waiting = True, "another process, which holds the lease"
                return TROUBLE_SECONDS
            self.stands_by = False
            return await self._go_on()
        except PositionMovedError:
            self.shard.instruments.lost_compare_and_sets.add("tail")
            self._is_positioned = False
            return self._wait_for("its position: another process moved it", TROUBLE_SECONDS)
        except UnreadableEventError as error:
            return self._wait_for(f"a newer version: {error}", NEWER_SECONDS)
        except (StoreUnavailableError, UnavailableError) as error:
            self._is_positioned = False
            where = "the store: " if isinstance(error, StoreUnavailableError) else ""
            return self._wait_for(f"{where}{error}", TROUBLE_SECONDS)
        except Exception as error:
            log.exception("%s of shard %d failed; trying again", self.name, self.shard.number)
            self._is_positioned = False
            return self._wait_for(f"{type(error).__name__}: {error}", TROUBLE_SECONDS)

    async def _go_on(self) -> float:
        """Take the next step, or listen for news; give how long to wait then."""
        self._worked = 0.0
        count = await self.step()
        self.waiting = ""
        if not count:
            await self._listen()
        elif self._fold is not None and self.shard.writer.is_busy:
            # The writer folds this, too. While events are waiting they come first.
            return PATIENT_SHARE * self._worked
        return 0.0

    async def _listen(self) -> None:
        """Return when there may be something new."""
        await self.shard.appended(self.position, LOOK_SECONDS)

    def _wait_for(self, what: str, seconds: float) -> float:
        self.stands_by = False
        now = time.monotonic()
        if what != self.waiting or now - self._said > SAID_AGAIN_SECONDS:
            log.error("%s of shard %d waits for %s", self.name, self.shard.number, what)
            self._said = now
        self.waiting = what
        return seconds

    async def _has_lease(self) -> bool:
        now = time.monotonic()
        if self.holds_lease and now - self._renewed < RENEW_SECONDS:
            return True
        held, self.holds_lease = self.holds_lease, False
        self.holds_lease = await self.shard.holds_lease(self.name, LEASE_SECONDS)
        if self.holds_lease:
            self._renewed = now
            if not held:
                self._is_positioned = False
        return self.holds_lease

    async def step(self) -> int:
        """Hand the next batch over and move the position; give how many events."""
        after = await self.find_position()

        def read(queries: Queries) -> tuple[list[StreamEvent], list[Recorded]]:
            began = time.monotonic()
            stored = queries.reader.log(after=after, limit=self._batch_max)
            events = decoded(stored)
            self._worked += time.monotonic() - began
            return stored, events

        stored, events = await self.shard.read(read)
        if not stored:
            return 0
        if self._deliver is not None:
            await self._deliver(self.shard.number, events)
            self.shard.core.failpoint("after-deliver")
        await self.move(after, stored[-1].position, events)
        return len(stored)

    async def find_position(self) -> int:
        """Give the stored position; it is asked for once, and again after any trouble."""
        if not self._is_positioned:
            self.position = await self.shard.beside(lambda t: t.tail_position(self.name))
            self._is_positioned = True
        return self.position

    async def move(self, after: int, position: int, events: Sequence[Recorded] = ()) -> None:
        """Move the stored position by compare-and-set, folding in the same transaction."""

        def advance(transaction: Transaction) -> None:
            began = time.monotonic()
            if self._fold is not None:
                self._fold(transaction, events)
            transaction.advance_tail(self.name, expected=after, position=position)
            self._worked += time.monotonic() - began

        await self.shard.beside(advance, background=True)
        self.position = position
