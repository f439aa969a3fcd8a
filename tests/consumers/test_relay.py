"""What was recorded goes to its topic in order of each key, and again after a crash."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import KafkaConsumer, TopicPartition

from consumers.connecting import BusUnavailableError
from consumers.recorded_events import recorded_of
from consumers.relay import DeadLetterTail, LedgerEventsSink, RelayTail, parts_of, runs_of
from events import Recorded, decode
from ledger.settings import KafkaSettings
from ledger.tails import Tail
from tests.cluster.processes import wait_until
from tests.contract.data.scene import Scene, note, ran, started
from tests.oracle.events import payer_of
from tests.servers.kafka import Topics
from usage_ledger.v1.ledger_events_pb2 import RecordedEvent, RecordedEvents

pytestmark = pytest.mark.kafka

PAYERS = [payer_of(f"payer {number}") for number in range(7)]
PARTITIONS = 3


class Sent(NamedTuple):
    partition: int
    key: bytes
    headers: dict[str, bytes]
    value: bytes


@pytest.fixture
def kafka(kafka_broker: str, topics: Topics) -> KafkaSettings:
    names = {name: topics.name(name) for name in ("ledger_events", "dead_letters")}
    for name in names.values():
        topics.create(name=name, partitions=PARTITIONS)
    return KafkaSettings(bootstrap_servers=kafka_broker, topics=names)  # type: ignore[arg-type]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path / "ledger") as opened:
        for number, payer in enumerate(PAYERS):
            opened.record(*ran(f"a {number}", "06:00", "06:30", payer=payer))
        opened.reconcile("08:00")
        for number, payer in enumerate(PAYERS):
            opened.record(note(number, event_id=f"note {number}", payer=payer))
            opened.record(started(f"b {number}", "07:00", payer=payer))
        yield opened


def read(kafka: KafkaSettings, topic: str) -> list[Sent]:
    """Everything that is in a topic now, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    found: list[Sent] = []
    while any(consumer.position(place) < ends[place] for place in places):
        for place, records in consumer.poll(timeout_ms=500).items():
            found += [
                Sent(place.partition, record.key, dict(record.headers), record.value)
                for record in records
            ]
    consumer.close()
    return found


def follow(scene: Scene, tail: Tail, upto: int) -> None:
    """Run a tail until its position is stored."""
    running = asyncio.run_coroutine_threadsafe(tail.run(), scene.service.ledger.loop)
    wait_until(lambda: tail.position >= upto, what=f"position {upto} of {tail.name}")
    running.cancel()
    wait_until(running.done)


def log_of(scene: Scene) -> list[Recorded]:
    stored = scene.service.ledger.shards[0].queries.reader.log(after=0, limit=10_000)
    return [Recorded(e.stream, e.version, decode(e.topic, e.state), e.position) for e in stored]


def events_in(sent: Sent) -> list[RecordedEvent]:
    return list(RecordedEvents.FromString(sent.value).events)


class TestRecordedEvents:
    def test_are_all_there_in_order_of_each_key(self, scene: Scene, kafka: KafkaSettings) -> None:
        shard = scene.service.ledger.shards[0]
        follow(scene, RelayTail(kafka, shard), shard.head)
        by_key: dict[bytes, list[Recorded]] = defaultdict(list)
        for sent in read(kafka, kafka.topics.ledger_events):
            if sent.key or sent.partition == 0:
                by_key[sent.key] += [recorded_of(message) for message in events_in(sent)]
        expected: dict[bytes, list[Recorded]] = defaultdict(list)
        for recorded in log_of(scene):
            payer = getattr(recorded.event, "payer", None)
            expected[b"" if payer is None else _key(payer)].append(recorded)
        assert expected == by_key

    def test_of_everybody_reach_every_partition_behind_what_came_before(
        self, scene: Scene, kafka: KafkaSettings
    ) -> None:
        shard = scene.service.ledger.shards[0]
        follow(scene, RelayTail(kafka, shard), shard.head)
        (reconcile,) = [r.position for r in log_of(scene) if r.event.TOPIC == "usage-reconciled"]
        for partition in range(PARTITIONS):
            positions = [
                message.position.number
                for sent in read(kafka, kafka.topics.ledger_events)
                if sent.partition == partition
                for message in events_in(sent)
            ]
            place = positions.index(reconcile)
            assert all(position < reconcile for position in positions[:place])
            assert all(position > reconcile for position in positions[place + 1 :])

    def test_say_in_their_headers_what_they_are(self, scene: Scene, kafka: KafkaSettings) -> None:
        shard = scene.service.ledger.shards[0]
        follow(scene, RelayTail(kafka, shard), shard.head)
        for sent in read(kafka, kafka.topics.ledger_events):
            messages = events_in(sent)
            assert {
                "content-type": b"application/protobuf",
                "ledger-shard": b"0",
                "ledger-first-position": b"%d" % messages[0].position.number,
                "ledger-position": b"%d" % messages[-1].position.number,
                "ledger-topic": messages[0].topic.encode() if len(messages) == 1 else b"packed",
                "ledger-version": b"1",
            } == sent.headers

    def test_come_again_when_the_position_was_not_stored(
        self, scene: Scene, kafka: KafkaSettings
    ) -> None:
        """As after a crash between the broker's acknowledgement and our commit."""
        shard = scene.service.ledger.shards[0]
        scene.service.wait(LedgerEventsSink(kafka, shard).deliver(0, log_of(scene)[:30]))
        follow(scene, RelayTail(kafka, shard), shard.head)
        seen: dict[bytes, int] = {}
        kept: list[int] = []
        repeats = 0
        for sent in read(kafka, kafka.topics.ledger_events):
            if not sent.key:
                continue
            for message in events_in(sent):
                position = message.position.number
                if position <= seen.get(sent.key, 0):
                    repeats += 1
                    continue
                seen[sent.key] = position
                kept.append(position)
        expected = [r.position for r in log_of(scene) if getattr(r.event, "payer", None)]
        assert expected == sorted(kept)
        assert repeats > 0

    def test_go_on_from_the_stored_position(self, scene: Scene, kafka: KafkaSettings) -> None:
        shard = scene.service.ledger.shards[0]
        follow(scene, RelayTail(kafka, shard), shard.head)
        before = len(read(kafka, kafka.topics.ledger_events))
        scene.record(note(3, event_id="later", payer=PAYERS[0]))
        follow(scene, RelayTail(kafka, shard), shard.head)
        assert before + 1 == len(read(kafka, kafka.topics.ledger_events))


def _key(payer: bytes) -> bytes:
    text = payer.hex()
    return f"team:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


class TestDeadLetters:
    def test_go_to_their_topic_with_reason_and_bytes(
        self, scene: Scene, kafka: KafkaSettings
    ) -> None:
        shard = scene.service.ledger.shards[0]
        scene.publish(b"{", b'{"specversion":"1.0"}', delivery="file:a")
        follow(scene, DeadLetterTail(kafka, shard), 2)
        letters = scene.dead_letters()
        sent = sorted(
            read(kafka, kafka.topics.dead_letters), key=lambda one: one.headers["dead-letter-id"]
        )
        assert [b"{", b'{"specversion":"1.0"}'] == [one.value for one in sent]
        assert [(b"%d" % each.id, each.reason.encode()) for each in reversed(letters)] == [
            (one.headers["dead-letter-id"], one.headers["dead-letter-reason"]) for one in sent
        ]
        assert {b"file:a"} == {one.headers["dead-letter-delivery"] for one in sent}


class TestCutting:
    def test_keeps_facts_for_everybody_alone(self, scene: Scene) -> None:
        runs = list(runs_of(log_of(scene)))
        assert [r.position for r in log_of(scene)] == [r.position for run in runs for r in run]
        for run in runs:
            payers = {getattr(recorded.event, "payer", None) for recorded in run}
            assert None not in payers or len(run) == 1

    def test_makes_messages_of_a_size_that_brokers_take(self) -> None:
        messages: Sequence[Any] = [RecordedEvent(stream="x" * 1_000) for _ in range(1_234)]
        parts = list(parts_of(messages))
        assert messages == [message for part in parts for message in part]
        assert all(len(part) <= 500 for part in parts)
        large = [RecordedEvent(stream="x" * 200_000) for _ in range(7)]
        assert all(sum(m.ByteSize() for m in part) <= 512 * 1024 for part in parts_of(large))


class TestAKey:
    def test_has_one_message_on_its_way_at_a_time(
        self, scene: Scene, kafka: KafkaSettings, topics: Topics
    ) -> None:
        """Or the second could arrive without the first, which a reader would then drop for good."""
        name = topics.create(configs={"max.message.bytes": "100000"}, partitions=PARTITIONS)
        named = kafka.topics.model_copy(update={"ledger_events": name})
        strict = kafka.model_copy(update={"topics": named})
        shard = scene.service.ledger.shards[0]
        (event,) = [r for r in log_of(scene) if r.originator_id.startswith("instance")][:1]
        # More than one message can hold, and a rest that the topic takes.
        long = [
            Recorded(f"instance:{'x' * 4_000}{number}", 1, event.event, number)
            for number in range(1, 140)
        ]
        with pytest.raises(BusUnavailableError, match="MessageSizeTooLarge"):
            scene.service.wait(LedgerEventsSink(strict, shard).deliver(0, long))
        assert [] == read(strict, name)
