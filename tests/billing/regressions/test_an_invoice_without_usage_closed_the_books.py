"""An invoice of a fee closed the books of the cycle in which it was made, as if that were over.

What had been reported by then was put back and billed again; what was reported afterwards and got
lost was missed by nobody.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import log_of


def end_the_cycle(scene: BillingScene) -> None:
    """Let the cycle end, its invoice be final and everything be settled."""
    end = scene.cost_center().next_billing_time.seconds
    scene.double.advance_to((end + 2 * 3_600) * 1_000)
    scene.reconcile()


class TestAnInvoiceOfAFee:
    def test_in_the_middle_of_a_cycle_bills_nothing_again(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.double.advance(days=10)
            scene.use(40)
            scene.reconcile()
            scene.double.advance(hours=2)
            scene.finalize(scene.double.outside.bill_once(subscription, 500)["id"])
            scene.reconcile()
            assert [] == scene.books()
            end_the_cycle(scene)
            assert (40, 0) == (scene.invoiced(), scene.cents())
            assert [(40, 40, 0)] == scene.books()
            assert [] == scene.breaks()

    def test_at_the_start_hides_nothing_that_gets_lost_later(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            now = scene.double.clock.now
            first = scene.double.outside.bill_once(
                subscription, 500, reason="subscription_create", period=(now, now)
            )
            scene.finalize(first["id"])
            scene.double.advance(days=10)
            scene.use(40)
            scene.double.outside.refuse_late()  # Stripe takes it and never counts it
            scene.reconcile()
            scene.double.advance(hours=2)
            scene.use(5)
            scene.reconcile()
            for _ in range(2):
                end_the_cycle(scene)
            assert (45, 0) == (scene.invoiced(), scene.cents())
            assert [(45, 5, 40), (40, 40, 0)] == scene.books()

    @pytest.mark.parametrize("is_settled_first", [True, False])
    def test_of_the_very_period_of_a_cycle_leaves_it_to_its_own_invoice(
        self, is_settled_first: bool
    ) -> None:
        """Beside the draft with the cycle's usage, which is billed all the same."""
        with BillingScene() as scene:
            subscription = scene.sign_up()
            start = scene.double.clock.now
            scene.use(40)
            scene.reconcile()
            end = scene.cost_center().next_billing_time.seconds
            scene.double.advance_to((end + 60) * 1_000)
            fee = scene.double.outside.bill_once(subscription, 500, period=(start, end))
            if is_settled_first:
                scene.finalize(fee["id"])
            for _ in range(3):
                end_the_cycle(scene)
            assert (40, 0) == (scene.invoiced(), scene.cents())
            assert (40, 40, 0) == scene.books()[0]

    def test_is_settled_for_nothing_and_once(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.use(3)
            fee = scene.double.outside.bill_once(subscription, 500)
            for _ in range(2):
                scene.finalize(fee["id"])
            (settled,) = [json.loads(one.json) for one in log_of(scene.calls, "invoice-settled")]
            assert (PAYER, 0) == (settled["attribution_id"], settled["credit_cents"])
            assert 300 == scene.cents()

    def test_beside_usage_counts_for_nothing(self) -> None:
        """A fee that waits for the next invoice, which has a cycle's usage on it, too."""
        with BillingScene() as scene:
            subscription = scene.sign_up()
            fee: Any = {
                "customer": scene.known_customer().id,
                "subscription": subscription,
                "amount": 700,
            }
            scene.shop.client.v1.invoice_items.create(fee)
            scene.use(40)
            scene.reconcile()
            end_the_cycle(scene)
            assert ([(40, 40, 0)], 0) == (scene.books(), scene.cents())


class TestADraftThatIsForgotten:
    def test_of_a_fee_keeps_no_books_open(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.double.advance(days=1)
            scene.double.outside.bill_once(subscription, 500, is_draft=True)
            scene.use(40)
            scene.double.outside.refuse_late()
            scene.reconcile()
            end_the_cycle(scene)
            scene.double.advance(days=5)
            scene.reconcile()
            assert [(40, 0, 40)] == scene.books()
            end_the_cycle(scene)
            assert (40, 0) == (scene.invoiced(), scene.cents())

    def test_of_usage_keeps_the_books_of_its_own_cycle_open_and_no_others(self) -> None:
        """What is on it may still be billed: reported again it might be billed twice."""
        with BillingScene() as scene:
            scene.sign_up()
            scene.use(40)
            scene.reconcile()
            end = scene.cost_center().next_billing_time.seconds
            scene.double.advance_to((end + 60) * 1_000)
            (draft,) = scene.double.world.invoices.values()
            draft.finalizes_at = None  # somebody has switched that off at Stripe
            for _ in range(3):
                scene.use(2)
                scene.reconcile()
                end_the_cycle(scene)
            scene.double.advance(days=5)
            scene.reconcile()
            assert [(2, 2, 0)] * 3 == scene.books()
            assert ["books-of-an-ended-cycle-are-open"] == scene.breaks()
            scene.double.outside.finalize_invoice(draft.id)
            scene.reconcile()
            assert (46, 0) == (scene.invoiced(), scene.cents())
            assert [] == scene.breaks()
