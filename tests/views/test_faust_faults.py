"""A Faust worker killed, overtaken, or given what it cannot read: no number differs afterwards."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumers.faust_app import TABLE
from consumers.live_messages import key_of
from consumers.live_states import header_of, offset_key
from projections.live import LIVE_VERSION
from tests.views.bus import BusTopics, Published, send_log, wait_for, worker
from tests.views.logs import SHARD, Log, long_log
from tests.views.runners import Answers, fold_alone
from tests.views.test_contract import answers_in

SEED = 11

pytestmark = [pytest.mark.endurance, pytest.mark.kafka]


@pytest.fixture(scope="module")
def log() -> Log:
    return long_log(SEED)


@pytest.fixture(scope="module")
def expected(log: Log) -> Answers:
    return fold_alone(log)


def finish(bus: BusTopics, folder: Path, expected: Answers) -> Published:
    """Let a worker that nobody disturbs come to the end."""
    with worker(bus, folder) as running:
        _wait_until_read(bus)
        published = wait_for(bus, lambda now: answers_in(now) == expected, seconds=5)
        assert 0 == running.end(signal.SIGTERM), running.text()[-4000:]
    return published


class TestAWorkerKilled:
    @pytest.mark.parametrize("failpoint", ["live-folded", "live-alerted", "live-written"])
    def test_between_two_steps(
        self, bus: BusTopics, log: Log, expected: Answers, failpoint: str, tmp_path: Path
    ) -> None:
        half = len(log) // 2
        for part in (log[:half], log[half:]):
            send_log(bus, part, shard=SHARD)
            environment = {"USAGE_LEDGER_FAILPOINT": failpoint}
            with worker(bus, tmp_path, environment) as running:
                assert -signal.SIGKILL == running.process.wait(60), running.text()[-4000:]
        assert expected == answers_in(finish(bus, tmp_path, expected))

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    def test_at_any_moment_while_events_come_in(
        self, bus: BusTopics, log: Log, expected: Answers, tmp_path: Path
    ) -> None:
        rng = random.Random(SEED)
        sending = threading.Thread(target=_send_slowly, args=(bus, log))
        sending.start()
        for _ in range(6):
            with worker(bus, tmp_path) as running:
                time.sleep(rng.uniform(3.0, 6.0))
                assert running.process.poll() is None, running.text()[-4000:]
        sending.join()
        assert expected == answers_in(finish(bus, tmp_path, expected))

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    def test_leaves_its_partitions_to_another(
        self, bus: BusTopics, log: Log, expected: Answers, tmp_path: Path
    ) -> None:
        with worker(bus, tmp_path / "a") as first, worker(bus, tmp_path / "b") as second:
            sending = threading.Thread(target=_send_slowly, args=(bus, log))
            sending.start()
            time.sleep(6)
            first.end(signal.SIGKILL)
            sending.join()
            published = wait_for(bus, lambda now: answers_in(now) == expected, seconds=120)
            assert 0 == second.end(signal.SIGTERM), second.text()[-4000:]
        assert expected == answers_in(published)


def _send_slowly(bus: BusTopics, log: Log) -> None:
    """Over half a minute, so that workers come and go meanwhile."""
    step = len(log) // 60
    for start in range(0, len(log), step):
        send_log(bus, log[start : start + step], shard=SHARD, packed=5)
        time.sleep(0.3)


class TestRepeats:
    def test_of_everything_change_nothing(
        self, bus: BusTopics, log: Log, expected: Answers, tmp_path: Path
    ) -> None:
        send_log(bus, log, shard=SHARD)
        published = finish(bus, tmp_path, expected)
        sent = len(published.alerts)
        # The relay begins again from some way back, cut into other messages.
        send_log(bus, log[len(log) // 3 :], shard=SHARD, packed=7)
        send_log(bus, log, shard=SHARD, packed=1)
        with worker(bus, tmp_path) as running:
            _wait_until_read(bus)
            assert 0 == running.end(signal.SIGTERM)
        again = wait_for(bus, lambda _: True)
        assert expected == answers_in(again)
        assert sent == len(again.alerts)


class TestAValueThatAWorkerWroteTooLate:
    """One that hung, and woke when another had its partitions."""

    def test_is_overtaken_by_the_newer_one_before_it(
        self, bus: BusTopics, log: Log, expected: Answers, tmp_path: Path
    ) -> None:
        third = len(log) // 3
        send_log(bus, log[:third], shard=SHARD)
        finish(bus, tmp_path, fold_alone(log[:third]))
        old = _newest_values(bus)
        send_log(bus, log[third : 2 * third], shard=SHARD)
        finish(bus, tmp_path, fold_alone(log[: 2 * third]))
        producer = KafkaProducer(bootstrap_servers=bus.servers)
        for (partition, key), value in old.items():
            producer.send(_changelog(bus), key=key, value=value, partition=partition)
        producer.flush()
        producer.close()
        send_log(bus, log[2 * third :], shard=SHARD)
        assert expected == answers_in(finish(bus, tmp_path, expected))
        kept = _newest_values(bus)
        # Each key ends with its newest value, so that compaction keeps the right one.
        positions = {
            key: header_of(value).position
            for (partition, key), value in kept.items()
            if key != offset_key(partition)
        }
        newest = {key_of(payer): each.position for payer, each in expected.readings.items()}
        assert newest == positions


def _changelog(bus: BusTopics) -> str:
    return f"{bus.group}-live-views-{LIVE_VERSION}-{TABLE}-changelog"


def _newest_values(bus: BusTopics) -> dict[tuple[int, bytes], bytes]:
    """The last value of each key in the changelog."""
    consumer = KafkaConsumer(bootstrap_servers=bus.servers, enable_auto_commit=False)
    places = [TopicPartition(_changelog(bus), number) for number in range(bus.partitions)]
    consumer.assign(places)
    ends = consumer.end_offsets(places)
    consumer.seek_to_beginning(*places)
    newest: dict[tuple[int, bytes], bytes] = {}
    while any(consumer.position(place) < ends[place] for place in places):
        for place, records in consumer.poll(timeout_ms=200).items():
            newest |= {(place.partition, record.key): record.value for record in records}
    consumer.close()
    return newest


class TestWhatCannotBeFolded:
    def test_stops_the_worker_and_is_not_acknowledged(
        self, bus: BusTopics, log: Log, expected: Answers, tmp_path: Path
    ) -> None:
        half = len(log) // 2
        send_log(bus, log[:half], shard=SHARD)
        finish(bus, tmp_path, fold_alone(log[:half]))
        producer = KafkaProducer(bootstrap_servers=bus.servers)
        place = producer.send(bus.events, key=b"team:x", value=b"\xff\xff", partition=0).get(10)
        producer.close()
        send_log(bus, log[half:], shard=SHARD)
        for _ in range(2):  # it is there again at the next start
            with worker(bus, tmp_path) as running:
                assert 1 == running.process.wait(60)
                assert "live views cannot go on" in running.text()
        committed = _committed(bus)
        assert committed[TopicPartition(bus.events, 0)] <= place.offset


def _committed(bus: BusTopics) -> dict[TopicPartition, int]:
    consumer = KafkaConsumer(
        bootstrap_servers=bus.servers,
        group_id=f"{bus.group}-live-views-{LIVE_VERSION}",
        enable_auto_commit=False,
    )
    places = [TopicPartition(bus.events, number) for number in range(bus.partitions)]
    committed = {place: consumer.committed(place) or 0 for place in places}
    consumer.close()
    return committed


def _wait_until_read(bus: BusTopics) -> None:
    """Until everything is acknowledged."""
    consumer = KafkaConsumer(bootstrap_servers=bus.servers)
    places = [TopicPartition(bus.events, number) for number in range(bus.partitions)]
    ends = consumer.end_offsets(places)
    consumer.close()
    deadline = time.monotonic() + 60
    while any(_committed(bus)[place] < ends[place] for place in places):
        assert time.monotonic() < deadline, "not everything was read"
        time.sleep(0.5)
