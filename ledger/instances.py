"""One workspace instance, opened: its events, its entry, and what it added to each cycle.

An instance that was voided begins anew; what was voided is shown beside what counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from events import (
    Recorded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceVoided,
    decode,
)
from ledger.audit.erased import Erased, erased_of
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.identifiers import parse_uuid
from ledger.lives import Life
from ledger.queries import personal_text
from persistence import ClosedCycle, Reader, UsageRow
from projections import Accrual, OpenCycle, entry_id_of


class CycleLine(NamedTuple):
    """What the instance added to one cycle of a payer."""

    payer: bytes
    number: int
    seconds: int
    cents: int


class VoidView(NamedTuple):
    """Who found that the instance must not count for a payer, and why."""

    payer: bytes
    position: int
    recorded_at: int
    author: str
    reason: str  # empty once erased


class InstanceView(NamedTuple):
    """All that is known of an instance. Times in ms.

    What is shown of it is of its newest life, also when that is void.
    """

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
    voids: list[VoidView]  # oldest first
    erased: dict[int, Erased]  # by position, what took an event's personal fields

    @property
    def is_void(self) -> bool:
        """Say whether nothing of it counts."""
        return isinstance(self.events[-1].event, WorkspaceInstanceVoided)


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
        payers = dict.fromkeys(_payer(recorded) for recorded in events)
        counting, newest = _known(events), _known(_newest_life(events))
        accrual = reader.accrual()
        row = None
        if counting.payer:
            row = _row(reader, counting.payer, parsed, counting, accrual)
        lines = [line for payer in payers for line in _lines(reader, payer, events, accrual)]
        voids = [
            _void(reader, recorded)
            for recorded in events
            if isinstance(recorded.event, WorkspaceInstanceVoided)
        ]
        erased = erased_of(reader, events)
    return InstanceView(
        parsed,
        newest.payer,
        newest.start,
        newest.start_position,
        newest.stopping,
        newest.stopped,
        newest.ended,
        row,
        lines,
        events,
        voids,
        erased,
    )


def _payer(recorded: Recorded) -> bytes:
    payer: bytes = recorded.event.payer  # type: ignore[attr-defined]  # every event here has one
    return payer


def _known(events: Sequence[Recorded]) -> Life:
    known = Life()
    for recorded in events:
        known.apply(recorded)
    return known


def _newest_life(events: Sequence[Recorded]) -> Sequence[Recorded]:
    """Give the events since the newest void but for one that ends them."""
    last = len(events) - isinstance(events[-1].event, WorkspaceInstanceVoided)
    first = last
    while first and not isinstance(events[first - 1].event, WorkspaceInstanceVoided):
        first -= 1
    return events[first:last]


def _void(reader: Reader, recorded: Recorded) -> VoidView:
    event, personal = recorded.event, reader.personal(recorded.position)
    reason = personal_text(None if personal is None else personal.fields)
    return VoidView(_payer(recorded), recorded.position, event.recorded_at, event.author, reason)


def _row(
    reader: Reader, payer: bytes, instance_id: str, known: Life, accrual: Accrual
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
    reader: Reader, payer: bytes, events: Sequence[Recorded], accrual: Accrual
) -> list[CycleLine]:
    """Take the differences of the entry between the boundaries of a payer's cycles."""
    draft = reader.draft(payer)
    lines: list[CycleLine] = []
    before = 0, 0
    state, index = Life(), 0
    edges = [
        (c.number, c.closed_position, _accrual_after(draft.closed, c.number, draft.cycle))
        for c in draft.closed
    ]
    edges.append((draft.cycle.number if draft.cycle else 0, events[-1].position + 1, accrual))
    for number, end, accrued_there in edges:
        while index < len(events) and events[index].position < end:
            state.apply(events[index])
            index += 1
        now = state.entry(accrued_there) if state.payer == payer else (0, 0)
        if now != before:
            lines.append(CycleLine(payer, number, now[0] - before[0], now[1] - before[1]))
        before = now
    return lines


def _accrual_after(closed: Sequence[ClosedCycle], number: int, cycle: OpenCycle | None) -> Accrual:
    """Give the accrual at the boundary that ended a cycle: the one the next cycle began with."""
    following: ClosedCycle | OpenCycle | None = next(
        (c for c in closed if c.number > number), cycle
    )
    assert following is not None, "a closed cycle has no cycle after it"
    return Accrual(following.accrued_to or 0, following.accrual_position)
