"""UpdateCustomerSubscriptionsTaxState: section 4.5 of the billing contract."""

from __future__ import annotations

from tests.billing.calls.failing import INVALID, NOT_FOUND, Failure, each_failure
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import refused
from tests.stripe_double import Fault
from tests.stripe_double.intents import CARD_ADDRESS
from usage.v1 import billing_pb2 as pb


def update(scene: BillingScene, customer_id: str) -> None:
    request = pb.UpdateCustomerSubscriptionsTaxStateRequest(customer_id=customer_id)
    answer = scene.calls.billing.UpdateCustomerSubscriptionsTaxState(request)
    assert b"" == answer.SerializeToString()


def moves(scene: BillingScene, customer_id: str, country: str | None) -> None:
    """The customer changes its address in the portal; None: to none."""
    address = None
    if country is not None:
        address = {key: value for key, value in CARD_ADDRESS.items() if value is not None}
        address["country"] = country
    scene.double.outside.set_address(customer_id, address)


def is_taxed(scene: BillingScene, subscription: str) -> bool:
    return bool(scene.shop.client.v1.subscriptions.retrieve(subscription).automatic_tax.enabled)


class TestInput:
    def test_an_empty_customer_id_is_refused(self, scene: BillingScene) -> None:
        """B10."""
        asked = len(scene.double.journal)
        with refused(INVALID, "Missing CustomerID"):
            update(scene, "")
        assert asked == len(scene.double.journal)

    def test_a_customer_that_stripe_does_not_have_is_not_found(self, scene: BillingScene) -> None:
        with refused(NOT_FOUND, "Failed to get customer with ID cus_none"):
            update(scene, "cus_none")


class TestSubscriptions:
    def test_are_taxed_from_when_the_address_can_be(self, scene: BillingScene) -> None:
        scene.customer()
        subscription = scene.subscribe(hold=scene.hold(card="no_address"))
        customer = scene.known_customer()
        assert (True, False) == (customer.invalid_billing_address, is_taxed(scene, subscription))
        moves(scene, customer.id, "DE")
        update(scene, customer.id)
        assert is_taxed(scene, subscription)
        assert not scene.known_customer().invalid_billing_address

    def test_are_no_longer_taxed_when_the_address_cannot_be(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        customer = scene.known_customer()
        assert is_taxed(scene, subscription)
        moves(scene, customer.id, None)
        update(scene, customer.id)
        assert not is_taxed(scene, subscription)
        assert scene.known_customer().invalid_billing_address

    def test_that_are_right_already_are_left_alone(self, scene: BillingScene) -> None:
        scene.sign_up()
        asked = len(scene.double.journal)
        update(scene, scene.known_customer().id)
        assert ["GET"] == [one.method for one in scene.double.journal[asked:]]

    def test_that_have_ended_are_left_alone(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription)
        moves(scene, scene.known_customer().id, None)
        update(scene, scene.known_customer().id)
        assert is_taxed(scene, subscription)

    def test_of_a_deleted_customer_are_none(self, scene: BillingScene) -> None:
        """D6, D15: without tax data the original's process dies."""
        customer = scene.customer()
        scene.double.outside.delete_customer(customer.id)
        update(scene, customer.id)

    def test_of_a_customer_that_is_not_ours_are_updated_and_nothing_is_kept(
        self, scene: BillingScene
    ) -> None:
        made = scene.shop.client.v1.customers.create({"email": "x@example.org"})
        update(scene, made.id)
        with refused(NOT_FOUND):
            scene.known_customer(PAYER)

    def test_whose_change_fails_are_logged_and_the_call_succeeds(self, scene: BillingScene) -> None:
        scene.customer()
        subscription = scene.subscribe(hold=scene.hold(card="no_address"))
        customer = scene.known_customer()
        moves(scene, customer.id, "DE")
        scene.double.faults.add(Fault.SERVER_ERROR, path=f"/v1/subscriptions/{subscription}")
        update(scene, customer.id)
        assert not is_taxed_despite_faults(scene, subscription)
        assert not scene.known_customer().invalid_billing_address


def is_taxed_despite_faults(scene: BillingScene, subscription: str) -> bool:
    scene.double.faults.clear()
    return is_taxed(scene, subscription)


class TestStripe:
    @each_failure
    def test_failing_is_told(self, scene: BillingScene, failure: Failure) -> None:
        """D12: to the original every failure is NOT_FOUND."""
        customer = scene.customer()
        text = f"Failed to get customer with ID {customer.id}"
        with failure.of(scene), refused(failure.code, text):
            update(scene, customer.id)
        update(scene, customer.id)
