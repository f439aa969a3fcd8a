"""Settling: what a final invoice carries is booked once, whoever brings it."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from billing import (
    GatewayError,
    Invoice,
    InvoiceQuantityError,
    StripeCreditNote,
    StripeMissingError,
    billed_credits,
)
from ledger.commands import settlements as commands
from ledger.commands.corrections import undo_corrections
from ledger.commands.cost_centers import begin_period
from ledger.errors import FailedPreconditionError, NotFoundError, TroubleError
from ledger.invoicing.accounts import account_of, payer_of_stripe_id
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from aggregates import EndedSubscription
    from billing.gateway import Gateway
    from ledger.application import Ledger

FINAL = frozenset({"open", "paid", "void", "uncollectible"})
# A draft is final an hour after its cycle by default, and three days at the latest.
GRACE_MS = 4 * 86_400_000

log = logging.getLogger(__name__)


class Settlements:
    """The use cases of invoices."""

    def __init__(self, ledger: Ledger, gateway: Gateway) -> None:
        """Settle a ledger's invoices."""
        self._ledger = ledger
        self._gateway = gateway

    async def finalize(self, invoice_id: str, author: str) -> bytes | None:
        """Book an invoice that is final; give its payer, None when it is none of ours."""
        try:
            invoice = await self._gateway.invoice(invoice_id)
        except StripeMissingError as error:
            raise NotFoundError(f"Failed to get invoice with ID {invoice_id}") from error
        except GatewayError as error:
            raise told(error, f"Failed to get invoice with ID {invoice_id}") from error
        if invoice.customer_id is None:
            raise TroubleError("Failed to retrieve customer details from invoice.")
        if invoice.status not in FINAL or invoice.finalized_at is None:
            raise FailedPreconditionError(
                f"invoice {invoice_id} is {invoice.status}: only one that is final is settled"
            )
        payer = await self._payer_of(invoice)
        if payer is not None:
            await self._settle(payer, invoice, author)
        return payer

    async def _payer_of(self, invoice: Invoice) -> bytes | None:
        """Give whose invoice it is; one without a subscription of ours has no credits."""
        if invoice.subscription_id is None:
            return None
        return await payer_of_stripe_id(self._ledger, invoice.subscription_id)

    async def _settle(self, payer: bytes, invoice: Invoice, author: str) -> None:
        assert invoice.subscription_id is not None
        assert invoice.customer_id is not None
        assert invoice.finalized_at is not None
        prices = self._ledger.settings.stripe.metered_prices
        account = await account_of(self._ledger, payer)
        if account.subscription is not None:
            prices |= {account.subscription.price_id}
        try:
            credits = billed_credits(invoice, prices)
        except InvoiceQuantityError as error:
            log.error("%s", error)  # noqa: TRY400  # the sentence says all
            raise TroubleError(str(error)) from error
        start, end = _period_of(invoice, prices)
        settled = commands.Settled(
            invoice.invoice_id,
            invoice.customer_id,
            invoice.subscription_id,
            credits,
            invoice.finalized_at * 1_000,
            start * 1_000,
            end * 1_000,
        )
        shard = await self._ledger.placing.place_one(payer)
        await shard.decide(partial(commands.settle_invoice, payer=payer, settled=settled), author)
        self._ledger.failpoint("invoice-settled")
        await self._correct(payer, invoice, author)
        await shard.decide(partial(begin_period, payer=payer), author)

    # Corrections -------------------------------------------------------------------------------

    async def correct(self, invoice_id: str, author: str) -> None:
        """Book what Stripe has taken back of an invoice: it is fetched, whatever was heard."""
        await self.finalize(invoice_id, author)

    async def _correct(self, payer: bytes, invoice: Invoice, author: str) -> None:
        shard = await self._ledger.placing.place_one(payer)
        taken_back: list[tuple[str, int | None]] = []
        try:
            notes = await self._gateway.credit_notes_of(invoice.invoice_id)
        except GatewayError as error:
            raise told(error, f"credit notes of {invoice.invoice_id} are fetched") from error
        for note in reversed(notes):  # the oldest first
            if note.status == "issued":
                credits = _credits_of(note, invoice, self._ledger.settings.stripe.metered_prices)
                taken_back.append((f"credit-note:{note.credit_note_id}", credits))
        if invoice.status == "void":
            taken_back.append(("voided", None))
        elif invoice.status == "uncollectible":
            taken_back.append(("uncollectible", None))
        if invoice.status not in {"void", "uncollectible"}:
            kept = frozenset(cause for cause, _ in taken_back)
            await shard.decide(
                partial(
                    undo_corrections,
                    payer=payer,
                    invoice_id=invoice.invoice_id,
                    kept=kept,
                ),
                author,
            )
        for cause, taken in taken_back:
            await shard.decide(
                partial(
                    commands.correct_invoice,
                    payer=payer,
                    invoice_id=invoice.invoice_id,
                    cause=cause,
                    credits=taken,
                ),
                author,
            )

    # Repair ------------------------------------------------------------------------------------

    async def repair(self, payer: bytes, author: str) -> bool:
        """Settle invoices of which no webhook came, and close the books of empty cycles.

        False when no cycle's books were open.
        """
        account = await account_of(self._ledger, payer)
        subscription = account.subscription
        if subscription is None:
            return False
        return await self._repair_one(
            payer, subscription.subscription_id, subscription.period_start, None, author
        )

    async def repair_ended(self, payer: bytes, author: str) -> None:
        """Settle the last invoices of subscriptions that have ended, if no webhook came.

        Where none comes, because Stripe was told to forget open usage, nobody is billed for it.
        """
        shard = await self._ledger.placing.place_one(payer)
        unsettled: list[EndedSubscription] = await shard.decide(
            partial(commands.unsettled_subscriptions, payer=payer), author
        )
        for one in unsettled:
            await self._repair_one(
                payer, one.subscription_id, one.period_start, one.ended_at, author
            )

    async def _repair_one(
        self,
        payer: bytes,
        subscription_id: str,
        first_start: int,
        ended_at: int | None,
        author: str,
    ) -> bool:
        """Settle what is final and close what is empty; False when no cycle's books were open."""
        shard = await self._ledger.placing.place_one(payer)
        unclosed: list[tuple[int, int]] = await shard.decide(
            partial(
                commands.unclosed_cycles,
                subscription_id=subscription_id,
                first_start=first_start,
                ended_at=ended_at,
            ),
            author,
        )
        if not unclosed:
            return False
        try:
            seen = [
                invoice
                async for invoice in self._gateway.invoices_of(
                    created_from=unclosed[0][0] // 1_000, subscription_id=subscription_id
                )
            ]
        except GatewayError as error:
            raise told(error, "invoices are listed") from error
        for invoice in reversed(seen):
            if invoice.status in FINAL and invoice.finalized_at is not None:
                await self._settle(payer, invoice, author)
        if any(invoice.status not in FINAL for invoice in seen):
            return True  # a draft: its cycle is not over
        await self._close_empty(payer, subscription_id, unclosed, author)
        return True

    async def _close_empty(
        self,
        payer: bytes,
        subscription_id: str,
        unclosed: list[tuple[int, int]],
        author: str,
    ) -> None:
        """Close cycles for which Stripe makes no invoice, because they are empty there."""
        shard = await self._ledger.placing.place_one(payer)
        for start, end in unclosed:
            if self._ledger.now() - end > GRACE_MS:
                await shard.decide(
                    partial(
                        commands.close_books,
                        payer=payer,
                        subscription_id=subscription_id,
                        period_start=start,
                        period_end=end,
                        invoice_id="",
                        invoiced=0,
                    ),
                    author,
                )


def _period_of(invoice: Invoice, prices: frozenset[str]) -> tuple[int, int]:
    """Give the period whose usage an invoice bills: that of its metered lines, if it has any."""
    lines = [line for line in invoice.lines if line.price_id in prices and not line.is_proration]
    if not lines:
        return invoice.period_start, invoice.period_end
    return min(line.period_start for line in lines), max(line.period_end for line in lines)


def _credits_of(note: StripeCreditNote, invoice: Invoice, prices: frozenset[str]) -> int:
    """Give the credits of an invoice that a credit note of Stripe's takes back, rounded down.

    By the quantities of its lines; where it names amounts only, by their share of a line.
    """
    lines = {line.line_id: line for line in invoice.lines if line.price_id in prices}
    credits = 0
    for part in note.lines:
        line = lines.get(part.invoice_line_id or "")
        if line is None or line.quantity is None:
            continue
        if part.quantity:  # none, or 0, where an amount was credited
            credits += int(part.quantity)
        elif line.amount:
            credits += int(line.quantity * min(part.amount, line.amount) / line.amount)
    return credits
