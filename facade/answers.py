"""Answers of QueryService, translated from what the ledger shows."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from facade.boundary import shown_reason
from facade.translate import fill, timestamp
from facade.usage import cost_center
from ledger.audit.erased import Erased, erased_of
from ledger.commands import Terms
from ledger.folding import decoded
from ledger.instances import view_instance
from ledger.invoicing.overview import BilledDraft
from ledger.messages import unpack_stored
from ledger.queries import (
    DESCRIPTION,
    Draft,
    Queries,
    other_description,
    other_metadata,
    usage_metadata,
)
from ledger.views import (
    OWN_PERIOD,
    CostCenterRow,
    Counts,
    DeadLetter,
    OtherRow,
    Recorded,
    StreamEvent,
    UsageRow,
    attribution_id,
    event_json,
    uuid_text,
)
from usage.v1 import usage_pb2
from usage_ledger.v1 import publishing_pb2
from usage_ledger.v1 import queries_pb2 as pb


def duration(ms: int) -> Duration:
    """Give milliseconds as a duration."""
    return Duration(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def counts(name: str, counts: Counts) -> pb.DeliveryCounts:
    """Translate the counts of a source of delivery."""
    return pb.DeliveryCounts(delivery=name, **counts._asdict())


def details_of(row: CostCenterRow) -> usage_pb2.CostCenter:
    """Translate a cost center's row."""
    terms = Terms(
        row.payer,
        row.spending_limit,
        row.strategy,
        row.cycle_start,
        row.next_billing,
        row.cycle_number,
    )
    return cost_center(terms, attribution_id(row.payer))


def dead_letter(letter: DeadLetter, delivery: str) -> pb.DeadLetter:
    """Translate a dead letter without its bytes."""
    return pb.DeadLetter(
        id=letter.id,
        delivery=delivery,
        line=letter.line,
        reason=letter.reason,
        first_rejected=timestamp(letter.first_rejected),
        last_rejected=timestamp(letter.last_rejected),
        times=letter.times,
        size_bytes=letter.size_bytes,
        kind=letter.kind,
    )


def dead_letter_with_bytes(letter: DeadLetter, delivery: str) -> pb.GetDeadLetterResponse:
    """Translate a dead letter with what was rejected."""
    answer = pb.GetDeadLetterResponse(dead_letter=dead_letter(letter, delivery))
    if letter.kind != "message":
        answer.original = letter.original
        return answer
    message = unpack_stored(letter.original)
    answer.original = message.value or b""
    answer.message.value_is_null = message.value is None
    if message.key is not None:
        answer.message.key = message.key
    for name, value in message.headers:
        answer.message.headers.add(name=name, value=value)
    return answer


def log_events(queries: Queries, stored: Sequence[StreamEvent], shard: int) -> list[pb.LogEvent]:
    """Translate stored events."""
    events = decoded(stored)
    erased = erased_of(queries.reader, events)
    return [recorded_event(each, shard, erased.get(each.position)) for each in events]


def recorded_event(recorded: Recorded, shard: int, erased: Erased | None = None) -> pb.LogEvent:
    """Translate a decoded event; `erased` tells what took its personal fields."""
    event = recorded.event
    return pb.LogEvent(
        position=publishing_pb2.Position(shard=shard, number=recorded.position),
        stream=recorded.originator_id,
        version=recorded.originator_version,
        topic=event.TOPIC,
        recorded=timestamp(event.recorded_at),
        author=event.author,
        json=event_json(event),
        erased=timestamp(None if erased is None else erased.at),
        erased_by="" if erased is None else erased.by,
    )


def entry_kind(kind: str) -> pb.EntryKind.ValueType:
    """Translate the kind of an entry."""
    return pb.EntryKind.Value(f"ENTRY_KIND_{kind.upper()}")


def entry(payer: bytes, row: UsageRow | OtherRow) -> pb.Entry:
    """Translate an entry of any kind."""
    entry = pb.Entry(
        id=uuid_text(row.entry_id),
        attribution_id=attribution_id(payer),
        credit_cents=row.cents,
    )
    fill(entry.effective_time, row.effective)
    if isinstance(row, UsageRow):
        entry.kind = entry_kind("workspace_instance")
        entry.description = DESCRIPTION
        entry.workspace_instance_id = uuid_text(row.instance)
        entry.draft = bool(row.draft)
        entry.metadata = usage_metadata(row)
        return entry
    entry.kind = entry_kind(row.kind)
    entry.description = other_description(row)
    entry.metadata = other_metadata(row)
    return entry


def draft(payer: bytes, draft: Draft) -> pb.InvoiceDraft:
    """Translate an invoice draft."""
    rows, cycle = draft.rows, draft.rows.cycle
    answer = pb.InvoiceDraft(
        attribution_id=attribution_id(payer),
        total_cents=draft.total_cents,
        billable_credits=draft.billable_credits,
        accrued_to=timestamp(rows.accrual.instant if rows.accrual.position else None),
    )
    if rows.cost_center is not None:
        answer.cost_center.CopyFrom(details_of(rows.cost_center))
        fill(answer.next_billing_time, rows.cost_center.next_billing)
    if cycle is not None:
        answer.cycle_number = cycle.number
        answer.carried_balance_cents = cycle.carried_cents
        answer.credit_note_count, answer.credit_note_cents = cycle.note_count, cycle.note_cents
        answer.invoice_count, answer.invoice_cents = cycle.invoice_count, cycle.invoice_cents
        if cycle.start is not None:
            fill(answer.cycle_start, cycle.start)
    for line in draft.lines:
        added = answer.lines.add(
            workspace_class=line.workspace_class,
            instances=line.amount.count,
            seconds=line.amount.seconds,
            credit_cents=line.amount.cents,
        )
        _fill_period(added.late_for, line.late_for, line.period)
    for notes in draft.voided_notes:
        voided = answer.voided_credit_notes.add(credit_notes=notes.notes, credit_cents=notes.cents)
        _fill_period(voided.late_for, notes.late_for, notes.period)
    return answer


def _fill_period(
    message: pb.ClosedPeriod, late_for: int, period: tuple[int | None, int | None]
) -> None:
    """Name the closed cycle in which something took place; leave it out for the open one's own."""
    if late_for == OWN_PERIOD:
        return
    message.cycle_number = late_for
    begin, end = period
    if begin is not None:
        fill(message.start, begin)
    if end is not None:
        fill(message.end, end)


def instance(queries: Queries, instance_id: str, shard: int) -> pb.GetInstanceResponse:
    """Open and translate one workspace instance."""
    view = view_instance(queries.reader, instance_id)
    answer = pb.GetInstanceResponse(
        workspace_instance_id=view.instance_id,
        attribution_id=attribution_id(view.payer),
        stopping_time=timestamp(view.stopping),
        stopped_time=timestamp(view.stopped),
        ended_time=timestamp(view.ended),
        lines=[
            pb.CycleLine(
                cycle_number=line.number,
                seconds=line.seconds,
                credit_cents=line.cents,
                attribution_id=attribution_id(line.payer),
            )
            for line in view.lines
        ],
        events=[
            recorded_event(recorded, shard, view.erased.get(recorded.position))
            for recorded in view.events
        ],
        is_void=view.is_void,
        voids=[
            pb.InstanceVoid(
                position=publishing_pb2.Position(shard=shard, number=void.position),
                recorded=timestamp(void.recorded_at),
                author=void.author,
                reason=shown_reason(void.reason),
                attribution_id=attribution_id(void.payer),
            )
            for void in view.voids
        ],
    )
    start = view.start
    if start is not None:
        answer.workspace_class = start.workspace_class
        answer.workspace_type = start.workspace_type
        answer.user_id = uuid_text(start.user) if start.user else ""
        answer.workspace_id = start.workspace_id
        answer.project_id = getattr(start, "project_id", "")
        answer.credits_per_minute = start.rate
        answer.price_revision = start.price_revision
        if start.creation_time is not None:
            fill(answer.creation_time, start.creation_time)
        if start.started_time is not None:
            fill(answer.started_time, start.started_time)
    if view.row is not None:
        answer.entry.CopyFrom(entry(view.payer, view.row))
    return answer


def billed(found: BilledDraft) -> pb.BilledDraft:
    """Translate what of a draft is with Stripe."""
    return pb.BilledDraft(
        subscription_id=found.subscription_id,
        billable_credits=found.standing.target,
        requested_credits=found.standing.requested,
        waiting_credits=found.waiting_credits,
        open_credits=found.open_credits,
        invoiced_credits=found.invoiced_credits,
        invoices=[
            pb.SettledInvoice(
                invoice_id=invoice.invoice_id,
                finalized=timestamp(invoice.finalized_at),
                period_start=timestamp(invoice.period_start),
                period_end=timestamp(invoice.period_end),
                credit_cents=-invoice.credit_cents,
                corrected_cents=invoice.corrected_cents,
            )
            for invoice in found.invoices
        ],
    )
