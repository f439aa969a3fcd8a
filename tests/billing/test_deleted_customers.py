"""Customers that are deleted at Stripe, at any moment: D15 in section 5 of the billing contract.

Stripe ends their subscriptions and forgets what was not invoiced. It may tell of the customer, of
the subscription, of both or of neither; the payer may come back as another customer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing import StripeMissingError
from ledger.invoicing.comparison import Comparison
from tests.billing.calls.failing import DOWN
from tests.billing.deletions import alive, come_back, delete
from tests.billing.scene import PAYER, BillingScene, payer_key
from tests.billing.webhook_scene import WebhookScene
from tests.contract.calls.asking import STRIPE, log_of
from tests.oracle.events import payer_of
from usage.v1 import usage_pb2
from usage_ledger.v1 import billing_pb2

OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
RIVAL = payer_of("rival")
EVENTS_OF_STRIPE = "/v1/events"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WebhookScene]:
    with WebhookScene(tmp_path) as scene:
        yield scene
        assert [] == scene.calls.breaches()


class Beside:
    """A gateway that does as the scene's does, but for some calls."""

    def __init__(self, scene: BillingScene, customer: str = "") -> None:
        billing = scene.service.ledger.billing
        assert billing is not None
        self._gateway, self._customer = billing.gateway, customer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)


class Forgetful(Beside):
    """To a Stripe that has nothing any more of a customer."""

    async def subscriptions_of(self, customer_id: str) -> Any:
        if customer_id == self._customer:
            raise StripeMissingError("Stripe does not have it", status=404)
        return await self._gateway.subscriptions_of(customer_id)


class Refusing(Beside):
    """To a Stripe that looks at the customer of a report before it takes it."""

    async def send_usage(self, **_: Any) -> Any:
        raise StripeMissingError("Stripe does not have it", status=400, code="resource_missing")


class TestASubscription:
    @pytest.mark.parametrize(
        "kinds",
        [
            ("customer.deleted",),
            ("customer.subscription.deleted",),
            ("customer.subscription.deleted", "customer.deleted"),
            ("customer.deleted", "customer.subscription.deleted"),
        ],
        ids=" then ".join,
    )
    def test_has_ended_whatever_is_told(self, scene: WebhookScene, kinds: tuple[str, ...]) -> None:
        scene.sign_up()
        scene.taken()
        first = delete(scene)
        told = scene.taken()
        for kind in kinds:
            for _ in range(2):
                scene.deliver([one for one in told if one.kind == kind])
                scene.until_done()
        assert OTHER == scene.cost_center().billing_strategy
        assert 1 == len(log_of(scene.calls, "subscription-ended"))
        come_back(scene, first)
        scene.deliver(told)  # late, and all of it again
        scene.until_done()
        assert STRIPE == scene.cost_center().billing_strategy
        assert 1 == len(alive(scene))

    def test_has_ended_when_the_next_run_finds_it(self, scene: WebhookScene) -> None:
        scene.sign_up()
        first = delete(scene)
        scene.reconcile()
        assert OTHER == scene.cost_center().billing_strategy
        assert 1 == len(log_of(scene.calls, "stripe-customer-gone"))
        come_back(scene, first)

    def test_that_is_not_heard_of_by_anybody_ends_when_the_payer_comes_back(
        self, scene: WebhookScene
    ) -> None:
        scene.sign_up()
        first = delete(scene)
        come_back(scene, first)
        assert 1 == len(log_of(scene.calls, "subscription-ended"))

    def test_that_is_being_cancelled_ends_once(self, scene: WebhookScene) -> None:
        subscription = scene.sign_up()
        scene.use(7)
        with DOWN.of(scene, "/v1/billing/*"):
            scene.cancel(subscription)
        delete(scene)
        scene.reconcile()
        assert 1 == len(log_of(scene.calls, "subscription-ended"))
        assert OTHER == scene.cost_center().billing_strategy
        scene.double.advance(days=5)
        scene.reconcile()  # its last books are closed: what was under way reached nobody
        reader = scene.service.ledger.shards[0].queries.reader
        assert [] == reader.open_reports(subscription)
        assert 700 == scene.cents()


class TestReports:
    def test_that_were_sent_and_never_invoiced_are_billed_when_the_payer_is_back(
        self, scene: WebhookScene
    ) -> None:
        """Stripe forgets them; nothing of it is forgiven by coming back at once."""
        scene.sign_up()
        scene.use(7)
        scene.reconcile()
        scene.double.advance(hours=1)
        first = delete(scene)
        scene.reconcile()
        come_back(scene, first)
        assert 700 == scene.cents()
        scene.double.advance(days=5)  # the last books are closed: no invoice came
        scene.reconcile()
        scene.double.advance(days=30)
        scene.reconcile()
        second = scene.known_customer().id
        assert 7 == scene.double.invoiced_credits(second)
        assert 0 == scene.cents()

    def test_of_which_nobody_knows_end_with_the_subscription(self, scene: WebhookScene) -> None:
        """Of a customer that is gone Stripe has no sums to compare with."""
        scene.sign_up()
        scene.use(7)
        with DOWN.of(scene, "/v1/billing/*"):
            scene.reconcile()
        delete(scene)
        scene.double.advance(hours=25)
        with DOWN.of(scene, EVENTS_OF_STRIPE):
            scene.reconcile()
        assert OTHER == scene.cost_center().billing_strategy
        assert 1 == len(log_of(scene.calls, "subscription-ended"))

    def test_that_stripe_refuses_at_once_end_with_the_subscription(
        self, scene: WebhookScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whether it takes them and rejects them later, as the double does, is not documented."""
        subscription = scene.sign_up()
        scene.use(7)
        delete(scene)
        billing: Any = scene.service.ledger.billing
        billing.reports._gateway = Refusing(scene)
        with DOWN.of(scene, EVENTS_OF_STRIPE):
            scene.reconcile()
        assert "is refused" in caplog.text
        assert OTHER == scene.cost_center().billing_strategy
        reader = scene.service.ledger.shards[0].queries.reader
        assert [] == reader.open_reports(subscription)
        (ended,) = log_of(scene.calls, "subscription-ended")
        assert 700 == json.loads(ended.json)["unbilled_cents"]

    def test_that_stripe_refuses_afterwards_have_the_others_compared(
        self, scene: WebhookScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        for payer in (PAYER, RIVAL):
            scene.sign_up(payer)
            scene.use(7, payer)
        scene.taken()
        for payer in (PAYER, RIVAL):
            if payer == min(PAYER, RIVAL):  # the one that is looked at first
                scene.double.outside.delete_customer(scene.known_customer(payer).id)
            else:
                scene.double.outside.refuse_late()
        with DOWN.of(scene, EVENTS_OF_STRIPE):
            scene.reconcile()
        scene.double.advance(hours=1)
        scene.deliver(None, "v1.billing.meter.error_report_triggered")
        scene.until_done()
        assert "Stripe has 0 credits of the open cycle, 7 were delivered" in caplog.text
        assert OTHER == scene.cost_center(min(PAYER, RIVAL)).billing_strategy
        assert STRIPE == scene.cost_center(max(PAYER, RIVAL)).billing_strategy

    def test_to_the_next_customer_are_compared_with_its_own_sum(self, scene: WebhookScene) -> None:
        scene.sign_up()
        scene.use(5)
        scene.reconcile()
        first = delete(scene)
        come_back(scene, first)  # within the same minute
        scene.use(7)
        with DOWN.of(scene, "/v1/billing/*"):
            scene.reconcile()
        lost = scene.double.faults.add("answer_lost", path="/v1/billing/meter_events")
        scene.reconcile()
        scene.double.faults.remove(lost)
        scene.double.advance(hours=25)
        scene.reconcile()
        outcomes = [
            json.loads(one.json)["outcome"] for one in log_of(scene.calls, "usage-reported")
        ]
        assert ["accepted", "found"] == outcomes


class TestTheComparison:
    def test_of_two_customers_finds_nothing_where_all_agree(self, scene: WebhookScene) -> None:
        scene.live_a_cycle(7)
        scene.use(3)
        scene.reconcile()
        scene.double.advance(hours=1)
        first = delete(scene)
        scene.reconcile()
        scene.double.advance(days=5)
        scene.reconcile()
        come_back(scene, first)
        scene.end_a_cycle(9)
        scene.reconcile()
        assert [] == scene.breaks()
        request = billing_pb2.CompareBillingRequest()
        assert 3 == scene.calls.billing_status.CompareBilling(request).cycles

    def test_names_the_end_that_nobody_has_heard_of(self, scene: WebhookScene) -> None:
        scene.sign_up()
        delete(scene)
        assert ["bound-subscription-has-ended-at-stripe"] == scene.breaks()

    def test_goes_on_where_stripe_lists_nothing_of_a_deleted_one(self, scene: WebhookScene) -> None:
        """Whether it does is not documented."""
        scene.live_a_cycle(7)
        scene.reconcile()
        first = delete(scene)
        scene.reconcile()
        come_back(scene, first)
        gateway: Any = Forgetful(scene, first)
        comparison = Comparison(scene.service.ledger, gateway)
        compared = scene.service.wait(comparison.of_payer(payer_key()))
        assert (1, []) == (compared.cycles, compared.breaks)
