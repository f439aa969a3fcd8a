"""What a process with a real broker tells of its intake: counts by partition, lag, health."""

import time
from pathlib import Path

import httpx
import pytest
from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.processes import RoleProcess
from tests.edge.requests import STRUCTURED, encoded, note
from tests.servers.kafka import Topics

ARRIVES_SECONDS_MAX = 90
PARTITIONS = 3
EVENTS = 60


def scrape(url: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Give every sample by its name, and then by its labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=30).text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


@pytest.mark.kafka
def test_partitions_are_counted_one_by_one_and_lag_until_they_are_taken(
    topics: Topics, tmp_path: Path
) -> None:
    topic = topics.create("usage.events", partitions=PARTITIONS)
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap_servers)
    for number in range(EVENTS):
        producer.send(
            topic,
            value=encoded(note(number)) if number else b"nonsense",
            partition=number % PARTITIONS,
            headers=[("content-type", STRUCTURED.encode())],
        )
    producer.flush()
    producer.close()
    settings = {
        "data_dir": str(tmp_path / "d"),
        "http": {"listen": "127.0.0.1:0"},
        "kafka": {
            "bootstrap_servers": topics.bootstrap_servers,
            "group_id": topics.name("group"),
            "topics": {"usage_events": topic},
        },
        "serve": {"parts": ["intake", "project"]},
    }
    with RoleProcess("serve", settings, tmp_path) as service:
        url = (
            "http://127.0.0.1:" + service.log.rsplit("answers HTTP at 127.0.0.1:", 1)[1].split()[0]
        )
        deadline = time.monotonic() + ARRIVES_SECONDS_MAX
        while True:
            told = scrape(url)
            received = {
                dict(labels)["partition"]: value
                for labels, value in told.get("usage_ledger_events_received_total", {}).items()
                if dict(labels)["source"] == "kafka" and dict(labels)["topic"] == topic
            }
            if sum(received.values()) == EVENTS:
                break
            assert time.monotonic() < deadline, service.log
            time.sleep(0.5)
        assert dict.fromkeys("012", EVENTS / PARTITIONS) == received
        rejected = told["usage_ledger_events_rejected"]
        assert [1.0, 0.0, 0.0] == [
            value for labels, value in sorted(rejected.items()) if dict(labels)["topic"] == topic
        ]
        lag = told["usage_ledger_intake_lag_messages"]
        assert {
            (("partition", str(number)), ("topic", topic)): 0.0 for number in range(PARTITIONS)
        } == lag
        ready = httpx.get(f"{url}/readyz/intake")
        assert (200, 0) == (ready.status_code, ready.json()["parts"]["intake"]["lag"])
