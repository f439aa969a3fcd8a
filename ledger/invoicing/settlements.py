"""Settling: what a final invoice carries is booked once, whoever brings it."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from billing import (
    GatewayError,
    Invoice,
    InvoiceQuantityError,
    StripeMissingError,
    billed_credits,
    credited_credits,
    metered_lines,
)
from events.readable import attribution_id
from ledger.commands import corrections
from ledger.commands import settlements as commands
from ledger.commands.cost_centers import begin_period
from ledger.errors import FailedPreconditionError, NotFoundError, TroubleError, UnavailableError
from ledger.invoicing.accounts import account_of, payer_of_stripe_id, prices_of
from ledger.invoicing.periods import LOOKS_MAX, StripePeriods
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

FINAL = frozenset({"open", "paid", "void", "uncollectible"})

log = logging.getLogger(__name__)


class UncountableError(TroubleError):
    """The credits of an invoice cannot be told: people have to."""


class Settlements:
    """The use cases of invoices."""

    def __init__(self, ledger: Ledger, gateway: Gateway) -> None:
        """Settle a ledger's invoices."""
        self._ledger = ledger
        self._gateway = gateway
        self._periods = StripePeriods(ledger, gateway)

    async def finalize(self, invoice_id: str, author: str) -> bytes | None:
        """Book an invoice that is final; give its payer, None when it is none of ours."""
        invoice = await self._final(invoice_id)
        payer = await self._payer_of(invoice)
        if payer is not None:
            await self.settle(payer, invoice, author)
        return payer

    async def _final(self, invoice_id: str) -> Invoice:
        invoice = await self._fetched(invoice_id)
        if invoice.customer_id is None:
            raise TroubleError("Failed to retrieve customer details from invoice.")
        if not is_final(invoice):
            raise FailedPreconditionError(
                f"invoice {invoice_id} is {invoice.status}: only one that is final is settled"
            )
        return invoice

    async def _fetched(self, invoice_id: str) -> Invoice:
        try:
            return await self._gateway.invoice(invoice_id)
        except StripeMissingError as error:
            raise NotFoundError(f"Failed to get invoice with ID {invoice_id}") from error
        except GatewayError as error:
            raise told(error, f"Failed to get invoice with ID {invoice_id}") from error

    async def _payer_of(self, invoice: Invoice) -> bytes | None:
        """Give whose invoice it is; one without a subscription of ours has no credits."""
        if invoice.subscription_id is None:
            return None
        return await payer_of_stripe_id(self._ledger, invoice.subscription_id)

    async def settle(self, payer: bytes, invoice: Invoice, author: str) -> None:
        """Book a final invoice of a payer, and what was taken back of it."""
        account = await account_of(self._ledger, payer)
        prices = prices_of(self._ledger, account)
        if not await self.is_settled(payer, invoice):
            credits = await self._counted(invoice, prices)
            await self._book(payer, invoice, prices, credits, author)
        await self._correct(payer, invoice, prices, author)
        shard = await self._ledger.placing.place_one(payer)
        await shard.decide(partial(begin_period, payer=payer), author)

    async def settle_by_hand(self, invoice_id: str, credits: int, author: str) -> None:
        """Book a final invoice that cannot be counted, with the credits that people say it bills.

        FailedPreconditionError when it can be counted, or is booked already.
        """
        invoice = await self._final(invoice_id)
        payer = await self._payer_of(invoice)
        if payer is None:
            raise NotFoundError(f"invoice {invoice_id} is of no subscription of this ledger")
        if await self.is_settled(payer, invoice):
            raise FailedPreconditionError(f"invoice {invoice_id} is settled already")
        prices = prices_of(self._ledger, await account_of(self._ledger, payer))
        try:
            counted = await self._counted(invoice, prices)
        except UncountableError:
            await self._book(payer, invoice, prices | usage_prices(invoice), credits, author)
        else:
            raise FailedPreconditionError(
                f"invoice {invoice_id} bills {counted} credits: what can be counted is settled by"
                " FinalizeInvoice"
            )

    async def is_settled(self, payer: bytes, invoice: Invoice) -> bool:
        """Say whether an invoice is booked."""
        stream = commands.invoice_stream(invoice.invoice_id)
        return bool(await self._ledger.read(payer, lambda queries: queries.reader.stream(stream)))

    async def _counted(self, invoice: Invoice, prices: frozenset[str]) -> int:
        """Give the credits that an invoice bills; UncountableError when nobody can tell."""
        try:
            credits = billed_credits(invoice, prices)
        except InvoiceQuantityError as error:
            raise _uncountable(str(error)) from error
        for price_id in sorted(usage_prices(invoice) - prices):
            if await self._is_of_our_meter(price_id):
                raise _uncountable(
                    f"invoice {invoice.invoice_id} bills usage by price {price_id}, which is not"
                    " known: put it into stripe.other_prices"
                )
        return credits

    async def _is_of_our_meter(self, price_id: str) -> bool:
        try:
            price = await self._gateway.price(price_id)
        except GatewayError as error:
            raise told(error, f"price {price_id} is fetched") from error
        return price.meter_id == self._ledger.settings.stripe.meter_id

    async def _book(
        self, payer: bytes, invoice: Invoice, prices: frozenset[str], credits: int, author: str
    ) -> None:
        assert invoice.subscription_id is not None
        assert invoice.customer_id is not None
        assert invoice.finalized_at is not None
        period = usage_period(invoice, prices)
        is_last = period is not None and await self._periods.of_lines(
            payer, invoice.subscription_id, period, author
        )
        start, end = period or (invoice.period_start * 1_000, invoice.period_end * 1_000)
        settled = commands.Settled(
            invoice.invoice_id,
            invoice.customer_id,
            invoice.subscription_id,
            credits,
            invoice.finalized_at * 1_000,
            start,
            end,
            bills_usage=period is not None,
            is_last=is_last,
        )
        shard = await self._ledger.placing.place_one(payer)
        beyond: int = await shard.decide(
            partial(commands.settle_invoice, payer=payer, settled=settled), author
        )
        if beyond:
            log.error(
                "invoice %s of %s bills %d credits that nobody sent: decide on a credit note at"
                " Stripe; `usage-ledger billing reconcile --report` shows its cycle",
                invoice.invoice_id,
                attribution_id(payer),
                beyond,
            )
        self._ledger.failpoint("invoice-settled")

    # Corrections -------------------------------------------------------------------------------

    async def _correct(
        self, payer: bytes, invoice: Invoice, prices: frozenset[str], author: str
    ) -> None:
        """Book what Stripe has taken back, until a look finds nothing that is not booked.

        What a call has seen of an invoice may be old by the time it is booked, and another one may
        have booked what came since.
        """
        shard = await self._ledger.placing.place_one(payer)
        for _ in range(LOOKS_MAX):
            is_changed: bool = await shard.decide(
                partial(
                    corrections.correct_invoice,
                    payer=payer,
                    invoice_id=invoice.invoice_id,
                    seen=await self._seen(invoice, prices),
                ),
                author,
            )
            if not is_changed:
                return
            invoice = await self._fetched(invoice.invoice_id)
        raise UnavailableError(f"invoice {invoice.invoice_id} changes too fast; try again later")

    async def _seen(self, invoice: Invoice, prices: frozenset[str]) -> corrections.Seen:
        try:
            notes = await self._gateway.credit_notes_of(invoice.invoice_id)
        except GatewayError as error:
            raise told(error, f"credit notes of {invoice.invoice_id} are fetched") from error
        return corrections.Seen(
            invoice.status,
            [
                corrections.NoteSeen(
                    note.credit_note_id,
                    note.status == "void",
                    credited_credits(note, invoice, prices),
                )
                for note in reversed(notes)  # the oldest first
            ],
        )


def is_final(invoice: Invoice) -> bool:
    """Say whether an invoice changes no more, but for what is taken back of it."""
    return invoice.status in FINAL and invoice.finalized_at is not None


def usage_period(invoice: Invoice, prices: frozenset[str]) -> tuple[int, int] | None:
    """Give the period in ms whose usage an invoice bills; None when it bills none."""
    lines = metered_lines(invoice, prices)
    if not lines:
        return None
    start = min(line.period_start for line in lines)
    return start * 1_000, max(line.period_end for line in lines) * 1_000


def usage_prices(invoice: Invoice) -> frozenset[str]:
    """Name the prices by which an invoice bills what a subscription has, known or not."""
    return frozenset(
        line.price_id
        for line in invoice.lines
        if line.price_id is not None
        and line.subscription_item_id is not None
        and line.quantity
        and not line.is_proration
    )


def _uncountable(sentence: str) -> UncountableError:
    log.error("%s", sentence)
    return UncountableError(f"{sentence}; or `usage-ledger billing settle` books it by hand")
