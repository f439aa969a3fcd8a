"""What is reported to Stripe: decided on the balance, sent under a fixed name, settled by invoices.

The arithmetic is that of `billing.reporting`; the sums come from the projection `billing`, folded
up to here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aggregates import second_behind
from billing.reporting import next_delta, target_credits, usage_identifier
from events import (
    STRIPE,
    UsageReported,
    UsageReportRejected,
    UsageReportRequested,
    UsageReportResumed,
    UsageReportStamped,
)
from events.readable import attribution_id
from ledger.errors import UnavailableError
from ledger.group import Group
from projections.billing import CLOSED, LOST, REFUSED, SENT, WAITING, Report, Reporting

BILLING = "billing"  # the projection
FOREVER = 2**62  # ms
CLOCKS_APART_MS = 60_000  # ours and Stripe's at most


class ReportKey(NamedTuple):
    """Which row of the outbox."""

    payer: bytes
    subscription_id: str
    seq: int


class Standing(NamedTuple):
    """How a payer's reports stand."""

    cumulative_cents: int  # C: billable in this time on STRIPE
    target: int  # T: credits that should have been reported
    requested: int  # R: credits put in the outbox

    @property
    def open_cents(self) -> int:
        """Give what is billable and not in the outbox; negative: a credit."""
        return self.cumulative_cents - 100 * self.requested


def standing_of(group: Group, payer: bytes) -> Standing:
    """Give how a payer's reports stand, with everything before folded in."""
    balance = group.balance(payer)
    refuse_if_paused(group, payer)
    return standing_of_rows(balance, group.transaction.reporting(payer))


def standing_of_rows(balance_cents: int, row: Reporting | None) -> Standing:
    """Give how reports stand by a payer's balance and its row; without one nothing was reported."""
    if row is None:
        return Standing(balance_cents, target_credits(balance_cents), 0)
    cumulative = balance_cents - row.invoiced_cents - row.unsettled_cents
    return Standing(cumulative, target_credits(cumulative), row.requested_credits)


def refuse_if_paused(group: Group, payer: bytes) -> None:
    group.fold()
    if BILLING in group.paused:
        raise UnavailableError(
            f"what was reported of {attribution_id(payer)} is not current: projection"
            f" {BILLING!r} is paused at position {group.paused[BILLING].position}; see"
            " `usage-ledger status`"
        )


def report_usage(
    group: Group, payer: bytes, *, event_name: str, meter_id: str
) -> UsageReportRequested | None:
    """Put what is not reported yet into the outbox; None when nothing is.

    Nothing either without an active subscription, while the cost center is on OTHER, and while a
    report of the payer is refused: nothing is skipped.
    """
    account = group.billing_account(payer)
    subscription = account.subscription
    if subscription is None or not account.is_active:
        return None
    if group.cost_center(payer).strategy != STRIPE:
        return None  # its usage counts toward its limit there, and is written off by resets
    standing = standing_of(group, payer)
    subscription_id = subscription.subscription_id
    if any(report.state == REFUSED for report in group.transaction.open_reports(subscription_id)):
        return None
    period = subscription.periods.at(group.now)
    stamped, unstamped = group.transaction.reports_in_cycle(
        subscription_id, start=period.start, end=FOREVER
    )
    delta = next_delta(
        standing.target,
        requested=standing.requested,
        requested_in_cycle=max(stamped + unstamped, 0),
    )
    if not delta:
        return None
    reported = group.transaction.reported(subscription_id)
    seq = 1 if reported is None else reported.seq + 1
    event = UsageReportRequested(
        group.recorded_at,
        group.author,
        payer,
        subscription_id,
        seq,
        delta,
        standing.target,
        subscription.customer_id,
        event_name,
        usage_identifier(meter_id=meter_id, subscription_id=subscription_id, sequence=seq),
    )
    group.append_next(reports_stream(subscription_id), event)
    return event


def open_reports(group: Group, payer: bytes, subscription_id: str) -> list[Report]:
    """Give the rows that are neither delivered nor given up, in order; up to a refused one."""
    refuse_if_paused(group, payer)
    rows = group.transaction.open_reports(subscription_id)
    refused = next((at for at, row in enumerate(rows) if row.state == REFUSED), len(rows))
    return rows[: refused + 1]


def delivered_between(
    group: Group, payer: bytes, *, subscriptions: Sequence[str], start: int, end: int
) -> int:
    """Sum the credits stamped in [start, end) that Stripe is known to have of subscriptions.

    Stripe adds up by customer, so these are all that a customer has or had.
    """
    refuse_if_paused(group, payer)
    total = 0
    for subscription_id in subscriptions:
        sent, _ = group.transaction.reports_in_cycle(subscription_id, start=start, end=end)
        total += sent - sum(
            row.delta
            for row in group.transaction.open_reports(subscription_id)
            if row.stamped is not None and start <= row.stamped < end
        )
    return total


def stamp_report(group: Group, key: ReportKey) -> Report | None:
    """Write down under which time a report counts, before its first try; None when it is done."""
    report = _report(group, key)
    if report is None or report.state not in {WAITING, SENT}:
        return None
    if report.state == WAITING:
        if report.delta < 0 and not _can_be_taken_back(group, report):
            reason = "its cycle has ended, and the open one has not so much to take back"
            report_rejected(group, key, outcome=LOST, reason=reason)
            return None
        event = UsageReportStamped(
            group.recorded_at, group.author, *key, timestamp=_time_of_try(group, key)
        )
        group.append_next(reports_stream(key.subscription_id), event)
        report.stamped = event.timestamp
    return report


def _time_of_try(group: Group, key: ReportKey) -> int:
    """Give now in ms of whole seconds, but no time before the period that Stripe told of.

    Our clock may be behind Stripe's: no invoice has what counts before a subscription began. Or it
    may be ahead: the last invoice has nothing that counts behind the end, which comes at once. And
    the second in which an earlier subscription ended is that one's.
    """
    account = group.billing_account(key.payer)
    subscription, now, begun = account.subscription, group.now, 0
    if subscription is not None and subscription.subscription_id == key.subscription_id:
        ends = [
            one.ended_at for one in account.ended if one.customer_id == subscription.customer_id
        ]
        behind = second_behind(max(ends)) if ends else 0
        begun = max(subscription.periods.newest_told, behind)
        if account.is_cancelling:
            begun = max(begun, subscription.periods.at(now).start)
            now -= CLOCKS_APART_MS
    return max(now // 1_000 * 1_000, begun)


def _can_be_taken_back(group: Group, report: Report) -> bool:
    """Say whether the open cycle stays at zero or above with a negative row.

    It was asked for in a cycle that had so much. A day without Stripe may have put another one
    between that and the first try, and Stripe bills a cycle below zero as zero.
    """
    subscription = group.billing_account(report.payer).subscription
    if subscription is None or subscription.subscription_id != report.subscription_id:
        return False
    period = subscription.periods.at(group.now)
    stamped, _ = group.transaction.reports_in_cycle(
        report.subscription_id, start=period.start, end=period.end
    )
    return bool(stamped + report.delta >= 0)


def report_delivered(group: Group, key: ReportKey, outcome: str) -> None:
    """Note that Stripe has a report."""
    if _is_open(group, key):
        event = UsageReported(group.recorded_at, group.author, *key, outcome=outcome)
        group.append_next(reports_stream(key.subscription_id), event)


def report_rejected(group: Group, key: ReportKey, *, outcome: str, reason: str) -> None:
    """Note that Stripe refuses a report, or that it is lost; lost credits are reported anew."""
    assert outcome in {REFUSED, LOST, CLOSED}
    if _is_open(group, key):
        event = UsageReportRejected(
            group.recorded_at, group.author, *key, outcome=outcome, reason=reason
        )
        group.append_next(reports_stream(key.subscription_id), event)


def resume_reports(group: Group, payer: bytes) -> int:
    """Let reports that Stripe refused be sent again as they are; give how many.

    Stripe may have one all the same, from a try before that nobody knows of: the name is kept.
    """
    refuse_if_paused(group, payer)
    subscription = group.billing_account(payer).subscription
    if subscription is None:
        return 0
    refused = [
        report
        for report in group.transaction.open_reports(subscription.subscription_id)
        if report.state == REFUSED
    ]
    for report in refused:
        event = UsageReportResumed(
            group.recorded_at, group.author, payer, report.subscription_id, report.seq
        )
        group.append_next(reports_stream(report.subscription_id), event)
    return len(refused)


def give_up_reports(group: Group, payer: bytes, subscription_id: str, *, ended_at: int) -> None:
    """Put back what no invoice of a subscription that has ended will hold.

    That is what Stripe has not got, and what was sent after the end, before anybody told of it. A
    report that was sent before, with nobody knowing what became of it, may be on the last invoice:
    it waits until the books of the last cycle are closed.
    """
    refuse_if_paused(group, payer)
    account = group.billing_account(payer)
    known = account.known(subscription_id)
    assert known is not None
    last_start, last_end = known.periods.ending_at(ended_at)[-1]
    after_end = account.billed_until(subscription_id, start=last_start, end=last_end)
    given_up = {
        row.seq: "the subscription has ended"
        for row in group.transaction.open_reports(subscription_id)
        if row.state != SENT
    }
    for row in group.transaction.reports_stamped_from(subscription_id, after_end):
        given_up[row.seq] = "sent after the subscription had ended"
    for seq, reason in sorted(given_up.items()):
        key = ReportKey(payer, subscription_id, seq)
        event = UsageReportRejected(
            group.recorded_at, group.author, *key, outcome=LOST, reason=reason
        )
        group.append_next(reports_stream(subscription_id), event)


def _report(group: Group, key: ReportKey) -> Report | None:
    refuse_if_paused(group, key.payer)
    return group.transaction.report(key.subscription_id, key.seq)


def _is_open(group: Group, key: ReportKey) -> bool:
    report = _report(group, key)
    return report is not None and report.state in {WAITING, SENT, REFUSED}


def reports_stream(subscription_id: str) -> str:
    """Name the stream of a subscription's reports."""
    return "usage-report:" + subscription_id
