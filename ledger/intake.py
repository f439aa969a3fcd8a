"""Taking published events in: once each, rejects kept, every event counted."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence

import msgspec

from aggregates import REPEATED, Contradiction, WorkspaceInstance
from events import (
    CreditNoteIssued,
    LedgerEvent,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
)
from events.money import FALLBACK_RATE
from events.readable import time_text
from ledger.arrivals import (
    CREDIT_NOTE,
    EVENT_BYTES_MAX,
    STARTED,
    STOPPING,
    Arrival,
    RejectedError,
)
from ledger.cloudevents import parse_line
from ledger.errors import InvalidArgumentError
from ledger.group import Group
from persistence import ERASED, Counts, DeadLetter, Inboxed

LINES_MAX = 10_000  # events in one batch; more are refused before they are read
REASON_CHARS_MAX = 1_000
CLASSES_WARNED_MAX = 1_000  # without a rate; beyond it somebody sends names without end

log = logging.getLogger(__name__)


class Line(msgspec.Struct, gc=False):
    """One line of a delivery with what was read from it."""

    number: int
    original: bytes  # as it came; the beginning only, if it is oversized
    content: object  # what was read: an Arrival or an imported line; None with a reason
    reason: str = ""
    kind: str = "event"  # `event`, `oversized` or `import`
    size_bytes: int = 0
    digest: bytes = b""  # SHA-256 of an oversized line


class Batch(msgspec.Struct, gc=False):
    """Some lines of a delivery; they are decided together, in one transaction."""

    delivery: str
    lines: list[Line]


class Reject(msgspec.Struct, gc=False):
    """A line that was not taken in."""

    line: int
    reason: str
    dead_letter_id: int


class Receipt(msgspec.Struct, gc=False):
    """What became of a batch."""

    counts: Counts
    rejects: list[Reject]
    position: int
    positions: dict[int, int] = msgspec.field(default_factory=dict)  # by shard


class TooManyLinesError(InvalidArgumentError):
    """A block with more lines than one batch may have."""


def read_lines(
    delivery: str,
    block: bytes,
    first_line: int,
    *,
    parse: Callable[[bytes], object] = parse_line,
    kind: str = "event",
) -> Batch:
    """Read a block of lines, published events unless `parse` and `kind` say otherwise.

    Blank lines are not counted; what cannot be read has a reason.
    """
    lines: list[Line] = []
    for number, raw in enumerate(block.split(b"\n"), start=first_line):
        original = raw.removesuffix(b"\r")
        if not original or original.isspace():
            continue
        if len(lines) >= LINES_MAX:
            raise TooManyLinesError(f"more than {LINES_MAX} lines in one request: send fewer")
        try:
            lines.append(Line(number, original, parse(original), kind=kind))
        except RejectedError as error:
            lines.append(Line(number, original, None, str(error), kind))
    return Batch(delivery, lines)


def oversized_line(delivery: str, *, number: int, head: bytes, size: int, digest: bytes) -> Batch:
    """Make the batch of a line that is too long to be an event."""
    reason = f"event of {size} bytes: at most {EVENT_BYTES_MAX} are allowed"
    line = Line(number, head, None, reason, "oversized", size, digest)
    return Batch(delivery, [line])


def take(group: Group, batch: Batch) -> Receipt:
    """Decide on a batch of published events."""
    arrivals = [line.content for line in batch.lines if isinstance(line.content, Arrival)]
    keys = [(group.source_number(a.source), a.key) for a in arrivals]
    found = group.inbox(keys)
    prefetch(group, [a for a, key in zip(arrivals, keys, strict=True) if key not in found])

    def decide(line: Line) -> str:
        arrival = line.content
        if not isinstance(arrival, Arrival):
            raise RejectedError(line.reason)
        return _decide(group, arrival, found)

    return settle(group, batch, decide)


def payer_of_line(line: Line) -> bytes | None:
    """Give who pays for what a line says; None when it could not be read."""
    content = line.content
    return content.payer if isinstance(content, Arrival) else None


def prefetch(group: Group, arrivals: Sequence[Arrival]) -> None:
    """Load the workspace instances that a batch speaks of, with one statement."""
    group.load_instances([a.stream for a in arrivals if a.kind != CREDIT_NOTE])


def settle(group: Group, batch: Batch, decide: Callable[[Line], str]) -> Receipt:
    """Run a decision over a batch, keep its rejects, count it, and give the receipt."""
    recorded = repeated = 0
    rejected: list[Line] = []
    for line in batch.lines:
        try:
            if decide(line):
                repeated += 1
            else:
                recorded += 1
        except (RejectedError, Contradiction) as error:
            line.reason = str(error)[:REASON_CHARS_MAX]
            rejected.append(line)
    delivery = group.delivery(batch.delivery)
    rejects, again = _keep_rejects(group, delivery, rejected)
    counts = Counts(len(batch.lines), recorded, repeated + again, len(rejected) - again)
    group.transaction.count(delivery, counts)
    position = group.appended - 1
    group.flush_if_large()
    return Receipt(counts, rejects, position)


def _keep_rejects(
    group: Group, delivery: int, rejected: Sequence[Line]
) -> tuple[list[Reject], int]:
    """Keep new rejects as dead letters.

    Give those, and how many came with the same bytes before.
    """
    if not rejected:
        return [], 0
    digests = [line.digest or hashlib.sha256(line.original).digest() for line in rejected]
    known = group.transaction.dead_letters(digests)
    rejects: list[Reject] = []
    again: list[int] = []
    for line, digest in zip(rejected, digests, strict=True):
        letter = known.get(digest)
        if letter is not None:
            again.append(letter)
            continue
        letter = known[digest] = group.transaction.add_dead_letter(
            DeadLetter(
                0,
                digest,
                line.kind,
                delivery,
                line.number,
                line.reason,
                line.original,
                line.size_bytes or len(line.original),
                group.recorded_at,
                group.recorded_at,
                1,
            )
        )
        rejects.append(Reject(line.number, line.reason, letter))
    if again:
        group.transaction.dead_letter_repeated(again, group.recorded_at)
    return rejects, len(again)


def _decide(group: Group, arrival: Arrival, found: dict[tuple[int, bytes], Inboxed]) -> str:
    key = group.source_number(arrival.source), arrival.key
    inboxed = found.get(key)
    if inboxed is not None:
        if inboxed.digest == arrival.digest:
            return REPEATED
        raise RejectedError("another event is recorded under this source and id: give it a new id")
    if arrival.kind == CREDIT_NOTE:
        position = _record_note(group, arrival)
    else:
        state = group.caches.instances[arrival.stream]
        salt = b""
        if arrival.kind == STARTED:
            assert arrival.said is not None
            salt, commitment = group.commit_to(arrival.personal)
            event: LedgerEvent | str = state.start(
                arrival.said,
                group.context.prices,
                recorded_at=group.recorded_at,
                author=group.author,
                commitment=commitment,
            )
        else:
            event = _stop(group, state, arrival)
        if isinstance(event, str):
            return event
        position = group.append_instance(arrival.stream, state, event)
        group.keep_personal(position, salt, arrival.personal)
        _warn(group, arrival.stream, state, event)
    group.claim(key, arrival.digest, position)
    found[key] = Inboxed(arrival.digest, position)
    return ""


def _stop(group: Group, state: WorkspaceInstance, arrival: Arrival) -> LedgerEvent | str:
    decide = state.stop_requested if arrival.kind == STOPPING else state.stop
    return decide(arrival.payer, arrival.time, recorded_at=group.recorded_at, author=group.author)


def _warn(group: Group, stream: str, state: WorkspaceInstance, event: LedgerEvent) -> None:
    """Tell the log what is priced in a way that somebody may not expect."""
    if isinstance(event, WorkspaceInstanceStarted) and event.rate == FALLBACK_RATE:
        name, warned = event.workspace_class, group.caches.warned_classes
        if name not in warned and len(warned) < CLASSES_WARNED_MAX:
            warned.add(name)
            log.warning("workspace class %r has no rate: it costs 1/6 a minute", name[:80])
    if state.started is None or state.end is None or state.end >= state.started:
        return
    if isinstance(event, WorkspaceInstanceStopped) and state.stopping is not None:
        return  # it decided nothing
    ended, started = time_text(state.end), time_text(state.started)
    log.warning("%s ended at %s, before its start at %s: it costs nothing", stream, ended, started)


def _record_note(group: Group, arrival: Arrival) -> int:
    salt, commitment = group.commit_to(arrival.personal)
    event = CreditNoteIssued(
        group.recorded_at,
        group.author,
        arrival.payer,
        -100 * arrival.credits,
        arrival.time,
        arrival.user,
        commitment,
    )
    # The inbox has the key of this stream, so it is new.
    position = group.append(arrival.stream, 1, event)
    group.keep_personal(position, salt, arrival.personal)
    return position


def retry(group: Group, letter: DeadLetter, decide: Callable[[bytes], str]) -> str:
    """Try a dead letter again: move it to recorded or repeated, or keep it with today's reason.

    Give "" or "repeated"; raise RejectedError with the reason it stays.
    """
    if letter.kind in {"oversized", ERASED}:  # their bytes are not there
        raise RejectedError(letter.reason)
    try:
        outcome = decide(letter.original)
    except (RejectedError, Contradiction) as error:
        reason = str(error)[:REASON_CHARS_MAX]
        group.transaction.dead_letter_reason(letter.id, reason, group.recorded_at)
        raise RejectedError(reason) from None
    moved = Counts(0, 0, 1, -1) if outcome else Counts(0, 1, 0, -1)
    group.transaction.count(letter.delivery, moved)
    group.transaction.remove_dead_letters([letter.id])
    return outcome


def decide_event(
    group: Group, original: bytes, parse: Callable[[bytes], Arrival] = parse_line
) -> str:
    """Decide on one published event by itself; `parse` reads what a dead letter kept of it."""
    arrival = parse(original)
    prefetch(group, [arrival])
    return _decide(
        group, arrival, group.inbox([(group.source_number(arrival.source), arrival.key)])
    )
