"""CreateHoldPaymentIntent: section 4.3 of the billing contract."""

from __future__ import annotations

import json

import pytest

from tests.billing.calls.failing import (
    INVALID,
    NOT_FOUND,
    PRECONDITION,
    Failure,
    each_failure,
)
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import BAD_ATTRIBUTIONS, log_of, refused
from usage.v1 import billing_pb2 as pb

PATH = "/v1/payment_intents"
TEXT = "Failed to create a payment intent to for playing a hold."


def place(scene: BillingScene, payer: str = PAYER) -> pb.CreateHoldPaymentIntentResponse:
    request = pb.CreateHoldPaymentIntentRequest(attribution_id=payer)
    return scene.calls.billing.CreateHoldPaymentIntent(request)


class TestInput:
    @pytest.mark.parametrize("text", BAD_ATTRIBUTIONS)
    def test_a_malformed_attribution_id_is_refused(self, scene: BillingScene, text: str) -> None:
        with refused(INVALID, f"Invalid attribution ID {text}"):
            place(scene, text)


class TestTheCustomer:
    def test_that_is_not_there_is_not_found(self, scene: BillingScene) -> None:
        """D12: the original says INTERNAL."""
        with refused(NOT_FOUND, "Failed to find stripe customer: no customer found"):
            place(scene)
        assert [] == log_of(scene.calls, "hold-requested")

    def test_of_whom_there_are_several_is_not_chosen(self, scene: BillingScene) -> None:
        for _ in range(2):
            metadata = {"attributionId": PAYER, "preferredCurrency": "EUR"}
            scene.shop.client.v1.customers.create({"metadata": metadata})
        scene.double.advance(minutes=2)
        with refused(PRECONDITION, "Failed to find stripe customer: found multiple customers"):
            place(scene)

    @each_failure
    def test_that_cannot_be_searched_for_is_told_as_such(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        with failure.of(scene), refused(failure.code, "Failed to find stripe customer: "):
            place(scene)

    def test_that_was_deleted_at_stripe_is_not_found(self, scene: BillingScene) -> None:
        """D15."""
        customer = scene.customer()
        scene.double.outside.delete_customer(customer.id)
        with refused(NOT_FOUND, TEXT):
            place(scene)


class TestAHold:
    @pytest.mark.parametrize("currency", ["eur", "usd"])
    def test_is_of_one_unit_of_the_customers_currency(
        self, scene: BillingScene, currency: str
    ) -> None:
        customer = scene.customer(currency=currency)
        placed = place(scene)
        intent = scene.shop.client.v1.payment_intents.retrieve(placed.payment_intent_id)
        assert (100, currency, customer.id) == (intent.amount, intent.currency, intent.customer)
        assert ("manual", "off_session") == (intent.capture_method, intent.setup_future_usage)

    def test_is_told_with_the_secret_for_the_browser(self, scene: BillingScene) -> None:
        scene.customer()
        placed = place(scene)
        intent = scene.shop.client.v1.payment_intents.retrieve(placed.payment_intent_id)
        assert intent.client_secret == placed.payment_intent_client_secret

    def test_asked_for_again_is_another(self, scene: BillingScene) -> None:
        scene.customer()
        assert place(scene).payment_intent_id != place(scene).payment_intent_id

    def test_that_nobody_uses_is_released(self, scene: BillingScene) -> None:
        """D17: the original holds the money until Stripe gives it back."""
        scene.customer()
        abandoned = scene.hold()
        scene.double.advance(hours=23)
        scene.reconcile()
        assert "requires_capture" == scene.intent(abandoned).status
        scene.double.advance(hours=2)
        scene.reconcile()
        assert "canceled" == scene.intent(abandoned).status
        (released,) = log_of(scene.calls, "hold-released")
        assert "expired" == json.loads(released.json)["cause"]

    def test_that_cannot_be_released_now_is_released_later(self, scene: BillingScene) -> None:
        """D17."""
        scene.customer()
        abandoned = scene.hold()
        scene.double.advance(hours=25)
        rule = scene.double.faults.add("unreachable", path=f"{PATH}/*/cancel")
        scene.reconcile()
        assert "requires_capture" == scene.intent(abandoned).status
        scene.double.faults.remove(rule)
        scene.reconcile()
        assert "canceled" == scene.intent(abandoned).status


class TestStripe:
    @each_failure
    def test_failing_is_told_and_the_next_try_makes_a_hold(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        scene.customer()
        with failure.of(scene), refused(failure.code, TEXT):
            place(scene)
        subscription = scene.subscribe(hold=scene.hold())
        assert subscription.startswith("sub_")
