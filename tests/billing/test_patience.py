"""Stripe that hangs holds up no run: payers wait for it together, and not all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from billing import GatewaySettings, Secret
from billing.gateway import Gateway
from ledger.invoicing.runs import NOT_ASKED, UNANSWERED_MAX
from ledger.invoicing.service import AT_ONCE
from tests.billing.scene import BillingScene, Shop
from tests.oracle.events import named_uuid
from tests.stripe_double import Fault, StripeDouble
from tests.stripe_double.http_client import DoubleHTTPClient
from usage_ledger.v1 import billing_pb2 as pb

PAYERS = [f"team:{named_uuid(f'patient {number}')}" for number in range(AT_ONCE + UNANSWERED_MAX)]
SILENCE_SECONDS = 0.1


class Slow(DoubleHTTPClient):
    """Takes its time for each request; notes how many were under way at once."""

    seconds = 0.0
    asked = now = most = awaited = 0

    def __init__(self, double: StripeDouble) -> None:
        super().__init__(double)
        self._enough = asyncio.Event()

    def hang(self, awaited: int) -> None:
        """Let no request end before so many are under way, and then each in a while."""
        self.seconds, self.awaited = SILENCE_SECONDS, awaited
        self.asked = self.most = 0
        self._enough.clear()

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        if self.most >= self.awaited:
            self._enough.set()
        await self._enough.wait()
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return await super().request_async(method, url, headers, post_data)


class SlowShop(Shop):
    """A shop that can be made to hang."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = Slow(self.double)

    def gateway(self) -> Gateway:
        settings = GatewaySettings(secret_key=Secret(self.double.secret_key), retries=0)
        return Gateway(settings, http_client=self.slow)


def standing(scene: BillingScene) -> list[pb.BilledPayer]:
    request = pb.GetBillingStatusRequest(page_size=100)
    return list(scene.calls.billing_status.GetBillingStatus(request).payers)


def test_payers_wait_together_and_the_rest_is_put_off() -> None:
    shop = SlowShop()
    with BillingScene(shop) as scene:
        for payer in PAYERS:
            scene.sign_up(payer)
            scene.use(3, payer)
        shop.slow.hang(AT_ONCE)
        scene.double.faults.add(Fault.TIMEOUT, path="/v1/*")
        scene.reconcile()
        assert AT_ONCE == shop.slow.most
        asked = len(PAYERS) - sum(one.waits_for == NOT_ASKED for one in standing(scene))
        assert UNANSWERED_MAX <= asked < len(PAYERS)
        # Their usage is in the outbox all the same, to be reported under its cycle.
        put_off = [one for one in standing(scene) if one.waits_for == NOT_ASKED]
        assert {3} == {one.waiting_credits for one in put_off}
        scene.double.faults.clear()
        scene.reconcile()
        assert {""} == {one.waits_for for one in standing(scene)}
        assert {3} == {one.reported for one in scene.double.money()}


def test_what_fails_for_some_puts_nobody_off() -> None:
    shop = SlowShop()
    with BillingScene(shop) as scene:
        for payer in PAYERS:
            scene.sign_up(payer)
            scene.use(3, payer)
        # As many as would end a run in which nobody gets an answer.
        for payer in sorted(PAYERS)[: 2 * UNANSWERED_MAX : 2]:
            customer = scene.known_customer(payer).id
            scene.double.faults.add(Fault.TIMEOUT, path="/v1/billing/meter_events", naming=customer)
        scene.reconcile()
        waiting = [one.waits_for for one in standing(scene) if one.waits_for]
        assert UNANSWERED_MAX == len(waiting)
        assert NOT_ASKED not in waiting
