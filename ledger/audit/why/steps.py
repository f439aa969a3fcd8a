"""Events beside the amounts that they made, and who or what caused them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from events import (
    BillingCycleClosed,
    CostCenterImported,
    CreditNoteIssued,
    CreditNoteVoided,
    EntryImported,
    InvoiceCorrected,
    InvoiceSettled,
    Recorded,
    ReportedCycleClosed,
    UsageReconciled,
    UsageReported,
    UsageReportRejected,
    UsageReportStamped,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
    WorkspaceInstanceVoided,
)
from ledger.arrivals import event_id_of
from ledger.audit.erased import erased_of
from ledger.audit.why.basis import Basis
from ledger.audit.why.numbers import (
    BY_OPERATOR,
    BY_STRIPE,
    CALL_OR_JOB,
    IMPORTED,
    PUBLISHED,
    Number,
    Step,
)
from ledger.queries import personal_text

# Whose personal fields are a reason or a description. Those of starts name people.
_WITH_TEXT = (
    CreditNoteIssued,
    CreditNoteVoided,
    EntryImported,
    WorkspaceInstanceEnded,
    WorkspaceInstanceVoided,
)
_TIMES: dict[type, str] = {
    BillingCycleClosed: "closed_at",
    CreditNoteIssued: "effective_time",
    EntryImported: "effective_time",
    InvoiceCorrected: "effective_time",
    InvoiceSettled: "effective_time",
    UsageReconciled: "instant",
    UsageReportStamped: "timestamp",
    WorkspaceInstanceEnded: "ended_time",
    WorkspaceInstanceImported: "effective_time",
    WorkspaceInstanceStarted: "started_time",
    WorkspaceInstanceStopped: "stopped_time",
    WorkspaceInstanceStopping: "stopping_time",
}
_CAUSES: dict[type, str] = {
    **dict.fromkeys((CostCenterImported, EntryImported, WorkspaceInstanceImported), IMPORTED),
    **dict.fromkeys(
        (CreditNoteVoided, WorkspaceInstanceEnded, WorkspaceInstanceVoided), BY_OPERATOR
    ),
    **dict.fromkeys(
        (
            InvoiceCorrected,
            InvoiceSettled,
            ReportedCycleClosed,
            UsageReported,
            UsageReportRejected,
        ),
        BY_STRIPE,
    ),
}


def step(recorded: Recorded, role: str, before_cents: int, after_cents: int) -> Step:
    """Give an event with what it made of an amount; who caused it is looked up later."""
    event: Any = recorded.event
    name = _TIMES.get(type(event))
    effective = None if name is None else getattr(event, name)
    cause = _CAUSES.get(type(event), CALL_OR_JOB)
    return Step(recorded, cause, "", "", effective, role, before_cents, after_cents, "")


def tell_causes(basis: Basis, root: Number) -> None:
    """Look up sources and reasons of every event in a tree, each kind with one question."""
    numbers = list(_numbers(root))
    events = {each.recorded.position: each.recorded for one in numbers for each in one.steps}
    sources = basis.why.sources(sorted(events))
    texts = basis.why.texts(
        sorted(at for at, recorded in events.items() if isinstance(recorded.event, _WITH_TEXT))
    )
    erased = erased_of(basis.reader, events.values())
    for number in numbers:
        number.steps = [
            _told(each, sources.get(each.recorded.position), texts)._replace(
                erased=erased.get(each.recorded.position)
            )
            for each in number.steps
        ]


def _numbers(root: Number) -> Iterator[Number]:
    yield root
    for number in (*root.parts, *root.beside):
        yield from _numbers(number)


def _told(one: Step, published: Any, texts: Any) -> Step:
    event: Any = one.recorded.event
    if published is not None:
        cause = PUBLISHED if one.cause == CALL_OR_JOB else one.cause
        one = one._replace(
            cause=cause, source=published.source, event_id=event_id_of(published.event_key)
        )
    if not isinstance(event, _WITH_TEXT):
        return one
    kept = texts.get(one.recorded.position)
    # An erased row is there, and full of zeros.
    is_gone = kept is None or not kept.strip(b"\0")
    return one._replace(
        reason=personal_text(kept), reason_is_erased=is_gone and bool(event.commitment)
    )
