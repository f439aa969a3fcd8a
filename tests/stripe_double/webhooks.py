"""Webhooks: signed, tried again as at Stripe, and doubled, late, swapped or lost if told so."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import stripe

from tests.stripe_double.clock import HOUR, MINUTE, DoubleClock
from tests.stripe_double.events import EventRecord

# Between tries, over three days in all.
RETRY_SECONDS = (MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, *[12 * HOUR] * 4)
# How much later a second copy comes, and how late one is that others overtake.
SECOND_COPY_SECONDS_MAX = HOUR
OVERTAKEN_SECONDS_MAX = 30 * MINUTE

OnWebhook: TypeAlias = Callable[[bytes, str], int]
"""Takes a body and its signature, gives the status that it is answered with."""


@dataclass(slots=True)
class Behaviour:
    """How events made from now on are delivered. Probabilities from 0 to 1; chance has a seed.

    `delay_seconds`: all are at least so late. `kinds`: only these are sent; none: all.
    """

    duplicate: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0
    delay_seconds: int = 0
    kinds: frozenset[str] | None = None


@dataclass(slots=True)
class Delivery:
    """One copy of an event on its way."""

    event: EventRecord
    hooks: Webhooks = field(repr=False)
    attempt: int = 0

    @property
    def body(self) -> bytes:
        """Give the body."""
        return self.event.body()

    @property
    def signature(self) -> str:
        """Sign the body as of now."""
        return self.hooks.sign(self.body)

    @property
    def kind(self) -> str:
        """Give the event's type."""
        return self.event.kind

    def done(self, status: int | None) -> None:
        """Say how it was answered; None: not at all. What was not 2xx is tried again."""
        self.hooks.done(self, status)


class Webhooks:
    """What waits to be delivered, and where it goes.

    To a callback, into `outbox` for a test to deliver, or nowhere until somebody takes it (served).
    """

    def __init__(
        self, clock: DoubleClock, secret: str, seed: int | str, on_webhook: OnWebhook | None
    ) -> None:
        """Deliver everything once and at once."""
        self.behaviour = Behaviour()
        self.outbox: list[Delivery] = []
        self.on_webhook = on_webhook
        self.is_served = False
        # The SDK refuses signatures that are older than five minutes by the wall's clock.
        self.signs_by: Literal["double", "wall"] = "double"
        self._clock = clock
        self._secret = secret
        self._dice = random.Random(f"{seed}:webhooks")
        self._waiting: deque[Delivery] = deque()
        self._pumping = False

    def sign(self, body: bytes) -> str:
        """Give the value of the header `Stripe-Signature`."""
        at = self._clock.now if self.signs_by == "double" else int(time.time())
        header = stripe.WebhookSignature.generate_signature_header
        return str(header(body.decode(), self._secret, at))

    def listen(self, event: EventRecord) -> None:
        """Plan the deliveries of a new event."""
        behaviour = self.behaviour
        if behaviour.kinds is not None and event.kind not in behaviour.kinds:
            return
        event.undelivered = 1
        # All dice are thrown every time, so that one probability does not move the others' chance.
        drop, reorder, duplicate = (self._dice.random() for _ in range(3))
        late = self._dice.randint(1, OVERTAKEN_SECONDS_MAX)
        second = self._dice.randint(1, SECOND_COPY_SECONDS_MAX)
        if drop < behaviour.drop:
            return
        delay = behaviour.delay_seconds + (late if reorder < behaviour.reorder else 0)
        self._plan(Delivery(event, self), delay)
        if duplicate < behaviour.duplicate:
            self._plan(Delivery(event, self), delay + second)

    def _plan(self, delivery: Delivery, seconds: int) -> None:
        if seconds == 0:
            self._waiting.append(delivery)
        else:
            self._clock.at(self._clock.now + seconds, lambda: self._waiting.append(delivery))

    def take(self) -> Delivery | None:
        """Give the next one that is due."""
        return self._waiting.popleft() if self._waiting else None

    def done(self, delivery: Delivery, status: int | None) -> None:
        """Note the answer to a delivery, and plan the next try if it was not taken."""
        if status is not None and 200 <= status < 300:
            delivery.event.undelivered = 0
        elif delivery.attempt < len(RETRY_SECONDS):
            wait = RETRY_SECONDS[delivery.attempt]
            delivery.attempt += 1
            self._plan(delivery, wait)

    def pump(self) -> None:
        """Deliver what is due, unless it is fetched. What comes of it is delivered, too."""
        if self._pumping or self.is_served:
            return
        self._pumping = True
        try:
            while (delivery := self.take()) is not None:
                if self.on_webhook is None:
                    self.outbox.append(delivery)
                else:
                    delivery.done(self.on_webhook(delivery.body, delivery.signature))
        finally:
            self._pumping = False
