"""The follower that keeps sums: it goes on whatever happens to it, and no answer depends on it."""

from __future__ import annotations

import contextlib
import time

import grpc
import pytest

from ledger.audit.sealing import SealingTail
from ledger.failpoints import OF_THE_SUMS
from persistence import CLOCKS_TAIL, PositionMovedError
from persistence.sql.tables import SEALED_TABLES
from tests.contract.data.scene import PAYER, Scene, bytes_of, ran, started
from tests.contract.queries.test_two_clocks import balance, dated, draft, moment, usage
from tests.harness import Calls, ServiceProcess
from tests.proofs.scene import BackDoor, wait_for
from usage_ledger.v1 import audit_clocks_pb2 as pb
from usage_ledger.v1 import queries_pb2

TIMES = ("10-02 13:00", "10-05 12:00", "10-09 00:00", "11-01 07:00")


def history(count: int, *, first: int = 0) -> list[bytes]:
    """Instances of a payer over October, each of twenty hours, most of them over a midnight."""
    lines: list[bytes] = []
    for number in range(first, first + count):
        day, hour = 1 + number // 24 % 28, number % 24
        begins = f"2026-10-{day:02}T{hour:02}:00:00Z"
        ends = f"2026-10-{day + (hour + 20) // 24:02}T{(hour + 20) % 24:02}:00:00Z"
        lines += bytes_of(ran(f"i{number}", begins, ends, workspaceClass="g1-large"))
    return lines


def blocks(place: BackDoor) -> int:
    return int(place.rows("SELECT count(*) FROM sealed_blocks")[0][0])


def stands_at(place: BackDoor) -> int:
    rows = place.rows(f"SELECT position FROM tails WHERE name = '{CLOCKS_TAIL}'")
    return int(rows[0][0]) if rows else 0


def follow(scene: Scene, tail: SealingTail) -> None:
    async def steps() -> None:
        while await tail.step():
            pass

    scene.service.wait(steps())


def answers(scene: Scene) -> list[object]:
    told: list[object] = []
    for time_ in TIMES:
        told.append(balance(scene, moment(time_)))
        told.append(dated(usage(scene, moment(time_), page_size=100)))
        told.append(draft(scene, moment(time_)))
    return told


def publish_all(scene: Scene, lines: list[bytes]) -> None:
    for start in range(0, len(lines), 600):
        scene.calls.publish(lines[start : start + 600])


@pytest.fixture(autouse=True)
def _processes_are_there_too(place: BackDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service in a process of its own takes the store of the test."""
    if place.url:
        monkeypatch.setenv("USAGE_LEDGER_STORE", "postgres")
        monkeypatch.setenv("USAGE_LEDGER_POSTGRES__URLS", place.url)


class TestFollowing:
    def test_answers_are_those_without_it(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            publish_all(scene, [*history(1_100), *bytes_of([started("open", "10-02 12:00")])])
            before = answers(scene)
            tail = SealingTail(scene.service.ledger.shards[0], batch_max=700)
            follow(scene, tail)

            assert 2 == blocks(place)
            assert place.rows("SELECT max(position) FROM stored_events") == [(stands_at(place),)]
            assert before == answers(scene)
            for table in SEALED_TABLES:
                place.run(f"DELETE FROM {table}")
            assert before == answers(scene)
            tail._close()

    def test_a_zombie_finds_its_position_moved(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            publish_all(scene, history(400))
            shard = scene.service.ledger.shards[0]
            one, other = SealingTail(shard, batch_max=500), SealingTail(shard, batch_max=500)
            looked = scene.service.wait(other._ask(other._sealing.look))
            scene.service.wait(one.step())
            with pytest.raises(PositionMovedError):
                scene.service.wait(other._keep(looked))
            one._close()
            other._close()

    def test_what_was_thrown_away_is_made_again(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            publish_all(scene, history(900))
            tail = SealingTail(scene.service.ledger.shards[0])
            follow(scene, tail)
            known = place.rows("SELECT payer, position, sums FROM sealed_blocks ORDER BY 2")
            place.run(
                *(f"DELETE FROM {table}" for table in SEALED_TABLES),
                f"DELETE FROM tails WHERE name = '{CLOCKS_TAIL}'",
            )
            again = SealingTail(scene.service.ledger.shards[0])
            follow(scene, again)

            assert known == place.rows("SELECT payer, position, sums FROM sealed_blocks ORDER BY 2")
            tail._close()
            again._close()

    def test_of_a_payer_whose_blocks_are_gone_new_ones_begin_at_zero(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            publish_all(scene, history(900))
            tail = SealingTail(scene.service.ledger.shards[0])
            follow(scene, tail)
            place.run("DELETE FROM sealed_blocks")
            publish_all(scene, history(400, first=2_000))
            before = answers(scene)
            follow(scene, tail)

            assert blocks(place) > 0
            assert before == answers(scene)
            tail._close()

    def test_entries_folded_anew_have_new_sums(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            publish_all(scene, history(600))
            tail = SealingTail(scene.service.ledger.shards[0])
            follow(scene, tail)
            assert blocks(place) == 1
            tail._close()
        place.run("UPDATE projections SET version = 1")  # as an older binary has left it
        with Scene(place.data_dir) as scene:
            wait_for("the fold", lambda: balance(scene, moment("11-01 07:00")) > 0)
            assert (0, 0) == (blocks(place), stands_at(place))

    def test_serves_keeps_them_by_itself(self, place: BackDoor) -> None:
        with ServiceProcess(place.data_dir) as service:
            for start in range(0, 1_800, 600):
                service.calls.publish(history(600)[start : start + 600])
            wait_for("the follower", lambda: stands_at(place) >= 1_800)
            assert 1 == blocks(place)
            status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
            assert CLOCKS_TAIL in {tail.name for tail in status.tails}


def as_of(calls: Calls, time_: str) -> int:
    request = pb.GetBalanceAtRequest(attribution_id=PAYER, moment=moment(time_))
    return calls.audit.GetBalanceAt(request).credit_cents


class TestKilled:
    @pytest.mark.parametrize(
        "failpoint", [f"{name}{n}" for name in OF_THE_SUMS for n in ("", ":2")]
    )
    def test_at_a_failpoint(self, place: BackDoor, failpoint: str) -> None:
        dying = ServiceProcess(
            place.data_dir, failpoint=failpoint, parts_with_failpoint="jobs,project"
        )
        lines = history(900)
        with dying, contextlib.suppress(grpc.RpcError):
            for start in range(0, len(lines), 300):
                dying.calls.publish(lines[start : start + 300])
                time.sleep(0.4)
        with ServiceProcess(place.data_dir) as service:
            for start in range(0, len(lines), 600):
                service.calls.publish(lines[start : start + 600])
            wait_for("the follower", lambda: stands_at(place) >= len(lines))
            assert blocks(place) > 0
            sealed = [as_of(service.calls, time_) for time_ in TIMES]
            for table in SEALED_TABLES:
                place.run(f"DELETE FROM {table}")
            assert sealed == [as_of(service.calls, time_) for time_ in TIMES]
