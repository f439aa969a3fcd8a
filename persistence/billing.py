"""What a store keeps of billing: rows that the fold wrote, and what lies beside the log.

Webhooks say only where to look; troubles and the last run say how billing goes on. No number comes
of them, and folding the log anew leaves them alone. An empty cursor begins at the start.
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
WEBHOOK_IGNORED, WEBHOOK_GIVEN_UP = "ignored", "given-up"

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
    # ms; since when each try was told what time does not mend. 0 unless the last one was.
    hopeless_since: int = 0


class Trouble(NamedTuple):
    """Why a payer's billing does not go on; gone once a run of the payer succeeds. Times in ms."""

    payer: bytes
    reason: str
    since: int  # when the first of the runs in a row failed
    tried_at: int  # when it was last written down that it still fails
    attempts: int  # how often it was


class BillingRun(NamedTuple):
    """How the last run of ReconcileInvoices went. Times in ms."""

    started_at: int
    ended_at: int
    done: int  # payers
    failed: int
    error: str  # why it failed as a whole; empty when each failure was a payer's own
    succeeded_at: int  # end of the last run that did not fail as a whole; 0 while there was none


class BillingTallies(NamedTuple):
    """Counts of a shard's billing."""

    in_trouble: int  # payers
    reports_waiting: int  # rows that wait or are stamped
    credits_waiting: int  # their sum; negative ones take back
    reports_refused: int


class WebhookTallies(NamedTuple):
    """Counts of webhooks; those that are done or ignored are not counted."""

    waiting: int
    failing: int  # of those that wait: tried in vain
    given_up: int
    oldest_waiting: int | None  # when it was received, ms


class ReportPlace(NamedTuple):
    """Where a page of reports ended."""

    payer: bytes = b""
    seq: int = 0
    subscription_id: str = ""


class CycleSums(NamedTuple):
    """Credits of a subscription's reports that are not lost."""

    stamped: int  # within the cycle
    unstamped: int


class SettledSum(NamedTuple):
    """What invoices have settled of a cycle's usage."""

    cents: int  # 0 or positive
    invoice_id: str  # of one of them; empty: none did


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

    def settled_in_cycle(
        self, payer: bytes, subscription_id: str, *, start: int, end: int
    ) -> SettledSum:
        """Sum what invoices settled of a subscription whose period begins in [start, end).

        Where both are the same instant, those that begin there.
        """

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

    def webhook_tallies(self) -> WebhookTallies:
        """Count webhooks that are not done."""

    def trouble(self, payer: bytes) -> Trouble | None:
        """Give why a payer's billing does not go on; None while it does."""

    def troubles(self, *, after: bytes, upto: bytes) -> list[Trouble]:
        """Give the troubles of payers behind one up to another, by payer."""

    def billing_run(self) -> BillingRun | None:
        """Give how the last run went; None before the first. First shard only."""

    def billing_tallies(self) -> BillingTallies:
        """Count what waits in this shard."""


class BillingNotes(Protocol):
    """What a transaction writes of billing beside the log."""

    def add_webhook(self, webhook: Webhook) -> bool:
        """Keep what Stripe told; False when its event id is there already."""

    def webhook_done(
        self, event_id: str, *, state: str, error: str, now: int, hopeless_since: int = 0
    ) -> None:
        """Count a try and keep what came of it; `waiting` for another try."""

    def add_trouble(self, payer: bytes, reason: str, *, now: int) -> None:
        """Write down that a payer's run failed, and why; since when stays as it is."""

    def remove_trouble(self, payer: bytes) -> None:
        """Forget a payer's trouble, if there is any."""

    def put_billing_run(self, run: BillingRun) -> None:
        """Keep how a run went instead of the one before. First shard only.

        An earlier `succeeded_at` does not replace a later one.
        """
