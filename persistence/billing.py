"""What a store keeps of billing: rows that the fold wrote, and the inbox of webhooks.

Webhooks lie outside the log: they say only where to look. An empty cursor begins at the start.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from projections import (
    BillingAccount,
    ClosedBooks,
    CostCenterRow,
    Invoice,
    Report,
    Reported,
    Reporting,
)

# States of a webhook.
WEBHOOK_WAITING, WEBHOOK_DONE = "waiting", "done"
WEBHOOK_IGNORED, WEBHOOK_FAILED = "ignored", "failed"

# After each try that failed a webhook waits so much longer, but never longer than an hour: a
# bad day of ours ends sooner than Stripe's own tries, which go on for three days.
WEBHOOK_RETRY_MS = 60_000
WEBHOOK_RETRIES_SPREAD_MAX = 60


class Webhook(NamedTuple):
    """What Stripe told, without its body: whoever handles it asks for the object as it is now."""

    event_id: str
    type: str
    object_id: str
    created: int  # at Stripe, seconds
    received_at: int  # ms
    detail: str = ""  # what the event alone says, such as `address`
    state: str = WEBHOOK_WAITING
    attempts: int = 0
    tried_at: int = 0  # ms; 0 before the first try
    error: str = ""  # of the last try


class ReportPlace(NamedTuple):
    """Where a page of reports ended."""

    payer: bytes = b""
    seq: int = 0
    subscription_id: str = ""


class CycleSums(NamedTuple):
    """Credits of a subscription's reports that are not lost."""

    stamped: int  # within the cycle
    unstamped: int


class WebhookPlace(NamedTuple):
    """Where a page of webhooks ended."""

    received_at: int
    event_id: str


class BillingReads(Protocol):
    """What transactions and readers tell of billing."""

    def billing_account(self, payer: bytes) -> BillingAccount | None:
        """Give a payer's account; None while it has none."""

    def reporting(self, payer: bytes) -> Reporting | None:
        """Give what was reported of a payer; None means zeros."""

    def reported(self, subscription_id: str) -> Reported | None:
        """Give the sums of a subscription; None when it is not known."""

    def report(self, subscription_id: str, seq: int) -> Report | None:
        """Give a row of the outbox."""

    def open_reports(self, subscription_id: str) -> list[Report]:
        """Give a subscription's rows that wait, are stamped or refused, by seq."""

    def unsent_reports(self, *, after: ReportPlace, limit: int) -> list[Report]:
        """Give rows that wait or are stamped, by payer and seq.

        Those of payers with a refused row are left out.
        """

    def refused_reports(self, *, limit: int) -> list[Report]:
        """Give refused rows, by payer and seq."""

    def reports_in_cycle(self, subscription_id: str, *, start: int, end: int) -> CycleSums:
        """Sum the rows stamped in [start, end), and those not stamped yet, but for lost ones."""

    def reports_stamped_from(self, subscription_id: str, start: int) -> list[Report]:
        """Give rows stamped at a time or later, by seq; lost ones left out."""

    def taken_back_in_cycle(self, subscription_id: str, *, start: int, end: int) -> int:
        """Sum what negative rows stamped in [start, end) take back, lost ones left out; from 0."""

    def unfinished_accounts(self, *, after: bytes, limit: int) -> list[BillingAccount]:
        """Give accounts whose customer or subscription is being made or ended, by payer."""

    def accounts_with_subscription(self, *, after: bytes, limit: int) -> list[BillingAccount]:
        """Give accounts that have a subscription, by payer."""

    def billed_payers(self, *, after: bytes, limit: int) -> list[bytes]:
        """Give payers whose account wants something or is subscribed, or who are on STRIPE.

        Also those who have left, while what was reported of them waits for its invoice.
        """

    def stripe_cost_centers(self, *, after: bytes, limit: int) -> list[CostCenterRow]:
        """Give cost centers on STRIPE, by payer."""

    def invoice(self, invoice_id: str) -> Invoice | None:
        """Give a settled invoice."""

    def invoices_of(self, payer: bytes) -> list[Invoice]:
        """Give a payer's newest settled invoices, newest first."""

    def books_of(self, payer: bytes) -> list[ClosedBooks]:
        """Give a payer's newest closed cycles, newest first."""

    def webhook(self, event_id: str) -> Webhook | None:
        """Give one webhook."""

    def waiting_webhooks(self, *, now: int, limit: int) -> list[Webhook]:
        """Give webhooks that wait and are due, the first received first.

        One that was tried is due after a pause that grows with its attempts.
        """

    def webhooks(self, *, state: str, before: WebhookPlace | None, limit: int) -> list[Webhook]:
        """Give webhooks in a state, or in any when it is empty, newest first."""


class WebhookInbox(Protocol):
    """What a transaction writes of webhooks."""

    def add_webhook(self, webhook: Webhook) -> bool:
        """Keep what Stripe told; False when its event id is there already."""

    def webhook_done(self, event_id: str, *, state: str, error: str, now: int) -> None:
        """Count a try and keep what came of it; `waiting` for another try."""
