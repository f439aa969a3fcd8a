"""Holds, cards, and disputes about them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import Shop, code_of


def hold(shop: Shop, customer: str) -> str:
    """Ask for a hold as the ledger does."""
    return shop.client.v1.payment_intents.create(
        {
            "amount": 100,
            "currency": "usd",
            "customer": customer,
            "allowed_payment_method_types": ["card"],
            "capture_method": "manual",
            "setup_future_usage": "off_session",
            "metadata": {"purpose": "hold"},
        }
    ).id


class TestHolds:
    def test_a_good_card_is_held_and_given_back(self, shop: Shop) -> None:
        intent = hold(shop, customer := shop.customer())
        read = shop.client.v1.payment_intents.retrieve
        assert "requires_payment_method" == read(intent).status
        shop.double.outside.confirm_payment(intent)
        held = read(intent, {"expand": ["payment_method"]})
        assert ("requires_capture", 100, customer) == (
            held.status,
            held.amount_capturable,
            held.customer,
        )
        assert isinstance(held.payment_method, stripe.PaymentMethod)
        assert customer == held.payment_method.customer
        address = held.payment_method.billing_details.address
        assert address is not None
        assert "DE" == address.country
        assert "canceled" == shop.client.v1.payment_intents.cancel(intent).status

    def test_cancelling_twice_is_refused(self, shop: Shop) -> None:
        intent = hold(shop, shop.customer())
        shop.client.v1.payment_intents.cancel(intent)
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.payment_intents.cancel(intent)
        assert (400, "payment_intent_unexpected_state") == code_of(error)

    def test_a_declined_card_leaves_it_open(self, shop: Shop) -> None:
        intent = hold(shop, shop.customer())
        shop.double.outside.confirm_payment(intent, "declined")
        found = shop.client.v1.payment_intents.retrieve(intent)
        assert ("requires_payment_method", None) == (found.status, found.payment_method)
        assert found.last_payment_error is not None
        assert "card_declined" == found.last_payment_error.code
        shop.double.outside.confirm_payment(intent, "good")
        assert "requires_capture" == shop.client.v1.payment_intents.retrieve(intent).status

    def test_a_card_without_an_address(self, shop: Shop) -> None:
        intent = hold(shop, shop.customer())
        shop.double.outside.confirm_payment(intent, "no_address")
        method = shop.client.v1.payment_intents.retrieve(intent).payment_method
        card = shop.client.v1.payment_methods.retrieve(str(method))
        assert card.billing_details.address is not None
        assert card.billing_details.address.country is None

    def test_it_ends_by_itself_after_a_week(self, shop: Shop) -> None:
        intent = hold(shop, shop.customer())
        shop.double.outside.confirm_payment(intent)
        shop.double.advance(days=6, hours=23)
        assert "requires_capture" == shop.client.v1.payment_intents.retrieve(intent).status
        shop.double.advance(hours=1)
        assert "canceled" == shop.client.v1.payment_intents.retrieve(intent).status

    def test_one_that_was_given_back_does_not_end_again(self, shop: Shop) -> None:
        intent = hold(shop, shop.customer())
        shop.double.outside.confirm_payment(intent)
        shop.client.v1.payment_intents.cancel(intent)
        shop.double.advance(days=8)
        assert 1 == shop.kinds().count("payment_intent.canceled")

    def test_it_can_be_captured_once(self, shop: Shop) -> None:
        intent = hold(shop, shop.customer())
        shop.double.outside.confirm_payment(intent)
        assert 100 == shop.client.v1.payment_intents.capture(intent).amount_received
        for act in (shop.client.v1.payment_intents.cancel, shop.client.v1.payment_intents.capture):
            with pytest.raises(stripe.InvalidRequestError) as error:
                act(intent)
            assert (400, "payment_intent_unexpected_state") == code_of(error)

    def test_too_little_is_refused(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.payment_intents.create({"amount": 49, "currency": "usd"})
        assert (400, "amount_too_small") == code_of(error)

    def test_the_parameter_that_endive_took_away_is_refused(self, shop: Shop) -> None:
        given: Any = {"amount": 100, "currency": "usd", "payment_method_types": ["card"]}
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.payment_intents.create(given)
        assert (400, "payment_method_types_no_longer_supported") == code_of(error)

    def test_a_customer_that_is_not_there_is_refused(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            hold(shop, "cus_nobody")
        assert (400, "resource_missing") == code_of(error)


class TestCards:
    def card(self, shop: Shop, customer: str | None) -> str:
        given: Any = {"amount": 100, "currency": "usd"} | (
            {"customer": customer} if customer else {}
        )
        intent = shop.client.v1.payment_intents.create(given).id
        shop.double.outside.confirm_payment(intent)
        return str(shop.client.v1.payment_intents.retrieve(intent).payment_method)

    def test_one_is_attached_once_or_again_to_the_same(self, shop: Shop) -> None:
        card, customer = self.card(shop, None), shop.customer()
        for _ in range(2):
            attached = shop.client.v1.payment_methods.attach(card, {"customer": customer})
            assert customer == attached.customer
        found = shop.client.v1.payment_methods.list({"customer": customer}).data
        assert [card] == [one.id for one in found]

    def test_one_of_another_customer_is_refused(self, shop: Shop) -> None:
        card = self.card(shop, None)
        shop.client.v1.payment_methods.attach(card, {"customer": shop.customer()})
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.payment_methods.attach(card, {"customer": shop.customer()})
        assert 400 == error.value.http_status

    def test_a_declining_one_is_a_card_error(self, shop: Shop) -> None:
        customer = shop.customer()
        intent = hold(shop, customer)
        shop.double.outside.confirm_payment(intent, "declined")
        charge = shop.client.v1.payment_intents.retrieve(intent).latest_charge
        card = str(shop.client.v1.charges.retrieve(str(charge)).payment_method)
        with pytest.raises(stripe.CardError) as error:
            shop.client.v1.payment_methods.attach(card, {"customer": customer})
        assert (402, "card_declined") == code_of(error)


class TestDisputes:
    def charged(self, shop: Shop) -> tuple[str, str, str]:
        customer = shop.customer(metadata={"attributionId": "team:1"})
        intent = shop.client.v1.payment_intents.create(
            {"amount": 500, "currency": "usd", "customer": customer}
        ).id
        shop.double.outside.confirm_payment(intent)
        charge = shop.client.v1.payment_intents.retrieve(intent).latest_charge
        return customer, intent, str(charge)

    def test_one_with_a_payment_intent_leads_to_the_customer(self, shop: Shop) -> None:
        customer, intent, _ = self.charged(shop)
        name = shop.double.outside.open_dispute(payment_intent=intent)["id"]
        dispute = shop.client.v1.disputes.retrieve(name, {"expand": ["payment_intent.customer"]})
        assert isinstance(dispute.payment_intent, stripe.PaymentIntent)
        assert isinstance(dispute.payment_intent.customer, stripe.Customer)
        assert customer == dispute.payment_intent.customer.id
        assert "charge.dispute.created" == shop.kinds()[-1]

    def test_one_without_leads_by_the_charge(self, shop: Shop) -> None:
        customer, _, charge = self.charged(shop)
        name = shop.double.outside.open_dispute(charge=charge)["id"]
        dispute = shop.client.v1.disputes.retrieve(
            name, {"expand": ["payment_intent.customer", "charge"]}
        )
        assert dispute.payment_intent is None
        assert isinstance(dispute.charge, stripe.Charge)
        assert (customer, True) == (dispute.charge.customer, dispute.charge.disputed)
        assert name in [one.id for one in shop.client.v1.disputes.list({"charge": charge}).data]
