"""Shards and partitions: killed, opened and added while events flow, and no number changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import RoleProcess, toml_of
from tests.oracle.synthetic import synthetic_lines
from tests.publishing.command import usage_ledger
from tests.servers.postgres import PostgresServer
from tests.survival.cluster import Cluster, Flow, eventually, new_seed, postgres

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]

KILLS = 6
PAYERS = 60
MANY_PAYERS = 5_000  # so that new ones come all the time


def migrate(cluster: Cluster, folder: Path) -> None:
    """Make ledgers of the databases that are none yet, as an operator does."""
    config = folder / "migrate.toml"
    config.write_text(toml_of(cluster.store))
    assert 0 == usage_ledger("migrate", "--config", config).code


@pytest.fixture
def urls(postgres_server: PostgresServer) -> Iterator[list[str]]:
    """Two databases with nothing in them."""
    urls = [postgres_server.new_database() for _ in range(2)]
    yield urls
    for url in urls:
        postgres_server.drop_database(url)


def events_by_shard(cluster: Cluster) -> list[int]:
    return [head.number for head in cluster.status().heads]


class TestTwoShards:
    def test_fed_by_intakes_that_are_killed_at_random(
        self, kafka_broker: str, urls: list[str], tmp_path: Path
    ) -> None:
        seed = new_seed()
        rng = random.Random(seed)
        with Cluster(tmp_path, kafka_broker, postgres(*urls)) as cluster:
            migrate(cluster, tmp_path)
            cluster.serve("project")
            intakes = [cluster.start("intake"), cluster.start("intake")]
            stream = cluster.stream()
            with Flow(stream, synthetic_lines(seed, 1_000_000, PAYERS)) as flow:
                for _ in range(KILLS):
                    flow.more(rng.randrange(20, 300))
                    rng.choice(intakes).restart()
                flow.more(200)
                flow.stop()
            cluster.assert_accounts(stream)
            assert all(events > 100 for events in events_by_shard(cluster))


class TestASecondShard:
    def test_opened_while_events_flow_takes_new_payers(
        self, kafka_broker: str, urls: list[str], tmp_path: Path
    ) -> None:
        """The processes are replaced one after the other; for a while both kinds take events in."""
        with Cluster(tmp_path, kafka_broker, postgres(urls[0])) as cluster:
            migrate(cluster, tmp_path)
            service = cluster.serve("project")
            intakes = [cluster.start("intake"), cluster.start("intake")]
            stream = cluster.stream()
            with Flow(stream, synthetic_lines(91, 1_000_000, PAYERS)) as flow:
                flow.more(300)
                eventually(lambda: cluster.received() >= 200, "events in one shard")

                cluster.store = postgres(*urls)
                migrate(cluster, tmp_path)
                assert 0 == service.stop()
                cluster.serve("project")
                # New payers come beside the old ones from now on.
                with Flow(stream, synthetic_lines(92, 1_000_000, MANY_PAYERS)) as more:
                    more.more(200)
                    for old in intakes:
                        self._replace(cluster, old)
                        more.more(300)
                    eventually(lambda: events_by_shard(cluster)[1] > 100, "events in the second")
                    more.stop()
                flow.stop()
            cluster.assert_accounts(stream)

    @staticmethod
    def _replace(cluster: Cluster, old: RoleProcess) -> None:
        cluster.start("intake")
        assert 0 == old.stop(), old.log


class TestPartitions:
    def test_added_while_events_flow_move_keys_and_no_number(
        self, kafka_broker: str, ledger_database: str, tmp_path: Path
    ) -> None:
        with Cluster(tmp_path, kafka_broker, postgres(ledger_database), partitions=2) as cluster:
            cluster.serve("project")
            cluster.start("intake")
            cluster.start("intake")
            stream = cluster.stream()
            with Flow(stream, synthetic_lines(93, 1_000_000, PAYERS)) as flow:
                flow.more(300)
                cluster.topics.add_partitions(cluster.topic, 5)
                eventually(lambda: stream.knows_partitions(5), "the new partitions")
                flow.more(600)
                flow.stop()
            assert {0, 1, 2, 3, 4} == set(stream.messages)
            cluster.assert_accounts(stream)
