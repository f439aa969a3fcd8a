"""What was published and is not settled yet: bounded, counted, and told by `flush`.

Law: every event that was taken is settled once, as acknowledged or failed, and told by one flush.
An event holds its room until then, also while Kafka's client has it, for that has no bound itself.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from publisher._messages import Message
from publisher.errors import BufferFull, Closed, NotDelivered

# What Python and Kafka's client keep for an event beside its bytes, about.
OVERHEAD_BYTES: Final = 2_000
# Failures that are kept until somebody flushes. A service that never does keeps at most these.
FAILURES_KEPT_MAX: Final = 10_000

log = logging.getLogger(__name__)


class Acknowledgement(NamedTuple):
    """The broker has the event, on all replicas that are in sync."""

    event_id: str
    partition: int
    offset: int  # of its message; the events of a packed message share it


class Flushed(NamedTuple):
    """What became of the events since the flush before."""

    acknowledged: int
    failed: list[tuple[str, NotDelivered]]  # (event ID, why), in the order they failed
    pending: int  # published before this flush, and not settled when it ended
    failed_not_kept: int = 0  # more failures, which were too many to keep

    @property
    def is_complete(self) -> bool:
        """Whether every event was acknowledged."""
        return not (self.failed or self.failed_not_kept or self.pending)


Outcome = Acknowledgement | NotDelivered
Settled = Callable[[Outcome], None]


class Entry:
    """One event in the buffer."""

    __slots__ = ("deadline", "generation", "message", "settled", "size_bytes")

    def __init__(self, message: Message, settled: Settled | None, deadline: float) -> None:
        """After `deadline` it is not handed to the broker any more."""
        self.message = message
        self.settled = settled
        self.deadline = deadline
        self.size_bytes = message.size_bytes + OVERHEAD_BYTES
        self.generation = 0


class Buffer:
    """Safe for many threads; one of them takes."""

    def __init__(self, *, events_max: int, bytes_max: int, enough_bytes: int = 1) -> None:
        """Give the most events and bytes that are unsettled at a time.

        Once `enough_bytes` wait there is no reason to linger for more.
        """
        self.events_max = events_max
        self.bytes_max = bytes_max
        self.pending = 0  # events that are not settled
        self.is_closed = False
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        self._progress = threading.Condition(self._lock)
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._enough_bytes = enough_bytes
        self._bytes = 0
        # How many threads wait: telling nobody costs as much as telling somebody.
        self._for_room = self._for_progress = 0
        self._is_hurried = False
        # Events are numbered by the flushes before them, so that a flush waits for its own only.
        self._generation = 0
        self._unsettled: dict[int, int] = {0: 0}
        self._acknowledged = 0
        self._failed: list[tuple[str, NotDelivered]] = []
        self._failed_not_kept = 0
        # Settling calls the callers' code; what that calls must not wait for more to be settled.
        self._here = threading.local()

    def put(self, entry: Entry, timeout: float) -> None:
        """Take the entry, waiting for room; raise BufferFull or Closed and take nothing."""
        with self._lock:
            if not self._has_room(entry) and timeout > 0 and not self.is_settling_here:
                self._for_room += 1
                try:
                    self._room.wait_for(lambda: self.is_closed or self._has_room(entry), timeout)
                finally:
                    self._for_room -= 1
            if self.is_closed:
                raise Closed("the publisher is closed: it takes no more events")
            if not self._has_room(entry):
                raise BufferFull(
                    f"{self.pending:,} events of {self._bytes:,} bytes wait to be acknowledged; "
                    f"the buffer holds {self.events_max:,} events and {self.bytes_max:,} bytes"
                )
            entry.generation = self._generation
            self._unsettled[self._generation] += 1
            self.pending += 1
            self._bytes += entry.size_bytes
            self._waiting.append(entry)
            self._waiting_bytes += entry.size_bytes
            if len(self._waiting) == 1 or self._waiting_bytes >= self._enough_bytes:
                self._work.notify()

    def take(self, *, linger: float) -> list[Entry]:
        """Take what waits, in its order; nothing once the buffer is closed and empty.

        Waits for a first entry, and then `linger` seconds, until enough bytes wait, or a flush.
        """
        with self._lock:
            self._work.wait_for(lambda: self._waiting or self.is_closed)
            self._work.wait_for(self._is_due, linger)
            taken = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._is_hurried = False
            return taken

    def acknowledge(self, entries: Sequence[Entry], partition: int, offset: int) -> None:
        """Tell that the broker has the entries, and give their room to others."""
        for entry in entries:
            if entry.settled is not None:
                self._tell(entry, Acknowledgement(entry.message.event_id, partition, offset))
        with self._lock:
            self._acknowledged += len(entries)
            self._release(entries)

    def fail(self, entries: Sequence[Entry], error: NotDelivered) -> None:
        """Tell why the entries are not acknowledged, and give their room to others."""
        for entry in entries:
            if entry.settled is not None:
                self._tell(entry, error)
        with self._lock:
            kept = entries[: FAILURES_KEPT_MAX - len(self._failed)]
            self._failed += [(entry.message.event_id, error) for entry in kept]
            self._failed_not_kept += len(entries) - len(kept)
            self._release(entries)

    def flush(self, timeout: float | None) -> Flushed:
        """Wait until all that was taken before is settled, and tell what became of it."""
        with self._lock:
            mark = self._generation
            self._generation += 1
            self._unsettled[self._generation] = 0
            self._is_hurried = True
            self._work.notify()
            if not self.is_settling_here:
                self._for_progress += 1
                try:
                    self._progress.wait_for(lambda: not self._pending_until(mark), timeout)
                finally:
                    self._for_progress -= 1
            flushed = Flushed(
                self._acknowledged,
                self._failed,
                self._pending_until(mark),
                self._failed_not_kept,
            )
            self._acknowledged = self._failed_not_kept = 0
            self._failed = []
            for generation in [g for g, n in self._unsettled.items() if not n and g <= mark]:
                del self._unsettled[generation]
            return flushed

    def close(self) -> None:
        """Take nothing more. Whoever waits for room hears that it is closed."""
        with self._lock:
            self.is_closed = True
            self._room.notify_all()
            self._work.notify_all()

    @property
    def is_settling_here(self) -> bool:
        """Whether this thread is in a callback of ours."""
        return getattr(self._here, "is_settling", False)

    def _has_room(self, entry: Entry) -> bool:
        return self.pending < self.events_max and self._bytes + entry.size_bytes <= self.bytes_max

    def _is_due(self) -> bool:
        return self.is_closed or self._is_hurried or self._waiting_bytes >= self._enough_bytes

    def _pending_until(self, mark: int) -> int:
        return sum(n for generation, n in self._unsettled.items() if generation <= mark)

    def _release(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._unsettled[entry.generation] -= 1
            self._bytes -= entry.size_bytes
        self.pending -= len(entries)
        if self._for_room:
            # All who wait: the room may do for a small event and not for the first of them.
            self._room.notify_all()
        if self._for_progress:
            self._progress.notify_all()

    def _tell(self, entry: Entry, outcome: Outcome) -> None:
        assert entry.settled is not None
        self._here.is_settling = True
        try:
            entry.settled(outcome)
        except Exception:
            log.exception("what was to be called when an event is settled failed")
        finally:
            self._here.is_settling = False
