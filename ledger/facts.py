"""Facts for everybody: accrual instants, price lists, confirmed clocks.

The first shard takes a fact; the others get a copy of their streams, in its order and versions. A
crash in between leaves a shard behind, and the next fact or the next start completes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from events import decode
from ledger.commands.ledger import CLOCK_STREAM, PRICES_STREAM, RECONCILED_STREAM
from ledger.core import Work
from ledger.group import Group
from ledger.queries import Queries
from ledger.shards import Shard
from persistence import StreamEvent

FACT_STREAMS = (PRICES_STREAM, RECONCILED_STREAM, CLOCK_STREAM)


def copy_facts(group: Group, stored: Sequence[StreamEvent]) -> int:
    """Append what is missing here of a stream of the first shard; give how many.

    Times of recording never go back along a log, so a copy that comes late has a later one.
    """
    if not stored:
        return 0
    stream = stored[0].stream
    version = group.transaction.version(stream)
    copied = 0
    for event in stored:
        if event.version != version + 1:
            continue  # it is here already
        fact = decode(event.topic, event.state)
        recorded_at = max(fact.recorded_at, group.recorded_at)
        group.append(stream, event.version, msgspec.structs.replace(fact, recorded_at=recorded_at))
        group.recorded_at = recorded_at  # whatever else is appended here comes after it
        version, copied = event.version, copied + 1
    return copied


def complete_facts(shards: Sequence[Shard], author: str) -> None:
    """Bring every shard's copy up to date, before anything else runs.

    A newly opened shard gets all of them, so that it prices and accrues like the first.
    """
    for stream in FACT_STREAMS:
        for shard in shards[1:]:
            here = len(shard.queries.reader.stream(stream))
            stored = shards[0].queries.reader.stream(stream, after=here)
            work = Work(partial(copy_facts, stored=stored), author)
            shard.core.run([work])
            if work.error is not None:
                raise work.error


async def spread_facts(shards: Sequence[Shard], stream: str, author: str) -> None:
    """Copy the newest facts of the first shard to the others, after it took one."""
    for shard in shards[1:]:
        here = await shard.read(partial(_version, stream=stream))
        stored = await shards[0].read(partial(_behind, stream=stream, after=here))
        await shard.command(partial(copy_facts, stored=stored), author)


def _version(queries: Queries, stream: str) -> int:
    return queries.reader.version(stream)


def _behind(queries: Queries, stream: str, after: int) -> list[StreamEvent]:
    return queries.reader.stream(stream, after=after)
