"""FinalizeInvoice: section 4.8 of the billing contract, and what settles an invoice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.billing.calls.failing import (
    INTERNAL,
    INVALID,
    NOT_FOUND,
    PRECONDITION,
    Failure,
    each_failure,
)
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import log_of, refused
from usage_ledger.v1 import queries_pb2


def entries(scene: BillingScene, payer: str = PAYER) -> list[queries_pb2.Entry]:
    """Invoice entries but for the write-off of the sign-up."""
    found = scene.calls.entries(payer)
    kind = queries_pb2.ENTRY_KIND_INVOICE
    return [entry for entry in found if entry.kind == kind and entry.credit_cents]


def final_at(scene: BillingScene, invoice_id: str) -> datetime:
    told = scene.shop.client.v1.invoices.retrieve(invoice_id)
    assert told.status_transitions.finalized_at is not None
    return datetime.fromtimestamp(told.status_transitions.finalized_at, UTC)


class TestInput:
    def test_an_empty_invoice_id_is_refused(self, scene: BillingScene) -> None:
        """B10."""
        asked = len(scene.double.journal)
        with refused(INVALID, "Missing InvoiceID"):
            scene.finalize("")
        assert asked == len(scene.double.journal)

    def test_an_invoice_that_stripe_does_not_have_is_not_found(self, scene: BillingScene) -> None:
        with refused(NOT_FOUND, "Failed to get invoice with ID in_none"):
            scene.finalize("in_none")

    def test_a_draft_is_not_settled(self, scene: BillingScene) -> None:
        """B7: the original books it, dated 1970."""
        scene.sign_up()
        scene.use(5)
        scene.reconcile()
        end = scene.cost_center().next_billing_time.seconds
        scene.double.advance_to((end + 60) * 1_000)
        (draft,) = scene.invoices()
        assert "draft" == draft.status
        with refused(PRECONDITION, f"invoice {draft.id} is draft: only one that is final"):
            scene.finalize(draft.id)
        assert 500 == scene.cents()


class TestAnInvoice:
    def test_of_four_lines_settles_what_they_carry(self, scene: BillingScene) -> None:
        """The original's recorded invoice, in the new shape: 1000 + 0 + 31 + 0 credits."""
        invoice = scene.live_a_cycle(1_031)
        lines = list(scene.shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter())
        assert [0, 0, 31, 1_000] == sorted(int(line.quantity or 0) for line in lines)
        scene.finalize(invoice)
        (entry,) = entries(scene)
        assert -103_100 == entry.credit_cents
        assert final_at(scene, invoice) == entry.effective_time.ToDatetime(UTC)
        assert 0 == scene.cents()

    def test_of_which_a_page_holds_few_lines_is_read_to_the_end(self, scene: BillingScene) -> None:
        """B5: the original counts those that come with the invoice."""
        scene.double.settings.page_size = 1
        scene.finalize(scene.live_a_cycle(1_031))
        assert [-103_100] == [entry.credit_cents for entry in entries(scene)]

    def test_finalised_again_counts_once(self, scene: BillingScene) -> None:
        """B1: the original adds another credit with each delivery."""
        invoice = scene.live_a_cycle(7)
        for _ in range(3):
            scene.finalize(invoice)
        assert [-700] == [entry.credit_cents for entry in entries(scene)]
        assert 1 == len(log_of(scene.calls, "invoice-settled"))

    def test_that_the_next_run_has_settled_counts_once(self, scene: BillingScene) -> None:
        """B2: the original's repair pass looks for a description and then inserts."""
        invoice = scene.live_a_cycle(7)
        scene.reconcile()
        scene.finalize(invoice)
        scene.reconcile()
        assert [-700] == [entry.credit_cents for entry in entries(scene)]

    def test_carries_only_the_lines_of_our_prices(self, scene: BillingScene) -> None:
        """B5: to the original a one-off item, or another product, is so many credits."""
        scene.sign_up()
        customer = scene.known_customer().id
        scene.shop.client.v1.invoice_items.create(
            {"customer": customer, "amount": 5_000, "currency": "eur", "description": "Setup"}
        )
        invoice = scene.end_a_cycle(7)
        lines = scene.shop.client.v1.invoices.line_items.list(invoice)
        assert "Setup" in [line.description for line in lines.auto_paging_iter()]
        scene.finalize(invoice)
        assert [-700] == [entry.credit_cents for entry in entries(scene)]

    def test_without_a_metered_line_settles_nothing(self, scene: BillingScene) -> None:
        """B8: the original fails, and the webhook comes for days."""
        subscription = scene.sign_up()
        customer = scene.known_customer().id
        scene.shop.client.v1.invoice_items.create(
            {"customer": customer, "amount": 5_000, "currency": "eur", "subscription": subscription}
        )
        scene.double.advance(days=32)
        (invoice,) = scene.invoices()
        scene.finalize(invoice.id)
        scene.finalize(invoice.id)
        assert [] == entries(scene)
        assert 1 == len(log_of(scene.calls, "invoice-settled"))

    def test_of_a_customer_that_is_none_of_ours_changes_nothing(self, scene: BillingScene) -> None:
        customer = scene.shop.client.v1.customers.create({"email": "x@example.org"})
        subscription = scene.shop.client.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": scene.shop.prices["usd"]}]}
        )
        scene.shop.client.v1.invoice_items.create(
            {
                "customer": customer.id,
                "amount": 700,
                "currency": "usd",
                "subscription": subscription.id,
            }
        )
        scene.double.advance(days=32)
        (invoice,) = scene.invoices()
        before = len(log_of(scene.calls))
        scene.finalize(invoice.id)
        assert before == len(log_of(scene.calls))

    def test_of_a_second_customer_with_our_metadata_changes_nothing(
        self, scene: BillingScene
    ) -> None:
        """B3: the payer's usage is billed to the bound one only."""
        scene.sign_up()
        metadata = {"attributionId": PAYER, "preferredCurrency": "EUR"}
        twin = scene.shop.client.v1.customers.create({"metadata": metadata})
        scene.shop.client.v1.subscriptions.create(
            {"customer": twin.id, "items": [{"price": scene.shop.prices["eur"]}]}
        )
        scene.double.advance(minutes=2)
        scene.use(9)
        scene.reconcile()
        scene.double.advance(days=32)
        (invoice,) = scene.invoices()
        assert scene.known_customer().id == invoice.customer
        assert 0 == scene.double.invoiced_credits(twin.id)
        assert 9 == scene.double.invoiced_credits(str(invoice.customer))

    def test_whose_customer_was_deleted_is_settled_nevertheless(self, scene: BillingScene) -> None:
        """D15: without metadata the original fails for ever."""
        invoice = scene.live_a_cycle(7)
        scene.double.outside.delete_customer(scene.known_customer().id)
        scene.finalize(invoice)
        assert [-700] == [entry.credit_cents for entry in entries(scene)]

    def test_of_a_fraction_of_a_credit_is_trouble(self, scene: BillingScene) -> None:
        invoice = scene.live_a_cycle(7)
        lines = scene.double.world.invoices[invoice].lines
        assert lines
        lines[0] = replace(lines[0], quantity=-3)
        with refused(INTERNAL, invoice, "no whole number from 0"):
            scene.finalize(invoice)

    def test_moves_the_cycle_only_when_it_has_ended(self, scene: BillingScene) -> None:
        """D3, D4: cycles are those of the subscription, and an invoice does not move them."""
        invoice = scene.live_a_cycle(7)
        scene.finalize(invoice)
        first = scene.cost_center()
        scene.finalize(invoice)
        assert first == scene.cost_center()


class TestTakenBack:
    """B6: what Stripe takes back is taken back here, and is not reported anew."""

    def act(self, scene: BillingScene, act: Any) -> None:
        """Settle an invoice, let something happen to it, and hear of it twice."""
        scene.double.settings.collects_payments = False
        invoice = scene.live_a_cycle(7)
        scene.finalize(invoice)
        act(invoice)
        for _ in range(2):
            scene.finalize(invoice)

    def test_a_voided_one_is_owed_again_and_not_reported_again(self, scene: BillingScene) -> None:
        self.act(scene, scene.double.outside.void_invoice)
        assert [700, -700] == [entry.credit_cents for entry in entries(scene)]
        assert 700 == scene.cents()
        scene.reconcile()
        assert 1 == len(log_of(scene.calls, "usage-report-requested"))

    def test_an_uncollectible_one_is_owed_again(self, scene: BillingScene) -> None:
        self.act(scene, scene.double.outside.mark_uncollectible)
        assert 700 == scene.cents()

    @pytest.mark.parametrize(
        ("part", "amount", "cents"),
        [
            pytest.param({"quantity": 40}, 144, 4_000, id="by quantity"),
            pytest.param({"amount": 180}, 180, 5_000, id="by amount"),
            pytest.param({"amount": 1}, 1, 28, id="by a part of a credit"),
        ],
    )
    def test_a_credited_one_is_owed_again_as_far_as_its_lines_were_credited(
        self, scene: BillingScene, part: dict[str, int], amount: int, cents: int
    ) -> None:
        invoice = scene.live_a_cycle(1_100)
        scene.finalize(invoice)
        lines = scene.shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter()
        (line,) = [line.id for line in lines if line.quantity == 100]
        credited: Any = {"type": "invoice_line_item", "invoice_line_item": line, **part}
        scene.shop.client.v1.credit_notes.create(
            {"invoice": invoice, "lines": [credited], "credit_amount": amount}
        )
        for _ in range(2):
            scene.finalize(invoice)
        assert [cents, -110_000] == [entry.credit_cents for entry in entries(scene)]
        assert cents == scene.cents()

    def test_nine_notes_of_a_ninth_of_a_line_take_all_of_it_back(self, scene: BillingScene) -> None:
        """Rounded together: each alone is 2,777.7 cents."""
        invoice = scene.live_a_cycle(1_250)
        scene.finalize(invoice)
        lines = scene.shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter()
        (line,) = [line for line in lines if line.quantity == 250]
        assert 900 == line.amount
        for _ in range(9):
            part = {"type": "invoice_line_item", "invoice_line_item": line.id, "amount": 100}
            given: Any = {"invoice": invoice, "lines": [part], "credit_amount": 100}
            scene.shop.client.v1.credit_notes.create(given)
            scene.finalize(invoice)
        assert 25_000 == scene.cents()
        assert {2_777, 2_778} == {entry.credit_cents for entry in entries(scene)} - {-125_000}

    def test_a_note_on_the_flat_fee_takes_no_credits_back(self, scene: BillingScene) -> None:
        invoice = scene.live_a_cycle(7)
        scene.finalize(invoice)
        lines = scene.shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter()
        (fee,) = [line.id for line in lines if line.amount == 900]
        part = {"type": "invoice_line_item", "invoice_line_item": fee, "amount": 900}
        given: Any = {"invoice": invoice, "lines": [part], "credit_amount": 900}
        scene.shop.client.v1.credit_notes.create(given)
        scene.finalize(invoice)
        assert 0 == scene.cents()

    def test_one_of_which_money_alone_was_credited_stays_settled(self, scene: BillingScene) -> None:
        """A present of money takes no credits back."""
        invoice = scene.live_a_cycle(1_100)
        scene.finalize(invoice)
        scene.double.outside.issue_credit_note(invoice, 180)
        scene.finalize(invoice)
        assert 0 == scene.cents()

    def test_an_uncollectible_one_that_is_paid_after_all_is_settled(
        self, scene: BillingScene
    ) -> None:
        self.act(scene, scene.double.outside.mark_uncollectible)
        (invoice,) = scene.invoices()
        scene.double.outside.pay_invoice(invoice.id)
        for _ in range(2):
            scene.finalize(invoice.id)
        assert 0 == scene.cents()
        assert [-700, -700, 700] == sorted(entry.credit_cents for entry in entries(scene))

    def test_a_credit_note_that_is_voided_counts_no_more(self, scene: BillingScene) -> None:
        scene.double.settings.collects_payments = False
        invoice = scene.live_a_cycle(1_100)
        lines = scene.shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter()
        (line,) = [line.id for line in lines if line.quantity == 100]
        credited: Any = {"type": "invoice_line_item", "invoice_line_item": line, "quantity": 40}
        note = scene.shop.client.v1.credit_notes.create({"invoice": invoice, "lines": [credited]})
        scene.finalize(invoice)
        assert 4_000 == scene.cents()
        scene.shop.client.v1.credit_notes.void_credit_note(note.id)
        for _ in range(2):
            scene.finalize(invoice)
        assert 0 == scene.cents()

    def test_one_voided_before_it_was_heard_of_settles_nothing(self, scene: BillingScene) -> None:
        """Also where the webhooks came in another order."""
        scene.double.settings.collects_payments = False
        invoice = scene.live_a_cycle(7)
        scene.double.outside.void_invoice(invoice)
        scene.finalize(invoice)
        assert 700 == scene.cents()


class TestACreditNoteOfOurs:
    """Case 7 of section 6.6."""

    def test_in_the_cycle_of_its_usage_is_reported_back(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(9)
        scene.reconcile()
        scene.double.advance(hours=1)
        scene.use(-4)
        scene.reconcile()
        scene.double.advance(days=32)
        (invoice,) = scene.invoices()
        assert 5 == scene.double.invoiced_credits(str(invoice.customer))
        scene.finalize(invoice.id)
        assert 0 == scene.cents()

    def test_after_the_invoice_is_a_credit_that_later_usage_uses_up(
        self, scene: BillingScene
    ) -> None:
        scene.finalize(scene.live_a_cycle(9))
        scene.use(-4)
        assert -400 == scene.cents()
        scene.finalize(scene.end_a_cycle(6))
        customer = scene.known_customer().id
        assert [9, 2] == [one.invoiced for one in scene.double.money(customer) if one.invoice]
        assert 0 == scene.cents()


class TestStripe:
    @each_failure
    def test_failing_is_told_and_the_next_try_settles(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """D12: to the original every failure is NOT_FOUND."""
        invoice = scene.live_a_cycle(7)
        text = f"Failed to get invoice with ID {invoice}"
        with failure.of(scene), refused(failure.code, text):
            scene.finalize(invoice)
        assert [] == entries(scene)
        scene.finalize(invoice)
        assert [-700] == [entry.credit_cents for entry in entries(scene)]

    @pytest.mark.parametrize("path", ["/v1/invoices/*/lines", "/v1/credit_notes"])
    @each_failure
    def test_failing_in_between_is_told_and_the_next_try_settles_once(
        self, scene: BillingScene, failure: Failure, path: str
    ) -> None:
        scene.double.settings.page_size = 1
        invoice = scene.live_a_cycle(1_031)
        with failure.of(scene, path), refused(failure.code):
            scene.finalize(invoice)
        scene.finalize(invoice)
        assert [-103_100] == [entry.credit_cents for entry in entries(scene)]
