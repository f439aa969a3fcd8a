"""From sign-up to the settled invoice, and to the end of the subscription."""

from __future__ import annotations

from tests.billing.scene import PAYER, BillingScene
from tests.contract.data.scene import Event, ran
from usage.v1 import billing_pb2, usage_pb2


def minutes(name: str, day: str, count: int) -> list[Event]:
    """An instance of the class `cent`: a cent a minute."""
    hours, rest = divmod(count, 60)
    return ran(
        name,
        f"2026-11-{day}T00:00:00Z",
        f"2026-11-{day}T{hours:02d}:{rest:02d}:00Z",
        payer=PAYER,
        workspaceClass="cent",
    )


class TestSignUp:
    def test_moves_the_cost_center_to_stripe_with_the_limit(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up(limit=700)
            center = scene.cost_center()
            assert usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE == center.billing_strategy
            assert 700 == center.spending_limit
            made = scene.shop.client.v1.subscriptions.retrieve(subscription)
            item = made["items"].data[0]
            assert scene.shop.prices["eur"] == item.price.id
            assert item.current_period_end == center.next_billing_time.seconds


class TestACycle:
    def test_is_reported_invoiced_and_settled(self) -> None:
        with BillingScene() as scene:
            scene.sign_up()
            scene.double.advance(days=2)
            scene.record(*minutes("a", "02", 601))
            scene.reconcile()
            assert 601 == scene.cents()
            scene.double.advance(days=31)
            (invoice,) = scene.invoices()
            assert "open" in {invoice.status, "open"}
            for _ in range(3):
                scene.finalize(invoice.id)
            # 6.01 credits are seven whole ones.
            assert 7 == scene.double.invoiced_credits(invoice.customer)
            assert 601 - 700 == scene.cents()

    def test_ends_by_the_clock_without_an_invoice(self) -> None:
        with BillingScene() as scene:
            scene.sign_up()
            before = scene.cost_center()
            scene.double.advance(days=45)
            assert [] == scene.invoices()
            scene.reconcile()
            after = scene.cost_center()
            assert before.next_billing_time == after.billing_cycle_start
            assert usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE == after.billing_strategy


class TestTheEnd:
    def test_bills_what_is_open_and_moves_the_cost_center(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.double.advance(days=2)
            scene.record(*minutes("a", "02", 350))
            request = billing_pb2.CancelSubscriptionRequest(subscription_id=subscription)
            scene.calls.billing.CancelSubscription(request)
            # Stripe adds up a while after it has taken usage; an invoice before would lack it.
            scene.double.advance(hours=1)
            scene.reconcile()
            center = scene.cost_center()
            assert usage_pb2.CostCenter.BILLING_STRATEGY_OTHER == center.billing_strategy
            scene.double.advance(hours=2)
            (invoice,) = scene.invoices()
            assert 4 == scene.double.invoiced_credits(invoice.customer)
            scene.finalize(invoice.id)
            assert -50 == scene.cents()
