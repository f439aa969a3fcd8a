"""What invoices settle: each once, with the books of its cycle, and what was taken back of it."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from aggregates import BillingAccount, EndedSubscription
from aggregates.calendar import add_months, periods_until
from events import (
    InvoiceCorrected,
    InvoiceSettled,
    ReportedCycleClosed,
)
from ledger.commands.usage_reports import ReportKey, refuse_if_paused, report_rejected
from ledger.group import Group
from projections.billing import CLOSED

BILLING = "billing"  # the projection
FOREVER = 2**62  # ms


class Settled(NamedTuple):
    """What a final invoice of Stripe says. Times in ms."""

    invoice_id: str
    customer_id: str
    subscription_id: str
    credits: int
    finalized_at: int
    period_start: int
    period_end: int


def unclosed_cycles(
    group: Group, subscription_id: str, *, first_start: int, ended_at: int | None = None
) -> list[tuple[int, int]]:
    """Give the cycles that have ended and whose books are open, oldest first.

    Also those before one whose books are closed: an invoice may be heard of before an older one.
    The last cycle of a subscription that has ended may be shorter than the others.
    """
    until = group.now if ended_at is None else ended_at
    count = periods_until(first_start, until) + (ended_at is not None)
    starts = [add_months(first_start, number) for number in range(count + 1)]
    # One that ended in the second in which it began has a cycle, and an invoice, all the same.
    cycles = [
        (start, min(end, until))
        for start, end in pairwise(starts)
        if start < until or start == first_start
    ]
    group.flush()  # so that what this group has closed is seen
    names = [books_stream(subscription_id, start) for start, _ in cycles]
    closed = group.transaction.streams(names)
    return [cycle for cycle, name in zip(cycles, names, strict=True) if name not in closed]


def settle_invoice(group: Group, payer: bytes, settled: Settled) -> bool:
    """Book a final invoice, and close the books of its cycle; False when it was booked before.

    The invoice's own stream refuses a second one, whoever brings it.
    """
    stream = invoice_stream(settled.invoice_id)
    if group.stream(stream):
        return False
    refuse_if_paused(group, payer)
    event = InvoiceSettled(
        group.recorded_at,
        group.author,
        payer,
        settled.invoice_id,
        settled.customer_id,
        settled.subscription_id,
        -100 * settled.credits,
        settled.finalized_at,
        settled.period_start,
        settled.period_end,
    )
    group.append(stream, 1, event)
    close_books(
        group,
        payer,
        settled.subscription_id,
        period_start=settled.period_start,
        period_end=settled.period_end,
        invoice_id=settled.invoice_id,
        invoiced=settled.credits,
    )
    return True


def close_books(
    group: Group,
    payer: bytes,
    subscription_id: str,
    *,
    period_start: int,
    period_end: int,
    invoice_id: str,
    invoiced: int,
) -> ReportedCycleClosed | None:
    """Compare what was sent in a cycle with its final invoice; None when that was done before.

    What the invoice lacks is put back, to be reported in the open cycle. That bills nothing twice:
    the invoice of a closed cycle changes no more. So is what was to be taken back and is on the
    invoice nevertheless: it is taken back from later usage. Beyond that nothing is mended here.
    """
    stream = books_stream(subscription_id, period_start)
    if group.stream(stream):
        return None
    refuse_if_paused(group, payer)
    end = _counted_until(group, payer, subscription_id, period_end)
    sent, _ = group.transaction.reports_in_cycle(subscription_id, start=period_start, end=end)
    taken_back = group.transaction.taken_back_in_cycle(subscription_id, start=period_start, end=end)
    for report in group.transaction.open_reports(subscription_id):
        if report.stamped is not None and report.stamped < end:
            reason = f"the invoice of its cycle, {invoice_id or 'none'}, is final"
            key = ReportKey(payer, subscription_id, report.seq)
            report_rejected(group, key, outcome=CLOSED, reason=reason)
    event = ReportedCycleClosed(
        group.recorded_at,
        group.author,
        payer,
        subscription_id,
        period_start,
        period_end,
        invoice_id,
        sent,
        invoiced,
        max(sent - invoiced, -taken_back),
    )
    group.append(stream, 1, event)
    return event


def _counted_until(group: Group, payer: bytes, subscription_id: str, period_end: int) -> int:
    """Give the first ms whose reports the cycle does not bill any more.

    A subscription that is ended within a cycle bills its last second, too.
    """
    account = group.billing_account(payer)
    starts = [one.period_start for one in account.ended if one.subscription_id == subscription_id]
    if account.subscription is not None:
        starts.append(account.subscription.period_start)
    start = starts[0] if starts else period_end
    is_whole = add_months(start, periods_until(start, period_end)) == period_end
    return period_end if is_whole else period_end + 1_000


def correct_invoice(
    group: Group, payer: bytes, invoice_id: str, *, cause: str, credits: int | None
) -> int:
    """Take back what Stripe took back of a settled invoice; give the cents that came back.

    `credits` None: all that is left of it. The same cause comes once; never more than was settled.
    """
    stream = invoice_stream(invoice_id)
    booked = [recorded.event for recorded in group.stream(stream)]
    if not booked or any(
        isinstance(event, InvoiceCorrected) and event.cause == cause for event in booked
    ):
        return 0
    left = -sum(
        event.credit_cents
        for event in booked
        if isinstance(event, (InvoiceSettled, InvoiceCorrected))
    )
    cents = left if credits is None else min(100 * credits, left)
    if not cents:
        return 0
    event = InvoiceCorrected(
        group.recorded_at, group.author, payer, invoice_id, cause, cents, group.now
    )
    group.append_next(stream, event)
    return cents


def unsettled_cents(group: Group, payer: bytes, account: BillingAccount) -> int:
    """Give U: what was reported before and no invoice has settled yet.

    To subscriptions that have ended, or to the one that outlived the last time on STRIPE.
    """
    refuse_if_paused(group, payer)
    return sum(_unsettled(group, subscription_id) for subscription_id in account.ever_bound)


def unsettled_subscriptions(group: Group, payer: bytes) -> list[EndedSubscription]:
    """Give the subscriptions that have ended and wait for an invoice, for whatever it tells."""
    refuse_if_paused(group, payer)
    ended = group.billing_account(payer).ended
    return [
        one
        for one in ended
        if _unsettled(group, one.subscription_id)
        or group.transaction.open_reports(one.subscription_id)
    ]


def _unsettled(group: Group, subscription_id: str) -> int:
    reported = group.transaction.reported(subscription_id)
    if reported is None:
        return 0
    return max(100 * reported.requested_credits - reported.settled_cents, 0)


def books_stream(subscription_id: str, period_start: int) -> str:
    """Name the stream of a cycle's books; it takes one event only."""
    return f"reported-cycle:{subscription_id}:{period_start // 1_000}"


def invoice_stream(invoice_id: str) -> str:
    """Name the stream of an invoice."""
    return "invoice:" + invoice_id
