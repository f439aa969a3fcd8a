"""What Stripe made, and never told of, was made again or bound when it had ended."""

from __future__ import annotations

import contextlib

import grpc
import pytest

from tests.billing.scene import BillingScene, Shop
from tests.contract.calls.asking import log_of
from usage.v1 import billing_pb2, usage_pb2


def subscribed_without_an_answer(scene: BillingScene) -> str:
    """Sign up; the subscription is made and nobody hears of it. Give it."""
    scene.customer()
    hold = scene.hold()
    lost = scene.double.faults.add("answer_lost", method="POST", path="/v1/subscriptions")
    with contextlib.suppress(grpc.RpcError):
        scene.subscribe(hold=hold)
    scene.double.faults.remove(lost)
    (made,) = scene.double.world.subscriptions
    return made


class TestACustomer:
    def test_that_was_made_behind_a_stored_failure_is_bound(self) -> None:
        dying = True

        def failpoint(name: str) -> None:
            if dying and name == "customer-requested":
                raise RuntimeError("the process ends here")

        with BillingScene(failpoint=failpoint) as scene:
            with pytest.raises(grpc.RpcError):
                scene.customer()
            dying = False
            scene.double.advance(minutes=1)
            rule = scene.double.faults.add("server_error_after", method="POST")
            bound = scene.customer()
            scene.double.faults.remove(rule)
            assert [bound.id] == list(scene.double.world.customers)


class TestASubscription:
    def test_that_ended_before_it_was_bound_is_not_bound(self) -> None:
        with BillingScene() as scene:
            made = subscribed_without_an_answer(scene)
            scene.double.client().v1.subscriptions.cancel(made)
            scene.double.advance(minutes=1)
            scene.reconcile()
            other = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
            assert other == scene.cost_center().billing_strategy
            assert [] == log_of(scene.calls, "subscription-created")
            again = scene.subscribe(hold=scene.hold())
            assert scene.double.world.subscriptions[again].ended_at is None

    def test_that_is_bound_in_a_later_cycle_keeps_its_day_of_the_month(self) -> None:
        with BillingScene(Shop(start="2027-01-31T09:00:00Z")) as scene:
            subscribed_without_an_answer(scene)
            scene.double.advance_to("2027-03-05T00:00:00Z")
            request = billing_pb2.ReconcileInvoicesRequest()
            scene.calls.billing.ReconcileInvoices(request)
            scene.double.advance_to("2027-03-29T00:00:00Z")
            (item,) = next(iter(scene.double.world.subscriptions.values())).items
            assert item.period_end == scene.cost_center().next_billing_time.seconds
