"""How many credits to report to Stripe, under which names, and how many it has billed.

Pure arithmetic. Credits are whole; cents are hundredths of a credit. For the whole time on STRIPE
the ceiling is taken of the cumulative figure, never of a part, so rounding costs the payer less
than one credit in all.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction
from typing import Final

from billing.errors import GatewayMisuseError, InvoiceQuantityError
from billing.records import Invoice, InvoiceLine, StripeCreditNote

CENTS_PER_CREDIT: Final = 100
IDENTIFIER_CHARS_MAX: Final = 100  # of a meter event, by Stripe
KEY_CHARS_MAX: Final = 255  # of an idempotency key, by Stripe
# Ten times what quantities of 15 digits and 12 places need, on ten thousand lines.
_EXACT: Final = Context(prec=300, traps=[Inexact])


def target_credits(cumulative_cents: int) -> int:
    """How many credits should have been reported by now; a credit balance owes nothing."""
    return -(-max(cumulative_cents, 0) // CENTS_PER_CREDIT)


def next_delta(target: int, *, requested: int, requested_in_cycle: int) -> int:
    """How many credits to report next, 0 for none.

    `requested` were reported or wait in the outbox, `requested_in_cycle` of them in the open
    cycle. No more is taken back than that: Stripe bills a cycle below zero as zero and forgets the
    rest. What cannot be taken back stays as `target < requested` and absorbs later usage.
    """
    return max(target - requested, -requested_in_cycle)


def usage_identifier(*, meter_id: str, subscription_id: str, sequence: int) -> str:
    """Name a report for ever; Stripe takes each name once within a day."""
    identifier = f"{_part(meter_id)}:{_part(subscription_id)}:{_count(sequence)}"
    if len(identifier) > IDENTIFIER_CHARS_MAX:
        raise GatewayMisuseError(f"{identifier!r} is longer than {IDENTIFIER_CHARS_MAX} signs")
    return identifier


def usage_key(identifier: str, *, attempt: int) -> str:
    """Name one attempt to send a report.

    Each attempt has a key of its own, for Stripe answers a key with its first answer for a day,
    even if that was an error. The identifier does the deduplication.
    """
    if not identifier:
        raise GatewayMisuseError("the identifier is empty")
    return _key(f"{identifier}:{_count(attempt)}")


def intent_key(action: str, subject: str, *, generation: int) -> str:
    """Name an intent, such as `create-customer:team:…:1`.

    All attempts share it; a new generation begins only after a look at what Stripe has.
    """
    # The subject may have colons of its own; the ends are ours and have none.
    if not subject:
        raise GatewayMisuseError("the subject is empty")
    return _key(f"{_part(action)}:{subject}:{_count(generation)}")


def metered_lines(invoice: Invoice, metered_prices: AbstractSet[str]) -> list[InvoiceLine]:
    """Give the lines that bill credits: of our metered prices, no prorations."""
    return [
        line for line in invoice.lines if line.price_id in metered_prices and not line.is_proration
    ]


def billed_credits(invoice: Invoice, metered_prices: AbstractSet[str]) -> int:
    """Add up the credits that an invoice bills: the lines of our metered prices, no prorations.

    One-off items and other products count nothing. InvoiceQuantityError: a line of ours has no
    quantity, or the sum is no whole number from 0 on.
    """
    total = Decimal(0)
    for line in metered_lines(invoice, metered_prices):
        if line.quantity is None or not line.quantity.is_finite():
            raise InvoiceQuantityError(
                f"line {line.line_id} of invoice {invoice.invoice_id} has no quantity"
            )
        total = _exact_sum(total, line.quantity, invoice)
    if total < 0 or total != total.to_integral_value():
        raise InvoiceQuantityError(
            f"invoice {invoice.invoice_id} bills {total} credits, which is no whole number from 0"
        )
    return int(total)


def credited_credits(
    note: StripeCreditNote, invoice: Invoice, metered_prices: AbstractSet[str]
) -> Fraction:
    """Add up the credits that a credit note takes back of the lines that bill some, exactly.

    By the quantities that it names; where it names amounts, by their share of a line. So one on a
    flat fee, a line of quantity 0, takes back money and no credits.
    """
    lines = {line.line_id: line for line in metered_lines(invoice, metered_prices)}
    credits = Fraction(0)
    for part in note.lines:
        line = lines.get(part.invoice_line_id or "")
        if line is None or line.quantity is None or not line.quantity.is_finite():
            continue
        quantity = Fraction(max(line.quantity, Decimal(0)))
        if part.quantity and part.quantity.is_finite():  # none, or 0, where an amount was credited
            credits += min(Fraction(part.quantity), quantity)
        elif line.amount > 0:
            credits += quantity * min(part.amount, line.amount) / line.amount
    return credits


def _exact_sum(total: Decimal, quantity: Decimal, invoice: Invoice) -> Decimal:
    try:
        with localcontext(_EXACT):
            return total + quantity
    except Inexact:
        raise InvoiceQuantityError(
            f"invoice {invoice.invoice_id} has a quantity of too many digits"
        ) from None


def _part(text: str) -> str:
    if not text or ":" in text:
        raise GatewayMisuseError(f"{text!r} cannot be a part of a name: empty, or with a colon")
    return text


def _count(number: int) -> int:
    if number < 0:
        raise GatewayMisuseError(f"{number} cannot be a part of a name: it is negative")
    return number


def _key(text: str) -> str:
    if len(text) > KEY_CHARS_MAX:
        raise GatewayMisuseError(f"the key {text!r} is longer than {KEY_CHARS_MAX} signs")
    return text
