"""Compares the meters with the ledger's own rows.

Meters lag behind the ledger while events come in, so a difference counts only when the ledger's
numbers stood still for a while and the meters still say something else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from events.readable import attribution_id
from ledger.live_views import LiveViews
from ledger.placing import Placing
from ledger.queries import Queries
from ledger.replay import Law
from ledger.shards import Shard
from persistence import RunningRow
from projections.meters import credits_text, nanocredits_per_hour
from projections.readings import Reading

PAGE = 1_000  # payers compared at a time
LOOKED_AT_MAX = 10_000  # payers that differ at first and are looked at again
STILL_SECONDS = 3.0  # how long the ledger's numbers must stand still for a difference to count
LOOK_SECONDS = 0.25  # between two looks
PATIENCE_SECONDS = 15.0  # a payer that is still moving then is not judged
BREACHES_SHOWN = 100

RUNNING, PER_HOUR, BALANCES = (
    "meters show what runs",
    "meters show credits per hour",
    "meters show balances",
)


class Numbers(NamedTuple):
    """What is compared of a payer: balance, and by class how many run and what they cost."""

    balance_cents: int
    classes: dict[str, tuple[int, int]]  # running, billionths of a credit per hour


class MetersCheck:
    """One comparison of everything."""

    def __init__(
        self,
        shards: Sequence[Shard],
        placing: Placing,
        views: LiveViews,
        *,
        still_seconds: float = STILL_SECONDS,
    ) -> None:
        """Compare these."""
        self._shards = shards
        self._placing = placing
        self._views = views
        self._still_seconds = still_seconds

    async def run(self) -> list[Law]:
        """Compare every payer; give the laws with how many were compared and what is broken."""
        payers: set[bytes] = set()
        suspects: list[bytes] = []
        seen: dict[bytes, Numbers] = {}
        async for reading in self._readings():
            seen[reading.payer] = numbers_of(reading)
        for shard in self._shards:
            async for row in _rows(shard):
                payers.add(row.payer)
                if seen.get(row.payer, NOTHING) != numbers_in(row):
                    suspects.append(row.payer)
        suspects += [
            payer for payer, numbers in seen.items() if payer not in payers and numbers != NOTHING
        ]
        compared = len(payers | seen.keys())
        differing = await self._look_again(sorted(suspects)[:LOOKED_AT_MAX])
        unseen = len(suspects) - LOOKED_AT_MAX
        more = (
            [f"{unseen} more payers differed at first and were not looked at again"]
            if unseen > 0
            else []
        )
        breaches: dict[str, list[str]] = {RUNNING: [], PER_HOUR: [], BALANCES: []}
        for payer, (ledger, meters) in sorted(differing.items()):
            for law, breach in differences(payer, ledger, meters):
                breaches[law].append(breach)
        return [(law, compared, found[:BREACHES_SHOWN] + more) for law, found in breaches.items()]

    async def _readings(self) -> AsyncIterator[Reading]:
        after = b""
        while page := await self._views.meters(None, after=after, limit=PAGE):
            for reading in page:
                yield reading
            after = page[-1].payer

    async def _look_again(self, payers: Sequence[bytes]) -> dict[bytes, tuple[Numbers, Numbers]]:
        """Give both numbers of those that go on to differ while the ledger's stand still."""
        ledgers: dict[bytes, tuple[Numbers, float]] = {}  # and since when they are so
        differing: dict[bytes, tuple[Numbers, Numbers]] = {}
        left = list(payers)
        end = time.monotonic() + PATIENCE_SECONDS
        while left and time.monotonic() < end:
            still: list[bytes] = []
            for payer in left:
                ledger = await self._ledger_of(payer)
                readings = await self._views.meters(payer, after=b"", limit=1)
                meters = numbers_of(readings[0]) if readings else NOTHING
                if ledger == meters:
                    continue
                now = time.monotonic()
                known, since = ledgers.get(payer, (ledger, now))
                if known != ledger:
                    since = now
                ledgers[payer] = ledger, since
                if now - since >= self._still_seconds:
                    differing[payer] = ledger, meters
                else:
                    still.append(payer)
            left = still
            if left:
                await asyncio.sleep(LOOK_SECONDS)
        return differing

    async def _ledger_of(self, payer: bytes) -> Numbers:
        shard = await self._placing.find(payer)

        def ask(queries: Queries) -> RunningRow:
            queries.refuse_if_paused("balances", "instances")
            return queries.reader.live.ledger_of(payer)

        return numbers_in(await shard.read(ask))


async def _rows(shard: Shard) -> AsyncIterator[RunningRow]:
    after = b""
    while True:

        def page(queries: Queries, after: bytes = after) -> list[RunningRow]:
            queries.refuse_if_paused("balances", "instances")
            return queries.reader.live.ledger(after=after, limit=PAGE)

        rows = await shard.read(page)
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return
        after = rows[-1].payer


def numbers_in(row: RunningRow) -> Numbers:
    """Give what the ledger says of a payer."""
    classes: dict[str, tuple[int, int]] = {}
    for (workspace_class, rate), count in row.running.items():
        running, nanocredits = classes.get(workspace_class, (0, 0))
        classes[workspace_class] = (
            running + count,
            nanocredits + count * nanocredits_per_hour(rate),
        )
    return Numbers(row.balance_cents, classes)


def numbers_of(reading: Reading) -> Numbers:
    """Give what the meters say of a payer."""
    return Numbers(
        reading.balance_cents,
        {
            each.workspace_class: (each.running, each.nanocredits_per_hour)
            for each in reading.classes
            if each.running
        },
    )


NOTHING = Numbers(0, {})


def differences(payer: bytes, ledger: Numbers, meters: Numbers) -> list[tuple[str, str]]:
    """Say in which law two numbers of a payer differ, and both of them."""
    name = attribution_id(payer)
    found: list[tuple[str, str]] = []
    for workspace_class in sorted(ledger.classes.keys() | meters.classes.keys()):
        running, nanocredits = ledger.classes.get(workspace_class, (0, 0))
        shown, shown_nanocredits = meters.classes.get(workspace_class, (0, 0))
        where = f"{name} {workspace_class}"
        if running != shown:
            found.append((RUNNING, f"{where}: {running} run, the meter shows {shown}"))
        if nanocredits != shown_nanocredits:
            right, wrong = credits_text(nanocredits), credits_text(shown_nanocredits)
            found.append((PER_HOUR, f"{where}: {right} credits an hour, the meter shows {wrong}"))
    if ledger.balance_cents != meters.balance_cents:
        owed, shown_cents = ledger.balance_cents, meters.balance_cents
        found.append((BALANCES, f"{name}: owes {owed} cents, the meter shows {shown_cents}"))
    return found
