"""A question about an old moment may take long: calls on the event loop do not wait for it.

It is asked on one of a few connections that are kept, and none of those holds a state that is old.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from ledger.audit.clocks import patiently
from ledger.queries import Queries
from ledger.shards import KEPT
from tests.contract.data.scene import Scene, bytes_of, ran

SECONDS_MAX = 20
MANY = 36  # more than the threads that asyncio has for everything

FINISHED = ran("x", "10-02 10:00", "10-02 11:00")


def test_of_a_store_in_memory() -> None:
    with Scene(None) as scene:
        assert goes_on_meanwhile(scene)


def goes_on_meanwhile(scene: Scene) -> bool:
    shard = scene.service.ledger.shards[0]
    other_ran = threading.Event()

    def question(queries: Queries) -> bool:
        with queries.reader.snapshot():
            return other_ran.wait(SECONDS_MAX)

    async def both() -> bool:
        asking = asyncio.ensure_future(patiently(shard, question))
        await asyncio.sleep(0.05)
        other_ran.set()
        return await asking

    is_done: bool = scene.service.wait(both())
    return is_done


def head(queries: Queries) -> int:
    with queries.reader.snapshot():
        return queries.reader.clocks.head()


class TestOfAFile:
    def test_goes_on_meanwhile(self, tmp_path: Path) -> None:
        with Scene(tmp_path) as scene:
            assert goes_on_meanwhile(scene)

    @pytest.mark.parametrize("shards", [1, 2])
    def test_many_leave_other_threads_alone(self, tmp_path: Path, shards: int) -> None:
        with Scene(tmp_path, shards={"count": shards}) as scene:
            shard = scene.service.ledger.shards[0]
            begun, done = threading.Event(), threading.Event()
            lock, at_once, most = threading.Lock(), 0, 0

            def question(_queries: Queries) -> bool:
                nonlocal at_once, most
                with lock:
                    at_once += 1
                    most = max(most, at_once)
                    if at_once == KEPT:
                        begun.set()
                is_done = done.wait(SECONDS_MAX)
                with lock:
                    at_once -= 1
                return is_done

            async def others() -> list[bool]:
                asking = [asyncio.ensure_future(patiently(shard, question)) for _ in range(MANY)]
                try:
                    async with asyncio.timeout(SECONDS_MAX / 2):
                        assert await asyncio.to_thread(begun.wait, SECONDS_MAX / 2)
                        await asyncio.sleep(0.05)  # time enough for one too many
                        await asyncio.to_thread(done.set)
                finally:
                    done.set()
                return await asyncio.gather(*asking)

            assert [True] * MANY == scene.service.wait(others())
            assert KEPT == most

    def test_keep_their_connections(self, tmp_path: Path) -> None:
        with Scene(tmp_path) as scene:
            shard = scene.service.ledger.shards[0]

            async def asked() -> list[Queries]:
                return [await patiently(shard, lambda queries: queries) for _ in range(3 * KEPT)]

            assert KEPT == len({id(each) for each in scene.service.wait(asked())})

    def test_see_what_was_stored_since(self, tmp_path: Path) -> None:
        with Scene(tmp_path) as scene:
            shard = scene.service.ledger.shards[0]

            async def heads() -> set[int]:
                return {await patiently(shard, head) for _ in range(2 * KEPT)}

            before = scene.service.wait(heads())
            scene.calls.publish(bytes_of(FINISHED))
            assert {shard.head} == scene.service.wait(heads()) != before

    def test_hold_nothing_back_when_they_failed(self, tmp_path: Path) -> None:
        """Not even one that broke off inside its snapshot."""
        begun: list[AbstractContextManager[None]] = []

        def breaks_off(queries: Queries) -> None:
            begun.append(queries.reader.snapshot())
            begun[-1].__enter__()
            queries.reader.clocks.head()
            raise LookupError

        with Scene(tmp_path) as scene:
            shard = scene.service.ledger.shards[0]

            async def broken() -> None:
                for _ in range(KEPT):
                    with pytest.raises(LookupError):
                        await patiently(shard, breaks_off)

            scene.service.wait(broken())
            scene.calls.publish(bytes_of(FINISHED))
            assert shard.store.scrub()  # nobody reads an old state of the file
            for snapshot in begun:
                with suppress(sqlite3.ProgrammingError):  # its connection is closed
                    snapshot.__exit__(None, None, None)

            async def heads() -> set[int]:
                return {await patiently(shard, head) for _ in range(2 * KEPT)}

            assert {shard.head} == scene.service.wait(heads())

    def test_are_closed_with_the_service(self, tmp_path: Path) -> None:
        with Scene(tmp_path) as scene:
            shard = scene.service.ledger.shards[0]

            async def asked() -> list[Queries]:
                return [await patiently(shard, lambda queries: queries) for _ in range(KEPT)]

            scene.service.wait(asked())
            assert list(tmp_path.rglob("*-wal"))
        assert [] == list(tmp_path.rglob("*-wal"))  # the last connection takes it away
