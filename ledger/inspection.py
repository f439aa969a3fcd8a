"""Looking at the whole ledger: status and laws of every shard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

from ledger.audit.erased import erasure_laws
from ledger.placing import is_void
from ledger.queries import Queries
from ledger.replay import Law, compare_with_log
from ledger.shards import Shard
from persistence import StatusRows

BREACHES_SHOWN = 100
INSTANCES_COMPARED = 20_000  # streams read at a time when shards are compared


async def status(
    shards: Sequence[Shard], *, runs_since: int, stopped_since: int
) -> list[StatusRows]:
    """Count every shard, off the event loop: counts read whole indexes."""

    def ask(queries: Queries) -> StatusRows:
        return queries.reader.status(runs_since=runs_since, stopped_since=stopped_since)

    return await asyncio.gather(*[shard.read_aside(ask) for shard in shards])


async def check(shards: Sequence[Shard], *, fold_log: bool) -> list[Law]:
    """Recompute the laws of every shard, and those between shards."""

    def ask(queries: Queries) -> list[Law]:
        laws = [*queries.reader.audit(), *erasure_laws(queries.reader)]
        if fold_log:
            laws += compare_with_log(queries.reader)
        return laws

    found: list[Law] = []
    for shard in shards:
        for law, compared, breaches in await shard.read_whole(ask):
            where = f" (shard {shard.number})" if len(shards) > 1 else ""
            found.append((law + where, compared, breaches))
    if len(shards) > 1:
        found.append(await shards[0].work_whole(partial(_shared_instances, shards)))
    return found


def _shared_instances(shards: Sequence[Shard]) -> Law:
    """Find instances that are recorded under payers of two shards: intake cannot refuse them.

    Where one was voided it counts no more.
    """
    queries = [shard.new_queries() for shard in shards]
    try:
        compared = 0
        breaches: list[str] = []
        for stream, numbers in _merged([_streams(each) for each in queries]):
            compared += 1
            if len(numbers) > 1 and len(breaches) < BREACHES_SHOWN:
                counting = [number for number in numbers if _counts(queries[number], stream)]
                if len(counting) > 1:
                    where = ", ".join(map(str, counting))
                    breaches.append(f"{stream} is recorded in shards {where}")
        return "no workspace instance has payers of two shards", compared, breaches
    finally:
        for each in queries:
            each.reader.close()


def _counts(queries: Queries, stream: str) -> bool:
    return not is_void(queries.reader.stream(stream)[-1])


def _streams(queries: Queries) -> Iterator[str]:
    """Give the names of a shard's instance streams, in order."""
    after = "instance:"
    while names := queries.reader.stream_names(
        after=after, before="instance;", limit=INSTANCES_COMPARED
    ):
        yield from names
        after = names[-1]


def _merged(sources: Sequence[Iterator[str]]) -> Iterator[tuple[str, list[int]]]:
    """Give each name once, in order, with the numbers of the sources that have it."""
    heads = [next(source, None) for source in sources]
    while (least := min((head for head in heads if head is not None), default=None)) is not None:
        numbers = [number for number, head in enumerate(heads) if head == least]
        yield least, numbers
        for number in numbers:
            heads[number] = next(sources[number], None)
