"""What invoices settle: each once; and the books of cycles, which close once their usage is billed.

What was taken back of an invoice is in `corrections`.
"""

from __future__ import annotations

from typing import NamedTuple

from aggregates import BillingAccount, EndedSubscription
from events import InvoiceSettled, ReportedCycleClosed
from ledger.commands.usage_reports import ReportKey, refuse_if_paused, report_rejected
from ledger.group import Group
from projections.billing import CLOSED


class Settled(NamedTuple):
    """What a final invoice of Stripe says. Times in ms.

    The period is that of its metered lines; without any it bills no usage.
    """

    invoice_id: str
    customer_id: str
    subscription_id: str
    credits: int
    finalized_at: int
    period_start: int
    period_end: int
    bills_usage: bool = True
    is_last: bool = False  # Stripe has ended the subscription at the period's end


def unclosed_cycles(group: Group, payer: bytes, subscription_id: str) -> list[tuple[int, int]]:
    """Give the cycles that have ended and whose books are open, oldest first.

    Also those before one whose books are closed: an invoice may be heard of before an older one.
    The last cycle of a subscription that has ended may be shorter than the others.
    """
    match group.billing_account(payer).known(subscription_id):
        case None:
            cycles = []
        case EndedSubscription(periods=periods, ended_at=ended_at):
            cycles = periods.ending_at(ended_at)
        case bound:
            begun = bound.periods.until(group.now)
            cycles = [(one.start, one.end) for one in begun if one.end <= group.now]
    group.flush()  # so that what this group has closed is seen
    names = [books_stream(subscription_id, start) for start, _ in cycles]
    closed = group.transaction.streams(names)
    return [cycle for cycle, name in zip(cycles, names, strict=True) if name not in closed]


def settle_invoice(group: Group, payer: bytes, settled: Settled) -> int:
    """Book a final invoice, and close the books of its cycle if that is over.

    Give the credits that it bills and nobody sent, 0 when it was booked before: the invoice's own
    stream refuses a second one, whoever brings it.
    """
    stream = invoice_stream(settled.invoice_id)
    if group.stream(stream):
        return 0
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
    if not settled.bills_usage:
        return 0
    if _are_books_closed(group, payer, settled):  # the cycle has had its invoice, or was empty
        return settled.credits
    if not _is_cycle_over(group, payer, settled):
        return 0
    books = close_books(
        group,
        payer,
        settled.subscription_id,
        period_start=settled.period_start,
        period_end=settled.period_end,
        invoice_id=settled.invoice_id,
    )
    assert books is not None
    return books.invoiced_credits - (books.sent_credits - books.shortfall_credits)


def _are_books_closed(group: Group, payer: bytes, settled: Settled) -> bool:
    """Say whether what an invoice bills has had its books closed already."""
    known = group.billing_account(payer).known(settled.subscription_id)
    starts = {settled.period_start}
    if known is not None:
        starts.add(known.periods.at(settled.period_start).start)
    return any(group.stream(books_stream(settled.subscription_id, start)) for start in starts)


def _is_cycle_over(group: Group, payer: bytes, settled: Settled) -> bool:
    """Say whether an invoice bills one whole cycle of ours.

    That it is over Stripe's clock says, too, which ours may be behind of.
    """
    start, end = settled.period_start, settled.period_end
    account = group.billing_account(payer)
    is_cycle = account.has_cycle(settled.subscription_id, start=start, end=end)
    return (is_cycle or settled.is_last) and end <= max(group.now, settled.finalized_at)


def close_books(
    group: Group,
    payer: bytes,
    subscription_id: str,
    *,
    period_start: int,
    period_end: int,
    invoice_id: str = "",
) -> ReportedCycleClosed | None:
    """Compare what was sent in a cycle with what its invoices bill, which are settled.

    None when that was done before. What they lack is put back, to be reported in the open cycle.
    That bills nothing twice: the invoices of a closed cycle change no more. So is what was to be
    taken back and is invoiced nevertheless: it is taken back from later usage. What an invoice has
    beyond that is somebody else's, or a mistake, and people decide about it.
    """
    stream = books_stream(subscription_id, period_start)
    if group.stream(stream):
        return None
    refuse_if_paused(group, payer)
    account = group.billing_account(payer)
    end = account.billed_until(subscription_id, start=period_start, end=period_end)
    sent, _ = group.transaction.reports_in_cycle(subscription_id, start=period_start, end=end)
    billed = group.transaction.settled_in_cycle(
        payer, subscription_id, start=period_start, end=period_end
    )
    invoice_id, invoiced = invoice_id or billed.invoice_id, billed.cents // 100
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


def close_without_invoice(
    group: Group, payer: bytes, subscription_id: str, *, period_start: int, period_end: int
) -> ReportedCycleClosed | None:
    """Close the books of a cycle for which Stripe makes no invoice.

    None when that was done before, or when it is no cycle any more: somebody else may have noted
    meanwhile that the billing anchor was moved, and its reports are counted in other cycles.
    """
    if (period_start, period_end) not in unclosed_cycles(group, payer, subscription_id):
        return None
    return close_books(
        group, payer, subscription_id, period_start=period_start, period_end=period_end
    )


def unsettled_cents(group: Group, payer: bytes, account: BillingAccount) -> int:
    """Give U: what was reported before and no invoice has settled yet.

    To subscriptions that have ended, or to the one that outlived the last time on STRIPE.
    """
    refuse_if_paused(group, payer)
    return sum(max(_unsettled(group, name), 0) for name in account.ever_bound)


def unsettled_subscriptions(group: Group, payer: bytes) -> list[EndedSubscription]:
    """Give the subscriptions that have ended and of which books are open, for whatever comes.

    What was reported in one cycle and taken back in the next one adds up to nothing, and neither
    may ever have an invoice; yet each has its books.
    """
    refuse_if_paused(group, payer)
    ended = group.billing_account(payer).ended
    return [one for one in ended if unclosed_cycles(group, payer, one.subscription_id)]


def _unsettled(group: Group, subscription_id: str) -> int:
    reported = group.transaction.reported(subscription_id)
    return 0 if reported is None else 100 * reported.requested_credits - reported.settled_cents


def books_stream(subscription_id: str, period_start: int) -> str:
    """Name the stream of a cycle's books; it takes one event only."""
    return f"reported-cycle:{subscription_id}:{period_start // 1_000}"


def invoice_stream(invoice_id: str) -> str:
    """Name the stream of an invoice."""
    return "invoice:" + invoice_id
