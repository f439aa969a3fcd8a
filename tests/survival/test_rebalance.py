"""Consumers that come, go and die while events flow: each event counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.processes import RoleProcess
from tests.oracle.synthetic import synthetic_lines
from tests.survival.cluster import Cluster, Flow, eventually, holds_partitions, postgres

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]

PARTITIONS = 6
ALL = ", ".join(map(str, range(PARTITIONS)))


def has_all(process: RoleProcess) -> bool:
    return holds_partitions(process) == ALL


def shares(process: RoleProcess) -> bool:
    """Whether it has some of the partitions and another consumer has the rest."""
    return bool(holds_partitions(process)) and not has_all(process)


class TestTwoIntakes:
    def test_share_the_partitions_and_take_over_from_each_other(
        self, kafka_broker: str, ledger_database: str, tmp_path: Path
    ) -> None:
        with Cluster(
            tmp_path, kafka_broker, postgres(ledger_database), partitions=PARTITIONS
        ) as cluster:
            cluster.serve("project")
            stream = cluster.stream()
            # More than is sent until everything has happened.
            with Flow(stream, synthetic_lines(21, 1_000_000, 60)) as flow:
                first = cluster.start("intake")
                eventually(lambda: has_all(first), "all partitions for the first")
                flow.more(300)

                second = cluster.start("intake")
                eventually(lambda: shares(first) and shares(second), "a share for each")
                flow.more(600)

                assert 0 == first.stop(), first.log
                eventually(lambda: has_all(second), "all partitions for the second")
                flow.more(300)

                third = cluster.start("intake")
                eventually(lambda: shares(second) and shares(third), "a share for each")
                flow.more(600)

                second.kill()
                eventually(lambda: has_all(third), "all partitions for the third")
                flow.more(300)
                flow.stop()
            cluster.assert_accounts(stream)
