"""What webhooks bring about: by fetching the object, in any order, once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.billing.calls.failing import DOWN, UNAVAILABLE
from tests.billing.scene import PAYER, Shop
from tests.billing.webhook_scene import WebhookScene, event
from tests.contract.calls.asking import STRIPE, log_of, refused
from tests.stripe_double import Fault
from usage.v1 import billing_pb2, usage_pb2
from usage_ledger.v1 import billing_pb2 as status_pb

OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WebhookScene]:
    with WebhookScene(tmp_path) as scene:
        yield scene
        assert [] == scene.calls.breaches()


def arrives(scene: WebhookScene, *kinds: str) -> None:
    """What Stripe has to say of these kinds comes and is done; what else it has is lost."""
    scene.deliver(None, *kinds)
    scene.until_done()
    assert set(kinds) == {one.type for one in scene.kept() if one.state == "done"} & set(kinds)


class TestAnInvoice:
    def test_that_is_final_is_settled(self, scene: WebhookScene) -> None:
        scene.live_a_cycle(7)
        assert 700 == scene.cents()
        arrives(scene, "invoice.finalized")
        assert 0 == scene.cents()

    def test_that_is_paid_is_settled_if_nobody_told_that_it_is_final(
        self, scene: WebhookScene
    ) -> None:
        scene.live_a_cycle(7)
        arrives(scene, "invoice.paid")
        assert 0 == scene.cents()

    @pytest.mark.parametrize(
        ("act", "kind"),
        [
            ("void_invoice", "invoice.voided"),
            ("mark_uncollectible", "invoice.marked_uncollectible"),
        ],
    )
    def test_that_is_taken_back_is_owed_again(
        self, scene: WebhookScene, act: str, kind: str
    ) -> None:
        """B6."""
        scene.double.settings.collects_payments = False
        invoice = scene.live_a_cycle(7)
        arrives(scene, "invoice.finalized")
        getattr(scene.double.outside, act)(invoice)
        arrives(scene, kind)
        assert 700 == scene.cents()

    def test_that_is_credited_is_owed_again_until_the_note_is_voided(
        self, scene: WebhookScene
    ) -> None:
        """B6."""
        scene.double.settings.collects_payments = False
        invoice = scene.live_a_cycle(1_100)
        lines = scene.shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter()
        (line,) = [line.id for line in lines if line.quantity == 100]
        credited: Any = {"type": "invoice_line_item", "invoice_line_item": line, "quantity": 40}
        note = scene.shop.client.v1.credit_notes.create({"invoice": invoice, "lines": [credited]})
        arrives(scene, "credit_note.created")
        assert 4_000 == scene.cents()
        scene.shop.client.v1.credit_notes.void_credit_note(note.id)
        arrives(scene, "credit_note.voided")
        assert 0 == scene.cents()


class TestASubscription:
    def test_whose_answer_was_lost_is_completed(self, scene: WebhookScene) -> None:
        """B12."""
        scene.customer()
        hold = scene.hold()
        scene.double.faults.add(Fault.ANSWER_LOST, method="POST", path="/v1/subscriptions")
        with refused(UNAVAILABLE):
            scene.subscribe(hold=hold, limit=8)
        scene.double.faults.clear()
        assert OTHER == scene.cost_center().billing_strategy
        arrives(scene, "customer.subscription.created")
        center = scene.cost_center()
        assert (STRIPE, 8) == (center.billing_strategy, center.spending_limit)

    def test_that_has_ended_moves_the_cost_center(self, scene: WebhookScene) -> None:
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription)
        arrives(scene, "customer.subscription.deleted")
        assert OTHER == scene.cost_center().billing_strategy

    def test_that_ended_before_another_began_changes_nothing(self, scene: WebhookScene) -> None:
        """C6."""
        first = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(first)
        (late,) = [one for one in scene.taken() if one.kind == "customer.subscription.deleted"]
        scene.cancel(first)
        second = scene.subscribe(hold=scene.hold(), limit=9)
        before = len(log_of(scene.calls))
        scene.deliver([late, late])
        scene.until_done()
        assert before == len(log_of(scene.calls))
        center = scene.cost_center()
        assert (STRIPE, 9) == (center.billing_strategy, center.spending_limit)
        assert "active" == scene.shop.client.v1.subscriptions.retrieve(second).status

    def test_of_somebody_else_changes_nothing(self, scene: WebhookScene) -> None:
        """B10."""
        customer = scene.shop.client.v1.customers.create({"email": "x@example.org"})
        scene.shop.client.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": scene.shop.prices["usd"]}]}
        )
        before = len(log_of(scene.calls))
        arrives(scene, "customer.subscription.created")
        assert before == len(log_of(scene.calls))


class TestACustomer:
    def test_that_moves_is_taxed_where_it_lives(self, scene: WebhookScene) -> None:
        scene.customer()
        subscription = scene.subscribe(hold=scene.hold(card="no_address"))
        scene.taken()
        customer = scene.known_customer().id
        scene.double.outside.set_address(customer, {"country": "DE", "city": "Kiel"})
        arrives(scene, "customer.updated")
        assert scene.shop.client.v1.subscriptions.retrieve(subscription).automatic_tax.enabled
        assert not scene.known_customer().invalid_billing_address

    def test_that_was_deleted_can_be_made_anew(self, scene: WebhookScene) -> None:
        """D15."""
        first = scene.customer()
        scene.double.outside.delete_customer(first.id)
        arrives(scene, "customer.deleted")
        assert first.id != scene.customer().id


class TestADispute:
    def test_is_recorded(self, scene: WebhookScene) -> None:
        scene.customer()
        opened = scene.double.outside.open_dispute(payment_intent=scene.hold())
        arrives(scene, "charge.dispute.created")
        (recorded,) = log_of(scene.calls, "dispute-opened")
        assert opened["id"] == json.loads(recorded.json)["dispute_id"]


class TestAMeter:
    def test_that_refuses_late_has_every_sum_compared(
        self, scene: WebhookScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene.sign_up()
        scene.use(7)
        scene.double.outside.refuse_late()
        scene.reconcile()
        scene.double.advance(hours=1)
        arrives(scene, "v1.billing.meter.error_report_triggered")
        text = "Stripe has 0 credits of the open cycle, 7 were delivered"
        assert text in caplog.text
        request = status_pb.GetBillingStatusRequest(attribution_id=PAYER)
        (payer,) = scene.calls.billing_status.GetBillingStatus(request).payers
        assert text == payer.waits_for


class TestOrder:
    @pytest.mark.parametrize("seed", range(6))
    def test_and_repeats_do_not_matter(self, tmp_path: Path, seed: int) -> None:
        """C7: three cycles, an end and a return, told in any order, some of it twice."""
        dice = random.Random(seed)
        with WebhookScene(tmp_path) as scene:
            first = scene.live_a_cycle(7)
            assert first
            scene.end_a_cycle(1_100)
            ended = scene.subscription()
            scene.cancel(ended)
            scene.double.advance(hours=2)
            scene.reconcile()
            scene.double.advance(hours=2)
            scene.subscribe(hold=scene.hold(), limit=5)
            scene.end_a_cycle(9)
            told = scene.taken()
            told += dice.choices(told, k=len(told) // 2)
            dice.shuffle(told)
            scene.deliver(told)
            scene.until_done()
            assert 0 == scene.cents()
            assert 3 == len(log_of(scene.calls, "invoice-settled"))
            center = scene.cost_center()
            assert (STRIPE, 5) == (center.billing_strategy, center.spending_limit)
            assert [] == scene.calls.breaches()


class TestWhatCannotBeDoneNow:
    def test_waits_with_the_reason_and_is_done_later(self, scene: WebhookScene) -> None:
        scene.live_a_cycle(7)
        with DOWN.of(scene):
            scene.deliver(None, "invoice.finalized")
            scene.until_tried()
        (waiting,) = scene.kept("waiting")
        assert 1 == waiting.attempts
        assert "Failed to get invoice with ID" in waiting.error
        scene.double.advance(hours=2)
        scene.process()
        assert 0 == scene.cents()
        assert [] == scene.kept("waiting")

    def test_does_not_keep_others_waiting(self, scene: WebhookScene) -> None:
        assert 200 == scene.signed(event("invoice.finalized", "in_none")).status_code
        scene.until_tried()
        scene.live_a_cycle(7)
        scene.deliver(None, "invoice.paid")
        scene.until(lambda: scene.cents() == 0)

    def test_survives_a_restart(self, tmp_path: Path) -> None:
        """C7: it was answered, so it is done."""
        shop = Shop()
        data_dir = tmp_path / "data"
        with WebhookScene(tmp_path, shop=shop, data_dir=data_dir) as before:
            before.live_a_cycle(7)
            with DOWN.of(before):
                before.deliver(None, "invoice.finalized")
                before.until_tried()
        shop.double.advance(hours=2)
        with WebhookScene(tmp_path, shop=shop, data_dir=data_dir) as after:
            assert 700 == after.cents()
            after.process()
            assert 0 == after.cents()
            assert ["done"] == [one.state for one in after.kept() if one.type != "x"][:1]

    def test_is_replayed_by_hand(self, scene: WebhookScene) -> None:
        invoice = scene.live_a_cycle(7)
        arrives(scene, "invoice.finalized")
        (kept,) = [one for one in scene.kept() if one.type == "invoice.finalized"]
        for _ in range(2):
            request = status_pb.ReplayWebhookRequest(event_id=kept.event_id)
            replayed = scene.calls.billing_status.ReplayWebhook(request).webhook
            assert (invoice, "done") == (replayed.object_id, replayed.state)
        assert 1 == len(log_of(scene.calls, "invoice-settled"))


class TestACallAndAWebhook:
    def test_of_one_invoice_settle_it_once(self, scene: WebhookScene) -> None:
        """B1, B2."""
        invoice = scene.live_a_cycle(7)
        scene.finalize(invoice)
        arrives(scene, "invoice.finalized", "invoice.paid")
        scene.calls.billing.ReconcileInvoices(billing_pb2.ReconcileInvoicesRequest())
        assert 1 == len(log_of(scene.calls, "invoice-settled"))
        assert 0 == scene.cents()
