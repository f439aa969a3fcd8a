"""A report was stamped in the very second in which a subscription ended at the end of its cycle.

That second is the next cycle's, which never began, so no invoice had it. It was not given up, for
the last second of a subscription that ends within a cycle is billed; nor did the books count it.
"""

from __future__ import annotations

import json

from tests.billing.scene import BillingScene
from tests.contract.calls.asking import log_of
from usage.v1 import usage_pb2


def ended_with_its_cycle(scene: BillingScene) -> str:
    """Report 10 within the cycle, and 5 in the second in which it and the subscription end."""
    subscription = scene.sign_up()
    scene.double.advance(days=10)
    scene.use(10)
    scene.reconcile()
    scene.shop.client.v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
    end = scene.cost_center().next_billing_time.seconds
    scene.double.advance_to(end * 1_000)
    scene.use(5)
    scene.report()
    scene.double.advance(hours=2)
    scene.cancel(subscription)
    return subscription


class TestAReportInThatSecond:
    def test_waits_for_no_invoice(self) -> None:
        with BillingScene() as scene:
            subscription = ended_with_its_cycle(scene)
            scene.reconcile()
            reported = scene.service.ledger.shards[0].queries.reader.reported(subscription)
            assert reported is not None
            assert 100 * reported.requested_credits == reported.settled_cents == 1_000
            assert 500 == scene.cents()

    def test_is_what_nobody_will_pay(self) -> None:
        with BillingScene() as scene:
            ended_with_its_cycle(scene)
            (ended,) = [json.loads(one.json) for one in log_of(scene.calls, "subscription-ended")]
            assert 500 == ended["unbilled_cents"]

    def test_leaves_nothing_open_for_who_comes_back(self) -> None:
        """What is forgiven then is all that they owe: no invoice will have it."""
        with BillingScene() as scene:
            ended_with_its_cycle(scene)
            scene.reconcile()
            center = scene.cost_center()
            center.billing_strategy = usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE
            scene.calls.usage.SetCostCenter(usage_pb2.SetCostCenterRequest(cost_center=center))
            assert 0 == scene.cents()


class TestAReportInTheSecondInWhichACycleBegan:
    def test_is_billed_where_the_subscription_ends_in_that_second(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            end = scene.cost_center().next_billing_time.seconds
            scene.double.advance_to(end * 1_000)
            scene.use(5)
            scene.report()
            scene.shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": True})
            scene.cancel(subscription)
            scene.double.advance(hours=2)
            scene.reconcile()
            assert (5, 0) == (
                scene.double.invoiced_credits(scene.known_customer().id),
                scene.cents(),
            )
            (books,) = log_of(scene.calls, "reported-cycle-closed")[-1:]
            assert (5, 5) == (
                json.loads(books.json)["sent_credits"],
                json.loads(books.json)["invoiced_credits"],
            )
