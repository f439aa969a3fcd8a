"""An intake that is paused, is thought dead, and wakes with an old batch: it changes nothing."""

from __future__ import annotations

import random
import signal
import time
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cluster.processes import RoleProcess
from tests.oracle.synthetic import synthetic_lines
from tests.survival.cluster import Cluster, Flow, eventually, holds_partitions, new_seed, postgres

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]

PARTITIONS = 2
ALL = ", ".join(map(str, range(PARTITIONS)))
ROUNDS_MAX = 20
PAUSES_MAX = 5_000
WRITER = "usage-ledger intake write"  # as the server shows a connection that appends
LOST = "is read anew"  # said of a partition whose position another consumer has moved


def caught_in_its_transaction(zombie: RoleProcess, url: str, rng: random.Random) -> None:
    """Pause the process inside a transaction that has begun to write; it stays paused."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(PAUSES_MAX):
            zombie.signal(signal.SIGSTOP)
            # What it had sent before is soon done; then the server waits for it, or does not.
            time.sleep(0.01)
            waits = waiting(connection)
            if waits:
                time.sleep(1.0)
                if waits & waiting(connection):
                    return
            zombie.signal(signal.SIGCONT)
            time.sleep(rng.uniform(0.0, 0.02))
    pytest.fail(f"in {PAUSES_MAX} pauses it never was inside a transaction")


def waiting(connection: psycopg.Connection[Any]) -> set[tuple[Any, ...]]:
    """Give (process of the server, since when) of intakes that it waits for in a transaction."""
    return set(
        connection.execute(
            "SELECT pid, state_change FROM pg_stat_activity WHERE application_name = %s"
            " AND datname = current_database()"
            " AND state = 'idle in transaction' AND query NOT LIKE 'BEGIN%%'",
            (WRITER,),
        ).fetchall()
    )


def wakes(zombie: RoleProcess, other: RoleProcess) -> None:
    """Let it go on, and wait until it has noticed and both share the partitions again."""
    zombie.signal(signal.SIGCONT)
    eventually(
        lambda: holds_partitions(other) != ALL and holds_partitions(zombie) != ALL,
        "the group has both again",
    )


def start_two(cluster: Cluster) -> tuple[RoleProcess, RoleProcess]:
    """Start two intakes, and wait until each has a partition."""
    pair = cluster.start("intake"), cluster.start("intake")
    eventually(lambda: all(holds_partitions(each) in {"0", "1"} for each in pair), "one for each")
    return pair


@pytest.fixture
def seed() -> int:
    return new_seed()


class TestAZombie:
    def test_with_old_batches_loses_every_comparison(
        self, kafka_broker: str, ledger_database: str, tmp_path: Path
    ) -> None:
        """It wakes with a buffer full of what another intake has taken meanwhile."""
        lines = synthetic_lines(31, 1_000_000, 30)
        with Cluster(
            tmp_path,
            kafka_broker,
            postgres(ledger_database),
            partitions=PARTITIONS,
            intake_batch_events=10,
        ) as cluster:
            cluster.serve("project")
            stream = cluster.stream()
            zombie, other = start_two(cluster)
            for _ in range(ROUNDS_MAX):
                before = cluster.received()
                stream.send(islice(lines, 3_000))
                eventually(lambda: cluster.received() > before + 100, "both at work")  # noqa: B023
                zombie.signal(signal.SIGSTOP)
                eventually(lambda: holds_partitions(other) == ALL, "all for the other")
                cluster.settled(stream)
                stream.send(islice(lines, 500))
                wakes(zombie, other)
                cluster.assert_accounts(stream)
                if LOST in zombie.log:
                    return
        pytest.fail(f"in {ROUNDS_MAX} rounds the zombie had no old batch")

    def test_inside_its_transaction_keeps_nobody_from_going_on(
        self, kafka_broker: str, ledger_database: str, tmp_path: Path, seed: int
    ) -> None:
        """It holds the append lock until the server ends its session; then it may write nothing."""
        with Cluster(
            tmp_path, kafka_broker, postgres(ledger_database), partitions=PARTITIONS
        ) as cluster:
            cluster.serve("project")
            stream = cluster.stream()
            with Flow(stream, synthetic_lines(seed, 1_000_000, 30)) as flow:
                zombie, other = start_two(cluster)
                flow.more(200)
                caught_in_its_transaction(zombie, ledger_database, random.Random(seed))
                before = cluster.received()
                eventually(lambda: holds_partitions(other) == ALL, "all for the other")
                flow.more(200)
                eventually(lambda: cluster.received() > before + 200, "the other at work")
                wakes(zombie, other)
                flow.more(300)
                flow.stop()
            cluster.assert_accounts(stream)
            assert "nothing could be stored" in zombie.log

    def test_paused_again_and_again_at_any_moment_changes_nothing(
        self, kafka_broker: str, ledger_database: str, tmp_path: Path, seed: int
    ) -> None:
        rng = random.Random(seed)
        with Cluster(
            tmp_path, kafka_broker, postgres(ledger_database), partitions=PARTITIONS
        ) as cluster:
            cluster.serve("project")
            stream = cluster.stream()
            with Flow(stream, synthetic_lines(seed, 1_000_000, 30)) as flow:
                pair = start_two(cluster)
                flow.more(100)
                for number in range(12):
                    paused = pair[number % 2]
                    paused.signal(signal.SIGSTOP)
                    # Now shorter, now longer than the group waits for a consumer.
                    time.sleep(rng.choice((0.02, 0.2, 2.0)) * rng.uniform(0.5, 1.5))
                    paused.signal(signal.SIGCONT)
                    flow.more(30)
                flow.stop()
            cluster.assert_accounts(stream)
