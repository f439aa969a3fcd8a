"""What payers owe and why: balances, usage, entries, cost centers, credit notes, invoice drafts."""

import itertools
import sys
import uuid

from google.protobuf.timestamp_pb2 import Timestamp

from cli.connection import READ_SECONDS, WRITE_SECONDS, Services, connected
from cli.exits import OK, UNREACHABLE, CommandFailed
from cli.json_form import encode, plain
from cli.pages import show_listing, walk
from cli.tables import note, print_pairs, print_table
from cli.values import cents_of, credits_text, duration_text, parse_time, time_text
from usage.v1 import usage_pb2 as usage
from usage_ledger.v1 import queries_pb2 as queries

# As many as one call answers.
BALANCES_A_CALL = 10_000
ENTRY_COLUMNS = ("effective (UTC)", ">credits", "kind", "entry", "description", "")
_ENTRY_KINDS = {
    queries.ENTRY_KIND_WORKSPACE_INSTANCE: "workspace instance",
    queries.ENTRY_KIND_INVOICE: "invoice",
    queries.ENTRY_KIND_CREDIT_NOTE: "credit note",
}


def show_balances(payers: list[str], *, target: str, as_json: bool) -> int:
    """One balance for each payer, in the order asked."""
    balances: list[queries.Balance] = []
    with connected(target) as services:
        for start in range(0, len(payers), BALANCES_A_CALL):
            request = queries.GetBalancesRequest(
                attribution_ids=payers[start : start + BALANCES_A_CALL]
            )
            balances += services.queries.GetBalances(request, timeout=READ_SECONDS).balances
    if as_json:
        _print_json({"balances": [plain(balance) for balance in balances]})
    else:
        rows = [(one.attribution_id, credits_text(one.credit_cents)) for one in balances]
        print_table("", ("payer", ">balance"), rows)
    return OK


def list_usage(
    payer: str,
    *,
    start: str | None,
    end: str | None,
    user: str,
    page: int,
    per_page: int,
    ascending: bool,
    target: str,
    as_json: bool,
) -> int:
    """One page of workspace instances, with the totals over the whole range."""
    order = usage.ListUsageRequest.Ordering
    request = usage.ListUsageRequest(
        attribution_id=payer,
        to=parse_time(end, option="--to"),
        order=order.ORDERING_ASCENDING if ascending else order.ORDERING_DESCENDING,
        pagination=usage.PaginatedRequest(per_page=per_page, page=page),
        user_id=user,
    )
    beginning = parse_time(start, option="--from")
    if beginning is not None:
        # `from` is a word of Python's own.
        getattr(request, "from").CopyFrom(beginning)
    with connected(target) as services:
        answer = services.usage.ListUsage(request, timeout=READ_SECONDS)
    if as_json:
        _print_json(plain(answer))
        return OK
    columns = ("effective (UTC)", ">credits", "workspace instance", "class", "user", "")
    print_table("", columns, map(_usage_row, answer.usage_entries))
    pages = answer.pagination
    note(
        f"Page {pages.page:,} of {pages.total_pages:,}: {pages.total:,} instances, "
        f"{credits_text(cents_of(answer.credits_used))} credits in all; "
        f"running ones are accrued every {duration_text(answer.ledger_interval)}."
    )
    return OK


def _usage_row(entry: usage.Usage) -> tuple[str, ...]:
    metadata = plain(entry)["metadata"]
    details = metadata if isinstance(metadata, dict) else {}
    return (
        time_text(entry.effective_time),
        credits_text(cents_of(entry.credits)),
        entry.workspace_instance_id,
        str(details.get("workspaceClass", "")),
        str(details.get("userName") or details.get("userId", "")),
        "running" if entry.draft else "",
    )


def list_entries(
    payer: str,
    *,
    page_size: int,
    cursor: str,
    every_page: bool,
    ascending: bool,
    target: str,
    as_json: bool,
) -> int:
    """All entries of a payer, credit notes and invoices too."""
    with connected(target) as services:

        def ask(size: int, after: str) -> tuple[list[queries.Entry], str]:
            request = queries.ListEntriesRequest(
                attribution_id=payer, page_size=size, cursor=after, ascending=ascending
            )
            answer = services.queries.ListEntries(request, timeout=READ_SECONDS)
            return list(answer.entries), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="entries",
            columns=ENTRY_COLUMNS,
            row=entry_row,
            as_json=as_json,
        )
    return OK


def entry_kind_text(kind: queries.EntryKind.ValueType) -> str:
    """A kind of entry in words."""
    return _ENTRY_KINDS.get(kind, "unknown")


def entry_row(entry: queries.Entry) -> tuple[str, ...]:
    """An entry as a row of a table."""
    return (
        time_text(entry.effective_time),
        credits_text(entry.credit_cents),
        entry_kind_text(entry.kind),
        entry.id,
        entry.description,
        "running" if entry.draft else "",
    )


def show_cost_center(payer: str, *, target: str, as_json: bool) -> int:
    """The cost center; the first look opens it."""
    with connected(target) as services:
        _print_cost_center(_cost_center(services, payer), as_json=as_json)
    return OK


def set_cost_center(
    payer: str,
    *,
    spending_limit: int | None,
    strategy: str | None,
    target: str,
    as_json: bool,
) -> int:
    """Sets what is given and keeps the rest; an unset strategy on the wire would mean Stripe."""
    with connected(target) as services:
        today = _cost_center(services, payer)
        wanted = usage.CostCenter(
            attribution_id=payer,
            spending_limit=today.spending_limit if spending_limit is None else spending_limit,
            billing_strategy=_strategy_number(strategy) if strategy else today.billing_strategy,
        )
        request = usage.SetCostCenterRequest(cost_center=wanted)
        answer = services.usage.SetCostCenter(request, timeout=WRITE_SECONDS)
    _print_cost_center(answer.cost_center, as_json=as_json)
    return OK


def _cost_center(services: Services, payer: str) -> usage.CostCenter:
    request = usage.GetCostCenterRequest(attribution_id=payer)
    return services.usage.GetCostCenter(request, timeout=WRITE_SECONDS).cost_center


def _strategy_number(name: str) -> usage.CostCenter.BillingStrategy.ValueType:
    return usage.CostCenter.BillingStrategy.Value(f"BILLING_STRATEGY_{name.upper()}")


def _strategy_name(center: usage.CostCenter) -> str:
    is_stripe = center.billing_strategy == usage.CostCenter.BILLING_STRATEGY_STRIPE
    return "stripe" if is_stripe else "other"


def _print_cost_center(center: usage.CostCenter, *, as_json: bool) -> None:
    if as_json:
        _print_json({"cost_center": plain(center)})
        return
    print_pairs("", cost_center_pairs(center))


def cost_center_pairs(center: usage.CostCenter) -> tuple[tuple[str, str], ...]:
    """A cost center as names and values."""
    return (
        ("payer", center.attribution_id),
        ("spending limit", f"{center.spending_limit:,} credits"),
        ("billing strategy", _strategy_name(center)),
        ("billing cycle start", time_text(_set(center, "billing_cycle_start"))),
        ("next billing time", time_text(_set(center, "next_billing_time"))),
    )


def list_cost_centers(
    *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """Every cost center with its balance; looking opens none."""
    with connected(target) as services:

        def ask(size: int, after: str) -> tuple[list[queries.CostCenterDetails], str]:
            request = queries.ListCostCentersRequest(page_size=size, cursor=after)
            answer = services.queries.ListCostCenters(request, timeout=READ_SECONDS)
            return list(answer.cost_centers), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="cost_centers",
            columns=("payer", ">balance", ">limit", "strategy", ">cycle", "since", "next billing"),
            row=_cost_center_row,
            as_json=as_json,
        )
    return OK


def _cost_center_row(details: queries.CostCenterDetails) -> tuple[str, ...]:
    center = details.cost_center
    return (
        center.attribution_id,
        credits_text(details.balance_cents),
        f"{center.spending_limit:,}",
        _strategy_name(center),
        f"{details.cycle_number}",
        time_text(_set(center, "billing_cycle_start")),
        time_text(_set(center, "next_billing_time")),
    )


def add_credit_note(
    payer: str, amount: int, *, description: str, user: str, key: str | None, target: str
) -> int:
    """Gives credits back, or debits if negative. Always with a key, so that a retry is safe."""
    used_key = key or f"cli-{uuid.uuid4()}"
    request = usage.AddUsageCreditNoteRequest(
        attribution_id=payer, credits=amount, description=description, user_id=user
    )
    metadata = (("idempotency-key", used_key),)
    try:
        with connected(target) as services:
            services.usage.AddUsageCreditNote(request, timeout=WRITE_SECONDS, metadata=metadata)
    except CommandFailed as error:
        if error.exit_code != UNREACHABLE:
            raise
        raise CommandFailed(
            f"{error}\nWhether the note was written is not known: add it again with "
            f"--idempotency-key {used_key}, and it counts once.",
            exit_code=error.exit_code,
        ) from None
    note(f"{-amount:+,} credits on the balance of {payer}.")
    return OK


def show_invoice_draft(payer: str, *, target: str, as_json: bool) -> int:
    """The payer's open cycle."""
    with connected(target) as services:
        request = queries.GetInvoiceDraftRequest(attribution_id=payer)
        answer = services.queries.GetInvoiceDraft(request, timeout=READ_SECONDS)
    if as_json:
        _print_json(plain(answer))
        return OK
    print_invoice_draft(answer.invoice_draft)
    if answer.HasField("billed"):
        _print_billed(answer.billed)
    return OK


def print_invoice_draft(draft: queries.InvoiceDraft) -> None:
    """A billing cycle with its lines and sums."""
    pairs = (
        ("payer", draft.attribution_id),
        ("cycle", f"{draft.cycle_number}"),
        ("cycle start", time_text(_set(draft, "cycle_start"))),
        ("next billing time", time_text(_set(draft, "next_billing_time"))),
        ("running instances until", time_text(_set(draft, "accrued_to"))),
    )
    print_pairs("", pairs)
    columns = ("line", ">instances", ">minutes", ">credits")
    print_table("Lines", columns, itertools.chain(map(_draft_row, draft.lines), _draft_sums(draft)))
    for notes in draft.voided_credit_notes:
        note(_voided_notes(notes))
    note(f"Billable: {draft.billable_credits:,} credits.")


def _print_billed(billed: queries.BilledDraft) -> None:
    """Billable, reported and invoiced side by side, in the payer's time on STRIPE."""
    sums = (
        "subscription", ">billable", ">reported", ">of it waiting", ">invoiced",
        ">on no final invoice yet",
    )  # fmt: skip
    row = (
        billed.subscription_id or "-",
        f"{billed.billable_credits:,}",
        f"{billed.requested_credits:,}",
        f"{billed.waiting_credits:,}",
        f"{billed.invoiced_credits:,}",
        f"{billed.open_credits:,}",
    )
    print_table("With Stripe, in credits", sums, [row])
    columns = ("invoice", "finalized (UTC)", "cycle (UTC)", ">credits", ">taken back")
    print_table("Settled invoices", columns, map(_invoice_row, billed.invoices))


def _invoice_row(invoice: queries.SettledInvoice) -> tuple[str, ...]:
    return (
        invoice.invoice_id,
        time_text(invoice.finalized),
        f"{time_text(invoice.period_start)} – {time_text(invoice.period_end)}",
        credits_text(invoice.credit_cents),
        credits_text(invoice.corrected_cents),
    )


def _draft_row(line: queries.InvoiceDraftLine) -> tuple[str, ...]:
    name = line.workspace_class
    if line.HasField("late_for"):
        name += f" (late, for cycle {line.late_for.cycle_number})"
    minutes = f"{line.seconds / 60:,.2f}"
    return (name, f"{line.instances:,}", minutes, credits_text(line.credit_cents))


def _voided_notes(notes: queries.VoidedCreditNotes) -> str:
    cycle = ""
    if notes.HasField("late_for"):
        cycle = f" of cycle {notes.late_for.cycle_number}"
    return (
        f"Among the credit notes: {notes.credit_notes:,}{cycle} voided,"
        f" {credits_text(notes.credit_cents)} credits."
    )


def _draft_sums(draft: queries.InvoiceDraft) -> list[tuple[str, ...]]:
    return [
        ("carried balance", "", "", credits_text(draft.carried_balance_cents)),
        ("credit notes", f"{draft.credit_note_count:,}", "", credits_text(draft.credit_note_cents)),
        ("invoices", f"{draft.invoice_count:,}", "", credits_text(draft.invoice_cents)),
        ("total = balance", "", "", credits_text(draft.total_cents)),
    ]


def _set(message: usage.CostCenter | queries.InvoiceDraft, name: str) -> Timestamp | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # one name of several messages
        return None
    time = getattr(message, name)
    assert isinstance(time, Timestamp)
    return time


def _print_json(value: object) -> None:
    sys.stdout.write(f"{encode(value, indent=2)}\n")
