"""What a process counts while it works, in plain numbers: the core knows no Prometheus.

The edge of the process reads them when it is asked for its metrics. Writers are on several threads,
so each takes a lock for the few instructions that it needs.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from billing import StripeCredentialsError

# Seconds. A group of one command takes a millisecond, a long group of events a quarter second; what
# waits for a lock of the database takes longer.
APPEND_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Labels = tuple[str, ...]


class Counter:
    """A number that only grows, one for each combination of labels."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._values: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + amount

    def samples(self) -> list[tuple[Labels, float]]:
        """Give every combination of labels with its number."""
        with self._lock:
            return list(self._values.items())


class Gauge:
    """A number that comes and goes, one for each combination of labels.

    Who knows the numbers anyway is asked for them.
    """

    def __init__(self) -> None:
        """Start with nobody to ask."""
        self._read: list[Callable[[], Iterable[tuple[Labels, float]]]] = []

    def follow(self, read: Callable[[], Iterable[tuple[Labels, float]]]) -> None:
        """Ask this one, too, whenever the numbers are wanted; from any thread."""
        self._read.append(read)

    def samples(self) -> list[tuple[Labels, float]]:
        """Give every combination of labels with its number."""
        return [sample for read in self._read for sample in read()]


class Observed(NamedTuple):
    """What a histogram holds."""

    upto: list[tuple[float, int]]  # (bound, how many were at most this large), bounds ascending
    times: int  # how many in all
    total: float  # of their values


class Histogram:
    """How often something took how long, in buckets."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Take the buckets' upper bounds, ascending."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count one."""
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[bucket] += 1
            self._total += value

    def read(self) -> Observed:
        """Give what was counted so far."""
        with self._lock:
            counts, total = list(self._counts), self._total
        upto, sum_ = [], 0
        for bound, count in zip(self._bounds, counts, strict=False):
            sum_ += count
            upto.append((bound, sum_))
        return Observed(upto, sum_ + counts[-1], total)


class Instruments:
    """Everything that the parts of a process count; who has nothing to count leaves it at zero."""

    def __init__(self) -> None:
        """Start at zero."""
        # From the beginning of a transaction that appended to its commit.
        self.append_seconds = Histogram(APPEND_SECONDS)
        # By whose position it was: `intake` or `tail`. Somebody else had moved it meanwhile.
        self.lost_compare_and_sets = Counter()
        # Messages between what was taken and the partition's end, by topic and partition.
        self.intake_lag = Gauge()
        # By what was asked, as `customers.create`, and what came of it, as `billing` names it.
        self.stripe_requests = Counter()

    @property
    def stripe_key_refused(self) -> float:
        """Count the requests for which Stripe did not take our key."""
        refused = StripeCredentialsError.outcome
        counted = self.stripe_requests.samples()
        return sum(times for (_, outcome), times in counted if outcome == refused)
