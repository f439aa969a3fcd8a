"""Found by CI: who verified while some others did was told that the ledger cannot be read.

Every long question had a connection of its own from a pool that has only so many, and each
verification kept one while its caller took its time. Once none was left, whoever asked something
short was turned away as well. On a store in files the same questions took all of asyncio's threads,
and publishing waited for one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledger.audit.stepwise import Verification
from ledger.queries import Queries
from ledger.shards import LONG, Shard
from persistence import TREE_TAIL
from tests.contract.data.scene import Scene
from tests.harness.backends import POSTGRES, SQLITE, choose
from tests.proofs.scene import Signing, add_notes, wait_for
from usage_ledger.v1 import audit_proofs_pb2 as pb
from usage_ledger.v1 import queries_pb2

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

MANY = 40  # more than a pool has connections, or asyncio threads
SECONDS_MAX = 30
BACKENDS = [
    (SQLITE, 0),
    *(
        pytest.param((POSTGRES, size), marks=pytest.mark.postgres, id=f"postgres-{size}")
        for size in (4, 12)
    ),
]


@pytest.fixture(params=BACKENDS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    server: PostgresServer | None = None
    name, pool_size = request.param
    if name == POSTGRES:
        server = request.getfixturevalue("postgres_server")
    with choose(name, server) as backend:
        settings = backend.settings(tmp_path / "ledger")
        if pool_size:
            settings["postgres"]["pool_size"] = pool_size
        settings |= Signing(tmp_path).settings
        with Scene(tmp_path / "ledger", tree=True, **settings) as scene:
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


@pytest.fixture
def busy(scene: Scene) -> Iterator[Shard]:
    """Many long questions and some of everything are under way, or wait."""
    add_notes(scene, 30)
    shard = scene.service.ledger.shards[0]
    long, whole = Long(shard._long._max_workers), Long(1)

    async def begin() -> list[asyncio.Future[int]]:
        asked: list[asyncio.Future[int]] = []
        asked += [asyncio.ensure_future(shard.read_long(long)) for _ in range(MANY)]
        asked += [asyncio.ensure_future(shard.read_whole(whole)) for _ in range(3)]
        return asked

    async def end(asked: list[asyncio.Future[int]]) -> set[int]:
        return set(await asyncio.gather(*asked))

    asked = scene.service.wait(begin())
    try:
        assert all(each.begun.wait(SECONDS_MAX / 2) for each in (long, whole))
        yield shard
    finally:
        long.done.set()
        whole.done.set()
        heads = scene.service.wait(end(asked))
    assert 1 == len(heads)
    assert (shard._long._max_workers, 1) == (long.most, whole.most)


def test_short_ones_go_on(scene: Scene, busy: Shard) -> None:
    async def ask() -> None:
        async with asyncio.timeout(SECONDS_MAX / 2):
            for _ in range(3):
                short = [busy.read(lambda queries: queries.reader.clocks.head()) for _ in range(18)]
                assert 1 == len(set(await asyncio.gather(*short)))
                await asyncio.to_thread(busy.store.progress)

    scene.service.wait(ask())


def test_heads_are_signed_and_the_status_is_told(scene: Scene, busy: Shard) -> None:
    def has_followed() -> bool:
        position = scene.service.wait(busy.beside(lambda t: t.tail_position(TREE_TAIL)))
        return bool(busy.head == position)

    wait_for("the tree", has_followed)
    (signed,) = scene.calls.audit.SignHeads(pb.SignHeadsRequest(), timeout=SECONDS_MAX).heads
    status = scene.calls.queries.GetStatus(queries_pb2.GetStatusRequest(), timeout=SECONDS_MAX)
    assert signed == status.trees[0].newest_head


def test_there_are_connections_for_who_looks_now_and_then(scene: Scene, busy: Shard) -> None:
    """The watch, and the figures of two who ask for metrics, while calls have all of theirs."""
    calls = Long(busy._readers_count)

    async def look() -> None:
        asked = [asyncio.ensure_future(busy.read_aside(calls)) for _ in range(busy._readers_count)]
        try:
            assert await asyncio.to_thread(calls.begun.wait, SECONDS_MAX / 2)
            for _ in range(40):
                assert "" == busy.refused
                figures = [
                    asyncio.to_thread(busy.ask_apart, lambda queries: queries.reader.tallies())
                    for _ in range(2)
                ]
                await asyncio.gather(*figures, asyncio.to_thread(busy.store.progress))
                await asyncio.sleep(0.05)
        finally:
            calls.done.set()
        await asyncio.gather(*asked)

    scene.service.wait(look())


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


@pytest.mark.parametrize("scene", BACKENDS[1:], indirect=True)
def test_who_verifies_waits_for_a_server_that_is_away_for_a_moment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody else has just waited for a connection in vain."""
    readers = scene.service.ledger.shards[0].store.readers  # type: ignore[attr-defined]
    add_notes(scene, 6_000)
    steps = 0
    go_on = Verification.go_on

    def after_a_pause(verification: Verification) -> object:
        nonlocal steps
        steps += 1
        if steps == 2:
            monkeypatch.setattr(readers, "_refused_until", time.monotonic() + 0.5)
        return go_on(verification)

    monkeypatch.setattr(Verification, "go_on", after_a_pause)
    assert ("summary", 0) == _end(iter(scene.calls.audit.Verify(pb.VerifyRequest())))
    assert 2 < steps
