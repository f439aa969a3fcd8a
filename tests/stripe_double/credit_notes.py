"""Credit notes on finalized invoices, before and after they were paid."""

from __future__ import annotations

from tests.stripe_double.errors import StripeError, malformed, missing
from tests.stripe_double.fields import filled, many, metadata, one_of, record, span, text, whole
from tests.stripe_double.invoice_lines import lines_of
from tests.stripe_double.invoices import (
    remaining_of,
    settle_if_covered,
    tell_invoice,
    total_of,
)
from tests.stripe_double.paging import PAGING, page_of, within
from tests.stripe_double.records import CreditNote, CreditNoteLine, Invoice
from tests.stripe_double.world import Call, Json, Route, World


def tell_note(world: World, note: CreditNote) -> Json:
    """Give what the API tells of a credit note."""
    return {
        "id": note.id,
        "object": "credit_note",
        "amount": note.amount,
        "amount_shipping": 0,
        "created": note.created,
        "currency": note.currency,
        "customer": note.customer,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": note.created,
        "invoice": note.invoice,
        "lines": page_of(
            note.lines,
            {},
            page_size=world.settings.page_size,
            url=f"/v1/credit_notes/{note.id}/lines",
            tell=_tell_line,
        ),
        "livemode": False,
        "memo": note.memo,
        "metadata": dict(note.metadata),
        "number": note.number,
        "out_of_band_amount": note.out_of_band_amount,
        "pdf": f"https://pay.stripe.invalid/credit_notes/{note.id}/pdf",
        "post_payment_amount": note.post_payment_amount,
        "pre_payment_amount": note.pre_payment_amount,
        "pretax_credit_amounts": [],
        "reason": note.reason,
        "refunds": [],
        "shipping_cost": None,
        "status": "issued" if note.voided_at is None else "void",
        "subtotal": note.amount,
        "subtotal_excluding_tax": note.amount,
        "total": note.amount,
        "total_excluding_tax": note.amount,
        "total_taxes": [],
        "type": note.kind,
        "voided_at": note.voided_at,
    }


def _tell_line(line: CreditNoteLine) -> Json:
    return {
        "id": line.id,
        "object": "credit_note_line_item",
        "amount": line.amount,
        "description": line.description,
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": line.invoice_line,
        "livemode": False,
        "pretax_credit_amounts": [],
        "quantity": line.quantity,
        "tax_rates": [],
        "taxes": [],
        "type": "custom_line_item" if line.invoice_line is None else "invoice_line_item",
        "unit_amount": None,
        "unit_amount_decimal": None,
    }


def create(world: World, call: Call) -> Json:
    """POST /v1/credit_notes."""
    given = call.parameters
    invoice = world.invoice(given["invoice"], param="invoice")
    if invoice.status not in {"open", "paid"}:
        raise StripeError(400, f"The invoice's status is {invoice.status}.", param="invoice")
    lines = _lines(world, invoice, given)
    amount = sum(line.amount for line in lines) if lines else given.get("amount", 0)
    if lines and given.get("amount", amount) != amount:
        raise malformed("The amount is not the sum of the lines.", "amount")
    credited = invoice.credited_before_payment + invoice.credited_after_payment
    if not 0 < amount <= total_of(world, invoice) - credited:
        raise malformed("The amount is not positive, or more than is left.", "amount")
    # What was still to be paid is credited first; the rest goes back to who paid.
    before = min(amount, remaining_of(world, invoice))
    after = amount - before
    back = [given.get(name, 0) for name in ("credit_amount", "refund_amount", "out_of_band_amount")]
    if sum(back) != after:
        raise malformed(
            f"credit_amount, refund_amount and out_of_band_amount must sum up to {after}.",
            "credit_amount",
        )
    note = CreditNote(
        world.new_id("cn"),
        world.now,
        f"{invoice.number}-CN-{len(world.credit_notes) + 1:02d}",
        invoice.id,
        invoice.customer,
        invoice.currency,
        amount,
        "mixed" if before and after else "pre_payment" if before else "post_payment",
        lines,
        before,
        after,
        given.get("out_of_band_amount"),
        given.get("memo"),
        given.get("reason"),
        given.get("metadata", {}),
    )
    world.credit_notes[note.id] = note
    invoice.credited_before_payment += before
    invoice.credited_after_payment += after
    told = tell_note(world, note)
    world.emit("credit_note.created", told)
    world.emit("invoice.updated", tell_invoice(world, invoice), {})
    settle_if_covered(world, invoice)
    return told


def _lines(world: World, invoice: Invoice, given: Json) -> list[CreditNoteLine]:
    known = {line.id: line for line in lines_of(world, invoice)}
    lines = []
    for number, one in enumerate(given.get("lines", [])):
        name = f"lines[{number}]"
        quantity = one.get("quantity", 0)
        if one["type"] == "custom_line_item":
            if "unit_amount" not in one or quantity < 1 or "description" not in one:
                raise malformed("Needs unit_amount, quantity and description.", name)
            amount, credited, text_of = one["unit_amount"] * quantity, None, one["description"]
        else:
            line = known.get(one.get("invoice_line_item", ""))
            if line is None:
                raise malformed("No such line.", f"{name}[invoice_line_item]", "resource_missing")
            if not 0 <= quantity <= line.quantity or ("amount" in one) == ("quantity" in one):
                raise malformed("Give an amount, or a quantity of the line.", name)
            amount = one.get("amount", line.amount * quantity // max(1, line.quantity))
            credited, text_of = line.id, line.description
        lines.append(CreditNoteLine(world.new_id("cnli"), amount, quantity, text_of, credited))
    return lines


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/credit_notes/{}."""
    return tell_note(world, _note(world, call.names[0]))


def _note(world: World, name: str) -> CreditNote:
    found = world.credit_notes.get(name)
    if found is None:
        raise missing("credit_note", name)
    return found


def void(world: World, call: Call) -> Json:
    """POST /v1/credit_notes/{}/void: only while the invoice is open."""
    note = _note(world, call.names[0])
    invoice = world.invoices[note.invoice]
    if note.voided_at is not None or invoice.status != "open":
        raise StripeError(400, "You can only void a credit note on an open invoice.")
    note.voided_at = world.now
    invoice.credited_before_payment -= note.pre_payment_amount
    invoice.credited_after_payment -= note.post_payment_amount
    world.emit("credit_note.voided", tell_note(world, note))
    return tell_note(world, note)


def list_all(world: World, call: Call) -> Json:
    """GET /v1/credit_notes."""
    given = call.parameters
    found = [
        one
        for one in reversed(world.credit_notes.values())
        if given.get("customer") in {None, one.customer}
        and given.get("invoice") in {None, one.invoice}
        and within(one.created, given.get("created"))
    ]
    return page_of(
        found,
        given,
        page_size=world.settings.page_size,
        url=call.path,
        tell=lambda one: tell_note(world, one),
    )


def list_lines(world: World, call: Call) -> Json:
    """GET /v1/credit_notes/{}/lines."""
    note = _note(world, call.names[0])
    size = world.settings.page_size
    return page_of(note.lines, call.parameters, page_size=size, url=call.path, tell=_tell_line)


_LINE = record(
    ["type"],
    amount=whole,
    description=text,
    invoice_line_item=filled,
    quantity=whole,
    type=one_of("custom_line_item", "invoice_line_item"),
    unit_amount=whole,
)
_CREATE = record(
    ["invoice"],
    amount=whole,
    credit_amount=whole,
    invoice=filled,
    lines=many(_LINE),
    memo=text,
    metadata=metadata,
    out_of_band_amount=whole,
    reason=one_of("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
    refund_amount=whole,
)
_LIST = record(created=span, customer=filled, invoice=filled, **PAGING)
ROUTES = (
    Route("POST", "/v1/credit_notes", create, _CREATE),
    Route("GET", "/v1/credit_notes", list_all, _LIST),
    Route("GET", "/v1/credit_notes/{}", retrieve, record()),
    Route("GET", "/v1/credit_notes/{}/lines", list_lines, record(**PAGING)),
    Route("POST", "/v1/credit_notes/{}/void", void, record()),
)
