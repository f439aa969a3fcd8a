"""Billing over Stripe: how it stands, what does not agree, what Stripe has told."""

import sys
from itertools import chain

from cli.connection import READ_SECONDS, WRITE_SECONDS, Services, connected
from cli.exits import FAILED, OK, REJECTED, USAGE, CommandFailed
from cli.json_form import encode, plain
from cli.pages import PAGE_SIZE_MAX, Page, show_listing, walk
from cli.tables import note, print_table
from cli.values import credits_text, printable, time_text
from usage.v1 import billing_pb2 as usage_billing
from usage_ledger.v1 import billing_pb2 as billing

# A page of payers is compared by a few calls to Stripe each.
COMPARE_SECONDS = 300.0
COMPARED_AT_ONCE = 20
PAYER_METADATA = "usage-ledger-payer"  # trailing metadata of CancelSubscription

GIVEN_UP = "given-up"
_BESIDE_PAYERS = ("last_run", "webhooks_waiting", "webhooks_failing", "webhooks_given_up")

STATUS_COLUMNS = (
    "payer", "state", "subscription", ">billable", ">reported", ">waiting", ">invoiced",
    "waits since (UTC)",
    "waits for",
)  # fmt: skip
WEBHOOK_COLUMNS = ("received (UTC)", "event", "type", "object", "state", ">tries", "error")
BREAK_COLUMNS = (
    "payer", "break", "subscription", "invoice", "cycle (UTC)",
    ">ledger", ">projection", ">Stripe's sum", ">invoiced",
)  # fmt: skip


def show_status(
    payer: str, *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """How the last run went; what waits, and why, by payer."""
    told = billing.GetBillingStatusResponse()
    with connected(target) as services:

        def ask(size: int, after: str) -> Page:
            nonlocal told
            request = billing.GetBillingStatusRequest(
                attribution_id=payer, page_size=size, cursor=after
            )
            told = services.billing_status.GetBillingStatus(request, timeout=READ_SECONDS)
            return list(told.payers), told.next_cursor

        pages = walk(ask, page_size=page_size, cursor=cursor, every_page=every_page)
        first = next(pages)
        if not as_json:
            _note_run(told)
        show_listing(
            chain([first], pages),
            key="payers",
            columns=STATUS_COLUMNS,
            row=_status_row,
            as_json=as_json,
            beside=lambda: {name: plain(told)[name] for name in _BESIDE_PAYERS},
        )
    if not as_json:
        _note_webhooks(told)
    return OK


def _note_run(told: billing.GetBillingStatusResponse) -> None:
    if not told.HasField("last_run"):
        note("ReconcileInvoices has not run yet.")
        return
    run = told.last_run
    note(
        f"The last run ended {time_text(run.ended)}: {run.payers_done:,} payers done,"
        f" {run.payers_failed:,} failed."
    )
    if run.error:
        before = (
            f"The last one that did not ended {time_text(run.last_success)}."
            if run.HasField("last_success")
            else "None has come through yet."
        )
        note(f"It failed as a whole: {run.error}. {before}")


def _note_webhooks(told: billing.GetBillingStatusResponse) -> None:
    if told.webhooks_waiting:
        note(
            f"{told.webhooks_waiting} webhooks wait, {told.webhooks_failing} of them failed before."
        )
    if told.webhooks_given_up:
        note(
            f"{told.webhooks_given_up} webhooks were given up;"
            " `usage-ledger billing webhooks --state given-up` lists them."
        )


def _status_row(one: billing.BilledPayer) -> tuple[str, ...]:
    state = f"{one.state or 'no account'}, unbilled" if one.unbilled else one.state
    return (
        one.attribution_id,
        state,
        one.subscription_id,
        credits_text(one.billable_cents),
        f"{one.requested_credits:,}",
        f"{one.waiting_credits:,}",
        f"{one.invoiced_credits:,}",
        time_text(one.waits_since) if one.HasField("waits_since") else "",
        one.waits_for,
    )


def reconcile(payer: str, *, report: bool, target: str, as_json: bool) -> int:
    """Reports usage and goes on with what is unfinished; or compares, and changes nothing."""
    if report:
        return compare(payer, target=target, as_json=as_json)
    if payer:
        raise CommandFailed(
            "Usage is reported of all payers at once: leave PAYER out, or compare it alone with"
            " --report.",
            exit_code=USAGE,
        )
    with connected(target) as services:
        _must_be_configured(services)
        services.billing.ReconcileInvoices(usage_billing.ReconcileInvoicesRequest())
        told = services.billing_status.GetBillingStatus(
            billing.GetBillingStatusRequest(page_size=1), timeout=READ_SECONDS
        )
    failed = bool(told.last_run.payers_failed or told.last_run.error)
    if as_json:
        sys.stdout.write(f"{encode({'last_run': plain(told)['last_run']}, indent=2)}\n")
        return FAILED if failed else OK
    _note_run(told)
    if failed:
        note("`usage-ledger billing status` shows who waits, and for what; the next run goes on.")
    return FAILED if failed else OK


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
        ended = services.billing.CancelSubscription.with_call(request, timeout=WRITE_SECONDS)[1]
        payer = next(
            (str(text) for key, text in ended.trailing_metadata() or () if key == PAYER_METADATA),
            "",
        )
        if not payer:
            _must_be_configured(services)
            raise CommandFailed(
                f"No payer has {printable(subscription)}, or it has ended before. Nothing was done."
            )
    note(
        f"{subscription} of {payer} ends once everything is reported, if it has not ended;"
        f" `usage-ledger billing status {payer}` shows it."
    )
    return OK


def _must_be_configured(services: Services) -> None:
    """Fails as other calls do where the service has no credentials: some then answer OK."""
    services.billing_status.GetBillingStatus(
        billing.GetBillingStatusRequest(page_size=1), timeout=READ_SECONDS
    )


def resume(payer: str, *, target: str, as_json: bool) -> int:
    """Sends a payer's refused reports again; 3 when something waits all the same."""
    with connected(target) as services:
        request = billing.ResumeReportsRequest(attribution_id=payer)
        answer = services.billing_status.ResumeReports(request, timeout=WRITE_SECONDS)
    if as_json:
        sys.stdout.write(f"{encode(plain(answer), indent=2)}\n")
    else:
        note(f"{answer.resumed} refused reports were sent again. {answer.waits_for}".rstrip())
    return REJECTED if answer.waits_for else OK


def settle(invoice: str, *, credits: int, target: str) -> int:
    """Settles an invoice that cannot be counted by hand."""
    request = billing.SettleInvoiceRequest(invoice_id=invoice, credits=credits)
    with connected(target) as services:
        services.billing_status.SettleInvoice(request, timeout=WRITE_SECONDS)
    note(f"{invoice} is settled for {credits:,} credits.")
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
        webhook = _replayed(services, event)
    if as_json:
        sys.stdout.write(f"{encode({'webhook': plain(webhook)}, indent=2)}\n")
    else:
        _note_replayed(webhook)
    return REJECTED if webhook.error else OK


def replay_given_up(*, target: str, as_json: bool) -> int:
    """Does what every webhook asks for that was given up; 3 when one fails again."""
    replayed: list[billing.Webhook] = []
    with connected(target) as services:
        # All of them before the first is done, for then it is in the list no more.
        for event in _given_up(services):
            replayed.append(_replayed(services, event))
            if not as_json:
                _note_replayed(replayed[-1])
    failed = sum(bool(one.error) for one in replayed)
    if as_json:
        told = {"webhooks": [plain(one) for one in replayed]}
        sys.stdout.write(f"{encode(told, indent=2)}\n")
    else:
        note(f"{len(replayed)} webhooks were given up; {failed} of them failed again.")
    return REJECTED if failed else OK


def _given_up(services: Services) -> list[str]:
    events: list[str] = []
    cursor = ""
    while True:
        request = billing.ListWebhooksRequest(
            state=GIVEN_UP, page_size=PAGE_SIZE_MAX, cursor=cursor
        )
        answer = services.billing_status.ListWebhooks(request, timeout=READ_SECONDS)
        events += [one.event_id for one in answer.webhooks]
        cursor = answer.next_cursor
        if not cursor:
            return events


def _replayed(services: Services, event: str) -> billing.Webhook:
    request = billing.ReplayWebhookRequest(event_id=event)
    return services.billing_status.ReplayWebhook(request, timeout=WRITE_SECONDS).webhook


def _note_replayed(webhook: billing.Webhook) -> None:
    note(f"{webhook.event_id} is {webhook.state}. {webhook.error}".rstrip())
