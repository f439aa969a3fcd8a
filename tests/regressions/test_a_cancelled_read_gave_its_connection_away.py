"""Found in a review: a call that was cancelled gave its connection back while it was in use.

The thread went on with it, and the next call got the same one: two threads on one connection, whose
answers were each other's.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from ledger.queries import Queries
from ledger.shards import READERS, Shard
from tests.harness import InProcessService, settings_for
from tests.harness.backends import POSTGRES, choose
from tests.servers.postgres import PostgresServer

SECONDS_MAX = 30

pytestmark = pytest.mark.postgres


async def used_by_others(shard: Shard) -> tuple[int, set[int], set[int]]:
    """Cancel a read; give what it reads with, who has that before it is done, and after."""
    begun, done = threading.Event(), threading.Event()
    used: list[int] = []

    def long(queries: Queries) -> None:
        used.append(id(queries))
        begun.set()
        done.wait(SECONDS_MAX)

    async def others() -> set[int]:
        return {await shard.read(id) for _ in range(2 * READERS)}

    reading = asyncio.create_task(shard.read(long))
    await asyncio.to_thread(begun.wait, SECONDS_MAX)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    before = await others()
    done.set()
    async with asyncio.timeout(SECONDS_MAX):
        while used[0] not in (after := await others()):
            pass
    return used[0], before, after


def test_it_keeps_it_until_its_thread_is_done(postgres_server: PostgresServer) -> None:
    with choose(POSTGRES, postgres_server) as backend:
        with InProcessService(settings_for(None)) as service:
            used, before, after = service.wait(used_by_others(service.ledger.shards[0]))
        backend.close()
    assert used not in before
    assert READERS == len(after)


def test_that_fails_later_gives_it_back(
    postgres_server: PostgresServer,
) -> None:
    """Nobody waits for the error any more; the connection is wanted all the same."""

    async def failing(shard: Shard) -> set[int]:
        begun, done = threading.Event(), threading.Event()

        def fail(_queries: Queries) -> None:
            begun.set()
            done.wait(SECONDS_MAX)
            raise LookupError

        reads = [asyncio.create_task(shard.read(fail)) for _ in range(READERS)]
        await asyncio.to_thread(begun.wait, SECONDS_MAX)
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        done.set()
        seen: set[int] = set()
        async with asyncio.timeout(SECONDS_MAX):
            while len(seen) < READERS:  # a thread that fails comes to its end when it may
                seen.add(await shard.read(id))
        return seen

    with choose(POSTGRES, postgres_server) as backend:
        with InProcessService(settings_for(None)) as service:
            assert READERS == len(service.wait(failing(service.ledger.shards[0])))
        backend.close()
