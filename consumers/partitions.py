"""One partition of the intake: where it stands, and what is read ahead of the store.

The consumer's thread reads records and fills the buffer; the storing thread empties it. Both hold
the intake's lock when they change anything here.
"""

from __future__ import annotations

import enum
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from consumers.connecting import PartitionState
from ledger.feeds import FeedReceipt, Message
from ledger.views import SourceKey

BACKOFF_SECONDS = 0.2  # after a first failure to store; doubled after each further one
BACKOFF_SECONDS_MAX = 10.0
HINT = "usage-ledger"  # the note beside offsets that we commit

_random = secrets.SystemRandom()


class PartitionFeed(Protocol):
    """The ledger's way in for one partition (`ledger.feeds.Feed`)."""

    def position(self) -> int | None:
        """Give the next offset to take, as stored."""

    def take(self, messages: Sequence[Message], after: int) -> FeedReceipt:
        """Take messages in, up to the offset `after`."""


class Stage(enum.Enum):
    """How far a partition has come since it was assigned."""

    ASSIGNED = "assigned"  # its position is not known yet; it is paused
    LOCATED = "located"  # the position is known, the consumer has not moved there yet
    RUNNING = "running"
    STOPPED = "stopped"  # messages are lost; an operator must accept that


class Start(NamedTuple):
    """Where a partition begins, or why it must not."""

    offset: int
    remark: str = ""  # what an operator should know of this beginning
    gap: str = ""  # why it must not begin


class PartitionStatus(NamedTuple):
    """A partition as health and metrics show it."""

    partition: int
    source: SourceKey | None
    stage: str
    position: int | None  # next offset to take, as stored
    log_end: int | None
    lag: int | None  # messages that are not taken yet
    buffered: int  # events that are read and not stored
    waiting: str  # what it waits for; empty while it goes on


class Partition:
    """A partition that is assigned to this consumer."""

    def __init__(self, number: int, assigned_at: float) -> None:
        """Begin without a position; `assigned_at` by the monotonic clock."""
        self.number = number
        self.source: SourceKey | None = None
        self.feed: PartitionFeed | None = None
        self.position: int | None = None
        self.log_end: int | None = None
        self.read_to: int | None = None  # the next offset that the consumer will read
        self.raw: deque[Any] = deque()  # records as they came
        self.buffer: deque[Message] = deque()
        self.buffered = 0  # events in the buffer
        self.is_taking = False  # the storing thread holds the front of the buffer
        self.is_paused = True
        self.retry_at = 0.0
        self.failures = 0
        self.stage = Stage.ASSIGNED
        self.waiting = "its position is not known yet"
        # Counts how often the buffer was dropped: what was begun before is none of its business.
        self.generation = 0
        self.locate_after = assigned_at

    def reset(self, now: float, waiting: str) -> None:
        """Forget what was read ahead, and ask anew where to go on."""
        self.generation += 1
        self.raw.clear()
        self.buffer.clear()
        self.buffered = 0
        self.is_taking = False
        self.stage = Stage.ASSIGNED
        self.waiting = waiting
        self.read_to = None
        self.retry_at = 0.0
        # Only what the cluster says from now on is believed.
        self.locate_after = now

    def add(self, message: Message) -> None:
        """Put a message behind those that wait to be stored."""
        self.buffer.append(message)
        self.buffered += len(message.lines)

    def front(self, events_max: int) -> list[Message]:
        """Give the messages to store next: at least one, and no more events than asked for."""
        batch: list[Message] = []
        events = 0
        for message in self.buffer:
            if batch and events + len(message.lines) > events_max:
                break
            batch.append(message)
            events += len(message.lines)
        return batch

    def stored(self, batch: Sequence[Message], after: int) -> None:
        """Drop what is stored."""
        for message in batch:
            self.buffer.popleft()
            self.buffered -= len(message.lines)
        self.position = after
        self.is_taking = False
        self.failures = 0
        self.waiting = ""

    def failed(self, now: float, reason: str) -> bool:
        """Keep the batch and wait; give whether the reason is a new one."""
        is_new = reason != self.waiting
        self.is_taking = False
        self.waiting = reason
        pause = min(BACKOFF_SECONDS * 2**self.failures, BACKOFF_SECONDS_MAX)
        self.failures += 1
        # Several consumers that wait for one database must not all come back at once.
        self.retry_at = now + pause * _random.uniform(0.5, 1.0)
        return is_new

    def status(self) -> PartitionStatus:
        """Tell how it stands."""
        lag = None
        if self.log_end is not None and self.position is not None:
            nothing_waits = not self.buffer and not self.raw
            # Behind the last event there may be marks of transactions, which are no messages.
            taken = self.read_to if nothing_waits and self.read_to is not None else self.position
            lag = max(self.log_end - max(taken, self.position), 0)
        return PartitionStatus(
            self.number,
            self.source,
            self.stage.value,
            self.position,
            self.log_end,
            lag,
            self.buffered,
            self.waiting,
        )


def start_of(state: PartitionState, position: int | None) -> Start:
    """Decide where to begin. The stored position rules; Kafka's committed offset is a hint."""
    if position is not None:
        if position < state.start:
            return Start(
                position,
                gap=f"offsets {position} to {state.start - 1} were deleted by the topic's retention"
                " before they were taken in",
            )
        if position > state.end:
            return Start(
                position,
                gap=f"the log ends at offset {state.end}, and {position} is the next to take: the"
                " cluster has lost messages that it had acknowledged",
            )
        return Start(position)
    hint = state.committed
    if hint is None or not state.start <= hint.offset <= state.end:
        return Start(state.start)
    if hint.note == HINT:
        # It was written after a database had stored the events; that database is not this one.
        return Start(
            state.start,
            remark="a ledger before this one had taken it in up to offset"
            f" {hint.offset}; this one knows nothing of it and begins at offset {state.start}",
        )
    return Start(
        hint.offset,
        remark=f"it begins at offset {hint.offset}, which somebody has set for the group",
    )
