"""CancelSubscription: section 4.9 of the billing contract, with "Ours" at its end."""

from __future__ import annotations

import json

import pytest

from tests.billing.calls.failing import DOWN, INVALID, NOT_FOUND, Failure, each_failure
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import STRIPE, log_of, refused, set_cost_center
from tests.oracle.events import payer_of
from usage.v1 import billing_pb2 as pb
from usage.v1 import usage_pb2

OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
RIVAL = payer_of("rival")


def status(scene: BillingScene, subscription: str) -> str:
    return str(scene.shop.client.v1.subscriptions.retrieve(subscription).status)


def settle_down(scene: BillingScene) -> None:
    """Let Stripe add up what it has taken, and go on with what waits."""
    scene.double.advance(hours=1)
    scene.reconcile()
    scene.double.advance(hours=2)
    scene.reconcile()


class TestInput:
    def test_an_empty_id_is_refused(self, scene: BillingScene) -> None:
        """B10: the original's server goes on to list, and ends other customers' subscriptions."""
        scene.sign_up(RIVAL)
        asked = len(scene.double.journal)
        with refused(INVALID, "subscriptionId is required"):
            scene.cancel("")
        assert asked == len(scene.double.journal)

    @pytest.mark.parametrize("name", ["sub_none", "sub_1/../../customers"])
    def test_an_id_that_is_bound_to_nobody_changes_nothing(
        self, scene: BillingScene, name: str
    ) -> None:
        """C6. It may be of another program at the same account."""
        before = len(log_of(scene.calls))
        scene.cancel(name)
        assert before == len(log_of(scene.calls))


class TestALivingSubscription:
    def test_is_ended_with_its_open_usage_billed(self, scene: BillingScene) -> None:
        """B9: without `invoice_now` Stripe forgets what no invoice has yet."""
        subscription = scene.sign_up()
        scene.use(7)
        scene.cancel(subscription)
        settle_down(scene)
        assert "canceled" == status(scene, subscription)
        assert 7 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()
        (ended,) = log_of(scene.calls, "subscription-ended")
        assert 0 == json.loads(ended.json)["unbilled_cents"]

    def test_gives_the_cost_center_its_limit_back(self, scene: BillingScene) -> None:
        set_cost_center(scene.calls, PAYER, limit=55)
        subscription = scene.sign_up(limit=900)
        scene.double.advance(days=3)
        scene.cancel(subscription)
        settle_down(scene)
        center = scene.cost_center()
        assert (OTHER, 55) == (center.billing_strategy, center.spending_limit)
        assert 0 <= scene.double.clock.now - center.billing_cycle_start.seconds < 4 * 3_600

    def test_asked_again_is_ended_once(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        scene.use(7)
        for _ in range(3):
            scene.cancel(subscription)
        settle_down(scene)
        scene.cancel(subscription)
        assert 1 == len(log_of(scene.calls, "subscription-cancel-requested"))
        assert 1 == len(log_of(scene.calls, "subscription-ended"))

    @each_failure
    def test_is_ended_later_where_stripe_cannot_be_asked(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """The intent is recorded, and what is open is billed first."""
        subscription = scene.sign_up()
        scene.use(7)
        with failure.of(scene):
            scene.cancel(subscription)
            scene.cancel(subscription)
        assert 1 == len(log_of(scene.calls, "subscription-cancel-requested"))
        settle_down(scene)
        settle_down(scene)
        assert "canceled" == status(scene, subscription)
        assert 7 == scene.double.invoiced_credits(scene.known_customer().id)
        assert OTHER == scene.cost_center().billing_strategy

    def test_tells_whose_it_was(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        for wanted, payer in ((subscription, PAYER), (subscription, None), ("sub_none", None)):
            request = pb.CancelSubscriptionRequest(subscription_id=wanted)
            told = scene.calls.billing.CancelSubscription.with_call(request)[1].trailing_metadata()
            assert payer == dict(told or ()).get("usage-ledger-payer")

    @pytest.mark.parametrize(
        ("path", "method"),
        [("/v1/billing/meter_events", "POST"), ("/v1/subscriptions/*", "DELETE")],
    )
    @each_failure
    def test_that_cannot_be_ended_now_is_ended_by_a_later_run(
        self, scene: BillingScene, failure: Failure, path: str, method: str
    ) -> None:
        """B9, B12: the intent is recorded, and what is open is billed first."""
        subscription = scene.sign_up()
        scene.use(7)
        if failure.fault is None:
            scene.cancel(subscription)
        with failure.of(scene, path, method):
            if failure.fault is not None:
                scene.cancel(subscription)
            scene.double.advance(hours=1)
            scene.reconcile()
        settle_down(scene)
        settle_down(scene)
        assert OTHER == scene.cost_center().billing_strategy
        assert 7 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()


class TestADeadSubscription:
    @each_failure
    def test_is_found_dead_by_a_later_run_where_stripe_cannot_be_asked(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """So it is where the webhook comes while Stripe is down."""
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": True})
        with failure.of(scene):
            scene.cancel(subscription)
        scene.reconcile()
        assert OTHER == scene.cost_center().billing_strategy
        assert 1 == len(log_of(scene.calls, "subscription-ended"))

    def test_of_the_webhook_moves_the_cost_center(self, scene: BillingScene) -> None:
        set_cost_center(scene.calls, PAYER, limit=55)
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": True})
        scene.cancel(subscription)
        center = scene.cost_center()
        assert (OTHER, 55) == (center.billing_strategy, center.spending_limit)

    def test_leaves_what_was_never_reported_as_an_explicit_remainder(
        self, scene: BillingScene
    ) -> None:
        """B11: the original leaves it in the balance, to be forgiven when the payer comes back."""
        subscription = scene.sign_up()
        scene.use(3)
        scene.reconcile()
        scene.use(4)
        scene.shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": True})
        scene.cancel(subscription)
        (ended,) = log_of(scene.calls, "subscription-ended")
        assert 400 == json.loads(ended.json)["unbilled_cents"]

    def test_whose_customer_was_deleted_moves_the_cost_center(self, scene: BillingScene) -> None:
        """D15: without metadata the original fails for ever."""
        subscription = scene.sign_up()
        scene.double.outside.delete_customer(scene.known_customer().id)
        scene.cancel(subscription)
        assert OTHER == scene.cost_center().billing_strategy

    def test_again_changes_nothing(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription)
        scene.cancel(subscription)
        before = len(log_of(scene.calls))
        scene.cancel(subscription)
        assert before == len(log_of(scene.calls))

    def test_that_stripe_does_not_have_is_not_found(self, scene: BillingScene) -> None:
        """D19."""
        subscription = scene.sign_up()
        del scene.double.world.subscriptions[subscription]
        with refused(NOT_FOUND, f"subscription {subscription} is fetched"):
            scene.cancel(subscription)


class TestComingBack:
    def test_bills_what_the_old_subscription_had_reported_and_forgives_the_rest(
        self, scene: BillingScene
    ) -> None:
        """B11: reported before the end, settled after the return: billed once, forgiven never."""
        first = scene.sign_up()
        scene.use(7)
        scene.reconcile()
        scene.use(2)  # never reported: Stripe ends the subscription before
        scene.shop.client.v1.subscriptions.cancel(first, {"invoice_now": True})
        scene.cancel(first)
        assert 900 == scene.cents()
        second = scene.subscribe(hold=scene.hold())
        assert 700 == scene.cents()
        scene.double.advance(hours=2)
        scene.reconcile()
        assert 0 == scene.cents()
        scene.use(5)
        scene.reconcile()
        money = scene.double.money(scene.known_customer().id)
        assert {first: 7, second: 5} == {one.subscription: one.reported for one in money}

    def test_hears_late_of_the_old_end_and_stays(self, scene: BillingScene) -> None:
        """C6: the original moves the payer, who has a new subscription, back."""
        first = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(first)
        scene.cancel(first)
        scene.subscribe(hold=scene.hold(), limit=77)
        before = len(log_of(scene.calls))
        for _ in range(2):
            scene.cancel(first)
        assert before == len(log_of(scene.calls))
        center = scene.cost_center()
        assert (STRIPE, 77) == (center.billing_strategy, center.spending_limit)

    def test_before_the_end_was_heard_of_is_possible(self, scene: BillingScene) -> None:
        """D9: whether a subscription is alive, Stripe knows."""
        first = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(first)
        second = scene.subscribe(hold=scene.hold())
        assert first != second
        assert STRIPE == scene.cost_center().billing_strategy


class TestAnEndThatNobodyTold:
    def test_is_noticed_when_the_cycle_ends(self, scene: BillingScene) -> None:
        """Stripe gives a webhook up after three days; usage must not go on for nobody to pay."""
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription)
        scene.double.advance(days=32)
        scene.reconcile()
        assert OTHER == scene.cost_center().billing_strategy


class TestAnOutage:
    def test_of_days_ends_with_everything_billed(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        scene.use(7)
        scene.reconcile()
        scene.use(3)
        scene.cancel(subscription)
        with DOWN.of(scene):
            for _ in range(3):
                scene.double.advance(days=1)
                scene.reconcile()
        settle_down(scene)
        settle_down(scene)
        assert "canceled" == status(scene, subscription)
        assert 10 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()
