"""Two reconciles went on with one sign-up: one used the hold and released it, the other found it
released and refused the attempt. The subscription that was then made was nobody's.
"""

from __future__ import annotations

import contextlib
from typing import Any

import grpc

from events import SubscriptionRequested
from ledger.identifiers import parse_payer
from ledger.invoicing.subscriptions import Subscriptions
from tests.billing.scene import PAYER, BillingScene


class Overtaken(Subscriptions):
    """Another call verifies the hold just before this one looks at it."""

    first: Any

    async def _hold(self, payer: bytes, wanted: SubscriptionRequested, author: str) -> Any:
        await self.first._verify(payer, wanted, author)
        return await super()._hold(payer, wanted, author)


class TestASignUpThatTwoGoOnWith:
    def test_ends_with_its_subscription_bound(self) -> None:
        payer = parse_payer(PAYER)
        assert payer is not None
        with BillingScene() as scene:
            scene.customer()
            hold = scene.hold()
            down = scene.double.faults.add("unreachable", path="/v1/payment_intents*")
            with contextlib.suppress(grpc.RpcError):
                scene.subscribe(hold=hold)
            scene.double.faults.remove(down)
            ledger = scene.service.ledger
            assert ledger.billing is not None
            known = ledger.billing.subscriptions
            overtaken = Overtaken(
                ledger, ledger.billing.gateway, known._customers, known._holds, known._flush
            )
            overtaken.first = known
            scene.service.wait(overtaken.go_on(payer, "test"))
            (made,) = scene.double.world.subscriptions
            account = scene.service.ledger.shards[0].queries.reader.billing_account(payer)
            assert account is not None
            assert made == account.subscription_id
