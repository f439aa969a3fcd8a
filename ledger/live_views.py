"""Live meters and spending alerts as calls ask for them, whoever folds them.

Embedded, they are rows of the ledger's own stores. In a cluster a Faust worker folds, and
`consumers` follows what it publishes. Both answer through this port.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol

from ledger.live_folding import NAME
from ledger.placing import Placing
from ledger.queries import Queries
from ledger.shards import Shard
from persistence import AlertPlace, place_of
from projections.alerts import Alert
from projections.live import decode_state
from projections.meters import WindowRow, credits_text
from projections.readings import ClassReading, Reading, reading_of

__all__ = [
    "Alert",
    "AlertPlace",
    "ClassReading",
    "EmbeddedViews",
    "LiveViews",
    "Reading",
    "WindowRow",
    "credits_text",
    "place_of",
]


class LiveViews(Protocol):
    """Meters and alerts. UnavailableError while they cannot be told."""

    async def meters(self, payer: bytes | None, *, after: bytes, limit: int) -> list[Reading]:
        """Give readings by payer, of one payer or of all behind `after`."""

    async def alerts(
        self, payer: bytes | None, *, before: AlertPlace | None, limit: int
    ) -> list[Alert]:
        """Give alerts, newest first, of one payer or of all; from a place on, if one is given."""

    async def applied(self) -> dict[int, int]:
        """Give up to where each shard's log is in them."""


class EmbeddedViews:
    """Implements `LiveViews` on the rows that `live_folding` writes."""

    def __init__(self, shards: Sequence[Shard], placing: Placing) -> None:
        """Read from a ledger's shards."""
        self._shards = shards
        self._placing = placing

    async def meters(self, payer: bytes | None, *, after: bytes, limit: int) -> list[Reading]:
        """Give readings by payer, of one payer or of all behind `after`."""
        if payer is not None:
            shard = await self._placing.find(payer)
            state = await shard.read(lambda queries: queries.reader.live.state(payer))
            return [] if state is None else [reading_of(decode_state(state))]

        def page(queries: Queries) -> list[bytes]:
            return queries.reader.live.states(after=after, limit=limit)

        found = [[decode_state(s) for s in await shard.read(page)] for shard in self._shards]
        states = list(heapq.merge(*found, key=lambda state: state.payer))
        return [reading_of(state) for state in states[:limit]]

    async def alerts(
        self, payer: bytes | None, *, before: AlertPlace | None, limit: int
    ) -> list[Alert]:
        """Give alerts, newest first, of one payer or of all; from a place on, if one is given."""
        shards = self._shards if payer is None else [await self._placing.find(payer)]

        def page(queries: Queries) -> list[Alert]:
            return queries.reader.live.alerts(payer, before=before, limit=limit)

        found = [
            [alert._replace(shard=shard.number) for alert in await shard.read(page)]
            for shard in shards
        ]
        return list(heapq.merge(*found, key=place_of, reverse=True))[:limit]

    async def applied(self) -> dict[int, int]:
        """Give up to where each shard's log is in them."""
        return {
            shard.number: (await shard.read(lambda queries: queries.reader.tails())).get(NAME, 0)
            for shard in self._shards
        }
