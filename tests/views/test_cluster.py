"""Ledger, relay, broker, Faust worker and followed topics together: what a cluster answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import environment
from tests.oracle.synthetic import synthetic_lines
from tests.views.bus import ROOT, BusTopics, worker

SECONDS_MAX = 60.0

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Cluster:
    """`serve` with the relay, answering live views from their topics; and a Faust worker."""

    def __init__(self, bus: BusTopics, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.target = f"127.0.0.1:{probe.getsockname()[1]}"
        self._environment = {
            **environment(),
            **bus.environment(),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto" / "gen")]),
            "USAGE_LEDGER_LIVE_VIEWS__FOLDED_BY": "faust",
            "USAGE_LEDGER_SERVE__PARTS": "relay",
        }
        with (folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_COMMAND, "serve", "--data-dir", str(folder / "data"), "--listen", self.target],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def ask(self, *arguments: str, text: bytes = b"") -> Any:
        """The JSON that a command prints; None while the service cannot answer."""
        ran = subprocess.run(
            [*_COMMAND, *arguments, "--target", self.target, "--json"],
            env=self._environment,
            input=text,
            capture_output=True,
            check=False,
        )
        if ran.returncode == 4:
            return None
        assert ran.returncode in {0, 3}, ran.stderr
        return json.JSONDecoder().raw_decode(ran.stdout.decode())[0]

    def until(self, is_there: Callable[[Any], bool], *arguments: str) -> Any:
        """Ask until an answer is as wanted; the last one at the deadline."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            answer = self.ask(*arguments)
            if (answer is not None and is_there(answer)) or time.monotonic() > deadline:
                return answer
            time.sleep(0.5)


_COMMAND = [sys.executable, "-m", "cli.main"]


@pytest.fixture
def cluster(bus: BusTopics, tmp_path: Path) -> Iterator[Cluster]:
    serving = Cluster(bus, tmp_path)
    with worker(bus, tmp_path / "faust"):
        yield serving
    serving.process.send_signal(signal.SIGTERM)
    assert 0 == serving.process.wait(60)


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
        subprocess.run(
            [*_COMMAND, "reconcile", "--target", cluster.target],
            env=cluster._environment,
            check=True,
            capture_output=True,
        )

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
