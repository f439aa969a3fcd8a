"""How the parts of a ledger's process are, for health and metrics: read from them, kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.audit.heads import Heads
from ledger.health import Probe
from ledger.projector import Projector
from ledger.shards import Shard
from ledger.tails import Tail

STANDS_BY = "stands by: another process does it"


class StoreProbe:
    """Whether a shard's store can be written."""

    alive = True
    lag: int | None = None

    def __init__(self, shard: Shard) -> None:
        """Look at a shard."""
        self._shard = shard
        self.name = f"store-{shard.number}"

    @property
    def is_needed(self) -> bool:
        """Tell whether not even reads are answered: who only reads must not be sent away."""
        watch = self._shard.watch
        return watch is not None and bool(watch.trouble)

    @property
    def ready(self) -> bool:
        """Tell whether it takes writes now."""
        return not self._shard.refused

    @property
    def reason(self) -> str:
        """Say why not."""
        refused = self._shard.refused
        return f"nothing can be stored now: {refused}" if refused else ""


class ProjectorProbe:
    """Whether a shard's log is being folded, and how far behind the rows are."""

    is_needed = True
    alive = True

    def __init__(self, shard: Shard, projector: Projector) -> None:
        """Look at a projector."""
        self._shard = shard
        self._projector = projector
        self.name = f"projector-{shard.number}"

    @property
    def ready(self) -> bool:
        """Tell whether it folds, or stands by while another process does."""
        return not self._projector.waiting or self._projector.stands_by

    @property
    def reason(self) -> str:
        """Say what it waits for."""
        if self._projector.stands_by:
            return STANDS_BY
        waiting = self._projector.waiting
        return f"folding waits for {waiting}" if waiting else ""

    @property
    def lag(self) -> int | None:
        """Count the events that are not folded yet."""
        return self._shard.unfolded


class TailProbe:
    """Whether a follower of the log goes on."""

    is_needed = True
    alive = True

    def __init__(self, tail: Tail) -> None:
        """Look at a tail."""
        self._tail = tail
        self.name = f"{tail.name}-{tail.shard.number}"

    @property
    def ready(self) -> bool:
        """Tell whether it goes on, or stands by while another process does."""
        return not self._tail.waiting or self._tail.stands_by

    @property
    def reason(self) -> str:
        """Say what it waits for."""
        if self._tail.stands_by:
            return STANDS_BY
        return f"waits for {self._tail.waiting}" if self._tail.waiting else ""

    @property
    def lag(self) -> int | None:
        """Count the events it has not handed over; None while another process does."""
        return None if self._tail.stands_by else self._tail.lag


class HeadsProbe:
    """Whether heads are signed, where a key is meant to."""

    name = "heads"
    is_needed = False  # nobody waits for a head
    alive = True
    lag: int | None = None

    def __init__(self, heads: Heads) -> None:
        """Look at the signing of a ledger's heads."""
        self._heads = heads

    @property
    def ready(self) -> bool:
        """Tell whether the last try came to its end."""
        return not self._heads.trouble

    @property
    def reason(self) -> str:
        """Say why it did not."""
        return self._heads.trouble


def probes_of(shards: Sequence[Shard]) -> list[Probe]:
    """Tell how the parts are that every process of a ledger has."""
    probes: list[Probe] = []
    for shard in shards:
        probes.append(StoreProbe(shard))
        if shard.projector is not None:
            probes.append(ProjectorProbe(shard, shard.projector))
    return probes
