"""The role `faust` ended with a traceback where the data directory had not been made yet."""

import signal
from pathlib import Path

import pytest

from tests.cluster.processes import wait_until
from tests.servers.kafka import Topics
from tests.views.bus import BusTopics, worker


@pytest.mark.kafka
def test_a_worker_makes_its_folder(topics: Topics, tmp_path: Path) -> None:
    bus = BusTopics.create(topics, partitions=1)
    data_dir = tmp_path / "not" / "there"
    environment = {"USAGE_LEDGER_DATA_DIR": str(data_dir)}
    with worker(bus, tmp_path / "worker", environment) as running:
        made = data_dir / "faust"
        wait_until(lambda: any(made.iterdir()) if made.exists() else False, what="its state")
        assert 0 == running.end(signal.SIGTERM), running.text()[-4_000:]
