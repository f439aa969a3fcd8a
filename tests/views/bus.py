"""`ledger.events` as the relay sends it, Faust workers as processes, and what they publish."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumers.live_messages import (
    ALERT_ID_HEADER,
    alert_of_message,
    correction_message,
    key_of,
    reading_of_message,
)
from consumers.recorded_events import message_of
from projections import live
from projections.alerts import Alert
from projections.readings import Reading
from tests.cluster.processes import toml_of
from tests.publishing.command import command_line
from tests.publishing.command import environment as inherited
from tests.servers.kafka import Topics
from tests.views.logs import Log
from usage_ledger.v1.ledger_events_pb2 import RecordedEvent, RecordedEvents
from usage_ledger.v1.live_views_pb2 import PayerMeters, SpendingAlert

WAIT_SECONDS_MAX = 60.0


class BusTopics(NamedTuple):
    """Topics that no other test has."""

    servers: str
    group: str
    events: str
    meters: str
    alerts: str
    partitions: int

    @classmethod
    def create(cls, topics: Topics, *, partitions: int) -> BusTopics:
        return cls(
            topics.bootstrap_servers,
            topics.name("group"),
            topics.create("ledger.events", partitions=partitions),
            topics.create(
                "usage.meters", partitions=partitions, configs={"cleanup.policy": "compact"}
            ),
            topics.create("usage.alerts", partitions=partitions),
            partitions,
        )

    @property
    def worker_group(self) -> str:
        return f"{self.group}-live-views-{live.LIVE_VERSION}"

    def settings(self, folder: Path) -> dict[str, Any]:
        topics = {"ledger_events": self.events, "meters": self.meters, "alerts": self.alerts}
        return {
            "data_dir": str(folder),
            "kafka": {
                "bootstrap_servers": self.servers,
                "group_id": self.group,
                "topics": topics,
                "session_timeout": "6s",
            },
        }


def send_log(bus: BusTopics, log: Log, *, shard: int, packed: int = 20) -> int:
    """Send a log as the relay does: packed by key, facts for everybody as barriers.

    Give how many messages there were.
    """
    producer = KafkaProducer(bootstrap_servers=bus.servers, linger_ms=5)
    count = 0
    waiting: dict[bytes, list[RecordedEvent]] = {}

    def send(key: bytes, events: Sequence[RecordedEvent], partition: int | None = None) -> None:
        nonlocal count
        value = RecordedEvents(events=events).SerializeToString()
        producer.send(bus.events, key=key, value=value, partition=partition)
        count += 1

    def send_waiting() -> None:
        for key, events in waiting.items():
            for start in range(0, len(events), packed):
                send(key, events[start : start + packed])
        waiting.clear()

    for recorded, correction in log:
        message = message_of(recorded, shard)
        if correction is not None:
            message.correction.CopyFrom(correction_message(correction))
        payer = getattr(recorded.event, "payer", None)
        if payer is None:
            send_waiting()
            for partition in range(bus.partitions):
                send(b"", [message], partition)
        else:
            waiting.setdefault(key_of(payer), []).append(message)
    send_waiting()
    producer.flush()
    producer.close()
    return count


class Worker:
    """`usage-ledger faust` as a process."""

    def __init__(self, bus: BusTopics, folder: Path, environment: Mapping[str, str] = {}) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "worker.log"
        self._output = self.log.open("ab")
        config = folder / "worker.toml"
        config.write_text(toml_of(bus.settings(folder)))
        self.process = subprocess.Popen(
            command_line("faust", "--config", config),
            env={**inherited(), **environment},
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, how: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(60)
        self._output.close()
        return code


@contextmanager
def worker(bus: BusTopics, folder: Path, environment: Mapping[str, str] = {}) -> Iterator[Worker]:
    """A worker for a while; it is killed at the end if it still runs."""
    running = Worker(bus, folder, environment)
    try:
        yield running
    finally:
        running.end(signal.SIGKILL)


class Published(NamedTuple):
    """What is on the topics: the newest reading of each payer, and every alert that was sent."""

    readings: dict[bytes, Reading]
    alerts: list[Alert]
    alert_ids: list[bytes]


def read_published(bus: BusTopics) -> Published:
    """Read both topics from their beginning to their end."""
    readings: dict[bytes, Reading] = {}
    alerts: list[Alert] = []
    alert_ids: list[bytes] = []
    consumer = KafkaConsumer(bootstrap_servers=bus.servers, enable_auto_commit=False)
    places = [
        TopicPartition(topic, number)
        for topic in (bus.meters, bus.alerts)
        for number in range(bus.partitions)
    ]
    consumer.assign(places)
    ends = consumer.end_offsets(places)
    consumer.seek_to_beginning(*places)
    while any(consumer.position(place) < ends[place] for place in places):
        for place, records in consumer.poll(timeout_ms=200).items():
            for record in records:
                if place.topic == bus.meters:
                    reading = reading_of_message(PayerMeters.FromString(record.value))
                    readings[reading.payer] = reading
                    assert key_of(reading.payer) == record.key
                else:
                    alerts.append(alert_of_message(SpendingAlert.FromString(record.value)))
                    alert_ids.append(dict(record.headers)[ALERT_ID_HEADER])
    consumer.close()
    return Published(readings, alerts, alert_ids)


def wait_for(
    bus: BusTopics, is_there: Callable[[Published], bool], *, seconds: float = WAIT_SECONDS_MAX
) -> Published:
    """Read until something is there; what there is at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        published = read_published(bus)
        if is_there(published) or time.monotonic() > deadline:
            return published
        time.sleep(0.3)


def committed_by(bus: BusTopics) -> dict[TopicPartition, int]:
    """What the workers have acknowledged."""
    with _group(bus) as consumer:
        return _committed(consumer, bus)


def wait_until_read(bus: BusTopics, *, seconds: float = WAIT_SECONDS_MAX) -> None:
    """Until the workers have acknowledged everything."""
    deadline = time.monotonic() + seconds
    with _group(bus) as consumer:
        ends = consumer.end_offsets(_places(bus))
        while any(offset < ends[place] for place, offset in _committed(consumer, bus).items()):
            assert time.monotonic() < deadline, "not everything was read"
            time.sleep(0.2)


@contextmanager
def _group(bus: BusTopics) -> Iterator[KafkaConsumer]:
    consumer = KafkaConsumer(
        bootstrap_servers=bus.servers, group_id=bus.worker_group, enable_auto_commit=False
    )
    try:
        yield consumer
    finally:
        consumer.close()


def _committed(consumer: KafkaConsumer, bus: BusTopics) -> dict[TopicPartition, int]:
    return {place: consumer.committed(place) or 0 for place in _places(bus)}


def _places(bus: BusTopics) -> list[TopicPartition]:
    return [TopicPartition(bus.events, number) for number in range(bus.partitions)]
