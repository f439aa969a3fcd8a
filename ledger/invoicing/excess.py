"""Cycles of which more was invoiced than was sent: told to people, never mended by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from projections.billing import ClosedBooks, Invoice


class Excess(NamedTuple):
    """What the invoices of a closed cycle bill, and what of it nobody sent, in whole credits."""

    books: ClosedBooks
    billed: int
    credits: int


def excesses(books: Iterable[ClosedBooks], invoices: Iterable[Invoice]) -> list[Excess]:
    """Give the cycles of a payer that bill too much as things stand.

    What the ledger put back by itself counts as sent, and what Stripe took back of an invoice as
    not billed: a credit note at Stripe ends it.
    """
    settled = list(invoices)
    found = []
    for one in books:
        of_cycle = sum(_left_cents(invoice) for invoice in settled if _is_of(invoice, one)) // 100
        credits = of_cycle - (one.sent_credits - one.shortfall_credits)
        if credits > 0:
            found.append(Excess(one, of_cycle, credits))
    return found


def _is_of(invoice: Invoice, books: ClosedBooks) -> bool:
    """Say whether an invoice bills usage of a cycle; most cycles have one, which bills it all."""
    end = max(books.period_end, books.period_start + 1)
    return (
        invoice.subscription_id == books.subscription_id
        and books.period_start <= invoice.period_start < end
    )


def _left_cents(invoice: Invoice) -> int:
    return -invoice.credit_cents - invoice.corrected_cents
