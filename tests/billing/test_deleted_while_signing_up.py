"""Customers that are deleted at Stripe while they sign up, at any call: D15 of the contract."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aggregates import BillingAccount
from events import (
    HoldVerified,
    StripeCustomerBound,
    StripeCustomerGone,
    StripeCustomerRequested,
    SubscriptionRequested,
)
from ledger.errors import LedgerError
from ledger.invoicing.subscriptions import Subscriptions
from tests.billing.calls.failing import DOWN, NOT_FOUND, UNAVAILABLE
from tests.billing.deletions import alive, come_back, delete
from tests.billing.scene import BillingScene, payer_key
from tests.billing.webhook_scene import WebhookScene
from tests.contract.calls.asking import log_of, refused
from usage.v1 import usage_pb2

OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WebhookScene]:
    with WebhookScene(tmp_path) as scene:
        yield scene
        assert [] == scene.calls.breaches()


class Meanwhile:
    """A gateway during one of whose calls the customer is deleted."""

    def __init__(self, scene: BillingScene, name: str, *, before: bool, is_told: bool) -> None:
        self._billing, self._scene = scene.billing, scene
        self._name, self._before, self._is_told = name, before, is_told
        self._customer = scene.known_customer().id

    async def _delete(self) -> None:
        if not self._scene.double.world.customers[self._customer].deleted:
            self._scene.double.outside.delete_customer(self._customer)
            if self._is_told:
                await self._billing.customers.deleted(self._customer, "test")

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._billing.gateway, name)
        if name != self._name:
            return act

        async def with_deletion(*given: Any, **more: Any) -> Any:
            if self._before:
                await self._delete()
            try:
                return await act(*given, **more)
            finally:
                if not self._before:
                    await self._delete()

        return with_deletion


class TestWhileSigningUp:
    @pytest.mark.parametrize("is_told", [False, True], ids=["untold", "told"])
    @pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
    @pytest.mark.parametrize(
        "call",
        [
            "hold",
            "attach_payment_method",
            "set_default_payment_method",
            "subscriptions_of",
            "create_subscription",
        ],
    )
    def test_at_any_call_the_way_is_free_for_another_one(
        self, scene: WebhookScene, call: str, before: bool, is_told: bool
    ) -> None:
        first = scene.customer().id
        hold = scene.hold()
        with DOWN.of(scene, "/v1/payment_intents/*"), refused(UNAVAILABLE):
            scene.subscribe(hold=hold)  # asked for, and nothing has happened yet
        known = scene.billing.subscriptions
        gateway: Any = Meanwhile(scene, call, before=before, is_told=is_told)
        saga = Subscriptions(
            scene.service.ledger, gateway, known._customers, known._holds, known._flush
        )
        with contextlib.suppress(LedgerError):
            scene.service.wait(saga.go_on(payer_key(), "test"))
        assert [] == alive(scene)
        scene.reconcile()
        assert OTHER == scene.cost_center().billing_strategy
        assert not scene.double.faults.rules
        come_back(scene, first)

    def test_before_a_hold_is_placed_it_is_made_anew(self, scene: WebhookScene) -> None:
        first = scene.customer().id
        delete(scene)
        with refused(NOT_FOUND):
            scene.placed_hold()
        with refused(NOT_FOUND, "no customer found"):
            scene.double.advance(minutes=2)
            scene.known_customer()  # so that whoever signs up makes another one
        come_back(scene, first)

    def test_the_attempt_ends_with_it_when_that_is_told(self, scene: WebhookScene) -> None:
        first = scene.customer().id
        hold = scene.hold()
        with DOWN.of(scene, "/v1/payment_intents/*"), refused(UNAVAILABLE):
            scene.subscribe(hold=hold)
        delete(scene)
        scene.deliver(None, "customer.deleted")
        scene.until_done()
        (ended,) = log_of(scene.calls, "subscription-refused")
        assert "customer deleted" == json.loads(ended.json)["reason"]
        come_back(scene, first)


class TestTheAccount:
    def test_loads_though_a_hold_was_verified_after_the_customer_was_gone(self) -> None:
        payer = payer_key()
        base = 0, "test", payer
        account = BillingAccount()
        for event in (
            StripeCustomerRequested(*base, 1, "eur", "", b""),
            StripeCustomerBound(*base, 1, "cus_1", "eur", 0, ""),
            SubscriptionRequested(*base, 1, "cus_1", "pi_1", 9, "price_1"),
            StripeCustomerGone(*base, "cus_1"),
            HoldVerified(*base, 1, "pm_1", "supported"),
            StripeCustomerBound(*base, 2, "cus_2", "eur", 0, ""),
            HoldVerified(*base, 1, "pm_1", "supported"),
        ):
            account.apply(event)
        assert account.customer is not None
        assert ("cus_2", "") == (account.customer.customer_id, account.customer.tax_state)
