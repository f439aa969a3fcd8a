"""A scene that takes webhooks over HTTP, and the double's deliveries on their way there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from facade.http_webhooks import PATH
from tests.billing.scene import BillingScene, Shop
from tests.stripe_double import Delivery
from usage_ledger.v1 import billing_pb2

DONE_SECONDS_MAX = 30


class WebhookScene(BillingScene):
    """`post` sends what it is given; `deliver` what the double has to say."""

    def __init__(self, folder: Path, *, secret: str = "", **more: Any) -> None:
        """Trust the double's signatures; with a `secret` only those under it."""
        shop = more.pop("shop", None) or Shop()
        self._secret_file = folder / "webhook.secret"
        self._secret_file.write_text(secret or shop.double.webhooks._secret)
        stripe = shop.settings(webhook_secret_file=str(self._secret_file))
        given: dict[str, Any] = {"stripe": stripe, "http": {"listen": "127.0.0.1:0"}} | more
        super().__init__(shop, **given)

    @property
    def address(self) -> str:
        """Where Stripe sends webhooks."""
        assert self.service.service.http is not None
        return f"http://127.0.0.1:{self.service.service.http.port}{PATH}"

    def post(self, body: bytes, signature: str | None, **headers: str) -> httpx.Response:
        """Send a body; no signature: none is sent."""
        given = {"Content-Type": "application/json", **headers}
        if signature is not None:
            given["Stripe-Signature"] = signature
        return httpx.post(self.address, content=body, headers=given, timeout=60)

    def signed(self, body: bytes) -> httpx.Response:
        """Send a body as Stripe would."""
        return self.post(body, self.double.webhooks.sign(body))

    def taken(self) -> list[Delivery]:
        """Take what the double has to deliver out of its hands."""
        waiting = list(self.double.outbox)
        self.double.outbox.clear()
        return waiting

    def deliver(self, deliveries: Sequence[Delivery] | None = None, *kinds: str) -> None:
        """Send deliveries, or all that wait, of some kinds if they are named; each is taken."""
        for delivery in self.taken() if deliveries is None else deliveries:
            if not kinds or delivery.kind in kinds:
                answer = self.post(delivery.body, delivery.signature)
                assert (200, {"received": True}) == (answer.status_code, answer.json())

    def kept(self, state: str = "") -> list[billing_pb2.Webhook]:
        """What is kept of webhooks, the newest first."""
        request = billing_pb2.ListWebhooksRequest(state=state, page_size=1_000)
        return list(self.calls.billing_status.ListWebhooks(request).webhooks)

    def process(self) -> None:
        """Do what waits and is due, as the scheduler does."""
        self.service.wait(self.billing.webhooks.process("test"))

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while not holds():
            assert time.monotonic() < deadline, self.kept()
            time.sleep(0.01)

    def until_tried(self) -> None:
        """Wait until everything that waits was tried."""
        self.until(lambda: all(one.attempts for one in self.kept("waiting")))

    def until_done(self) -> None:
        """Wait until nothing waits; fail with what goes wrong."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while waiting := self.kept("waiting"):
            assert time.monotonic() < deadline, waiting
            assert not any(one.error for one in waiting), waiting
            time.sleep(0.01)


def event(kind: str, object_id: str | None, **more: Any) -> bytes:
    """An event of the first API."""
    about = {} if object_id is None else {"id": object_id}
    told = {
        "id": f"evt_{kind}",
        "object": "event",
        "type": kind,
        "created": 1_793_500_000,
        "data": {"object": about},
        **more,
    }
    return json.dumps(told).encode()
