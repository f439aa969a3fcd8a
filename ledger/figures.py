"""Figures of a running ledger for whoever watches it, read seldom enough to cost next to nothing.

Where the log and its projections stand is one quick read. Counts by delivery and of dead letters
read whole tables, so they are read the less often the longer that takes. Called on any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from ledger.audit.status import why_heads_are_held
from ledger.queries import Queries
from ledger.shards import Shard
from persistence import (
    BillingRun,
    BillingTallies,
    Counts,
    Head,
    Progress,
    StoreUnavailableError,
    TreeState,
    WebhookTallies,
)

STANDING_SECONDS = 1.0  # how old what is told of log and projections may be
TALLIES_SECONDS = 15.0  # ... and counts: as long as between two looks of a usual Prometheus
# Counts are not read again for this many times as long as it took to read them: 2 % of one core.
TALLIES_REST = 50
PARTITIONS_MAX = 5_000  # told one by one; the rest are added up

Value = TypeVar("Value")


class Standing(NamedTuple):
    """How far a shard's log is written, folded and followed, and how its tree is."""

    progress: Progress
    tails: dict[str, int]
    tree: TreeState
    newest_head: Head | None
    heads_held: bool  # whether the last try to sign one failed; the first shard knows


class Source(NamedTuple):
    """Where events came from; partitions one by one, anything else by its kind."""

    kind: str  # `kafka`, `call`, `file`, `stdin`, `http`, `import` or `other`
    topic: str = ""
    topic_id: str = ""
    partition: str = ""


class Sums(NamedTuple):
    """Counts over all shards."""

    by_source: dict[Source, Counts]
    dead_letters: int


class BillingFigures(NamedTuple):
    """How billing goes on; webhooks and runs are kept in the first shard."""

    by_shard: dict[int, BillingTallies]
    webhooks: WebhookTallies
    last_run: BillingRun | None


class _Kept(Generic[Value]):
    """A value that is read again when it is old; None when it cannot be read."""

    def __init__(
        self,
        read: Callable[[], Value],
        clock: Callable[[], float],
        *,
        seconds: float,
        rest: float = 0,
    ) -> None:
        self._read = read
        self._clock = clock
        self._seconds = seconds
        self._rest = rest
        self._lock = threading.Lock()
        self._value: Value | None = None
        self._until = float("-inf")

    def get(self) -> Value | None:
        with self._lock:
            began = self._clock()
            if began < self._until:
                return self._value
            try:
                self._value = self._read()
            except StoreUnavailableError:
                self._value = None
            ended = self._clock()
            self._until = ended + max(self._seconds, (ended - began) * self._rest)
            return self._value


class Figures:
    """What is read of a ledger's shards."""

    def __init__(
        self, shards: Sequence[Shard], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read these shards."""
        self.shards = shards
        self._standing = {
            shard.number: _Kept(partial(_standing, shard), clock, seconds=STANDING_SECONDS)
            for shard in shards
        }
        self._sums = _Kept(self._add_up, clock, seconds=TALLIES_SECONDS, rest=TALLIES_REST)
        self._billing = _Kept(self._bill, clock, seconds=TALLIES_SECONDS, rest=TALLIES_REST)

    def standing(self, shard: Shard) -> Standing | None:
        """Tell how far a shard is; None when its store cannot be read."""
        return self._standing[shard.number].get()

    def sums(self) -> Sums | None:
        """Tell the counts of all shards; None when a store cannot be read."""
        return self._sums.get()

    def billing(self) -> BillingFigures | None:
        """Tell how billing goes on; None when a store cannot be read."""
        return self._billing.get()

    def _bill(self) -> BillingFigures:
        first, *others = self.shards
        tallies, webhooks, last_run = first.ask_apart(_billing_of_first)
        by_shard = {first.number: tallies}
        for shard in others:
            by_shard[shard.number] = shard.ask_apart(_billing_of)
        return BillingFigures(by_shard, webhooks, last_run)

    def _add_up(self) -> Sums:
        by_source: dict[Source, Counts] = {}
        dead_letters = 0
        for shard in self.shards:
            tallies = shard.ask_apart(lambda queries: queries.reader.tallies())
            dead_letters += tallies.dead_letters
            for name, counts in tallies.deliveries:
                source = source_of(name)
                if source not in by_source and len(by_source) >= PARTITIONS_MAX:
                    source = Source("other")
                by_source[source] = by_source.get(source, Counts()).plus(counts)
        return Sums(by_source, dead_letters)


def _billing_of(queries: Queries) -> BillingTallies:
    return queries.reader.billing_tallies()


def _billing_of_first(queries: Queries) -> tuple[BillingTallies, WebhookTallies, BillingRun | None]:
    reader = queries.reader
    return reader.billing_tallies(), reader.webhook_tallies(), reader.billing_run()


def _standing(shard: Shard) -> Standing:
    def ask(queries: Queries) -> Standing:
        reader = queries.reader
        return Standing(
            shard.store.progress(),
            reader.tails(),
            reader.tree.state(),
            reader.tree.newest_head(),
            bool(why_heads_are_held(reader.jobs())),
        )

    return shard.ask_apart(ask)


def source_of(name: str) -> Source:
    """Read the name of a delivery: `kafka:<cluster>:<topic>:<topic id>:<partition>`, or a kind."""
    parts = name.split(":")
    if parts[0] == "kafka":
        if len(parts) == 5:
            return Source("kafka", parts[2], parts[3], parts[4])
        return Source("other")
    return Source(name)
