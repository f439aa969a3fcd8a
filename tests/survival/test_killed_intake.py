"""`kill -9` of the intake, between every two of its steps and at random: no number changes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from ledger.failpoints import NAMES
from tests.cluster.processes import RoleProcess
from tests.oracle.synthetic import synthetic_lines
from tests.servers.postgres import PostgresServer
from tests.survival.cluster import Cluster, eventually, new_seed, postgres
from tests.survival.stream import Stream

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(900)]

# By failpoint: the first time that the intake passes it, and a later one. The first commit of a
# process is that of the configured prices. The bus is told once a second.
PASSES = {
    "intake-polled": (1, 4),
    "intake-read": (1, 4),
    "between-works": (1, 3),
    "before-intake-position": (1, 4),
    "after-intake-position": (1, 4),
    "before-append": (1, 4),
    "after-append": (1, 4),
    "before-commit": (2, 5),
    "after-commit": (2, 5),
    "intake-taken": (1, 4),
    "intake-committed": (1, 2),
}
PAYERS = 40
EVENTS = 100_000
KILLS = 20
# Less than half of what is sent in each life is waited for, so that some is left at the last kill.
LIFE_EVENTS = EVENTS // KILLS


class Stage:
    """A ledger that answers, and a topic; intakes come and go."""

    def __init__(self, cluster: Cluster) -> None:
        """Start what answers."""
        self.cluster = cluster
        cluster.serve("project")
        self.stream = cluster.stream()
        # Far more than is ever sent.
        self.lines = synthetic_lines(11, 1_000_000, PAYERS)

    def feed(self, process: RoleProcess) -> None:
        """Send, a few events at a time, until the intake has died."""

        def is_dead() -> bool:
            self.stream.send(islice(self.lines, 40))
            self.stream.flush()
            time.sleep(0.1)
            return not process.lives

        eventually(is_dead, f"the end of {process.name}")


@pytest.fixture(scope="module")
def stage(
    kafka_broker: str,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    url = postgres_server.new_ledger()
    folder = tmp_path_factory.mktemp("stage")
    with Cluster(folder, kafka_broker, postgres(url)) as cluster:
        yield Stage(cluster)
    postgres_server.drop_database(url)


def test_every_failpoint_of_the_intake_is_tried() -> None:
    assert set(PASSES) >= {name for name in NAMES if "intake" in name}


@pytest.mark.parametrize("name", PASSES)
def test_killed_at_a_failpoint(stage: Stage, name: str) -> None:
    """The next intake takes over from the one that died, and dies itself; the last one lives."""
    for number in PASSES[name]:
        process = stage.cluster.start("intake", failpoint=f"{name}:{number}")
        stage.feed(process)
    survivor = stage.cluster.start("intake")
    stage.cluster.assert_accounts(stage.stream)
    survivor.kill()


@pytest.mark.slow
def test_killed_at_random_while_many_events_flow(
    kafka_broker: str, ledger_database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seed = new_seed()
    folder = tmp_path_factory.mktemp("random")
    store = postgres(ledger_database)
    with Cluster(folder, kafka_broker, store, intake_batch_events=1_000) as cluster:
        kill_at_random(cluster, "intake", random.Random(seed))


def kill_at_random(cluster: Cluster, role: str, rng: random.Random) -> None:
    """Let 100,000 events flow, half of them packed, and kill a process twenty times meanwhile."""
    cluster.serve("project")
    with cluster.stream() as stream:
        lines = islice(synthetic_lines(rng.randrange(10**6), EVENTS // 3 + 1, PAYERS), EVENTS)
        process = cluster.start(role)
        for life in range(KILLS):
            sending = threading.Thread(target=_send_some, args=(stream, lines, life))
            sending.start()
            _take_some(cluster, rng.randrange(LIFE_EVENTS // 2))
            time.sleep(rng.uniform(0.0, 0.1))
            assert process.lives, process.log[-2_000:]
            process.kill()
            sending.join()
            if life < KILLS - 1:
                process.start()
        assert cluster.received() < EVENTS
        process.start()
        cluster.assert_accounts(stream)
        assert EVENTS == cluster.received()


def _take_some(cluster: Cluster, events: int) -> None:
    enough = cluster.received() + events
    eventually(lambda: cluster.received() >= enough, f"{enough} events")


def _send_some(stream: Stream, lines: Iterator[bytes], life: int) -> None:
    stream.send(islice(lines, LIFE_EVENTS), packed=1 if life % 2 else 25)
