"""BillingStatusService: how billing stands, what does not agree, what Stripe has told."""

from __future__ import annotations

from facade.boundary import Calls, Context, UnimplementedError, author_of, unary
from facade.queries import page_size, read_cursor, write_cursor
from facade.translate import must_be_stripe_id, timestamp
from ledger.application import Ledger
from ledger.commands.credit_notes import payer_of
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.invoicing import Billing
from ledger.invoicing.comparison import Break
from ledger.invoicing.overview import PayerStanding, payer_standing
from ledger.views import BillingRun, Webhook, WebhookPlace, attribution_id, is_stripe_id
from usage_ledger.v1 import billing_pb2 as pb

COMPARED_DEFAULT, COMPARED_MAX = 20, 100  # payers in one call: each asks Stripe a few times
CREDITS_MAX = 10**12  # settled by hand; in cents and summed it stays far within 64 bits
STATES = ("waiting", "done", "ignored", "given-up")
_PAYER_BYTES, _TIME_BYTES = 16, 8


class BillingStatusServicer:
    """The six calls."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger's billing."""
        self._ledger = ledger

    @property
    def _billing(self) -> Billing:
        billing = self._ledger.billing
        if billing is None:
            raise UnimplementedError(
                "billing is not configured: the service has no Stripe credentials"
            )
        return billing

    async def get_billing_status(
        self, request: pb.GetBillingStatusRequest, _context: Context
    ) -> pb.GetBillingStatusResponse:
        """Tell of every payer that has to do with Stripe what waits, and why."""
        billing = self._billing
        size = page_size(request.page_size)
        payers = await self._page(request.attribution_id, request.cursor, size)
        standings = [await payer_standing(self._ledger, payer) for payer in payers[:size]]
        webhooks = await billing.webhooks.counts()
        run = await billing.runs.last()
        return pb.GetBillingStatusResponse(
            payers=[_standing(each) for each in standings],
            next_cursor=write_cursor(payers[size - 1]) if len(payers) > size else "",
            webhooks_waiting=webhooks.waiting,
            webhooks_failing=webhooks.failing,
            webhooks_given_up=webhooks.given_up,
            last_run=None if run is None else _run(run),
        )

    async def _page(self, wanted: str, cursor: str, size: int) -> list[bytes]:
        """Give a page of payers and one more, if there is one."""
        if wanted:
            return [payer_of(wanted)]
        after = read_cursor(cursor, _PAYER_BYTES) or b""
        return await self._billing.page(after=after, limit=size + 1)

    async def compare_billing(
        self, request: pb.CompareBillingRequest, _context: Context
    ) -> pb.CompareBillingResponse:
        """Compare ledger, projection and Stripe."""
        billing = self._billing
        size = request.page_size or COMPARED_DEFAULT
        if not 0 < size <= COMPARED_MAX:
            raise InvalidArgumentError(
                f"page_size {request.page_size}: must be 0 to {COMPARED_MAX}"
            )
        payers = await self._page(request.attribution_id, request.cursor, size)
        compared = [await billing.comparison.of_payer(payer) for payer in payers[:size]]
        return pb.CompareBillingResponse(
            payers=len(compared),
            cycles=sum(one.cycles for one in compared),
            breaks=[_break(each) for one in compared for each in one.breaks],
            next_cursor=write_cursor(payers[size - 1]) if len(payers) > size else "",
        )

    async def list_webhooks(
        self, request: pb.ListWebhooksRequest, _context: Context
    ) -> pb.ListWebhooksResponse:
        """List what Stripe has told, newest first."""
        billing = self._billing
        size = page_size(request.page_size)
        if request.state and request.state not in STATES:
            raise InvalidArgumentError(
                f"state {request.state[:40]!r}: one of {', '.join(STATES)}, or empty"
            )
        before = _place(request.cursor)
        found = await billing.webhooks.page(state=request.state, before=before, limit=size + 1)
        return pb.ListWebhooksResponse(
            webhooks=[_webhook(each) for each in found[:size]],
            next_cursor=_cursor(found[size - 1]) if len(found) > size else "",
        )

    async def replay_webhook(
        self, request: pb.ReplayWebhookRequest, context: Context
    ) -> pb.ReplayWebhookResponse:
        """Do what a webhook asks for again."""
        billing, webhook = self._billing, None
        if is_stripe_id(request.event_id):
            author = author_of(context, self._ledger.operator)
            webhook = await billing.webhooks.replay(request.event_id, author)
        if webhook is None:
            raise NotFoundError(f"webhook {request.event_id[:80]} is not known")
        return pb.ReplayWebhookResponse(webhook=_webhook(webhook))

    async def resume_reports(
        self, request: pb.ResumeReportsRequest, context: Context
    ) -> pb.ResumeReportsResponse:
        """Send again what Stripe refused."""
        resumed = await self._billing.reports.resume(
            payer_of(request.attribution_id), author_of(context, self._ledger.operator)
        )
        return pb.ResumeReportsResponse(resumed=resumed.reports, waits_for=resumed.waits_for)

    async def settle_invoice(
        self, request: pb.SettleInvoiceRequest, context: Context
    ) -> pb.SettleInvoiceResponse:
        """Settle by hand what cannot be counted."""
        billing = self._billing
        must_be_stripe_id("invoice_id", request.invoice_id, "Missing InvoiceID")
        if not 0 <= request.credits <= CREDITS_MAX:
            raise InvalidArgumentError(
                f"credits {request.credits}: must be between 0 and {CREDITS_MAX}"
            )
        await billing.settlements.settle_by_hand(
            request.invoice_id, request.credits, author_of(context, self._ledger.operator)
        )
        return pb.SettleInvoiceResponse()


def handler(ledger: Ledger) -> Calls:
    """Give the service's calls."""
    servicer = BillingStatusServicer(ledger)
    return Calls(
        "usage_ledger.v1.BillingStatusService",
        {
            "GetBillingStatus": unary(pb.GetBillingStatusRequest, servicer.get_billing_status),
            "CompareBilling": unary(pb.CompareBillingRequest, servicer.compare_billing),
            "ListWebhooks": unary(pb.ListWebhooksRequest, servicer.list_webhooks),
            "ReplayWebhook": unary(pb.ReplayWebhookRequest, servicer.replay_webhook),
            "ResumeReports": unary(pb.ResumeReportsRequest, servicer.resume_reports),
            "SettleInvoice": unary(pb.SettleInvoiceRequest, servicer.settle_invoice),
        },
    )


def _standing(each: PayerStanding) -> pb.BilledPayer:
    account = each.account
    return pb.BilledPayer(
        attribution_id=attribution_id(each.payer),
        state=account.state,
        stripe_customer_id=account.customer_id,
        subscription_id=account.subscription_id,
        billable_cents=each.standing.cumulative_cents if each.is_on_stripe else 0,
        requested_credits=each.standing.requested,
        waiting_credits=each.waiting_credits,
        invoiced_credits=each.invoiced_credits,
        unbilled=each.is_unbilled,
        waits_for=each.waits_for,
        since=timestamp(account.changed_at or None),
        waits_since=timestamp(each.waits_since),
        waits_attempts=each.attempts,
    )


def _run(each: BillingRun) -> pb.BillingRun:
    return pb.BillingRun(
        started=timestamp(each.started_at),
        ended=timestamp(each.ended_at),
        payers_done=each.done,
        payers_failed=each.failed,
        error=each.error,
        last_success=timestamp(each.succeeded_at or None),
    )


def _break(each: Break) -> pb.BillingBreak:
    return pb.BillingBreak(
        attribution_id=attribution_id(each.payer),
        kind=each.kind,
        subscription_id=each.subscription_id,
        invoice_id=each.invoice_id,
        ledger_credits=each.ledger,
        projection_credits=each.projection,
        summed_credits=each.summed,
        invoiced_credits=each.invoiced,
        period_start=timestamp(each.period_start),
        period_end=timestamp(each.period_end),
        proposal=each.proposal,
    )


def _webhook(each: Webhook) -> pb.Webhook:
    return pb.Webhook(
        event_id=each.event_id,
        type=each.type,
        object_id=each.object_id,
        created=timestamp(each.created * 1_000),
        received=timestamp(each.received_at),
        state=each.state,
        attempts=each.attempts,
        tried=timestamp(each.tried_at or None),
        error=each.error,
    )


def _cursor(webhook: Webhook) -> str:
    return write_cursor(
        webhook.received_at.to_bytes(_TIME_BYTES, signed=True) + webhook.event_id.encode()
    )


def _place(cursor: str) -> WebhookPlace | None:
    raw = read_cursor(cursor, None)
    if raw is None:
        return None
    time, event_id = raw[:_TIME_BYTES], raw[_TIME_BYTES:].decode(errors="replace")
    if not is_stripe_id(event_id):
        raise InvalidArgumentError(f"cursor {cursor[:80]!r}: use next_cursor of the page before")
    return WebhookPlace(int.from_bytes(time, signed=True), event_id)
