"""Calls about invoices, credit notes, disputes, and events that a webhook may have missed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from billing import _answers
from billing._arguments import must_be_seconds, must_name
from billing._session import PAGE_OBJECTS_MAX, Session
from billing.errors import GatewayMisuseError
from billing.records import (
    ATTRIBUTION_ID,
    CreditNoteLine,
    Dispute,
    EventNotice,
    Invoice,
    InvoiceLine,
    StripeCreditNote,
)

if TYPE_CHECKING:
    from stripe.params import InvoiceListParams

EVENT_TYPES_MAX: Final = 20  # in one list, by Stripe


class InvoiceCalls:
    """Invoices, credit notes, disputes, events."""

    _session: Session

    async def invoice(self, invoice_id: str) -> Invoice:
        """Fetch an invoice with all its lines."""
        must_name(invoice_id=invoice_id)
        call = self._session.api.invoices.retrieve_async(invoice_id)
        return await self._invoice(await self._session.read("invoices.retrieve", call, dict))

    async def invoices_of(
        self,
        *,
        created_from: int,
        subscription_id: str | None = None,
        customer_id: str | None = None,
    ) -> AsyncIterator[Invoice]:
        """List the invoices of a subscription or of a customer, newest first, drafts too."""
        must_be_seconds(created_from=created_from)
        params: InvoiceListParams = {"created": {"gte": created_from}, "limit": PAGE_OBJECTS_MAX}
        if subscription_id is not None and customer_id is None:
            must_name(subscription_id=subscription_id)
            params["subscription"] = subscription_id
        elif customer_id is not None and subscription_id is None:
            must_name(customer_id=customer_id)
            params["customer"] = customer_id
        else:
            raise GatewayMisuseError("invoices of a subscription or of a customer: name one")
        call = self._session.api.invoices.list_async(params)
        async for fields in self._session.pages("invoices.list", call, dict):
            yield await self._invoice(fields)

    async def _invoice(self, fields: _answers.Fields) -> Invoice:
        """Complete an invoice: ten lines come with it, the rest by pages of their own."""
        return _answers.invoice(fields, await self._lines_of_invoice(fields))

    async def _lines_of_invoice(self, fields: _answers.Fields) -> Sequence[InvoiceLine]:
        if not _answers.has_more(fields, "lines"):
            return [_answers.invoice_line(line) for line in _answers.listed(fields, "lines")]
        call = self._session.api.invoices.line_items.list_async(
            _answers.text(fields, "id"), {"limit": PAGE_OBJECTS_MAX}
        )
        return await self._session.all("invoice_line_items.list", call, _answers.invoice_line)

    async def credit_note(self, credit_note_id: str) -> StripeCreditNote:
        """Fetch a credit note with all its lines; it names its invoice."""
        must_name(credit_note_id=credit_note_id)
        call = self._session.api.credit_notes.retrieve_async(credit_note_id)
        return await self._credit_note(
            await self._session.read("credit_notes.retrieve", call, dict)
        )

    async def credit_notes_of(self, invoice_id: str) -> tuple[StripeCreditNote, ...]:
        """List all credit notes of an invoice, void ones too, newest first."""
        must_name(invoice_id=invoice_id)
        call = self._session.api.credit_notes.list_async(
            {"invoice": invoice_id, "limit": PAGE_OBJECTS_MAX}
        )
        found = await self._session.all("credit_notes.list", call, dict)
        return tuple([await self._credit_note(fields) for fields in found])

    async def _credit_note(self, fields: _answers.Fields) -> StripeCreditNote:
        lines: Sequence[CreditNoteLine]
        if _answers.has_more(fields, "lines"):
            call = self._session.api.credit_notes.line_items.list_async(
                _answers.text(fields, "id"), {"limit": PAGE_OBJECTS_MAX}
            )
            lines = await self._session.all(
                "credit_note_line_items.list", call, _answers.credit_note_line
            )
        else:
            listed = _answers.listed(fields, "lines")
            lines = [_answers.credit_note_line(line) for line in listed]
        return _answers.credit_note(fields, lines)

    async def dispute(self, dispute_id: str) -> Dispute:
        """Fetch a dispute and whose charge it is: by its payment intent, else by the charge."""
        must_name(dispute_id=dispute_id)
        call = self._session.api.disputes.retrieve_async(
            dispute_id, {"expand": ["payment_intent.customer"]}
        )
        fields = await self._session.read("disputes.retrieve", call, dict)
        payer = _payer(fields, "payment_intent")
        charge_id = _answers.optional_id(fields, "charge")
        if payer is None and charge_id is not None:
            charge = self._session.api.charges.retrieve_async(charge_id, {"expand": ["customer"]})
            payer = (await self._session.read("charges.retrieve", charge, dict)).get("customer")
        customer_id, attribution_id = _named(payer)
        return Dispute(
            dispute_id=_answers.text(fields, "id"),
            status=_answers.text(fields, "status"),
            created=_answers.whole(fields, "created"),
            charge_id=charge_id,
            payment_intent_id=_answers.optional_id(fields, "payment_intent"),
            customer_id=customer_id,
            attribution_id=attribution_id,
        )

    async def events_since(
        self, types: Sequence[str], *, created_from: int
    ) -> AsyncIterator[EventNotice]:
        """List events of these types, newest first; Stripe forgets them after thirty days."""
        must_be_seconds(created_from=created_from)
        if not 0 < len(types) <= EVENT_TYPES_MAX:
            raise GatewayMisuseError(f"{len(types)} types of events: from 1 to {EVENT_TYPES_MAX}")
        for one in types:
            must_name(type=one)
        call = self._session.api.events.list_async(
            {
                "types": list(types),
                "created": {"gte": created_from},
                "limit": PAGE_OBJECTS_MAX,
            }
        )
        async for notice in self._session.pages("events.list", call, _answers.event):
            yield notice


def _payer(fields: _answers.Fields, name: str) -> object:
    intent = fields.get(name)
    return intent.get("customer") if isinstance(intent, dict) else None


def _named(payer: object) -> tuple[str | None, str | None]:
    """Read a customer that was expanded, or its bare id; one that was deleted has no metadata."""
    if not isinstance(payer, dict):
        return (payer, None) if isinstance(payer, str) and payer else (None, None)
    metadata = _answers.inner(payer, "metadata")
    return _answers.text(payer, "id"), _answers.optional_text(metadata, ATTRIBUTION_ID)
