"""The runbook's backup: dumped under load, restored into another server, caught up from Kafka."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.deploy.descriptions import DEPLOY
from tests.harness.process import ServiceProcess
from tests.oracle import DEFAULT_RATES, Oracle
from tests.oracle.synthetic import synthetic_lines
from tests.servers.kafka import Topics
from tests.servers.postgres import PostgresServer, find_binaries, started_server
from usage_ledger.v1 import queries_pb2
from usage_ledger.v1.ledger_events_pb2 import RecordedEvents

INSTANCES = 2_000
PAYERS = 40
PARTITIONS = 3
CAUGHT_UP_SECONDS_MAX = 180  # seconds, but for a machine that does ten things at once
PROGRAM_SECONDS_MAX = 60

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return list(synthetic_lines(17, INSTANCES, PAYERS))


@pytest.fixture
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """The server that is lost, and the one at the other place."""
    with started_server() as first, started_server() as second:
        yield first, second


class Bus:
    """The topic of usage events, and what was sent to it."""

    def __init__(self, topics: Topics) -> None:
        self.bootstrap_servers = topics.bootstrap_servers
        self.topic = topics.create("usage.events", partitions=PARTITIONS)
        self.group = topics.name("group")
        self._topics = topics
        self._names: dict[str, str] = {}
        self.make_followers_topics_anew()

    def make_followers_topics_anew(self) -> None:
        """As if those that follow the log had been deleted and made again."""
        self._names = {
            name: self._topics.create(name, partitions=PARTITIONS)
            for name in ("dead", "ledger", "alerts", "meters")
        }

    def send(self, lines: Sequence[bytes], *, pause_seconds: float = 0.0) -> None:
        """Every line is a message, keyed by its payer, and acknowledged when this returns."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap_servers)
        headers = [("content-type", b"application/cloudevents+json")]
        for line in lines:
            producer.send(self.topic, key=payer_of(line).encode(), value=line, headers=headers)
            if pause_seconds:
                time.sleep(pause_seconds)
        producer.flush(CAUGHT_UP_SECONDS_MAX)
        producer.close()

    def positions(self) -> list[int]:
        """The position of every event in the topic of recorded events, facts for everybody once."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap_servers)
        places = [TopicPartition(self._names["ledger"], number) for number in range(PARTITIONS)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found: Counter[int] = Counter()
        facts: set[int] = set()
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=1_000).values():
                for record in records:
                    events = RecordedEvents.FromString(record.value).events
                    numbers = [event.position.number for event in events]
                    # A fact for everybody has no key and is in every partition.
                    (found.update if record.key else facts.update)(numbers)
        consumer.close()
        return sorted([*found.elements(), *facts])

    def settings(self, url: str, folder: Path) -> Path:
        """A settings file for a ledger in the database at `url`."""
        names = self._names
        text = f"""
            store = "postgres"
            [postgres]
            urls = ["{url}"]
            [kafka]
            bootstrap_servers = "{self.bootstrap_servers}"
            group_id = "{self.group}"
            # A killed member of the group is missed soon.
            session_timeout = "3s"
            [kafka.topics]
            usage_events = "{self.topic}"
            dead_letters = "{names["dead"]}"
            ledger_events = "{names["ledger"]}"
            alerts = "{names["alerts"]}"
            meters = "{names["meters"]}"
        """
        folder.mkdir(parents=True)
        file = folder / "usage-ledger.toml"
        file.write_text(text)
        return file


class Ledger(ServiceProcess):
    """All roles in one process, on a database and the bus."""

    def __init__(self, bus: Bus, url: str, folder: Path) -> None:
        settings = bus.settings(url, folder)
        run_ledger("migrate", "--config", str(settings))
        super().__init__(folder / "state", options=("--no-jobs", "--config", str(settings)))

    def status(self) -> queries_pb2.GetStatusResponse:
        return self.calls.queries.GetStatus(queries_pb2.GetStatusRequest())

    def wait_until_visible(self, count: int) -> None:
        """Wait until so many events were received, and everything in the log is folded."""

        def is_visible() -> bool:
            status = self.status()
            places = [projection.position for projection in status.projections]
            places += [tail.position for tail in status.tails if tail.name == "relay"]
            folded = min(place.number for place in places)
            return status.total.received >= count and folded >= status.head.number

        wait_until(is_visible, self.status)

    def balances(self, payers: Sequence[str]) -> dict[str, int]:
        return {payer: self.calls.balance_cents(payer) for payer in payers}


def run_ledger(*words: str) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "cli.main", *words),
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS_MAX,
        check=False,
    )
    assert 0 == done.returncode, done.stderr


def wait_until(is_so: Callable[[], bool], how_far: Callable[[], object]) -> None:
    deadline = time.monotonic() + CAUGHT_UP_SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"it did not catch up in time: {how_far()}"
        time.sleep(0.1)


def payer_of(line: bytes) -> str:
    return line.split(b'"attributionId":"')[1][:41].decode()


def postgres_program(*words: str) -> None:
    """A program of PostgreSQL's; it must be as new as the server."""
    binaries = find_binaries()
    assert binaries is not None
    done = subprocess.run(
        (str(binaries / words[0]), *words[1:]),
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS_MAX,
        check=False,
    )
    assert 0 == done.returncode, done.stderr


def follow_anew() -> str:
    """The statement with which the runbook sends the relay to the beginning."""
    text = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
    found = re.search(r'--command="(UPDATE tails [^"]+)"', text)
    assert found is not None
    return found[1]


def expected_balances(lines: Sequence[bytes]) -> dict[str, int]:
    oracle = Oracle()
    oracle.publish_price_list(1, DEFAULT_RATES, 0)
    for line in lines:
        oracle.publish(line, 0)
    return {payer: oracle.balance_cents(payer) for payer in oracle.payers()}


class TestADumpOfALiveLedger:
    def test_restored_elsewhere_and_caught_up_has_every_balance(
        self,
        topics: Topics,
        servers: tuple[PostgresServer, PostgresServer],
        lines: list[bytes],
        tmp_path: Path,
    ) -> None:
        first, second = servers
        bus = Bus(topics)
        third = len(lines) // 3
        before, during, after = lines[:third], lines[third : 2 * third], lines[2 * third :]
        dump = tmp_path / "shard-0.dump"
        url = first.new_database()
        with Ledger(bus, url, tmp_path / "first") as lost:
            bus.send(before)
            lost.wait_until_visible(len(before))
            sending = threading.Thread(
                target=bus.send, args=(during,), kwargs={"pause_seconds": 1e-4}
            )
            sending.start()
            postgres_program("pg_dump", "--format=custom", f"--file={dump}", url)
            sending.join()
            bus.send(after)
            lost.wait_until_visible(len(lines))
            counts_before = lost.status().total
            payers = sorted({payer_of(line) for line in lines})
            balances_before = lost.balances(payers)
            lost.kill()

        restored_url = second.new_database()
        postgres_program(
            "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={restored_url}", str(dump)
        )
        bus.make_followers_topics_anew()
        with psycopg.connect(restored_url) as connection:
            row = connection.execute("SELECT sum(received) FROM deliveries").fetchone()
            connection.execute(follow_anew().encode())
        assert row is not None
        # Else the dump would hold everything, and nothing would be caught up.
        assert len(before) <= row[0] < len(lines)

        with Ledger(bus, restored_url, tmp_path / "second") as restored:
            restored.wait_until_visible(len(lines))
            assert counts_before == restored.status().total
            assert balances_before == restored.balances(payers)
            assert expected_balances(lines) == restored.balances(payers)
            assert [] == restored.calls.breaches()
            head = restored.status().head.number
        # Whoever follows the log anew hears of every event, once, in its new place.
        assert list(range(1, head + 1)) == bus.positions()


class TestTheRunbook:
    def test_says_the_commands_that_were_tested(self) -> None:
        text = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
        assert re.search(r"pg_dump --format=custom --file=shard-0\.dump", text)
        assert re.search(r"pg_restore --no-owner --exit-on-error", text)
