"""Invoices: draft, finalized with what counts then, paid, voided or given up."""

from __future__ import annotations

from tests.stripe_double.errors import StripeError
from tests.stripe_double.intents import charge_now, confirm
from tests.stripe_double.invoice_lines import lines_of, one_off_line, tell_line
from tests.stripe_double.paging import page_of
from tests.stripe_double.records import DEAD, Invoice, InvoiceItem, InvoicePayment, Line, UsageSpan
from tests.stripe_double.subscriptions import set_status
from tests.stripe_double.tax import tax_state
from tests.stripe_double.world import Json, World


def total_of(world: World, invoice: Invoice) -> int:
    """Give the sum of the lines in cents."""
    return sum(line.amount for line in lines_of(world, invoice))


def remaining_of(world: World, invoice: Invoice) -> int:
    """Give what is still to be paid, in cents."""
    if invoice.status == "paid":
        return 0
    due = total_of(world, invoice) - invoice.credited_before_payment
    return max(0, due - invoice.amount_paid)


def tell_invoice(world: World, invoice: Invoice) -> Json:
    """Give what the API tells of an invoice, without what must be asked for."""
    total = total_of(world, invoice)
    due = max(0, total - invoice.credited_before_payment)
    parent = None
    if invoice.subscription is not None:
        details = {
            "metadata": dict(world.subscriptions[invoice.subscription].metadata),
            "subscription": invoice.subscription,
        }
        parent = {
            "quote_details": None,
            "subscription_details": details,
            "type": "subscription_details",
        }
    customer = world.customers[invoice.customer]
    return {
        "id": invoice.id,
        "object": "invoice",
        "amount_due": due,
        "amount_overpaid": 0,
        "amount_paid": invoice.amount_paid,
        "amount_remaining": remaining_of(world, invoice),
        "amount_shipping": 0,
        "attempt_count": invoice.attempts,
        "attempted": invoice.attempts > 0,
        "auto_advance": invoice.status == "open" or invoice.finalizes_at is not None,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": invoice.automatic_tax,
            "liability": {"type": "self"} if invoice.automatic_tax else None,
            "provider": None,
            "status": "complete" if invoice.automatic_tax else None,
        },
        "automatically_finalizes_at": invoice.finalizes_at if invoice.status == "draft" else None,
        "billing_reason": invoice.billing_reason,
        "collection_method": "charge_automatically",
        "created": invoice.created,
        "currency": invoice.currency,
        "customer": invoice.customer,
        "customer_address": customer.address,
        "customer_email": customer.email,
        "customer_name": customer.name,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": invoice.finalized_at,
        "ending_balance": None if invoice.status == "draft" else 0,
        "issuer": {"type": "self"},
        "lines": tell_lines(world, invoice, {}),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": invoice.number,
        "parent": parent,
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": invoice.period_end,
        "period_start": invoice.period_start,
        "post_payment_credit_notes_amount": invoice.credited_after_payment,
        "pre_payment_credit_notes_amount": invoice.credited_before_payment,
        "starting_balance": 0,
        "status": invoice.status,
        "status_transitions": {
            "finalized_at": invoice.finalized_at,
            "marked_uncollectible_at": invoice.marked_uncollectible_at,
            "paid_at": invoice.paid_at,
            "voided_at": invoice.voided_at,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
        "total_taxes": [],
    }


def tell_lines(world: World, invoice: Invoice, parameters: Json) -> Json:
    """Give a page of lines, in the order of the invoice."""
    return page_of(
        lines_of(world, invoice),
        parameters,
        page_size=world.settings.page_size,
        url=f"/v1/invoices/{invoice.id}/lines",
        tell=lambda line: tell_line(world, invoice, line),
    )


def tell_payment(payment: InvoicePayment) -> Json:
    """Give what the API tells of the payment of an invoice."""
    paid = payment.status == "paid"
    return {
        "id": payment.id,
        "object": "invoice_payment",
        "amount_paid": payment.amount if paid else None,
        "amount_requested": payment.amount,
        "created": payment.created,
        "currency": payment.currency,
        "invoice": payment.invoice,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": payment.payment_intent, "type": "payment_intent"},
        "status": payment.status,
        "status_transitions": {"canceled_at": None, "paid_at": payment.paid_at},
    }


def tell_payments(world: World, invoice: Invoice) -> Json:
    """Give `payments`, which are there only where they are expanded."""
    payments = [world.invoice_payments[name] for name in invoice.payments]
    return page_of(
        payments,
        {},
        page_size=world.settings.page_size,
        url=f"/v1/invoice_payments?invoice={invoice.id}",
        tell=tell_payment,
    )


def take_pending(world: World, customer: str, subscription: str, currency: str) -> list[Line]:
    """Give the lines of what waits to be billed once, with the next invoice of a subscription."""
    waiting = [one for one in world.invoice_items.values() if one.invoice is None]
    return [
        one_off_line(world, one)
        for one in waiting
        if one.customer == customer
        and one.currency == currency
        and one.subscription in {None, subscription}
    ]


def open_draft(
    world: World,
    *,
    customer: str,
    subscription: str,
    reason: str,
    period: tuple[int, int],
    usage: tuple[UsageSpan, ...],
    fixed: list[Line],
    cycle: int,
    grace_seconds: int | None,
) -> Invoice:
    """Make a draft that finalizes itself after its grace; None: it waits for somebody."""
    owner = world.subscriptions[subscription]
    invoice = Invoice(
        world.new_id("in"),
        world.now,
        customer,
        subscription,
        owner.currency,
        reason,
        period[0],
        period[1],
        usage,
        fixed,
        cycle,
        automatic_tax=owner.automatic_tax,
        finalizes_at=None if grace_seconds is None else world.now + grace_seconds,
    )
    world.invoices[invoice.id] = invoice
    owner.latest_invoice = invoice.id
    for line in fixed:
        if line.invoice_item is not None:
            _bill_once(world.invoice_items[line.invoice_item], invoice)
    world.emit("invoice.created", tell_invoice(world, invoice))
    if grace_seconds == 0:
        finalize(world, invoice)
    elif grace_seconds is not None:
        world.clock.at(world.now + grace_seconds, lambda: _finalize_if_draft(world, invoice))
    return invoice


def _bill_once(item: InvoiceItem, invoice: Invoice) -> None:
    item.invoice = invoice.id


def _finalize_if_draft(world: World, invoice: Invoice) -> None:
    # None: somebody has switched `auto_advance` off meanwhile.
    if invoice.status == "draft" and invoice.finalizes_at is not None:
        finalize(world, invoice)


def _refuse(invoice: Invoice, act: str) -> StripeError:
    return StripeError(
        400,
        f"You cannot {act} an invoice whose status is {invoice.status}.",
        code="invoice_not_editable",
    )


def finalize(world: World, invoice: Invoice) -> None:
    """Fix the lines by what counts now, and ask for the money."""
    if invoice.status != "draft":
        raise _refuse(invoice, "finalize")
    invoice.lines = lines_of(world, invoice)
    invoice.status = "open"
    invoice.finalized_at = world.now
    invoice.number = f"DOUBLE-{world.new_id('number')[-4:]}"
    if tax_state(world, world.customers[invoice.customer]) not in {"supported", "not_collecting"}:
        invoice.automatic_tax = False
    told = tell_invoice(world, invoice)
    world.emit("invoice.updated", told, {"status": "draft"})
    world.emit("invoice.finalized", told)
    if remaining_of(world, invoice) == 0:
        _set_paid(world, invoice)
    elif world.settings.collects_payments and not world.customers[invoice.customer].deleted:
        collect(world, invoice)


def collect(world: World, invoice: Invoice) -> bool:
    """Charge the default card; False: it was refused, or there is none."""
    invoice.attempts += 1
    amount = remaining_of(world, invoice)
    card = world.default_method(invoice.customer, invoice.subscription)
    if card is None:
        _say_failed(world, invoice)
        return False
    intent = charge_now(world, amount=amount, currency=invoice.currency, customer=invoice.customer)
    confirm(world, intent, card, is_first=False)
    paid = intent.status == "succeeded"
    payment = InvoicePayment(
        world.new_id("inpay"),
        world.now,
        invoice.id,
        intent.id,
        amount,
        invoice.currency,
        "paid" if paid else "canceled",
        world.now if paid else None,
    )
    world.invoice_payments[payment.id] = payment
    invoice.payments.append(payment.id)
    if not paid:
        _say_failed(world, invoice)
        return False
    invoice.amount_paid = amount
    world.emit("invoice_payment.paid", tell_payment(payment))
    _set_paid(world, invoice)
    return True


def _say_failed(world: World, invoice: Invoice) -> None:
    world.emit("invoice.payment_failed", tell_invoice(world, invoice))
    owner = world.subscriptions[invoice.subscription] if invoice.subscription else None
    if owner is not None and owner.status == "active":
        set_status(world, owner, "past_due")


def _set_paid(world: World, invoice: Invoice) -> None:
    invoice.status = "paid"
    invoice.paid_at = world.now
    told = tell_invoice(world, invoice)
    world.emit("invoice.paid", told)
    world.emit("invoice.payment_succeeded", told)
    owner = world.subscriptions[invoice.subscription] if invoice.subscription else None
    if owner is not None and owner.status not in DEAD:
        set_status(world, owner, "active")


def pay(world: World, invoice: Invoice, *, out_of_band: bool = False) -> None:
    """Pay an open invoice by the default card, or say that it was paid elsewhere."""
    if invoice.status not in {"open", "uncollectible"}:
        raise _refuse(invoice, "pay")
    if out_of_band:
        _set_paid(world, invoice)
    elif not collect(world, invoice):
        raise StripeError(402, "Your card was declined.", code="card_declined")


def settle_if_covered(world: World, invoice: Invoice) -> None:
    """Close an open invoice that credit notes have covered."""
    if invoice.status == "open" and remaining_of(world, invoice) == 0:
        _set_paid(world, invoice)


def void(world: World, invoice: Invoice) -> None:
    """Say that it was a mistake."""
    if invoice.status not in {"open", "uncollectible"}:
        raise _refuse(invoice, "void")
    invoice.status = "void"
    invoice.voided_at = world.now
    world.emit("invoice.voided", tell_invoice(world, invoice))


def mark_uncollectible(world: World, invoice: Invoice) -> None:
    """Give the money up."""
    if invoice.status != "open":
        raise _refuse(invoice, "mark uncollectible")
    invoice.status = "uncollectible"
    invoice.marked_uncollectible_at = world.now
    world.emit("invoice.marked_uncollectible", tell_invoice(world, invoice))
