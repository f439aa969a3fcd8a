"""The double of Stripe as tests use it."""

from __future__ import annotations

import datetime as dt

import stripe

from tests.stripe_double import money
from tests.stripe_double.clock import DoubleClock, milliseconds
from tests.stripe_double.exchange import Account, Answer, Exchange, Request
from tests.stripe_double.faults import FaultPlan
from tests.stripe_double.http_client import DoubleHTTPClient
from tests.stripe_double.journal import Journal
from tests.stripe_double.outside import Outside
from tests.stripe_double.webhooks import Delivery, OnWebhook, Webhooks
from tests.stripe_double.world import Settings, World

START = "2026-11-01T00:00:00Z"
SECRET_KEY = "sk_test_double"
WEBHOOK_SECRET = "whsec_double"


class StripeDouble:
    """One Stripe account that lives in this process, under a clock that the test moves.

    The same seed, calls and moves of the clock give the same IDs, answers and webhooks.
    """

    def __init__(
        self,
        *,
        start: str | int = START,
        secret_key: str = SECRET_KEY,
        webhook_secret: str = WEBHOOK_SECRET,
        seed: int | str = 0,
        settings: Settings | None = None,
        on_webhook: OnWebhook | None = None,
    ) -> None:
        """Begin with an empty account; `start` is RFC 3339 or milliseconds since 1970."""
        self.clock = DoubleClock(start)
        self.settings = settings or Settings()
        self.world = World(self.clock, seed, self.settings)
        self.faults = FaultPlan(seed)
        self.webhooks = Webhooks(self.clock, webhook_secret, seed, on_webhook)
        self.world.events.listener = self.webhooks.listen
        self.outside = Outside(self.world, self.deliver)
        self.secret_key = secret_key
        self._account = Account(self.world, secret_key, self.faults)

    @property
    def journal(self) -> Journal:
        """What was asked so far."""
        return self._account.journal

    @property
    def outbox(self) -> list[Delivery]:
        """Webhooks that wait for the test to deliver them; empty where a callback takes them."""
        return self.webhooks.outbox

    def http_client(self) -> DoubleHTTPClient:
        """Give a client for `stripe.StripeClient(key, http_client=...)`."""
        return DoubleHTTPClient(self)

    def client(
        self, *, key: str | None = None, max_network_retries: int = 0
    ) -> stripe.StripeClient:
        """Give the SDK's client to this account."""
        stripe.enable_telemetry = False
        return stripe.StripeClient(
            key or self.secret_key,
            http_client=self.http_client(),
            max_network_retries=max_network_retries,
        )

    def begin(self, request: Request) -> Exchange:
        """Take a request in; it takes effect when it is finished."""
        return Exchange(self._account, request)

    def answer(self, request: Request) -> Answer:
        """Execute a request; raises `NoAnswer` where a fault says so."""
        return self.begin(request).finish()

    def deliver(self) -> None:
        """Hand out the webhooks that are due."""
        self.webhooks.pump()

    def advance(self, **duration: float) -> None:
        """Let time pass by a `datetime.timedelta`'s arguments, for example `hours=1`."""
        self.advance_to(
            self.clock.now_ms + dt.timedelta(**duration) // dt.timedelta(milliseconds=1)
        )

    def advance_to(self, when: str | int) -> None:
        """Let time pass until an RFC 3339 time, or milliseconds since 1970.

        What falls due happens on the way, each thing at its time, and its webhooks go out then.
        """
        target = when if isinstance(when, int) else milliseconds(when)
        if target < self.clock.now_ms:
            raise ValueError("time does not go back")
        while self.clock.step(target):
            self.deliver()

    def money(self, customer: str | None = None) -> list[money.CycleMoney]:
        """Give what was reported and invoiced in each cycle."""
        return money.cycles(self.world, customer)

    def invoiced_credits(self, customer: str) -> int:
        """Sum the metered credits on a customer's invoices that are owed."""
        return money.invoiced_credits(self.world, customer)
