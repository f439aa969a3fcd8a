"""Three-way reconciliation: agreement is silence, every difference has a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.billing.scene import PAYER, BillingScene
from tests.billing.test_life_of_a_payer import minutes
from usage.v1 import usage_pb2
from usage_ledger.v1 import billing_pb2


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    with BillingScene() as opened:
        yield opened


def live_a_cycle(scene: BillingScene) -> str:
    """Sign up, use 601 minutes, and let the cycle end; give its invoice."""
    scene.sign_up()
    scene.double.advance(days=2)
    scene.record(*minutes("a", "02", 601))
    scene.reconcile()
    scene.double.advance(days=31)
    (invoice,) = scene.invoices()
    return str(invoice.id)


class TestComparison:
    def test_finds_nothing_where_all_agree(self, scene: BillingScene) -> None:
        scene.finalize(live_a_cycle(scene))
        compared = scene.compared()
        assert (1, 1, []) == (compared.payers, compared.cycles, list(compared.breaks))

    def test_names_an_invoice_that_is_not_settled(self, scene: BillingScene) -> None:
        invoice = live_a_cycle(scene)
        (found,) = [each for each in scene.compared().breaks if each.invoice_id]
        assert ("invoice-not-settled", invoice) == (found.kind, found.invoice_id)
        assert (0, 7) == (found.ledger_credits, found.invoiced_credits)
        assert "FinalizeInvoice" in found.proposal
        scene.reconcile()
        assert [] == scene.breaks()

    def test_names_usage_that_somebody_else_reported(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        customer = scene.shop.client.v1.subscriptions.retrieve(subscription).customer
        scene.double.advance(days=2)
        scene.record(*minutes("a", "02", 601))
        scene.reconcile()
        event: Any = {
            "event_name": "credits",
            "payload": {"stripe_customer_id": customer, "value": "5"},
            "identifier": "of somebody else",
        }
        scene.shop.client.v1.billing.meter_events.create(event)
        scene.double.advance(days=31)
        scene.reconcile()
        assert {"stripe-sum-differs-from-sent", "invoiced-more-than-sent"} == set(scene.breaks())

    def test_names_a_subscription_that_is_not_bound(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        bound = scene.shop.client.v1.subscriptions.retrieve(subscription)
        scene.shop.client.v1.subscriptions.create(
            {"customer": str(bound.customer), "items": [{"price": scene.shop.prices["eur"]}]}
        )
        assert ["subscription-at-stripe-is-not-bound"] == scene.breaks()

    def test_names_the_lost_end_of_a_subscription(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription)
        assert ["bound-subscription-has-ended-at-stripe"] == scene.breaks()


class TestStatus:
    def test_shows_a_payer_that_nobody_bills(self, scene: BillingScene) -> None:
        center = usage_pb2.CostCenter(attribution_id=PAYER, spending_limit=5)
        scene.calls.usage.SetCostCenter(usage_pb2.SetCostCenterRequest(cost_center=center))
        scene.record(*minutes("a", "02", 601))
        request = billing_pb2.GetBillingStatusRequest()
        (payer,) = scene.calls.billing_status.GetBillingStatus(request).payers
        assert (True, 601) == (payer.unbilled, payer.billable_cents)

    def test_shows_what_waits_while_stripe_is_down(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.double.advance(days=2)
        scene.record(*minutes("a", "02", 601))
        rule = scene.double.faults.add("unreachable", path="/v1/billing/meter_events")
        scene.reconcile()
        request = billing_pb2.GetBillingStatusRequest(attribution_id=PAYER)
        (payer,) = scene.calls.billing_status.GetBillingStatus(request).payers
        assert (7, 7) == (payer.requested_credits, payer.waiting_credits)
        assert "Stripe cannot be asked" in payer.waits_for
        scene.double.faults.remove(rule)
        scene.reconcile()
        (payer,) = scene.calls.billing_status.GetBillingStatus(request).payers
        assert (7, 0, "") == (payer.requested_credits, payer.waiting_credits, payer.waits_for)
