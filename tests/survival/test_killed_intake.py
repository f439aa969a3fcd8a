"""`kill -9` of the intake, between every two of its steps and at random: no number changes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.failpoints import NAMES
from tests.cluster.processes import RoleProcess
from tests.oracle.synthetic import synthetic_lines
from tests.servers.postgres import PostgresServer
from tests.survival.cluster import Cluster, eventually, new_seed, postgres

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


class Kills(NamedTuple):
    """How many events flow, and how often the process is killed meanwhile."""

    events: int
    times: int

    @property
    def life(self) -> int:
        """Events that are sent in each life.

        Less than half of them are waited for, so that some are left at the last kill.
        """
        return self.events // self.times


@pytest.mark.endurance
@pytest.mark.slow
def test_killed_at_random_while_many_events_flow(
    kafka_broker: str, ledger_database: str, tmp_path: Path
) -> None:
    seed = new_seed()
    store = postgres(ledger_database)
    with Cluster(tmp_path, kafka_broker, store, intake_batch_events=1_000) as cluster:
        cluster.serve("project")
        process = cluster.start("intake")
        kill_at_random(cluster, process, Kills(100_000, 20), random.Random(seed))


@pytest.mark.endurance
@pytest.mark.slow
def test_all_in_one_process_killed_at_random(kafka_broker: str, tmp_path: Path) -> None:
    """The embedded default with intake from the bus: SQLite, one process."""
    seed = new_seed()
    store = {"store": "sqlite", "data_dir": str(tmp_path / "data")}
    with Cluster(tmp_path, kafka_broker, store, intake_batch_events=500) as cluster:
        process = cluster.serve("intake", "project")
        kill_at_random(cluster, process, Kills(30_000, 20), random.Random(seed))


def kill_at_random(
    cluster: Cluster, process: RoleProcess, kills: Kills, rng: random.Random
) -> None:
    """Let events flow, half of them packed, and kill a process again and again meanwhile."""
    lines = islice(
        synthetic_lines(rng.randrange(10**6), kills.events // 3 + 1, PAYERS), kills.events
    )
    stream = cluster.stream()
    taken = 0
    for life in range(kills.times):
        sending = threading.Thread(
            target=stream.send,
            args=(islice(lines, kills.life),),
            kwargs={"packed": 25 * (life % 2) or 1},
        )
        sending.start()
        taken = take_more(cluster, taken, rng.randrange(kills.life // 2))
        time.sleep(rng.uniform(0.0, 0.1))
        assert process.lives, process.log[-2_000:]
        process.kill()
        sending.join()
        process.start()
    assert taken < kills.events, "everything was taken in before the last kill"
    cluster.assert_accounts(stream)
    assert kills.events == cluster.received()


def take_more(cluster: Cluster, taken: int, events: int) -> int:
    """Wait until so many more events were taken in; give how many there are now."""
    seen = [taken]

    def look() -> bool:
        seen.append(cluster.received())
        return seen[-1] >= taken + events

    eventually(look, f"{taken + events} events")
    return seen[-1]
