"""PostgreSQL is restarted or killed, or its disk is full, while events flow."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import RoleProcess
from tests.faults.mounts import SmallDisk, mounted
from tests.oracle.synthetic import synthetic_lines
from tests.servers.postgres import started_server
from tests.survival.cluster import Cluster, Flow, eventually, postgres, readiness

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]

PAYERS = 30
DISK_BYTES = 160 * 1024 * 1024  # a server without anything in it takes a third of that


def takes_more(cluster: Cluster, events: int) -> None:
    eventually(lambda: cluster.received() >= events, f"{events} events")


class TestTheServer:
    def test_that_ends_in_order_and_by_kills_loses_nothing(
        self, kafka_broker: str, tmp_path: Path
    ) -> None:
        with started_server() as server:
            url = server.new_ledger()
            with Cluster(tmp_path, kafka_broker, postgres(url)) as cluster:
                cluster.serve("project")
                intakes = [cluster.start("intake"), cluster.start("intake")]
                stream = cluster.stream()
                with Flow(stream, synthetic_lines(61, 1_000_000, PAYERS)) as flow:
                    for end in (server.stop, server.kill, server.kill):
                        before = cluster.received()
                        flow.more(200)
                        takes_more(cluster, before + 100)
                        end()
                        flow.more(200)
                        server.start()
                    flow.more(200)
                    flow.stop()
                cluster.assert_accounts(stream)
                assert all(each.lives for each in intakes)


class TestAFullDisk:
    """Events are delayed and none is lost; the process says why, and is not restarted."""

    @pytest.fixture
    def disk(self) -> Iterator[tuple[SmallDisk, Path]]:
        # Short: the path of the server's socket has at most 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="ledger-disk-"))
        with mounted(folder, DISK_BYTES) as small:
            yield small, folder
        folder.rmdir()

    def test_of_the_log(
        self, kafka_broker: str, tmp_path: Path, disk: tuple[SmallDisk, Path]
    ) -> None:
        """The server lives, so reads go on and it is told what is missing."""
        small, folder = disk
        with started_server() as server:
            url = server.new_ledger()
            server.move_database(url, folder)

            def is_full(cluster: Cluster, intake: RoleProcess) -> None:
                status, told = readiness(intake)
                assert (503, True) == (status, "No space left on device" in told), told
                payers = list(cluster.truth.balances())
                assert len(payers) == len(cluster.balances(payers))

            outlives(small, kafka_broker, tmp_path, url, is_full, has_room=lambda: None)

    def test_of_the_whole_server(
        self, kafka_broker: str, tmp_path: Path, disk: tuple[SmallDisk, Path]
    ) -> None:
        """The server may end by itself; when there is room again somebody starts it."""
        small, folder = disk
        with started_server(parent=folder) as server:

            def started() -> bool:
                if not server.answers():
                    with contextlib.suppress(subprocess.CalledProcessError):
                        server.start()
                return server.answers()

            outlives(
                small,
                kafka_broker,
                tmp_path,
                server.new_ledger(),
                is_full=lambda _cluster, _intake: None,
                has_room=lambda: eventually(started, "the server"),
            )


def outlives(
    small: SmallDisk,
    broker: str,
    folder: Path,
    url: str,
    is_full: Callable[[Cluster, RoleProcess], None],
    has_room: Callable[[], None],
) -> None:
    """Let events flow over a disk that is filled and freed again."""
    with Cluster(folder, broker, postgres(url)) as cluster:
        cluster.serve("project")
        intake = cluster.start("intake", http={"listen": "127.0.0.1:0"})
        stream = cluster.stream()
        with Flow(stream, synthetic_lines(71, 1_000_000, PAYERS)) as flow:
            flow.more(300)
            takes_more(cluster, 200)
            small.fill()
            eventually(lambda: readiness(intake)[0] == 503, "the intake to say that it waits")
            is_full(cluster, intake)
            flow.more(300)
            small.empty()
            has_room()
            eventually(lambda: readiness(intake)[0] == 200, "the intake to go on")
            flow.more(200)
            flow.stop()
        cluster.assert_accounts(stream)
        assert intake.lives
