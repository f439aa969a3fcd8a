"""The shortest way to say what services publish, and to see what the ledger makes of it.

The clock stands at 08:00 on 1 November 2026; `at("07:00")` is that morning. Class `cent` costs a
cent a minute where a scene is asked for it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.harness import Calls, InProcessService, ManualClock, settings_for
from tests.oracle.events import line_of, named_uuid, payer_of
from usage.v1 import usage_pb2
from usage_ledger.v1 import admin_pb2, audit_corrections_pb2, publishing_pb2, queries_pb2

NOW = "2026-11-01T08:00:00Z"
PAYER = payer_of("payer")
OTHER_PAYER = payer_of("other payer")
USER = named_uuid("user")
SOURCE = "/workspace-manager/eu01"
CENT_PRICES = {"credits_per_minute": {"cent": "0.01", "default": "0.1666666667"}}

Event = dict[str, Any]
Line = Event | bytes


def at(text: str) -> str:
    """`HH:MM[:SS[.fff]]` on 1 November 2026, `MM-DD HH:MM` in 2026, or a whole RFC 3339 time."""
    if "T" in text:
        return text
    day, _, time = text.rpartition(" ")
    return f"2026-{day or '11-01'}T{time if time.count(':') == 2 else time + ':00'}Z"


def instance(name: str) -> str:
    return named_uuid("instance", name)


def envelope(kind: str, fields: Mapping[str, Any], **attributes: Any) -> Event:
    """A CloudEvent of `usage.<kind>.v1`; an attribute that is None is left out."""
    event = {
        "specversion": "1.0",
        "id": named_uuid(kind, json.dumps(fields, sort_keys=True)),
        "source": SOURCE,
        "type": f"usage.{kind}.v1",
        "datacontenttype": "application/json",
        "data": dict(fields),
        **attributes,
    }
    return {name: value for name, value in event.items() if value is not None}


def started(
    name: str, time: str, *, payer: str = PAYER, event_id: str | None = None, **fields: Any
) -> Event:
    """A start; fields by their JSON names, None leaves one out."""
    return _told("started", name, time, payer, event_id, {"userId": USER, **fields})


def stopping(
    name: str, time: str, *, payer: str = PAYER, event_id: str | None = None, **fields: Any
) -> Event:
    return _told("stopping", name, time, payer, event_id, fields)


def stopped(
    name: str, time: str, *, payer: str = PAYER, event_id: str | None = None, **fields: Any
) -> Event:
    return _told("stopped", name, time, payer, event_id, fields)


def _told(
    kind: str, name: str, time: str, payer: str, event_id: str | None, more: Mapping[str, Any]
) -> Event:
    fields = {
        "workspaceInstanceId": instance(name),
        "attributionId": payer,
        f"{kind}Time": at(time),
        **more,
    }
    fields = {key: value for key, value in fields.items() if value is not None}
    attributes = {} if event_id is None else {"id": event_id}
    return envelope(f"workspace_instance.{kind}", fields, **attributes)


def note(
    credits_given: object,
    *,
    event_id: str = "note",
    time: str | None = "07:00",
    payer: str = PAYER,
    **fields: Any,
) -> Event:
    given = {"attributionId": payer, "credits": credits_given, "description": "sorry", **fields}
    when = None if time is None else at(time)
    return envelope("credit_note.issued", given, id=event_id, time=when)


def ran(name: str, start: str, end: str, **fields: Any) -> list[Event]:
    """A whole instance: started, stopping and stopped."""
    payer = fields.pop("payer", PAYER)
    return [
        started(name, start, payer=payer, **fields),
        stopping(name, end, payer=payer),
        stopped(name, end, payer=payer),
    ]


def bytes_of(lines: Iterable[Line]) -> list[bytes]:
    return [line if isinstance(line, bytes) else line_of(line) for line in lines]


class Scene:
    """A service under a clock, told what happened."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        live_views: bool = False,
        tree: bool = False,
        failpoint: Callable[[str], None] = lambda _name: None,
        **settings: Any,
    ) -> None:
        self.clock = ManualClock(NOW)
        self.service = InProcessService(
            settings_for(data_dir, **settings),
            clock=self.clock,
            live_views=live_views,
            tree=tree,
            failpoint=failpoint,
        )

    def __enter__(self) -> Self:
        self.service.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.service.__exit__(None, None, None)

    @property
    def calls(self) -> Calls:
        return self.service.calls

    def publish(self, *lines: Line, delivery: str = "") -> publishing_pb2.Receipt:
        return self.calls.publish(bytes_of(lines), delivery=delivery)

    def record(self, *lines: Line) -> None:
        """Publishes; every line has to be recorded."""
        receipt = self.publish(*lines)
        assert (len(lines), len(lines)) == (receipt.received, receipt.recorded), receipt

    def repeat(self, *lines: Line) -> None:
        """Publishes; every line has to count as repeated."""
        receipt = self.publish(*lines)
        assert (len(lines), len(lines)) == (receipt.received, receipt.repeated), receipt

    def reject(self, *lines: Line) -> str:
        """Publishes; every line has to be rejected. The reason of the first."""
        receipt = self.publish(*lines)
        assert (len(lines), len(lines)) == (receipt.received, receipt.rejected), receipt
        return receipt.rejects[0].reason

    def reconcile(self, now: str | None = None) -> None:
        if now is not None:
            self.clock.set(at(now))
        self.calls.reconcile()

    def end(self, name: str, time: str) -> None:
        """An operator ends the instance."""
        request = admin_pb2.EndInstanceRequest(
            workspace_instance_id=instance(name), reason="it hung"
        )
        request.at.FromJsonString(at(time))
        self.calls.admin.EndInstance(request)

    def void(
        self, name: str, *, payer: str = "", reason: str = "the wrong team"
    ) -> audit_corrections_pb2.VoidInstanceResponse:
        """An operator voids the instance."""
        request = audit_corrections_pb2.VoidInstanceRequest(
            workspace_instance_id=instance(name), attribution_id=payer, reason=reason
        )
        return self.calls.audit.VoidInstance(request)

    def void_note(
        self, entry_id: str, *, payer: str = PAYER, reason: str = "given twice"
    ) -> audit_corrections_pb2.VoidCreditNoteResponse:
        """An operator voids a credit note."""
        request = audit_corrections_pb2.VoidCreditNoteRequest(
            attribution_id=payer, entry_id=entry_id, reason=reason
        )
        return self.calls.audit.VoidCreditNote(request)

    def voids(self, payer: str = PAYER) -> list[audit_corrections_pb2.VoidedEntry]:
        """What was voided of a payer, newest first."""
        request = audit_corrections_pb2.ListVoidsRequest(attribution_id=payer)
        return list(self.calls.audit.ListVoids(request).voids)

    def retry(self, *ids: int) -> admin_pb2.RetryDeadLettersResponse:
        """Retries these dead letters, or all."""
        request = admin_pb2.RetryDeadLettersRequest(ids=ids, all=not ids)
        return self.calls.admin.RetryDeadLetters(request)

    def cents(self, payer: str = PAYER) -> int:
        return self.calls.balance_cents(payer)

    def open_cost_center(self, payer: str = PAYER) -> usage_pb2.CostCenter:
        request = usage_pb2.GetCostCenterRequest(attribution_id=payer)
        return self.calls.usage.GetCostCenter(request).cost_center

    def set_cost_center(self, limit: int, strategy: int = 1, payer: str = PAYER) -> None:
        center = usage_pb2.CostCenter(
            attribution_id=payer,
            spending_limit=limit,
            billing_strategy=usage_pb2.CostCenter.BillingStrategy.ValueType(strategy),
        )
        self.calls.usage.SetCostCenter(usage_pb2.SetCostCenterRequest(cost_center=center))

    def reset(self, now: str | None = None) -> None:
        if now is not None:
            self.clock.set(at(now))
        self.calls.usage.ResetUsage(usage_pb2.ResetUsageRequest())

    def usage(self, payer: str = PAYER, user_id: str = "") -> list[usage_pb2.Usage]:
        """The first page of ListUsage, oldest first."""
        request = usage_pb2.ListUsageRequest(
            attribution_id=payer,
            user_id=user_id,
            order=usage_pb2.ListUsageRequest.ORDERING_ASCENDING,
        )
        return list(self.calls.usage.ListUsage(request).usage_entries)

    def only(self, payer: str = PAYER) -> usage_pb2.Usage:
        """The payer's one usage entry."""
        (entry,) = self.usage(payer)
        return entry

    def only_dated(self, payer: str = PAYER) -> tuple[int, str, bool]:
        """Cents, effective time and draft of the payer's one usage entry."""
        entry = self.only(payer)
        return round(entry.credits * 100), entry.effective_time.ToJsonString(), entry.draft

    def draft_lines(self, payer: str = PAYER) -> list[tuple[str, int, int, int]]:
        """Class, instances, seconds and cents of the open cycle's own lines."""
        return [
            (line.workspace_class, line.instances, line.seconds, line.credit_cents)
            for line in self.calls.draft(payer).lines
            if not line.HasField("late_for")
        ]

    def known(self, name: str) -> queries_pb2.GetInstanceResponse:
        request = queries_pb2.GetInstanceRequest(workspace_instance_id=instance(name))
        return self.calls.queries.GetInstance(request)

    def cycle_lines(self, name: str) -> dict[int, int]:
        """Cents of the instance by the cycle that they belong to."""
        return {line.cycle_number: line.credit_cents for line in self.known(name).lines}

    def dead_letters(self) -> list[queries_pb2.DeadLetter]:
        """Newest first."""
        request = queries_pb2.ListDeadLettersRequest()
        return list(self.calls.queries.ListDeadLetters(request).dead_letters)

    def status(self) -> queries_pb2.GetStatusResponse:
        return self.calls.queries.GetStatus(queries_pb2.GetStatusRequest())

    def counts(self, delivery: str | None = None) -> tuple[int, int, int, int]:
        """Received, recorded, repeated, rejected of one source of delivery, or of all."""
        status = self.status()
        found = [status.total] if delivery is None else list(status.deliveries)
        (counts,) = [each for each in found if delivery in {None, each.delivery}]
        return counts.received, counts.recorded, counts.repeated, counts.rejected
