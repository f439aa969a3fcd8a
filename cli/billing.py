"""Billing over Stripe: how it stands, what does not agree, what Stripe has told."""

import sys

from cli.connection import READ_SECONDS, WRITE_SECONDS, connected
from cli.exits import OK, REJECTED
from cli.json_form import encode, plain
from cli.pages import Page, show_listing, walk
from cli.tables import note, print_table
from cli.values import credits_text, time_text
from usage.v1 import billing_pb2 as usage_billing
from usage_ledger.v1 import billing_pb2 as billing

# A page of payers is compared by a few calls to Stripe each.
COMPARE_SECONDS = 300.0
COMPARED_AT_ONCE = 20

STATUS_COLUMNS = (
    "payer", "state", "subscription", ">billable", ">reported", ">waiting", "waits for",
)  # fmt: skip
WEBHOOK_COLUMNS = ("received (UTC)", "event", "type", "object", "state", ">tries", "error")
BREAK_COLUMNS = (
    "payer", "break", "subscription", "invoice", "cycle (UTC)",
    ">ledger", ">projection", ">Stripe's sum", ">invoiced",
)  # fmt: skip


def show_status(
    payer: str, *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """What waits, and why, by payer."""
    counts: dict[str, int] = {}
    with connected(target) as services:

        def ask(size: int, after: str) -> Page:
            request = billing.GetBillingStatusRequest(
                attribution_id=payer, page_size=size, cursor=after
            )
            answer = services.billing_status.GetBillingStatus(request, timeout=READ_SECONDS)
            counts["waiting"] = answer.webhooks_waiting
            counts["failing"] = answer.webhooks_failing
            return list(answer.payers), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="payers",
            columns=STATUS_COLUMNS,
            row=_status_row,
            as_json=as_json,
        )
    if counts.get("waiting"):
        note(f"{counts['waiting']} webhooks wait, {counts['failing']} of them failed before.")
    return OK


def _status_row(one: billing.BilledPayer) -> tuple[str, ...]:
    state = f"{one.state or 'no account'}, unbilled" if one.unbilled else one.state
    return (
        one.attribution_id,
        state,
        one.subscription_id,
        credits_text(one.billable_cents),
        f"{one.requested_credits:,}",
        f"{one.waiting_credits:,}",
        one.waits_for,
    )


def reconcile(payer: str, *, report: bool, target: str, as_json: bool) -> int:
    """Reports usage and goes on with what is unfinished; then compares, if asked to."""
    with connected(target) as services:
        services.billing.ReconcileInvoices(usage_billing.ReconcileInvoicesRequest())
    if not report:
        note("Usage is reported; `usage-ledger billing status` shows what waits.")
        return OK
    return compare(payer, target=target, as_json=as_json)


def compare(payer: str, *, target: str, as_json: bool) -> int:
    """Compares ledger, projection and Stripe; 3 when something does not agree."""
    payers = cycles = 0
    breaks: list[billing.BillingBreak] = []
    cursor = ""
    with connected(target) as services:
        while True:
            request = billing.CompareBillingRequest(
                attribution_id=payer, page_size=COMPARED_AT_ONCE, cursor=cursor
            )
            answer = services.billing_status.CompareBilling(request, timeout=COMPARE_SECONDS)
            payers, cycles = payers + answer.payers, cycles + answer.cycles
            breaks += answer.breaks
            cursor = answer.next_cursor
            if not cursor:
                break
    if as_json:
        told = {"payers": payers, "cycles": cycles, "breaks": [plain(one) for one in breaks]}
        sys.stdout.write(f"{encode(told, indent=2)}\n")
        return REJECTED if breaks else OK
    if breaks:
        print_table("Breaks", BREAK_COLUMNS, map(_break_row, breaks))
        for kind, proposal in sorted({(one.kind, one.proposal) for one in breaks}):
            note(f"{kind}: {proposal}.")
    note(f"{payers} payers and {cycles} closed cycles compared, {len(breaks)} breaks.")
    return REJECTED if breaks else OK


def _break_row(one: billing.BillingBreak) -> tuple[str, ...]:
    cycle = ""
    if one.HasField("period_start"):
        cycle = f"{time_text(one.period_start)} – {time_text(one.period_end)}"
    return (
        one.attribution_id,
        one.kind,
        one.subscription_id,
        one.invoice_id,
        cycle,
        f"{one.ledger_credits:,}",
        f"{one.projection_credits:,}",
        f"{one.summed_credits:,}",
        f"{one.invoiced_credits:,}",
    )


def cancel(subscription: str, *, target: str) -> int:
    """Ends a payer's subscription, once everything is reported."""
    request = usage_billing.CancelSubscriptionRequest(subscription_id=subscription)
    with connected(target) as services:
        services.billing.CancelSubscription(request, timeout=WRITE_SECONDS)
    note(
        f"{subscription} ends once everything is reported; `usage-ledger billing status` shows it."
    )
    return OK


def list_webhooks(
    *, state: str, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """What Stripe has told, newest first."""
    with connected(target) as services:

        def ask(size: int, after: str) -> Page:
            request = billing.ListWebhooksRequest(state=state, page_size=size, cursor=after)
            answer = services.billing_status.ListWebhooks(request, timeout=READ_SECONDS)
            return list(answer.webhooks), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="webhooks",
            columns=WEBHOOK_COLUMNS,
            row=_webhook_row,
            as_json=as_json,
        )
    return OK


def _webhook_row(one: billing.Webhook) -> tuple[str, ...]:
    return (
        time_text(one.received),
        one.event_id,
        one.type,
        one.object_id,
        one.state,
        f"{one.attempts}",
        one.error,
    )


def replay(event: str, *, target: str, as_json: bool) -> int:
    """Does what a webhook asks for again; 3 when it fails again."""
    with connected(target) as services:
        request = billing.ReplayWebhookRequest(event_id=event)
        webhook = services.billing_status.ReplayWebhook(request, timeout=WRITE_SECONDS).webhook
    if as_json:
        sys.stdout.write(f"{encode({'webhook': plain(webhook)}, indent=2)}\n")
    else:
        note(f"{event} is {webhook.state}. {webhook.error}".rstrip())
    return REJECTED if webhook.error else OK
