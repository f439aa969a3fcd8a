"""Invoices: previews, payment, void, uncollectible, credit notes."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import Shop, code_of


def billed(shop: Shop, *, paid: bool = True, credits_used: int = 1031) -> stripe.Invoice:
    """Let a customer be billed for a month."""
    shop.double.settings.collects_payments = paid
    name = shop.payer()
    shop.subscribe(name)
    shop.report(name, credits_used, f"{name} used")
    shop.double.advance(days=32)
    return shop.invoices(name)[-1]


class TestShape:
    def test_parent_and_lines_have_the_new_form(self, shop: Shop) -> None:
        invoice = billed(shop)
        for gone in ("subscription", "paid", "charge", "payment_intent", "payments"):
            assert gone not in invoice
        assert invoice.parent is not None
        assert "subscription_details" == invoice.parent.type
        line = invoice.lines.data[0]
        for gone in ("price", "plan", "proration", "subscription_item"):
            assert gone not in line
        assert line.parent is not None
        assert line.parent.subscription_item_details is not None
        assert not line.parent.subscription_item_details.proration

    def test_its_payment_is_found(self, shop: Shop) -> None:
        invoice = billed(shop)
        payment = shop.client.v1.invoice_payments.list({"invoice": invoice.id}).data[0]
        assert ("paid", 1012) == (payment.status, payment.amount_paid)
        intent = shop.client.v1.payment_intents.retrieve(str(payment.payment.payment_intent))
        assert ("succeeded", 1012, invoice.customer) == (
            intent.status,
            intent.amount_received,
            intent.customer,
        )
        assert payment.id == shop.client.v1.invoice_payments.retrieve(payment.id).id

    def test_lists_are_filtered(self, shop: Shop) -> None:
        invoice = billed(shop)
        other = billed(shop)
        assert invoice.parent is not None
        assert invoice.parent.subscription_details is not None
        by_subscription = shop.client.v1.invoices.list(
            {"subscription": str(invoice.parent.subscription_details.subscription)}
        )
        assert [invoice.id] == [one.id for one in by_subscription.data]
        assert [] == shop.client.v1.invoices.list({"status": "open"}).data
        everything = shop.client.v1.invoices.list({"status": "paid"}).data
        assert {invoice.id, other.id} == {one.id for one in everything}


class TestPreview:
    def test_it_tells_what_counts_now_and_keeps_nothing(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name).id
        shop.report(name, 5, "one")
        preview = shop.client.v1.invoices.create_preview({"subscription": subscription})
        assert 0 == preview.total
        shop.double.advance(minutes=1)
        preview = shop.client.v1.invoices.create_preview({"customer": name})
        assert (900, "draft") == (preview.total, preview.status)
        assert [] == shop.invoices(name)

    def test_there_is_none_without_a_subscription(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.invoices.create_preview({"customer": shop.payer()})
        assert (400, "invoice_upcoming_none") == code_of(error)


class TestStates:
    def test_a_draft_can_be_finalized_early_and_once(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 5, "one")
        shop.double.advance(days=30)
        invoice = shop.invoices(name)[0].id
        assert "paid" == shop.client.v1.invoices.finalize_invoice(invoice).status
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.invoices.finalize_invoice(invoice)
        shop.double.advance(days=1)
        assert 1 == shop.kinds().count("invoice.finalized")

    def test_a_draft_can_be_neither_voided_nor_paid(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 5, "one")
        shop.double.advance(days=30)
        invoice = shop.invoices(name)[0].id
        calls = shop.client.v1.invoices
        for act in (calls.void_invoice, calls.pay, calls.mark_uncollectible):
            with pytest.raises(stripe.InvalidRequestError) as error:
                act(invoice)
            assert (400, "invoice_not_editable") == code_of(error)

    def test_an_open_one_is_voided(self, shop: Shop) -> None:
        invoice = billed(shop, paid=False)
        assert "open" == invoice.status
        assert 1031 == shop.double.invoiced_credits(str(invoice.customer))
        voided = shop.client.v1.invoices.void_invoice(invoice.id)
        assert ("void", shop.double.clock.now) == (
            voided.status,
            voided.status_transitions.voided_at,
        )
        assert 0 == shop.double.invoiced_credits(str(invoice.customer))
        assert "invoice.voided" == shop.kinds()[-1]

    def test_an_open_one_is_given_up_and_can_be_paid_later(self, shop: Shop) -> None:
        invoice = billed(shop, paid=False)
        given_up = shop.client.v1.invoices.mark_uncollectible(invoice.id)
        assert ("uncollectible", shop.double.clock.now) == (
            given_up.status,
            given_up.status_transitions.marked_uncollectible_at,
        )
        assert "invoice.marked_uncollectible" == shop.kinds()[-1]
        assert "paid" == shop.client.v1.invoices.pay(invoice.id).status
        assert "invoice.paid" in shop.kinds()

    def test_a_card_that_declines_is_a_card_error(self, shop: Shop) -> None:
        invoice = billed(shop, paid=False)
        shop.double.outside.set_card(str(invoice.customer), "declines_later")
        with pytest.raises(stripe.CardError):
            shop.client.v1.invoices.pay(invoice.id)
        found = shop.client.v1.invoices.retrieve(invoice.id)
        assert ("open", 1) == (found.status, found.attempt_count)
        assert "invoice.payment_failed" in shop.kinds()
        elsewhere = shop.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
        assert "paid" == elsewhere.status

    def test_a_paid_one_cannot_be_voided(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.invoices.void_invoice(billed(shop).id)


class TestCreditNotes:
    def test_before_payment_it_lowers_what_is_due(self, shop: Shop) -> None:
        invoice = billed(shop, paid=False)
        note = shop.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 112})
        assert ("pre_payment", 112, 0) == (
            note.type,
            note.pre_payment_amount,
            note.post_payment_amount,
        )
        found = shop.client.v1.invoices.retrieve(invoice.id)
        assert (900, 112, "open") == (
            found.amount_remaining,
            found.pre_payment_credit_notes_amount,
            found.status,
        )
        assert "credit_note.created" in shop.kinds()

    def test_the_whole_of_it_closes_the_invoice(self, shop: Shop) -> None:
        invoice = billed(shop, paid=False)
        shop.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 1012})
        assert "paid" == shop.client.v1.invoices.retrieve(invoice.id).status

    def test_after_payment_it_must_say_where_the_money_goes(self, shop: Shop) -> None:
        invoice = billed(shop)
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 100})
        assert "credit_amount" == error.value.param
        note = shop.client.v1.credit_notes.create(
            {"invoice": invoice.id, "amount": 100, "credit_amount": 100, "reason": "duplicate"}
        )
        assert ("post_payment", 100) == (note.type, note.post_payment_amount)
        found = shop.client.v1.invoices.retrieve(invoice.id)
        assert 100 == found.post_payment_credit_notes_amount

    def test_more_than_is_left_is_refused(self, shop: Shop) -> None:
        invoice = billed(shop)
        shop.double.outside.issue_credit_note(invoice.id, 1000)
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.credit_notes.create(
                {"invoice": invoice.id, "amount": 13, "credit_amount": 13}
            )
        assert "amount" == error.value.param
        assert 12 == shop.double.outside.issue_credit_note(invoice.id, 12)["amount"]

    def test_lines_of_the_invoice_are_credited_by_quantity(self, shop: Shop) -> None:
        invoice = billed(shop)
        lines = list(shop.client.v1.invoices.line_items.list(invoice.id).auto_paging_iter())
        given: Any = {
            "invoice": invoice.id,
            "credit_amount": 36 + 50,
            "lines": [
                {"type": "invoice_line_item", "invoice_line_item": lines[2].id, "quantity": 10},
                {
                    "type": "custom_line_item",
                    "description": "sorry",
                    "quantity": 2,
                    "unit_amount": 25,
                },
            ],
        }
        note = shop.client.v1.credit_notes.create(given)
        assert [36, 50] == [one.amount for one in note.lines.data]
        assert 86 == note.amount
        listed = shop.client.v1.credit_notes.list({"invoice": invoice.id}).data
        assert [note.id] == [one.id for one in listed]

    def test_one_on_an_open_invoice_can_be_voided(self, shop: Shop) -> None:
        invoice = billed(shop, paid=False)
        note = shop.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 112}).id
        voided = shop.client.v1.credit_notes.void_credit_note(note)
        assert "void" == voided.status
        assert 1012 == shop.client.v1.invoices.retrieve(invoice.id).amount_remaining
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.credit_notes.void_credit_note(note)

    def test_a_draft_takes_none(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 5, "one")
        shop.double.advance(days=30)
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.credit_notes.create({"invoice": shop.invoices(name)[0].id, "amount": 1})
