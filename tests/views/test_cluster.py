"""Ledger, relay, broker, Faust worker and followed topics together: what a cluster answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.processes import RoleProcess
from tests.oracle.synthetic import synthetic_lines
from tests.publishing.command import usage_ledger
from tests.views.bus import BusTopics, worker

SECONDS_MAX = 60.0

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Cluster:
    """`serve` with the relay, answering live views from their topics; and a Faust worker."""

    def __init__(self, serving: RoleProcess) -> None:
        self.target = serving.target

    def ask(self, *arguments: str, text: bytes | None = None) -> Any:
        """The JSON that a command prints; None while the service cannot answer."""
        ended = usage_ledger(*arguments, "--target", self.target, "--json", text=text)
        if ended.code == 4:
            return None
        assert ended.code in {0, 3}, ended
        return json.JSONDecoder().raw_decode(ended.out)[0]

    def until(self, is_there: Callable[[Any], bool], *arguments: str) -> Any:
        """Ask until an answer is as wanted; the last one at the deadline."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            answer = self.ask(*arguments)
            if (answer is not None and is_there(answer)) or time.monotonic() > deadline:
                return answer
            time.sleep(0.5)  # every look is a process of its own


@pytest.fixture
def cluster(bus: BusTopics, tmp_path: Path) -> Iterator[Cluster]:
    settings = {
        **bus.settings(tmp_path / "data"),
        "live_views": {"folded_by": "faust"},
        "serve": {"parts": ["relay"]},
    }
    with RoleProcess("serve", settings, tmp_path) as serving:
        with worker(bus, tmp_path / "faust"):
            yield Cluster(serving)
        assert 0 == serving.stop()


@pytest.mark.timeout(300)
class TestACluster:
    def test_says_what_the_ledger_says(self, cluster: Cluster) -> None:
        lines = list(synthetic_lines(5, 400, 6, days=2, running_share=0.2))
        cluster.until(lambda _: True, "status")
        payer = json.loads(lines[0])["data"]["attributionId"]
        limit = ("--spending-limit", "1", "--strategy", "other")
        assert cluster.ask("cost-center", "set", payer, *limit) is not None
        receipt = cluster.ask("publish", "-", text=b"\n".join(lines))
        assert len(lines) == receipt["recorded"]
        assert 0 == usage_ledger("reconcile", "--target", cluster.target).code

        def agree(answer: Any) -> bool:
            return not any(law["breaches"] for law in answer["laws"])

        answer = cluster.until(agree, "check", "--meters")
        meters = [law for law in answer["laws"] if law["law"].startswith("meters")]
        assert [(6, [])] * 3 == [(law["checked"], law["breaches"]) for law in meters]
        alerts = cluster.ask("alerts", payer)["alerts"]
        assert {50, 80, 100} == {alert["threshold_percent"] for alert in alerts}
        everybody = cluster.ask("meters", "--all")["meters"]
        assert 6 == len(everybody)
        (one,) = cluster.ask("meters", payer)["meters"]
        assert one == next(each for each in everybody if each["attribution_id"] == payer)
