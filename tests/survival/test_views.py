"""Live meters and alerts by Faust, from the bus to the answer, while their processes are killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path

import pytest

from tests.cluster.processes import RoleProcess, toml_of
from tests.oracle.synthetic import synthetic_lines
from tests.publishing.command import usage_ledger
from tests.survival.cluster import Cluster, Flow, eventually, postgres
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]

PARTITIONS = 4
PAYERS = 12
FIRST = 1_000  # events in which every payer appears
LIMIT_CREDITS = 500
THRESHOLDS = (50, 80, 100)

Raised = set[tuple[str, int]]  # payer, percent of the limit


class TestFaust:
    def test_killed_in_a_window_shows_the_ledgers_numbers_afterwards(
        self, kafka_broker: str, ledger_database: str, tmp_path: Path
    ) -> None:
        lines = synthetic_lines(95, 1_000_000, PAYERS)
        first = list(islice(lines, FIRST))
        with Cluster(
            tmp_path,
            kafka_broker,
            postgres(ledger_database)
            | {"live_views": {"folded_by": "faust"}, "data_dir": str(tmp_path / "data")},
            partitions=PARTITIONS,
            session_timeout="6s",
        ) as cluster:
            create_topics(cluster, tmp_path)
            cluster.serve("project", "views")
            limit_spending(cluster, {json.loads(line)["data"]["attributionId"] for line in first})
            cluster.start("intake")
            relay = cluster.start("relay", failpoint="after-deliver:5")
            stream = cluster.stream()
            with Flow(stream, chain(first, lines), at_once=20) as flow:
                killed(relay)
                cluster.start("relay")
                for failpoint in ("live-folded", "live-alerted:2", "live-written"):
                    faust = cluster.start("faust", failpoint=failpoint)
                    killed(faust)
                cluster.start("faust")
                flow.more(500)
                flow.stop()
            cluster.assert_accounts(stream)
            balances = cluster.truth.balances()
            eventually(lambda: raised(cluster) == reached(balances), "every alert")
            eventually(lambda: breaches(cluster) == [], "the ledger's numbers on the meters")


def create_topics(cluster: Cluster, folder: Path) -> None:
    config = folder / "topics.toml"
    config.write_text(toml_of(cluster.settings()))
    ended = usage_ledger("topics", "create", "--config", config, "--partitions", str(PARTITIONS))
    assert 0 == ended.code, ended


def killed(process: RoleProcess) -> None:
    """Wait until it has died where it was told to."""
    eventually(lambda: not process.lives, f"the end of {process.name}")
    assert process.process is not None
    assert -signal.SIGKILL == process.process.returncode, process.log[-4_000:]


def limit_spending(cluster: Cluster, payers: set[str]) -> None:
    for payer in payers:
        center = usage_pb2.CostCenter(attribution_id=payer, spending_limit=LIMIT_CREDITS)
        cluster.calls.usage.SetCostCenter(usage_pb2.SetCostCenterRequest(cost_center=center))


def raised(cluster: Cluster) -> Raised:
    """Give the alerts that the service shows; none may be there twice."""
    request = queries_pb2.ListAlertsRequest(page_size=1_000)
    alerts = cluster.calls.queries.ListAlerts(request).alerts
    found = {(alert.attribution_id, alert.threshold_percent) for alert in alerts}
    assert len(found) == len(alerts)
    return found


def reached(balances: Mapping[str, int]) -> Raised:
    """Give what the balances of the independent computation have reached of the limit.

    They only rise, for nobody got credits back.
    """
    return {
        (payer, percent)
        for payer, cents in balances.items()
        for percent in THRESHOLDS
        if cents >= LIMIT_CREDITS * percent
    }


def breaches(cluster: Cluster) -> list[str]:
    """Run `usage-ledger check --meters`."""
    laws = cluster.calls.queries.CheckMeters(queries_pb2.CheckMetersRequest()).laws
    assert all(law.checked >= PAYERS for law in laws)
    return [f"{law.law}: {breach}" for law in laws for breach in law.breaches]
