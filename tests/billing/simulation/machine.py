"""The computer that the ledger runs on: it can lose power at any place, and starts again.

One event loop, no threads: chance alone decides whose turn it is, so a seed is the same life again.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from billing import GatewaySettings, Secret
from billing.gateway import Gateway
from ledger.application import Ledger
from ledger.directory import OWNER, Member
from ledger.invoicing import Billing
from ledger.writer import Submitted, Writer
from tests.billing.scene import DoubleTime, Shop
from tests.harness import settings_for
from tests.oracle.events import named_uuid
from tests.stripe_double import StripeDouble
from tests.stripe_double.http_client import DoubleHTTPClient

PRICES = {"credits_per_minute": {"cent": "0.01", "large": "0.25", "default": "0.1666666667"}}
TURNS_MAX = 3  # how often others may be first, before a command or a request takes effect
# ... and before its answer arrives: now and then what it tells is old by then.
ANSWER_TURNS = (0, 0, 0, 1, 3, 40)
# How long a request, and its answer, may be on their way, in ms; now and then seconds.
LATENCIES_MS = (0, 5, 40, 150, 150, 400, 2_500)


class Died(BaseException):  # no error: nothing may catch it
    """The power is gone. Not an Exception: nothing in the process may catch it."""


class InlineExecutor(ThreadPoolExecutor):
    """What would be done on another thread is done at once, on this one."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        """Do it."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **more))
        except Exception as error:  # noqa: BLE001  # it is the caller's
            future.set_exception(error)
        return future


def new_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop that has no threads beside it."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(InlineExecutor(max_workers=1))
    return loop


class Behind(DoubleTime):
    """Our clock, which may be behind Stripe's."""

    def __init__(self, double: StripeDouble, behind_ms: int) -> None:
        super().__init__(double)
        self._behind_ms = behind_ms

    def now_ns(self) -> int:
        """Give nanoseconds since 1970."""
        return super().now_ns() - self._behind_ms * 1_000_000


class Owners:
    """A directory in which everybody has one owner, who may be blocked."""

    def __init__(self) -> None:
        self.blocked: list[tuple[str, str]] = []

    def members(self, organization: bytes) -> list[Member]:
        """Give the owner."""
        return [Member(named_uuid("owner", organization.hex()), 0, "", OWNER)]

    def block(self, user_id: str, reason: str) -> None:
        """Remember it."""
        self.blocked.append((user_id, reason))


class Power:
    """Whether there is any, and where it fails."""

    def __init__(self) -> None:
        self.is_on = False
        self._place, self._left = "", 0

    def fail_at(self, place: str, passes: int) -> None:
        """Fail when a failpoint is passed for the so-manieth time."""
        self._place, self._left = place, passes

    def secure(self) -> None:
        """Fail no more."""
        self._place, self._left = "", 0

    def passed(self, place: str) -> None:
        """Fail here, if it is the place."""
        if place != self._place:
            return
        self._left -= 1
        if self._left == 0:
            self.is_on = False
            raise Died(place)

    def need(self) -> None:
        """Nothing happens without power."""
        if not self.is_on:
            raise Died


class InlineWriter(Writer):
    """The core on the event loop: one piece of work a transaction, when chance lets it."""

    def __init__(self, writer: Writer, power: Power, rng: random.Random) -> None:
        """Stand in for a writer."""
        super().__init__(writer._core, on_append=writer._on_append)
        self._power, self._rng = power, rng

    def start(self) -> None:
        """There is no thread."""

    def stop(self) -> None:
        """There is no thread."""

    async def _submit(self, work: Submitted, queue: deque[Submitted]) -> tuple[Any, int]:
        for _ in range(self._rng.randint(0, TURNS_MAX)):
            await asyncio.sleep(0)
        self._power.need()
        head = self._core.head
        self._core.run([work])
        if self._core.head != head:
            self._on_append(self._core.head)
        if work.error is not None:
            raise work.error
        return work.result, self._core.head


class Wire(DoubleHTTPClient):
    """Takes requests to the double, in a time that chance says; nothing without power."""

    def __init__(self, shop: Shop, power: Power, rng: random.Random) -> None:
        super().__init__(shop.double)
        self._power, self._rng = power, rng

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send, and wait for the answer."""
        self._power.need()
        for _ in range(self._rng.randint(0, TURNS_MAX)):
            await asyncio.sleep(0)
        self._power.need()
        self._double.advance(milliseconds=self._rng.choice(LATENCIES_MS))
        try:
            answer = await super().request_async(method, url, headers, post_data)
            for _ in range(self._rng.choice(ANSWER_TURNS)):
                await asyncio.sleep(0)
            return answer
        finally:
            self._power.need()
            self._double.advance(milliseconds=self._rng.choice(LATENCIES_MS))


class Machine:
    """Runs a ledger over a folder, or in memory, where power must not fail."""

    def __init__(
        self, shop: Shop, rng: random.Random, data_dir: Path | None, behind_ms: int
    ) -> None:
        self._shop, self._rng, self._data_dir = shop, rng, data_dir
        self._clock = Behind(shop.double, behind_ms)
        self.power = Power()
        self.owners = Owners()
        self.boots = 0
        self.ledger: Ledger

    @property
    def keeps(self) -> bool:
        """Whether what it has stored outlives it."""
        return self._data_dir is not None

    @property
    def billing(self) -> Billing:
        """Give the use cases of billing."""
        assert self.ledger.billing is not None
        return self.ledger.billing

    def boot(self) -> None:
        """Start the ledger."""
        self.boots += 1
        self.power.secure()
        self.power.is_on = True
        double = self._shop.double
        self.ledger = Ledger(
            settings_for(
                self._data_dir,
                prices=PRICES,
                stripe=self._shop.settings(),
                sqlite={"synchronous": "normal"},
            ),
            clock=self._clock,
            directory=self.owners,
            gateway=Gateway(
                GatewaySettings(secret_key=Secret(double.secret_key)),
                http_client=Wire(self._shop, self.power, self._rng),
            ),
            failpoint=self.power.passed,
        )
        for shard in self.ledger.shards:
            shard.writer = InlineWriter(shard.writer, self.power, self._rng)
        self.ledger.start()

    def lose_power(self) -> None:
        """Leave everything as it stands."""
        self.power.is_on = False
        self.power.secure()
        for shard in self.ledger.shards:
            shard.queries.reader.close()
            shard.store.close()
