"""GetStripeCustomer: section 4.1 of the billing contract."""

from __future__ import annotations

from functools import partial

import pytest

from ledger.commands import billing_accounts as commands
from ledger.identifiers import parse_payer
from tests.billing.calls.failing import (
    INTERNAL,
    INVALID,
    NOT_FOUND,
    PRECONDITION,
    UNAVAILABLE,
    Failure,
    each_failure,
)
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import BAD_ATTRIBUTIONS, log_of, refused, submit
from tests.oracle.events import payer_of
from tests.stripe_double import Fault
from usage.v1 import billing_pb2 as pb


def ask(scene: BillingScene, **identifier: str) -> pb.GetStripeCustomerResponse:
    return scene.calls.billing.GetStripeCustomer(pb.GetStripeCustomerRequest(**identifier))


def made_elsewhere(scene: BillingScene, payer: str = PAYER, **metadata: str) -> str:
    """A customer that another program has made; what it made it of is in the metadata."""
    told = {"attributionId": payer, "preferredCurrency": "EUR"} | metadata
    made = scene.shop.client.v1.customers.create({"email": "o@example.org", "metadata": told})
    return made.id


def bound_without_tax_state(scene: BillingScene, customer_id: str) -> None:
    """The ledger knows the customer and nobody has asked yet where Stripe can tax it."""
    payer = parse_payer(PAYER)
    assert payer is not None
    bind = partial(
        commands.bind_customer,
        payer=payer,
        generation=0,
        customer_id=customer_id,
        currency="eur",
        creation_time=0,
        tax_state="",
    )
    submit(scene.service, bind, PAYER)


class TestInput:
    def test_without_an_identifier_is_refused(self, scene: BillingScene) -> None:
        with refused(INVALID, "Unknown identifier"):
            ask(scene)

    @pytest.mark.parametrize("text", BAD_ATTRIBUTIONS)
    def test_a_malformed_attribution_id_is_repeated_as_it_came(
        self, scene: BillingScene, text: str
    ) -> None:
        """D12: the original prints the empty result of its parser instead."""
        with refused(INVALID, f"Invalid attribution ID {text}"):
            ask(scene, attribution_id=text)

    def test_an_empty_customer_id_is_refused(self, scene: BillingScene) -> None:
        """B10: an empty name would have been asked of Stripe as a list."""
        asked = len(scene.double.journal)
        with refused(INVALID, "empty stripe customer ID supplied"):
            ask(scene, stripe_customer_id="")
        assert asked == len(scene.double.journal)


class TestOneWeKnow:
    def test_is_told_without_asking_stripe(self, scene: BillingScene) -> None:
        made = scene.customer()
        asked = len(scene.double.journal)
        by_payer = ask(scene, attribution_id=PAYER)
        by_id = ask(scene, stripe_customer_id=made.id)
        assert made == by_payer.customer == by_id.customer
        assert asked == len(scene.double.journal)

    def test_is_told_with_its_attribution_id(self, scene: BillingScene) -> None:
        made = scene.customer()
        respelled = "team:" + PAYER.removeprefix("team:").replace("-", "").upper()
        assert PAYER == ask(scene, attribution_id=respelled).attribution_id
        assert PAYER == ask(scene, stripe_customer_id=made.id).attribution_id

    def test_of_unknown_address_is_asked_of_stripe_once(self, scene: BillingScene) -> None:
        customer_id = made_elsewhere(scene)
        bound_without_tax_state(scene, customer_id)
        asked = len(scene.double.journal)
        for _ in range(2):
            assert ask(scene, attribution_id=PAYER).customer.invalid_billing_address
        assert asked + 1 == len(scene.double.journal)

    @each_failure
    def test_is_told_as_it_is_stored_when_stripe_fails(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """D5: the original overwrites the row with nothing and answers with an empty customer."""
        customer_id = made_elsewhere(scene)
        bound_without_tax_state(scene, customer_id)
        with failure.of(scene):
            customer = ask(scene, attribution_id=PAYER).customer
        assert (customer_id, "eur") == (customer.id, customer.currency)
        assert ask(scene, attribution_id=PAYER).customer.invalid_billing_address

    def test_that_is_found_deleted_is_not_found_from_then_on(self, scene: BillingScene) -> None:
        """D6, D15: a deleted customer has neither tax nor metadata; it ends the original."""
        customer_id = made_elsewhere(scene)
        bound_without_tax_state(scene, customer_id)
        scene.double.outside.delete_customer(customer_id)
        text = f"customer {customer_id} was deleted in stripe"
        with refused(NOT_FOUND, text):
            ask(scene, attribution_id=PAYER)
        with refused(NOT_FOUND, f"no customer found for attribution_id: {PAYER}"):
            scene.double.advance(minutes=2)  # until the search knows it, too
            ask(scene, attribution_id=PAYER)
        with refused(NOT_FOUND, text):
            ask(scene, stripe_customer_id=customer_id)
        assert 1 == len(log_of(scene.calls, "stripe-customer-gone"))


class TestOneThatIsSearchedFor:
    def test_is_found_and_kept(self, scene: BillingScene) -> None:
        customer_id = made_elsewhere(scene)
        scene.double.advance(minutes=2)
        found = ask(scene, attribution_id=PAYER)
        assert (customer_id, "eur") == (found.customer.id, found.customer.currency)
        asked = len(scene.double.journal)
        assert found == ask(scene, attribution_id=PAYER)
        assert found == ask(scene, stripe_customer_id=customer_id)
        assert asked == len(scene.double.journal)

    def test_and_not_found_is_not_there(self, scene: BillingScene) -> None:
        with refused(NOT_FOUND, f"no customer found for attribution_id: {PAYER}"):
            ask(scene, attribution_id=PAYER)
        assert [] == log_of(scene.calls, "stripe-customer-bound")

    @pytest.mark.parametrize("lag", [0, 3_600])
    def test_and_was_deleted_is_not_there(self, scene: BillingScene, lag: int) -> None:
        """C2, D15: the search may tell for an hour of one that is gone."""
        customer_id = made_elsewhere(scene)
        scene.double.advance(minutes=2)
        scene.double.settings.search_lag_seconds = lag
        scene.double.outside.delete_customer(customer_id)
        scene.double.advance(minutes=1)
        with refused(NOT_FOUND):
            ask(scene, attribution_id=PAYER)
        assert [] == log_of(scene.calls, "stripe-customer-bound")

    def test_and_belongs_to_another_payer_by_now_is_not_there(self, scene: BillingScene) -> None:
        """C2: the search tells for a while of what was there."""
        customer_id = made_elsewhere(scene)
        scene.double.advance(minutes=2)
        scene.double.settings.search_lag_seconds = 3_600
        metadata = {"attributionId": payer_of("rival")}
        scene.shop.client.v1.customers.update(customer_id, {"metadata": metadata})
        with refused(NOT_FOUND, f"no customer found for attribution_id: {PAYER}"):
            ask(scene, attribution_id=PAYER)
        assert [] == log_of(scene.calls, "stripe-customer-bound")

    def test_of_which_there_are_several_is_not_chosen(self, scene: BillingScene) -> None:
        """B3: the original reports the whole usage to each of them."""
        for _ in range(2):
            made_elsewhere(scene)
        scene.double.advance(minutes=2)
        with refused(PRECONDITION, f"found multiple customers for {PAYER}"):
            ask(scene, attribution_id=PAYER)

    @each_failure
    def test_while_stripe_fails_is_not_said_to_be_absent(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """C3, D12: who is told NOT_FOUND makes another customer."""
        made_elsewhere(scene)
        scene.double.advance(minutes=2)
        with failure.of(scene), refused(failure.code, "failed to find customers: "):
            ask(scene, attribution_id=PAYER)
        assert ask(scene, attribution_id=PAYER).customer.id

    def test_where_stripe_does_not_search_is_unavailable(self, scene: BillingScene) -> None:
        """C2: search is not offered everywhere."""
        scene.double.faults.add(Fault.SERVER_ERROR, path="/v1/customers/search")
        with refused(UNAVAILABLE, "failed to find customers: "):
            ask(scene, attribution_id=PAYER)


class TestOneByIdThatWeDoNotKnow:
    def test_is_fetched_and_kept(self, scene: BillingScene) -> None:
        customer_id = made_elsewhere(scene)
        found = ask(scene, stripe_customer_id=customer_id)
        assert (customer_id, PAYER) == (found.customer.id, found.attribution_id)
        asked = len(scene.double.journal)
        assert found.customer == ask(scene, attribution_id=PAYER).customer
        assert asked == len(scene.double.journal)

    def test_is_told_and_not_bound_where_the_payer_has_another(self, scene: BillingScene) -> None:
        """B3: one payer's usage goes to one customer."""
        bound = scene.customer()
        other = made_elsewhere(scene)
        assert other == ask(scene, stripe_customer_id=other).customer.id
        assert bound == ask(scene, attribution_id=PAYER).customer

    def test_and_stripe_does_not_either_is_not_found(self, scene: BillingScene) -> None:
        """D19: the original looks for the code `missing`, which Stripe never sends."""
        with refused(NOT_FOUND, "customer cus_none does not exist in stripe"):
            ask(scene, stripe_customer_id="cus_none")

    def test_and_was_deleted_is_not_found(self, scene: BillingScene) -> None:
        """D15."""
        customer_id = made_elsewhere(scene)
        scene.double.outside.delete_customer(customer_id)
        with refused(NOT_FOUND, f"customer {customer_id} was deleted in stripe"):
            ask(scene, stripe_customer_id=customer_id)

    @pytest.mark.parametrize("told", ["", "team:7", "user:" + "1" * 32])
    def test_of_no_payer_of_ours_is_trouble(self, scene: BillingScene, told: str) -> None:
        customer_id = made_elsewhere(scene, payer=told)
        text = f"Failed to parse attribution ID from Stripe customer {customer_id}"
        with refused(INTERNAL, text):
            ask(scene, stripe_customer_id=customer_id)

    @each_failure
    def test_is_told_as_unreachable_when_stripe_fails(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        customer_id = made_elsewhere(scene)
        text = f"failed to get customer by customer ID {customer_id}"
        with failure.of(scene), refused(failure.code, text):
            ask(scene, stripe_customer_id=customer_id)
        assert customer_id == ask(scene, stripe_customer_id=customer_id).customer.id

    def test_whose_currency_is_not_ours_pays_in_dollars(self, scene: BillingScene) -> None:
        customer_id = made_elsewhere(scene, preferredCurrency="gbp")
        assert "usd" == ask(scene, stripe_customer_id=customer_id).customer.currency
