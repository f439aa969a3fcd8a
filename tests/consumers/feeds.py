"""A ledger's ways in that keep what they are given in memory, for tests of what stands before them.

A fake of our own port: positions by compare-and-set, events once each by source and id.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ledger.arrivals import Arrival
from ledger.errors import UnavailableError
from ledger.feeds import FeedReceipt, Message, SourceMovedError
from ledger.intake import Reject
from ledger.views import Counts, SourceKey


class MemoryLedger:
    """What all feeds of it share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.positions: dict[SourceKey, int] = {}
        self.counts: dict[SourceKey, Counts] = {}
        self.taken: list[tuple[SourceKey, int, bytes]] = []  # (source, offset, event key), in order
        self.recorded: set[tuple[str, bytes]] = set()
        self.rejected: list[tuple[int, str]] = []
        self.refused = ""  # why nothing can be stored, while that is so
        self.takes = 0

    def feed(self, source: SourceKey, _topic: str) -> MemoryFeed:
        return MemoryFeed(self, source)

    def total(self) -> Counts:
        with self.lock:
            total = Counts()
            for counts in self.counts.values():
                total = total.plus(counts)
            return total

    def set_position(self, source: SourceKey, position: int) -> None:
        """Move a position behind the back of whoever consumes."""
        with self.lock:
            self.positions[source] = position

    def keys_in_order(self) -> list[bytes]:
        with self.lock:
            return [key for _, _, key in self.taken]


class MemoryFeed:
    """One partition's way in."""

    def __init__(self, ledger: MemoryLedger, source: SourceKey) -> None:
        self._ledger = ledger
        self._source = source
        self._expected: int | None = None
        self._knows = False

    def position(self) -> int | None:
        with self._ledger.lock:
            self._refuse()
            self._expected = self._ledger.positions.get(self._source)
            self._knows = True
            return self._expected

    def take(self, messages: Sequence[Message], after: int) -> FeedReceipt:
        ledger = self._ledger
        with ledger.lock:
            self._refuse()
            if not self._knows or ledger.positions.get(self._source) != self._expected:
                raise SourceMovedError("the position is another one now")
            ledger.takes += 1
            counts, rejects = Counts(), []
            for message in messages:
                for line in message.lines:
                    if not isinstance(line.content, Arrival):
                        counts = counts.plus(Counts(1, 0, 0, 1))
                        ledger.rejected.append((message.offset, line.reason))
                        rejects.append(Reject(line.number, line.reason, len(ledger.rejected)))
                        continue
                    key = line.content.source, line.content.key
                    is_new = key not in ledger.recorded
                    ledger.recorded.add(key)
                    counts = counts.plus(Counts(1, int(is_new), int(not is_new), 0))
                    ledger.taken.append((self._source, message.offset, line.content.key))
            before = ledger.counts.get(self._source, Counts())
            ledger.counts[self._source] = before.plus(counts)
            ledger.positions[self._source] = self._expected = after
        return FeedReceipt(counts, rejects, {})

    def _refuse(self) -> None:
        if self._ledger.refused:
            raise UnavailableError(self._ledger.refused)
