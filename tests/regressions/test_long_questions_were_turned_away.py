"""Found by CI: who verified while some others did was told that the ledger cannot be read.

Every long question had a connection of its own from a pool that has only so many, and each
verification kept one while its caller took its time. Once none was left, whoever asked something
short was turned away as well. On a store in files the same questions took all of asyncio's threads,
and publishing waited for one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledger.queries import Queries
from ledger.shards import LONG, READERS
from persistence import TREE_TAIL
from tests.contract.data.scene import Scene
from tests.harness.backends import POSTGRES, SQLITE, choose
from tests.proofs.scene import add_notes, wait_for
from usage_ledger.v1 import audit_proofs_pb2 as pb

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

MANY = 40  # more than a pool has connections, or asyncio threads
SECONDS_MAX = 30
BACKENDS = [
    (SQLITE, 0),
    *(
        pytest.param((POSTGRES, size), marks=pytest.mark.postgres, id=f"postgres-{size}")
        for size in (8, 12)
    ),
]


@pytest.fixture(params=BACKENDS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    server: PostgresServer | None = None
    name, pool_size = request.param
    if name == POSTGRES:
        server = request.getfixturevalue("postgres_server")
    with choose(name, server) as backend:
        settings = backend.settings(tmp_path)
        if pool_size:
            settings["postgres"]["pool_size"] = pool_size
        with Scene(tmp_path, tree=True, **settings) as scene:
            yield scene
        backend.close()


class Long:
    """A question that lasts as long as is wanted."""

    def __init__(self, count: int = LONG) -> None:
        """Tell when so many are asked at once."""
        self._count = count
        self.begun, self.done = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._at_once = self.most = 0

    def __call__(self, queries: Queries) -> int:
        with self._lock:
            self._at_once += 1
            self.most = max(self.most, self._at_once)
            if self.most == self._count:
                self.begun.set()
        with queries.reader.snapshot():
            assert self.done.wait(SECONDS_MAX)
            head = queries.reader.clocks.head()
        with self._lock:
            self._at_once -= 1
        return head


async def ask_meanwhile(scene: Scene) -> list[int]:
    """Ask many long questions, and meanwhile short ones; give what the long ones say."""
    shard = scene.service.ledger.shards[0]
    long, whole = Long(), Long(1)
    asked = [asyncio.ensure_future(shard.read_long(long)) for _ in range(MANY)]
    asked += [asyncio.ensure_future(shard.read_whole(whole)) for _ in range(3)]
    try:
        async with asyncio.timeout(SECONDS_MAX / 2):
            for each in (long, whole):
                assert await asyncio.to_thread(each.begun.wait, SECONDS_MAX / 2)
            for _ in range(3):
                short = [
                    shard.read(lambda queries: queries.reader.clocks.head())
                    for _ in range(3 * READERS)
                ]
                assert 1 == len(set(await asyncio.gather(*short)))
                await asyncio.to_thread(shard.store.progress)
    finally:
        long.done.set()
        whole.done.set()
    assert (LONG, 1) == (long.most, whole.most)
    return await asyncio.gather(*asked)


def test_they_wait_and_short_ones_go_on(scene: Scene) -> None:
    add_notes(scene, 30)
    assert 1 == len(set(scene.service.wait(ask_meanwhile(scene))))


def test_many_verify_at_once(scene: Scene) -> None:
    add_notes(scene, 3_000)
    shard = scene.service.ledger.shards[0]

    def has_followed() -> bool:
        position = scene.service.wait(shard.beside(lambda t: t.tail_position(TREE_TAIL)))
        return bool(shard.head == position)

    wait_for("the tree", has_followed)
    told = [iter(scene.calls.audit.Verify(pb.VerifyRequest())) for _ in range(MANY)]
    assert all(next(each).HasField("progress") for each in told)
    add_notes(scene, 30, first=3_000)
    assert [("summary", 0)] * MANY == [_end(each) for each in told]


def _end(told: Iterator[pb.VerifyResponse]) -> tuple[str | None, int]:
    *_, last = told
    return last.WhichOneof("told"), last.summary.findings


def test_cancelled_ones_are_not_asked(scene: Scene) -> None:
    """Who hung up while waiting costs nothing more."""
    shard = scene.service.ledger.shards[0]
    count = 0

    def counted(_queries: Queries) -> None:
        nonlocal count
        count += 1

    async def ask() -> None:
        long = Long()
        busy = [asyncio.ensure_future(shard.read_long(long)) for _ in range(LONG)]
        left = [asyncio.ensure_future(shard.read_long(counted)) for _ in range(MANY)]
        await asyncio.sleep(0.05)
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        long.done.set()
        await asyncio.gather(*busy)
        await shard.read_long(lambda _queries: None)

    scene.service.wait(ask())
    assert 0 == count
