"""Failures that Stripe stores under a key, and repeats for a day: nothing waits for that day.

And nothing is made twice, whether the failed request had an effect, is still under way, or has one
later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.records import MARKER
from ledger.identifiers import parse_payer
from ledger.invoicing.subscriptions import Subscriptions
from tests.billing.calls.failing import PRECONDITION, UNAVAILABLE
from tests.billing.scene import PAYER, BillingScene
from tests.billing.webhook_scene import WebhookScene
from tests.contract.calls.asking import STRIPE, log_of, refused
from tests.stripe_double import Fault
from usage.v1 import usage_pb2

SUBSCRIPTIONS, HOLDS = "/v1/subscriptions", "/v1/payment_intents"
OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
# Whether Stripe says of a 500 that its key would only repeat it; then the library does not ask.
says_final = pytest.mark.parametrize("is_final", [False, True])


def fails(scene: BillingScene, fault: Fault, path: str, **more: Any) -> None:
    """Let the next request go wrong, or as many as are named."""
    scene.double.faults.add(fault, method="POST", path=path, **{"times": 1, **more})


def made(scene: BillingScene) -> list[str]:
    """All subscriptions at Stripe, dead ones too."""
    return list(scene.double.world.subscriptions)


def keys(scene: BillingScene, path: str) -> set[str | None]:
    """The keys under which something was asked for."""
    return {one.idempotency_key for one in scene.double.journal.of("POST", path)}


def refusals(scene: BillingScene) -> list[tuple[str, str]]:
    """Step and reason of each attempt that came to nothing."""
    told = [json.loads(one.json) for one in log_of(scene.calls, "subscription-refused")]
    return [(one["step"], one["reason"]) for one in told]


class TestASubscription:
    @says_final
    def test_is_made_under_another_key_and_number(
        self, scene: BillingScene, is_final: bool
    ) -> None:
        """C5: the sign-up does not wait until the key is forgotten."""
        scene.double.settings.server_errors_are_final = is_final
        scene.customer()
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR, SUBSCRIPTIONS)
        if is_final:  # nobody has asked again, so it is not known that it is stored
            with refused(UNAVAILABLE, "Failed to create subscription with customer ID"):
                scene.subscribe(hold=hold, limit=9)
        subscription = scene.subscribe(hold=hold, limit=9)
        assert [subscription] == made(scene)
        assert {f"create-subscription:{PAYER}:{number}" for number in (1, 2)} == keys(
            scene, SUBSCRIPTIONS
        )
        assert [("subscription", "stored failure")] == refusals(scene)
        center = scene.cost_center()
        assert (STRIPE, 9) == (center.billing_strategy, center.spending_limit)

    def test_needs_no_second_hold_for_it(self, scene: BillingScene) -> None:
        scene.customer()
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR, SUBSCRIPTIONS)
        scene.subscribe(hold=hold)
        verified = [json.loads(one.json) for one in log_of(scene.calls, "hold-verified")]
        assert [1, 2] == [one["attempt"] for one in verified]
        assert 1 == len({one["payment_method_id"] for one in verified})
        assert 1 == len(scene.double.journal.of("POST", f"{HOLDS}/{hold}/cancel"))

    @says_final
    def test_that_was_made_before_the_failure_is_bound(
        self, scene: BillingScene, is_final: bool
    ) -> None:
        scene.double.settings.server_errors_are_final = is_final
        scene.customer()
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR_AFTER, SUBSCRIPTIONS)
        if is_final:
            with refused(UNAVAILABLE):
                scene.subscribe(hold=hold)
        subscription = scene.subscribe(hold=hold)
        assert [subscription] == made(scene)
        assert 1 == len(keys(scene, SUBSCRIPTIONS))
        assert [] == refusals(scene)

    def test_that_was_made_and_ended_before_anybody_knew_is_not_made_again(
        self, scene: BillingScene
    ) -> None:
        """Who ended it at Stripe did not want it."""
        scene.double.settings.server_errors_are_final = True
        scene.customer()
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR_AFTER, SUBSCRIPTIONS)
        with refused(UNAVAILABLE):
            scene.subscribe(hold=hold)
        (ended,) = made(scene)
        scene.shop.client.v1.subscriptions.cancel(ended)
        with refused(PRECONDITION, f"subscription {ended} ended before it was bound"):
            scene.subscribe(hold=hold)
        assert [ended] == made(scene)

    def test_that_is_still_being_made_is_not_asked_for_under_another_key(
        self, scene: BillingScene
    ) -> None:
        """A failure that is not stored may have an effect yet."""
        scene.customer()
        hold = scene.hold()
        fails(scene, Fault.STILL_RUNNING, SUBSCRIPTIONS)
        for _ in range(2):
            with refused(UNAVAILABLE):
                scene.subscribe(hold=hold)
        assert [] == made(scene)
        scene.double.advance(minutes=1)
        subscription = scene.subscribe(hold=hold)
        assert [subscription] == made(scene)
        assert 1 == len(keys(scene, SUBSCRIPTIONS))

    def test_is_not_given_another_key_while_nobody_can_look(self, scene: BillingScene) -> None:
        """Whether the failed request has made something is not known then."""
        scene.double.settings.server_errors_are_final = True
        scene.customer()
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR_AFTER, SUBSCRIPTIONS)
        with refused(UNAVAILABLE):
            scene.subscribe(hold=hold)
        looks = scene.double.faults.add(Fault.UNREACHABLE, method="GET", path=SUBSCRIPTIONS)
        with refused(UNAVAILABLE):
            scene.subscribe(hold=hold)
        scene.double.faults.remove(looks)
        assert [scene.subscribe(hold=hold)] == made(scene)
        assert [] == refusals(scene)

    def test_is_asked_for_under_two_keys_a_call_where_stripe_is_broken(
        self, scene: BillingScene
    ) -> None:
        scene.customer()
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR, SUBSCRIPTIONS, times=None)
        for count in (2, 4):
            with refused(UNAVAILABLE, "Failed to create subscription with customer ID"):
                scene.subscribe(hold=hold)
            assert count == len(keys(scene, SUBSCRIPTIONS))
        scene.double.faults.clear()
        scene.reconcile()  # nobody has to call again
        assert 1 == len(made(scene))
        assert STRIPE == scene.cost_center().billing_strategy


class TestATwin:
    """Stripe mends what failed on its side, and may make an object after all."""

    @pytest.fixture
    def hooks(self, tmp_path: Path) -> Iterator[WebhookScene]:
        with WebhookScene(tmp_path) as scene:
            yield scene
            assert [] == scene.calls.breaches()

    @staticmethod
    def comes_to_light(scene: BillingScene, attempt: int, customer: str) -> str:
        """What an attempt asked for is made now; give it."""
        mark = f"subscription:{PAYER}:{attempt}"
        params: Any = {
            "customer": customer,
            "items": [{"price": scene.shop.prices["eur"]}],
            "metadata": {"attributionId": PAYER, MARKER: mark},
        }
        return scene.shop.client.v1.subscriptions.create(params).id

    def test_of_a_bound_one_is_ended_and_nothing_of_it_billed(self, hooks: WebhookScene) -> None:
        customer = hooks.customer().id
        fails(hooks, Fault.SERVER_ERROR, SUBSCRIPTIONS)
        bound = hooks.subscribe(hold=hooks.hold())
        twin = self.comes_to_light(hooks, 1, customer)
        hooks.use(7)
        hooks.reconcile()
        hooks.deliver(None, "customer.subscription.created")
        hooks.until_done()
        assert "canceled" == hooks.shop.client.v1.subscriptions.retrieve(twin).status
        assert "active" == hooks.shop.client.v1.subscriptions.retrieve(bound).status
        hooks.double.advance(days=32)
        hooks.reconcile()
        assert 7 == hooks.double.invoiced_credits(customer)

    def test_is_ended_although_no_webhook_came(self, scene: BillingScene) -> None:
        customer = scene.customer().id
        fails(scene, Fault.SERVER_ERROR, SUBSCRIPTIONS)
        scene.subscribe(hold=scene.hold())
        twin = self.comes_to_light(scene, 1, customer)
        scene.reconcile()
        assert "canceled" == scene.shop.client.v1.subscriptions.retrieve(twin).status

    def test_that_comes_before_another_is_made_is_bound(self, scene: BillingScene) -> None:
        """One of them is enough: the payer has what was asked for."""
        customer = scene.customer().id
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR, SUBSCRIPTIONS, times=None)
        with refused(UNAVAILABLE):
            scene.subscribe(hold=hold)
        scene.double.faults.clear()
        twin = self.comes_to_light(scene, 1, customer)
        assert twin == scene.subscribe(hold=hold)
        assert [twin] == made(scene)

    def test_that_is_bound_while_another_is_made_stays_the_only_one(
        self, scene: BillingScene
    ) -> None:
        """Two calls go on with one sign-up; the one looks before the twin is there, and asks."""
        customer = scene.customer().id
        hold = scene.hold()
        fails(scene, Fault.SERVER_ERROR, SUBSCRIPTIONS, times=None)
        with refused(UNAVAILABLE):
            scene.subscribe(hold=hold)
        scene.double.faults.clear()
        billing: Any = scene.service.ledger.billing

        class Late:
            """The twin comes to light, and is bound, just before this one asks for another."""

            def __getattr__(self, name: str) -> Any:
                return getattr(billing.gateway, name)

            async def create_subscription(self, **given: Any) -> Any:
                TestATwin.comes_to_light(scene, 1, customer)
                await billing.subscriptions.go_on(payer, "test")
                return await billing.gateway.create_subscription(**given)

        payer = parse_payer(PAYER)
        assert payer is not None
        late: Any = Late()
        ledger, known = scene.service.ledger, billing.subscriptions
        saga = Subscriptions(ledger, late, known._customers, known._holds, known._flush)
        account = scene.service.wait(saga.go_on(payer, "test"))
        twin, made_last = made(scene)
        assert account.subscription is not None
        assert twin == account.subscription.subscription_id
        retrieve = scene.shop.client.v1.subscriptions.retrieve
        assert ("active", "canceled") == (retrieve(twin).status, retrieve(made_last).status)

    def test_of_an_attempt_of_which_all_is_known_is_left_alone(self, scene: BillingScene) -> None:
        """Somebody has copied a subscription with its metadata; `billing reconcile` names it."""
        customer = scene.customer().id
        scene.subscribe(hold=scene.hold())
        copy = self.comes_to_light(scene, 1, customer)
        scene.reconcile()
        assert "active" == scene.shop.client.v1.subscriptions.retrieve(copy).status


class TestAHold:
    @says_final
    def test_is_placed_under_another_number(self, scene: BillingScene, is_final: bool) -> None:
        scene.double.settings.server_errors_are_final = is_final
        scene.customer()
        fails(scene, Fault.SERVER_ERROR, HOLDS)
        if is_final:
            with refused(UNAVAILABLE):
                scene.placed_hold()
        hold = scene.placed_hold()
        assert [hold] == list(scene.double.world.payment_intents)
        assert {f"create-hold:{PAYER}:{number}" for number in (1, 2)} == keys(scene, HOLDS)

    @says_final
    def test_that_was_made_before_the_failure_is_the_answer(
        self, scene: BillingScene, is_final: bool
    ) -> None:
        scene.double.settings.server_errors_are_final = is_final
        scene.customer()
        fails(scene, Fault.SERVER_ERROR_AFTER, HOLDS)
        if is_final:
            with refused(UNAVAILABLE):
                scene.placed_hold()
        hold = scene.placed_hold()
        assert [hold] == list(scene.double.world.payment_intents)
        scene.double.outside.confirm_payment(hold)
        assert scene.subscribe(hold=hold)

    @pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.TIMEOUT_AFTER])
    def test_whose_answer_was_lost_is_the_answer_to_the_next_call(
        self, scene: BillingScene, fault: Fault
    ) -> None:
        """C5: one key as long as nothing is known."""
        scene.customer()
        fails(scene, fault, HOLDS, times=3)
        with pytest.raises(Exception, match="Failed to create a payment intent"):
            scene.placed_hold()
        hold = scene.placed_hold()
        assert [hold] == list(scene.double.world.payment_intents)
        assert hold != scene.placed_hold()

    def test_whose_key_stripe_may_have_forgotten_is_another(self, scene: BillingScene) -> None:
        scene.customer()
        fails(scene, Fault.ANSWER_LOST, HOLDS, times=3)
        with refused(UNAVAILABLE):
            scene.placed_hold()
        (first,) = scene.double.world.payment_intents
        scene.double.advance(hours=23, minutes=30)
        assert first != scene.placed_hold()

    def test_that_is_still_being_made_is_the_answer_once_it_is(self, scene: BillingScene) -> None:
        scene.customer()
        fails(scene, Fault.STILL_RUNNING, HOLDS)
        for _ in range(2):
            with refused(UNAVAILABLE):
                scene.placed_hold()
        scene.double.advance(minutes=1)
        assert [scene.placed_hold()] == list(scene.double.world.payment_intents)

    def test_is_asked_for_under_two_keys_a_call_where_stripe_is_broken(
        self, scene: BillingScene
    ) -> None:
        scene.customer()
        fails(scene, Fault.SERVER_ERROR, HOLDS, times=None)
        for count in (2, 3):  # the second call goes on with the last number of the first
            with refused(UNAVAILABLE):
                scene.placed_hold()
            assert count == len(keys(scene, HOLDS))


class TestACancellation:
    @pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.SERVER_ERROR_AFTER])
    @says_final
    def test_is_done_by_the_next_run(
        self, scene: BillingScene, fault: Fault, is_final: bool
    ) -> None:
        """Stripe stores nothing of a DELETE, and a second one ends nothing twice."""
        scene.double.settings.server_errors_are_final = is_final
        subscription = scene.sign_up()
        scene.use(7)
        scene.reconcile()
        scene.double.advance(hours=1)
        scene.double.faults.add(fault, method="DELETE", path="/v1/subscriptions/*", times=1)
        scene.cancel(subscription)
        scene.double.advance(minutes=1)
        scene.reconcile()
        assert "canceled" == scene.shop.client.v1.subscriptions.retrieve(subscription).status
        assert OTHER == scene.cost_center().billing_strategy
        scene.double.advance(hours=2)
        scene.reconcile()
        assert 7 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()
        assert [None] == list({one.idempotency_key for one in self.deletes(scene)})

    def test_that_goes_on_after_its_caller_was_told_504_ends_it_once(
        self, scene: BillingScene
    ) -> None:
        subscription = scene.sign_up()
        scene.use(7)
        scene.reconcile()
        scene.double.advance(hours=1)
        scene.double.faults.add(
            Fault.STILL_RUNNING, method="DELETE", path="/v1/subscriptions/*", times=3
        )
        scene.cancel(subscription)
        scene.double.advance(minutes=1)
        scene.reconcile()
        scene.double.advance(hours=2)
        scene.reconcile()
        assert 1 == len(log_of(scene.calls, "subscription-ended"))
        assert 7 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()

    @staticmethod
    def deletes(scene: BillingScene) -> list[Any]:
        return [one for one in scene.double.journal if one.method == "DELETE"]
