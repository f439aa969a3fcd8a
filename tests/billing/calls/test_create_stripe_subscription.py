"""CreateStripeSubscription: section 4.4 of the billing contract, and the saga behind it."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.invoicing.told import CARD_REFUSED
from tests.billing.calls.failing import (
    ALREADY_EXISTS,
    INVALID,
    NOT_FOUND,
    PRECONDITION,
    UNAVAILABLE,
    Failure,
    each_failure,
)
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import (
    BAD_ATTRIBUTIONS,
    STRIPE,
    log_of,
    refused,
    set_cost_center,
)
from tests.oracle.events import payer_of
from tests.stripe_double import Fault
from usage.v1 import usage_pb2

OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
RIVAL = payer_of("rival")


def subscriptions(scene: BillingScene) -> list[Any]:
    """All subscriptions at Stripe, dead ones too, the newest first."""
    listed = scene.shop.client.v1.subscriptions.list({"status": "all"})
    return list(listed.auto_paging_iter())


class TestInput:
    @pytest.mark.parametrize("text", BAD_ATTRIBUTIONS)
    def test_a_malformed_attribution_id_is_refused_first(
        self, scene: BillingScene, text: str
    ) -> None:
        with refused(INVALID, f"Invalid attribution ID {text}"):
            scene.subscribe(text, hold="", limit=-1)

    def test_then_no_payment_intent(self, scene: BillingScene) -> None:
        with refused(INVALID, "Invalid payment_intent_id"):
            scene.subscribe(hold="", limit=-1)

    @pytest.mark.parametrize("limit", [-1, 2**31])
    def test_then_a_limit_that_no_cost_center_has(self, scene: BillingScene, limit: int) -> None:
        """B13: the original ignores it."""
        with refused(INVALID, f"usage_limit {limit}"):
            scene.subscribe(hold="pi_1", limit=limit)

    def test_refused_leaves_nothing(self, scene: BillingScene) -> None:
        scene.customer()
        with refused(INVALID):
            scene.subscribe(hold="")
        assert [] == log_of(scene.calls, "subscription-requested")


class TestTheCustomer:
    def test_that_is_not_there_is_not_found(self, scene: BillingScene) -> None:
        with refused(NOT_FOUND, f"no customer found for attribution_id: {PAYER}"):
            scene.subscribe(hold="pi_1")

    def test_that_was_deleted_at_stripe_gets_none(self, scene: BillingScene) -> None:
        """D6, D15: without its subscriptions the original's process dies."""
        customer = scene.customer()
        hold = scene.hold()
        scene.double.outside.delete_customer(customer.id)
        with refused(INVALID, f"Failed to set default payment for customer ID {customer.id}"):
            scene.subscribe(hold=hold)
        assert [] == subscriptions(scene)


class TestASubscription:
    @pytest.mark.parametrize("currency", ["EUR", "usd"])
    def test_is_at_the_price_of_the_customers_currency(
        self, scene: BillingScene, currency: str
    ) -> None:
        """D10: in the original only `EUR`, written so, is euros."""
        customer = scene.customer(currency=currency)
        made = scene.subscribe(hold=scene.hold())
        (told,) = subscriptions(scene)
        assert (made, customer.id) == (told.id, told.customer)
        assert [scene.shop.prices[currency.lower()]] == [one.price.id for one in told["items"].data]

    def test_is_paid_by_the_card_of_the_hold_at_its_address(self, scene: BillingScene) -> None:
        """D7: the original loses the error of this step."""
        scene.sign_up()
        (told,) = subscriptions(scene)
        customer = scene.shop.client.v1.customers.retrieve(told.customer)
        assert customer.invoice_settings is not None
        assert customer.invoice_settings.default_payment_method is not None
        assert customer.address is not None
        assert "Kiel" == customer.address.city
        assert told.automatic_tax.enabled
        assert not scene.known_customer().invalid_billing_address

    def test_of_a_card_without_address_is_made_without_tax(self, scene: BillingScene) -> None:
        scene.customer()
        scene.subscribe(hold=scene.hold(card="no_address"))
        (told,) = subscriptions(scene)
        assert not told.automatic_tax.enabled
        assert scene.known_customer().invalid_billing_address

    def test_releases_the_hold(self, scene: BillingScene) -> None:
        scene.customer()
        hold = scene.hold()
        scene.subscribe(hold=hold)
        assert "canceled" == scene.intent(hold).status

    def test_moves_the_cost_center_with_the_limit(self, scene: BillingScene) -> None:
        """B12, B13: in the original the caller does that afterwards, or does not."""
        assert OTHER == scene.cost_center().billing_strategy
        scene.sign_up(limit=321)
        center = scene.cost_center()
        assert (STRIPE, 321) == (center.billing_strategy, center.spending_limit)

    def test_forgives_what_was_owed_before(self, scene: BillingScene) -> None:
        scene.use(5)
        assert 500 == scene.cents()
        scene.sign_up()
        assert 0 == scene.cents()

    def test_of_a_payer_moved_by_hand_applies_the_limit_and_the_cycle(
        self, scene: BillingScene
    ) -> None:
        """B12: SetCostCenter may come first, or from another process in between."""
        set_cost_center(scene.calls, PAYER, limit=5, strategy=STRIPE)
        scene.double.advance(days=3)
        subscription = scene.sign_up(limit=7)
        center = scene.cost_center()
        assert (STRIPE, 7) == (center.billing_strategy, center.spending_limit)
        made = scene.shop.client.v1.subscriptions.retrieve(subscription)
        assert made["items"].data[0].current_period_end == center.next_billing_time.seconds

    @pytest.mark.parametrize("start", ["2026-01-31T12:00:00Z", "2028-02-29T12:00:00Z"])
    def test_has_its_cycles_as_stripe_clamps_months(self, start: str) -> None:
        """D3: Go's 31 January and a month is 3 March; Stripe's is the last of February."""
        with BillingScene.at(start) as scene:
            subscription = scene.sign_up()
            for _ in range(4):
                made = scene.shop.client.v1.subscriptions.retrieve(subscription)
                item = made["items"].data[0]
                center = scene.cost_center()
                assert item.current_period_start == center.billing_cycle_start.seconds
                assert item.current_period_end == center.next_billing_time.seconds
                scene.double.advance_to(item.current_period_end * 1_000 + 1_000)
                scene.reconcile()


class TestASecondOne:
    def test_is_refused(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        text = f"Customer ({PAYER}) already has an active subscription ({subscription})"
        with refused(ALREADY_EXISTS, text):
            scene.subscribe(hold=scene.hold())
        assert 1 == len(subscriptions(scene))

    def test_is_refused_where_another_program_made_the_first(self, scene: BillingScene) -> None:
        """C4: two subscriptions of one customer stop the original's reports."""
        customer = scene.customer()
        scene.shop.client.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": scene.shop.prices["eur"]}]}
        )
        with refused(ALREADY_EXISTS, "already has an active subscription"):
            scene.subscribe(hold=scene.hold())
        assert 1 == len(subscriptions(scene))
        assert OTHER == scene.cost_center().billing_strategy

    def test_may_follow_one_that_is_dead(self, scene: BillingScene) -> None:
        """D9: to the original `incomplete_expired` is alive for ever."""
        customer = scene.customer()
        made = scene.shop.client.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": scene.shop.prices["eur"]}]}
        )
        dead = scene.double.world.subscriptions[made.id]
        dead.status, dead.ended_at = "incomplete_expired", scene.double.clock.now
        subscription = scene.subscribe(hold=scene.hold())
        assert {made.id, subscription} == {one.id for one in subscriptions(scene)}


class TestAnAttemptThatWasCutOff:
    @pytest.fixture
    def cut_off(self, scene: BillingScene) -> str:
        """An attempt of which only the intent is recorded; gives its hold."""
        scene.customer()
        hold = scene.placed_hold()
        with Failure(Fault.UNREACHABLE, UNAVAILABLE).of(scene), refused(UNAVAILABLE):
            scene.subscribe(hold=hold)
        return hold

    def test_and_is_no_good_makes_way_for_another(self, scene: BillingScene, cut_off: str) -> None:
        subscription = scene.subscribe(hold=scene.hold())
        assert [subscription] == [one.id for one in subscriptions(scene)]
        assert "canceled" == scene.intent(cut_off).status

    def test_and_is_good_is_gone_on_with(self, scene: BillingScene, cut_off: str) -> None:
        scene.double.outside.confirm_payment(cut_off)
        with refused(ALREADY_EXISTS, "already has an active subscription (sub_"):
            scene.subscribe(hold=scene.hold())
        assert 1 == len(subscriptions(scene))
        assert STRIPE == scene.cost_center().billing_strategy


class TestAHold:
    def test_that_is_not_there_is_no_card(self, scene: BillingScene) -> None:
        scene.customer()
        with refused(INVALID, CARD_REFUSED):
            scene.subscribe(hold="pi_none")

    def test_that_nobody_confirmed_is_no_card_and_is_released(self, scene: BillingScene) -> None:
        """D6: without a payment method the original's process dies."""
        scene.customer()
        hold = scene.placed_hold()
        with refused(INVALID, CARD_REFUSED):
            scene.subscribe(hold=hold)
        assert "canceled" == scene.intent(hold).status

    def test_whose_card_was_declined_is_no_card(self, scene: BillingScene) -> None:
        scene.customer()
        hold = scene.hold(card="declined")
        with refused(INVALID, CARD_REFUSED):
            scene.subscribe(hold=hold)
        assert "canceled" == scene.intent(hold).status

    def test_that_was_used_is_no_card(self, scene: BillingScene) -> None:
        scene.customer()
        hold = scene.hold()
        scene.shop.client.v1.payment_intents.cancel(hold)
        with refused(INVALID, CARD_REFUSED):
            scene.subscribe(hold=hold)

    def test_of_another_customer_is_neither_used_nor_cancelled(self, scene: BillingScene) -> None:
        """D8: the original cancels any payment that it is named."""
        scene.customer(RIVAL)
        theirs = scene.hold(RIVAL)
        scene.customer()
        with refused(INVALID, CARD_REFUSED):
            scene.subscribe(hold=theirs)
        assert "requires_capture" == scene.intent(theirs).status

    def test_that_is_a_payment_of_another_purpose_is_neither_used_nor_cancelled(
        self, scene: BillingScene
    ) -> None:
        """D8."""
        customer = scene.customer()
        payment = scene.shop.client.v1.payment_intents.create(
            {
                "amount": 5_000,
                "currency": "eur",
                "customer": customer.id,
                "capture_method": "manual",
            }
        )
        scene.double.outside.confirm_payment(payment.id)
        with refused(INVALID, CARD_REFUSED):
            scene.subscribe(hold=payment.id)
        assert "requires_capture" == scene.intent(payment.id).status

    def test_that_is_refused_leaves_the_way_free(self, scene: BillingScene) -> None:
        scene.customer()
        for card in ("declined", "good"):
            hold = scene.hold(card=card)
            if card == "declined":
                with refused(INVALID, CARD_REFUSED):
                    scene.subscribe(hold=hold)
        assert scene.subscribe(hold=hold)
        assert 1 == len(subscriptions(scene))


class TestACard:
    def test_that_is_declined_when_it_is_attached_is_told_as_such(
        self, scene: BillingScene
    ) -> None:
        """D7."""
        customer = scene.customer()
        hold = scene.hold()
        method = scene.intent(hold).payment_method
        assert method is not None
        scene.double.world.payment_methods[str(method)].declines = True
        text = f"Failed to set default payment for customer ID {customer.id}"
        with refused(INVALID, text):
            scene.subscribe(hold=hold)
        assert "canceled" == scene.intent(hold).status
        assert [] == subscriptions(scene)
        assert scene.subscribe(hold=scene.hold())

    def test_that_cannot_be_the_default_stops_the_saga(self, scene: BillingScene) -> None:
        """D7: the original goes on, to a subscription that nobody pays."""
        customer = scene.customer()
        hold = scene.hold()
        path = f"/v1/customers/{customer.id}"
        scene.double.faults.add(Fault.SERVER_ERROR, method="POST", path=path)
        text = f"Failed to set default payment for customer ID {customer.id}"
        with refused(UNAVAILABLE, text):
            scene.subscribe(hold=hold)
        assert [] == subscriptions(scene)
        scene.double.faults.clear()
        scene.subscribe(hold=hold)
        assert 1 == len(subscriptions(scene))


class TestStripe:
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/payment_intents/*",
            "/v1/payment_methods/*/attach",
            "/v1/customers/cus_*",
            "/v1/subscriptions",
        ],
    )
    @each_failure
    def test_failing_anywhere_is_told_and_the_next_try_goes_on(
        self, scene: BillingScene, failure: Failure, path: str
    ) -> None:
        """C5, B12: nothing is made twice, whether it was done or not."""
        scene.customer()
        hold = scene.hold()
        with failure.of(scene, path), refused(failure.code):
            scene.subscribe(hold=hold, limit=9)
        assert OTHER == scene.cost_center().billing_strategy
        scene.double.advance(minutes=1)
        subscription = scene.subscribe(hold=hold, limit=9)
        assert [subscription] == [one.id for one in subscriptions(scene)]
        assert (STRIPE, 9) == (
            scene.cost_center().billing_strategy,
            scene.cost_center().spending_limit,
        )

    @each_failure
    def test_failing_is_made_up_for_by_the_next_run(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """B12: nobody has to call again."""
        customer = scene.customer()
        hold = scene.hold()
        text = f"Failed to create subscription with customer ID {customer.id}"
        if failure.fault is None:
            text = "the hold is fetched"  # a wrong key is found out at the first step
        with failure.of(scene, "/v1/subscriptions"), refused(failure.code, text):
            scene.subscribe(hold=hold)
        scene.double.advance(days=2)
        scene.reconcile()
        assert 1 == len(subscriptions(scene))
        assert STRIPE == scene.cost_center().billing_strategy

    def test_refusing_is_told_and_leaves_the_way_free(self, scene: BillingScene) -> None:
        customer = scene.customer()
        price = scene.double.world.prices[scene.shop.prices["eur"]]
        price.active = False
        text = f"Failed to create subscription with customer ID {customer.id}"
        with refused(PRECONDITION, text):
            scene.subscribe(hold=scene.hold())
        price.active = True
        assert scene.subscribe(hold=scene.hold())
