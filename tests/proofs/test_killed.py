"""The follower of a tree dies, stands by and wakes as a zombie: the tree is that of the log."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psycopg
import pytest

from ledger.failpoints import OF_THE_TREE
from tests.cluster.processes import RoleProcess, wait_until
from tests.contract.data.scene import bytes_of, note
from tests.harness import Calls, ServiceProcess
from tests.oracle.events import payer_of
from tests.proofs.scene import BackDoor, until_current
from tests.servers.postgres import PostgresServer
from usage_ledger.v1 import audit_proofs_pb2 as pb

PARTS = "jobs,tree"
RANDOM_KILLS = 8
EVENTS_MAX = 30_000  # published until a follower has died; usually a tenth is enough
# Each is passed with the first batch, and with one that begins in the middle of a tile.
FAILPOINTS = [f"{name}{nth}" for name in OF_THE_TREE for nth in ("", ":2")]


def notes(count: int, *, first: int = 0) -> list[bytes]:
    return bytes_of(
        note(1, event_id=f"note {number}", payer=payer_of(f"payer {number % 20}"))
        for number in range(first, first + count)
    )


def is_whole(place: BackDoor, calls: Calls) -> None:
    """Every event is a leaf, once; tiles and log agree to the last one."""
    size = until_current(place)
    answers = list(calls.audit.Verify(pb.VerifyRequest()))
    (summary,) = [answer.summary for answer in answers if answer.HasField("summary")]
    assert (size, 0) == (summary.events, summary.findings), answers
    leaves = place.leaves()
    proof = calls.audit.GetConsistencyProof(
        pb.GetConsistencyProofRequest(first=pb.TreePoint(size=1), second=pb.TreePoint(size=size))
    )
    assert place.root(size) == proof.second.root
    assert len(leaves) == size


class TestOneMachine:
    @pytest.mark.parametrize("failpoint", FAILPOINTS)
    def test_killed_at_a_failpoint(self, tmp_path: Path, failpoint: str) -> None:
        place = BackDoor(tmp_path / "ledger", "")
        dying = ServiceProcess(place.data_dir, failpoint=failpoint, parts_with_failpoint=PARTS)
        with dying, contextlib.suppress(grpc.RpcError):
            for first in range(0, EVENTS_MAX, 300):
                dying.calls.publish(notes(300, first=first))
                time.sleep(0.3)
        assert -9 == dying.wait_dead()
        with ServiceProcess(place.data_dir) as service:
            service.calls.publish(notes(700))
            is_whole(place, service.calls)

    def test_killed_at_random_moments(self, tmp_path: Path) -> None:
        place = BackDoor(tmp_path / "ledger", "")
        rng = random.Random(time.time_ns())
        for first in range(0, RANDOM_KILLS * 400, 400):
            service = ServiceProcess(place.data_dir).start()
            service.calls.publish(notes(400, first=first))
            time.sleep(rng.uniform(0, 0.6))
            service.kill()
        with ServiceProcess(place.data_dir) as service:
            is_whole(place, service.calls)


@pytest.mark.postgres
class TestACluster:
    @pytest.fixture
    def place(self, postgres_server: PostgresServer, tmp_path: Path) -> Iterator[BackDoor]:
        url = postgres_server.borrow_ledger()
        yield BackDoor(tmp_path, url)
        postgres_server.give_back_ledger(url)

    def role(self, place: BackDoor, role: str, failpoint: str = "") -> RoleProcess:
        settings = {
            "store": "postgres",
            "postgres": {"urls": [place.url]},
            "serve": {"parts": ["project"]},
            "jobs": {"ledger_enabled": False, "reset_enabled": False, "heads_enabled": False},
        }
        return RoleProcess(role, settings, place.data_dir, failpoint=failpoint)

    @pytest.mark.parametrize("failpoint", FAILPOINTS)
    def test_killed_at_a_failpoint_another_goes_on(self, place: BackDoor, failpoint: str) -> None:
        with self.role(place, "serve") as service, self.role(place, "tree", failpoint) as first:
            assert service.calls is not None
            for number in range(0, EVENTS_MAX, 300):
                service.calls.publish(notes(300, first=number))
                if not first.lives:
                    break
                time.sleep(0.3)
            wait_until(lambda: not first.lives)
            with self.role(place, "tree"):
                service.calls.publish(notes(100, first=EVENTS_MAX))
                is_whole(place, service.calls)

    def test_paused_as_a_zombie_it_adds_nothing_when_it_wakes(self, place: BackDoor) -> None:
        with self.role(place, "serve") as service, self.role(place, "tree") as zombie:
            assert service.calls is not None
            service.calls.publish(notes(300))
            until_current(place)
            zombie.signal(signal.SIGSTOP)
            with self.role(place, "tree"):
                service.calls.publish(notes(900, first=300))
                until_current(place)
                zombie.signal(signal.SIGCONT)
                service.calls.publish(notes(300, first=1_200))
                is_whole(place, service.calls)

    def test_two_without_a_lease_add_each_leaf_once(self, place: BackDoor) -> None:
        """Whoever loses its lease without noticing has only compare-and-set against it."""
        with (
            self.role(place, "serve") as service,
            self.role(place, "tree") as one,
            self.role(place, "tree") as other,
        ):
            assert service.calls is not None
            for first in range(0, 2_000, 200):
                service.calls.publish(notes(200, first=first))
                with psycopg.connect(place.url) as connection:
                    connection.execute("DELETE FROM leases WHERE name = 'tree'")
            is_whole(place, service.calls)
            assert one.lives
            assert other.lives
