"""The broker is restarted or killed, and a topic is made anew, while events flow."""

from __future__ import annotations

from pathlib import Path

import pytest
from kafka.errors import TopicAlreadyExistsError

from tests.oracle.synthetic import synthetic_lines
from tests.servers.kafka import LocalBroker
from tests.survival.cluster import Cluster, Flow, eventually, postgres

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]

PAYERS = 30
MADE_ANEW = "was made anew"


class TestTheBroker:
    def test_that_ends_in_order_and_by_a_kill_loses_nothing(
        self, own_broker: LocalBroker, ledger_database: str, tmp_path: Path
    ) -> None:
        servers = own_broker.bootstrap_servers
        with Cluster(tmp_path, servers, postgres(ledger_database)) as cluster:
            cluster.serve("project")
            cluster.start("intake")
            cluster.start("intake")
            stream = cluster.stream()
            with Flow(stream, synthetic_lines(51, 1_000_000, PAYERS)) as flow:
                for end in (own_broker.stop, own_broker.kill):
                    before = cluster.received()
                    flow.more(300)
                    takes_more(cluster, before + 200)
                    end()
                    own_broker.start()
                flow.more(300)
                flow.stop()
            cluster.assert_accounts(stream)

    def test_that_hangs_for_a_while_loses_nothing(
        self, own_broker: LocalBroker, ledger_database: str, tmp_path: Path
    ) -> None:
        """Its sessions run out meanwhile, so that it shares the partitions out anew."""
        servers = own_broker.bootstrap_servers
        with Cluster(tmp_path, servers, postgres(ledger_database)) as cluster:
            cluster.serve("project")
            intake = cluster.start("intake")
            stream = cluster.stream()
            with Flow(stream, synthetic_lines(52, 1_000_000, PAYERS)) as flow:
                flow.more(300)
                takes_more(cluster, 200)
                own_broker.pause()
                # Whoever waits for an answer gives up after ten seconds.
                eventually(lambda: "intake waits" in intake.log, "the intake to say so")
                own_broker.resume()
                flow.more(300)
                flow.stop()
            cluster.assert_accounts(stream)


def takes_more(cluster: Cluster, events: int) -> None:
    eventually(lambda: cluster.received() >= events, f"{events} events")


class TestATopicOfTheSameName:
    @pytest.mark.parametrize("quickly", [False, True], ids=["noticed", "before anybody looks"])
    def test_is_another_one(
        self, own_broker: LocalBroker, ledger_database: str, tmp_path: Path, quickly: bool
    ) -> None:
        """Its offsets begin anew, and run past those of the old one before anybody looks at it."""
        lines = synthetic_lines(53, 1_000_000, PAYERS)
        servers = own_broker.bootstrap_servers
        with Cluster(tmp_path, servers, postgres(ledger_database), partitions=2) as cluster:
            cluster.serve("project")
            intake = cluster.start("intake")
            old = cluster.stream()
            old.send([next(lines) for _ in range(200)])
            cluster.settled(old)
            last = [next(lines) for _ in range(1_000)]
            cluster.topics.delete(cluster.topic)
            self._create(cluster)
            new = cluster.stream()
            assert new.topic_id != old.topic_id
            if not quickly:
                eventually(lambda: MADE_ANEW in intake.log, "the intake to notice")
            new.send(last)
            cluster.settled(new)
            assert MADE_ANEW in intake.log
            cluster.assert_accounts(new, gone=[old])

    @staticmethod
    def _create(cluster: Cluster) -> None:
        def created() -> bool:
            try:
                cluster.topics.create(name=cluster.topic, partitions=2)
            except TopicAlreadyExistsError:
                return False  # the old one is still going
            return True

        eventually(created, "the topic")
