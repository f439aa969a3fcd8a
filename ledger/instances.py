"""One workspace instance, opened: its events, its entry, and what it added to each cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from events import (
    Recorded,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
    decode,
)
from events.money import runtime_cents, runtime_seconds
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.identifiers import parse_uuid
from persistence import ClosedCycle, Reader, UsageRow
from projections import Accrual, OpenCycle, entry_id_of


class CycleLine(NamedTuple):
    """What the instance added to one cycle of its payer."""

    number: int
    seconds: int
    cents: int


class InstanceView(NamedTuple):
    """All that is known of an instance. Times in ms."""

    instance_id: str
    payer: bytes
    start: WorkspaceInstanceStarted | WorkspaceInstanceImported | None
    start_position: int
    stopping: int | None
    stopped: int | None
    ended: int | None
    row: UsageRow | None  # its entry, while one is listed
    lines: list[CycleLine]
    events: list[Recorded]


class _Known:
    """An instance as its events up to some position tell."""

    def __init__(self) -> None:
        self.start: WorkspaceInstanceStarted | WorkspaceInstanceImported | None = None
        self.start_position = 0
        self.stopping: int | None = None
        self.stopped: int | None = None
        self.ended: int | None = None
        self.charged: int | None = None  # what another ledger had charged
        self.charged_to = 0  # and until when

    def apply(self, recorded: Recorded) -> None:
        event = recorded.event
        match event:
            case WorkspaceInstanceStarted():
                self.start, self.start_position = event, recorded.position
            case WorkspaceInstanceImported():
                self.start, self.start_position = event, recorded.position
                self.stopping, self.stopped = event.stopping_time, event.stopped_time
                self.charged, self.charged_to = event.credit_cents, event.effective_time
            case WorkspaceInstanceStopping():
                self.stopping = event.stopping_time
            case WorkspaceInstanceStopped():
                self.stopped = event.stopped_time
            case WorkspaceInstanceEnded():
                self.ended = self.stopped = event.ended_time
                self.stopping = None if self.stopping is None else event.ended_time
                self.charged = None
            case _:
                raise TypeError(f"{event.TOPIC} is no event of a workspace instance")

    def end(self) -> int | None:
        """Give where its entry is dated; None while it runs."""
        if self.charged is not None:
            return self.charged_to
        return self.stopping if self.stopping is not None else self.stopped

    def entry(self, accrual: Accrual) -> tuple[int, int]:
        """Give (seconds, cents) of its entry, after the last reconcile up to now."""
        start = self.start
        if start is None:
            return 0, 0
        end = self.end()
        if end is None:
            if self.start_position > accrual.position:
                return 0, 0
            end = accrual.instant
        seconds = 0 if start.started_time is None else runtime_seconds(start.started_time, end)
        cents = self.charged
        return seconds, runtime_cents(start.rate, seconds) if cents is None else cents


def view_instance(reader: Reader, instance_id: str) -> InstanceView:
    """Open an instance."""
    parsed = parse_uuid(instance_id)
    if parsed is None:
        raise InvalidArgumentError(f"workspace_instance_id {instance_id[:80]!r}: must be a UUID")
    with reader.snapshot():
        events = [
            Recorded(e.stream, e.version, decode(e.topic, e.state), e.position)
            for e in reader.stream("instance:" + parsed)
        ]
        if not events:
            raise NotFoundError(f"workspace instance {parsed}: no event of it is recorded")
        payer: bytes = events[0].event.payer  # type: ignore[attr-defined]  # every event here has one
        known = _Known()
        for recorded in events:
            known.apply(recorded)
        accrual = reader.accrual()
        row = _row(reader, payer, parsed, known, accrual)
        lines = _lines(reader, payer, events, known, accrual)
    return InstanceView(
        parsed,
        payer,
        known.start,
        known.start_position,
        known.stopping,
        known.stopped,
        known.ended,
        row,
        lines,
        events,
    )


def _row(
    reader: Reader, payer: bytes, instance_id: str, known: _Known, accrual: Accrual
) -> UsageRow | None:
    entry_id = entry_id_of(instance_id)
    end = known.end()
    before = (int.from_bytes(entry_id) - 1).to_bytes(16)
    if end is None:
        found = reader.running_after(payer, accrual, after=before, limit=1)
        rows = [row._replace(cents=known.entry(accrual)[1]) for row in found]
    else:
        rows = reader.usage_after(payer, key=(end, before), ascending=True, limit=1)
    return rows[0] if rows and rows[0].entry_id == entry_id else None


def _lines(
    reader: Reader, payer: bytes, events: list[Recorded], known: _Known, accrual: Accrual
) -> list[CycleLine]:
    """Take the differences of the entry between the boundaries of the payer's cycles."""
    draft = reader.draft(payer)
    lines: list[CycleLine] = []
    before = 0, 0
    state, index = _Known(), 0
    for cycle in draft.closed:
        while index < len(events) and events[index].position < cycle.closed_position:
            state.apply(events[index])
            index += 1
        at_boundary = state.entry(_accrual_after(draft.closed, cycle.number, draft.cycle))
        _add_line(lines, cycle.number, at_boundary, before)
        before = at_boundary
    number = draft.cycle.number if draft.cycle else 0
    _add_line(lines, number, known.entry(accrual), before)
    return lines


def _add_line(
    lines: list[CycleLine], number: int, now: tuple[int, int], before: tuple[int, int]
) -> None:
    if now != before:
        lines.append(CycleLine(number, now[0] - before[0], now[1] - before[1]))


def _accrual_after(closed: Sequence[ClosedCycle], number: int, cycle: OpenCycle | None) -> Accrual:
    """Give the accrual at the boundary that ended a cycle: the one the next cycle began with."""
    following: ClosedCycle | OpenCycle | None = next(
        (c for c in closed if c.number > number), cycle
    )
    assert following is not None, "a closed cycle has no cycle after it"
    return Accrual(following.accrued_to or 0, following.accrual_position)
