"""GetPriceInformation: section 4.6 of the billing contract."""

from __future__ import annotations

from typing import Any

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
from tests.oracle.events import payer_of
from usage.v1 import billing_pb2 as pb

RIVAL = payer_of("rival")


def describe(scene: BillingScene, payer: str = PAYER) -> str:
    request = pb.GetPriceInformationRequest(attribution_id=payer)
    return scene.calls.billing.GetPriceInformation(request).human_readable_description


class TestInput:
    @pytest.mark.parametrize("text", BAD_ATTRIBUTIONS)
    def test_a_malformed_attribution_id_is_refused(self, scene: BillingScene, text: str) -> None:
        with refused(INVALID, f"Invalid attribution ID {text}"):
            describe(scene, text)


class TestThePrice:
    def test_of_a_payer_without_customer_is_that_in_dollars(self, scene: BillingScene) -> None:
        assert "1,000 credits for 9 usd" == describe(scene)

    @pytest.mark.parametrize("currency", ["EUR", "usd"])
    def test_of_a_customer_is_that_of_its_currency(
        self, scene: BillingScene, currency: str
    ) -> None:
        """D10."""
        scene.customer(currency=currency)
        assert f"1,000 credits for 9 {currency.lower()}" == describe(scene)

    @pytest.mark.parametrize("currency", ["EUR", "usd"])
    def test_of_a_customer_that_only_stripe_knows_is_that_of_its_currency(
        self, scene: BillingScene, currency: str
    ) -> None:
        """D11. It is found by a search, and bound when it signs up: this is a read."""
        metadata = {"attributionId": PAYER, "preferredCurrency": currency}
        scene.shop.client.v1.customers.create({"metadata": metadata})
        scene.double.advance(hours=1)
        assert f"1,000 credits for 9 {currency.lower()}" == describe(scene)
        assert [] == log_of(scene.calls, "stripe-customer-bound")

    def test_of_several_customers_that_only_stripe_knows_is_not_guessed(
        self, scene: BillingScene
    ) -> None:
        """D11."""
        for _ in range(2):
            scene.shop.client.v1.customers.create({"metadata": {"attributionId": PAYER}})
        scene.double.advance(hours=1)
        with refused(PRECONDITION, "found multiple customers"):
            describe(scene)

    def test_of_a_subscription_that_only_stripe_knows_is_its_own(self, scene: BillingScene) -> None:
        customer = scene.customer(currency="usd")
        card = scene.intent(scene.hold()).payment_method
        api = scene.shop.client.v1
        api.payment_methods.attach(card, {"customer": customer.id})
        api.customers.update(customer.id, {"invoice_settings": {"default_payment_method": card}})
        params: Any = {"customer": customer.id, "items": [{"price": scene.shop.prices["eur"]}]}
        api.subscriptions.create(params)
        assert "1,000 credits for 9 eur" == describe(scene)

    def test_of_a_customer_that_was_deleted_is_that_of_its_currency(
        self, scene: BillingScene
    ) -> None:
        customer = scene.customer(currency="eur")
        scene.double.outside.delete_customer(customer.id)
        assert "1,000 credits for 9 eur" == describe(scene)

    def test_of_a_subscription_is_the_one_it_was_made_at(self, scene: BillingScene) -> None:
        """Whatever the settings say today."""
        scene.sign_up()
        newer = scene.service.settings.stripe.model_copy(update={"price_eur": "price_none"})
        scene.service.ledger.settings = scene.service.settings.model_copy(update={"stripe": newer})
        assert "1,000 credits for 9 eur" == describe(scene)

    @pytest.mark.parametrize("metadata", [{}, {"human_readable_description": ""}])
    def test_without_a_description_has_no_information(
        self, scene: BillingScene, metadata: dict[str, str]
    ) -> None:
        scene.double.world.prices[scene.shop.prices["usd"]].metadata = metadata
        assert "No information available" == describe(scene)

    def test_that_stripe_does_not_have_is_not_found(self, scene: BillingScene) -> None:
        """D19: the original says UNKNOWN."""
        price = scene.shop.prices["usd"]
        del scene.double.world.prices[price]
        with refused(NOT_FOUND, f"price {price} does not exist in stripe"):
            describe(scene)


class TestStripe:
    @each_failure
    def test_failing_is_told_rather_than_a_wrong_price(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """D11: the original shows the price in dollars whatever fails."""
        scene.sign_up()
        text = f"failed to get price by price ID {scene.shop.prices['eur']}"
        with failure.of(scene), refused(failure.code, text):
            describe(scene)
        assert "1,000 credits for 9 eur" == describe(scene)

    @each_failure
    def test_failing_to_tell_of_the_customer_is_told_as_well(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """D11: also of a payer whom only Stripe knows, or nobody."""
        known = scene.customer()
        with failure.of(scene), refused(failure.code, known.id):
            describe(scene)
        with failure.of(scene), refused(failure.code, "failed to find customers"):
            describe(scene, RIVAL)
