"""The intake on a real broker, before a ledger in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import NewPartitions

from consumers.intake import Intake
from ledger.settings import KafkaSettings, load_settings
from ledger.views import SourceKey
from tests.consumers.encodings import SINGLE, Told, binary_protobuf, packed
from tests.consumers.feeds import MemoryLedger
from tests.consumers.producing import Sender, keys_of, stop_event, wait_until
from tests.servers.kafka import LocalBroker, Topics

pytestmark = pytest.mark.kafka

GARBAGE = Told([("content-type", b"text/plain")], b"?")


def settings_for(servers: str, topic: str, group: str, **more: Any) -> KafkaSettings:
    given = {
        "bootstrap_servers": servers,
        "group_id": group,
        "topics": {"usage_events": topic},
        **more,
    }
    return load_settings(None, kafka=given).kafka


class Scene:
    """One topic, one group, one ledger; as many intakes as a test starts."""

    def __init__(self, topics: Topics, *, partitions: int = 1, **settings: Any) -> None:
        self.topics = topics
        self.servers = topics.bootstrap_servers
        self.topic = topics.create("usage", partitions=partitions)
        self.settings = settings_for(self.servers, self.topic, topics.name("group"), **settings)
        self.ledger = MemoryLedger()
        self.sender = Sender(self.servers, self.topic)
        self._intakes: list[Intake] = []

    def start(self, *, failpoint: Callable[[str], None] = lambda _name: None) -> Intake:
        intake = Intake(self.settings, self.ledger.feed, failpoint=failpoint)
        self._intakes.append(intake)
        intake.start()
        return intake

    def received(self, count: int) -> None:
        """Wait until the ledger has got so many events."""
        wait_until(
            lambda: self.ledger.total().received >= count,
            lambda: (self.ledger.total(), [one.status() for one in self._intakes]),
        )

    def source(self, intake: Intake, partition: int = 0) -> SourceKey:
        """Wait for a partition's source, and give it."""
        wait_until(lambda: self._status(intake, partition) is not None)
        source = self._status(intake, partition)
        assert source is not None
        return source

    @staticmethod
    def _status(intake: Intake, partition: int) -> SourceKey | None:
        return next(
            (one.source for one in intake.status().partitions if one.partition == partition), None
        )

    def commit(self, offset: int, note: str) -> None:
        """Commit an offset for the group as another program would."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.servers,
            group_id=self.settings.group_id,
            enable_auto_commit=False,
        )
        try:
            place = TopicPartition(self.topic, 0)
            consumer.assign([place])
            consumer.commit({place: OffsetAndMetadata(offset, note, -1)})
        finally:
            consumer.close()

    def administrate(self, act: Callable[[KafkaAdminClient], object]) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        try:
            act(admin)
        finally:
            admin.close()

    def close(self) -> None:
        for intake in self._intakes:
            intake.stop()
        self.sender.close()


@pytest.fixture
def scenes(topics: Topics) -> Iterator[Callable[..., Scene]]:
    """Make scenes that are put away afterwards."""
    made: list[Scene] = []

    def make(**options: Any) -> Scene:
        made.append(Scene(topics, **options))
        return made[-1]

    yield make
    for scene in made:
        scene.close()


def waits_for(intake: Intake, words: str) -> None:
    wait_until(lambda: words in intake.reason, lambda: (words, intake.status()))


class TestTaking:
    """What comes from the topic goes into the ledger."""

    def test_events_of_every_encoding_are_taken_in_order(self, scenes: Any) -> None:
        scene = scenes()
        scene.sender.send([encode(stop_event(n)) for n, encode in enumerate(SINGLE)])
        scene.sender.send([packed([stop_event(n) for n in range(10, 20)])])
        intake = scene.start()
        scene.received(15)
        assert keys_of([0, 1, 2, 3, 4, *range(10, 20)]) == scene.ledger.keys_in_order()
        source = scene.source(intake)
        assert {source: 6} == scene.ledger.positions

    @pytest.mark.parametrize("how", ["gzip", "snappy", "lz4", "zstd"])
    def test_what_is_compressed_is_read(self, scenes: Any, how: str) -> None:
        scene = scenes()
        sender = Sender(scene.servers, scene.topic, compression_type=how)
        sender.send([binary_protobuf(stop_event(number)) for number in range(50)])
        scene.start()
        scene.received(50)
        assert keys_of(range(50)) == scene.ledger.keys_in_order()

    def test_nothing_blocks_what_follows(self, scenes: Any) -> None:
        scene = scenes()
        good = [binary_protobuf(stop_event(n)) for n in range(3)]
        poison = Told([("ce_id", b"\xff"), ("content-type", b"application/json")], b"{")
        scene.sender.send([good[0], GARBAGE, good[1], poison, good[2]])
        scene.start()
        scene.received(5)
        assert keys_of(range(3)) == scene.ledger.keys_in_order()
        assert [1, 3] == [offset for offset, _ in scene.ledger.rejected]

    def test_a_header_whose_name_is_no_text_blocks_nothing(self, scenes: Any) -> None:
        class Name(str):
            """A name that goes out as bytes which are no UTF-8."""

            __slots__ = ()

            def encode(self, *_: object) -> bytes:
                return b"n\xff"

        scene = scenes()
        told = binary_protobuf(stop_event(1))
        odd = Told([*told.headers, (Name("name"), b"x")], told.value)
        scene.sender.send([binary_protobuf(stop_event(0)), odd, binary_protobuf(stop_event(2))])
        scene.start()
        scene.received(3)
        assert keys_of(range(3)) == scene.ledger.keys_in_order()

    def test_what_a_producer_has_taken_back_is_not_read(self, scenes: Any) -> None:
        scene = scenes()
        sender = Sender(scene.servers, scene.topic, transactional_id=scene.topics.name("tx"))
        try:
            sender.producer.init_transactions()
            sender.producer.begin_transaction()
            sender.send_events([1])
            sender.producer.abort_transaction()
            sender.producer.begin_transaction()
            sender.send_events([2])
            sender.producer.commit_transaction()
        finally:
            sender.close()
        intake = scene.start()
        scene.received(1)
        assert keys_of([2]) == scene.ledger.keys_in_order()
        # The mark of the commit is no message, so nothing is left to take.
        wait_until(lambda: intake.lag == 0, intake.status)

    def test_batches_hold_no_more_events_than_set(self, scenes: Any) -> None:
        scene = scenes(intake_batch_events=5, intake_buffered_events=10)
        scene.sender.send_events(range(100))
        scene.sender.send([packed([stop_event(n) for n in range(100, 150)])])
        scene.start()
        scene.received(150)
        assert keys_of(range(150)) == scene.ledger.keys_in_order()
        # Twenty of five, and the packed one, which cannot be split.
        assert scene.ledger.takes >= 21

    def test_kafka_is_told_how_far_it_is(self, scenes: Any) -> None:
        scene = scenes()
        scene.sender.send_events(range(10))
        intake = scene.start()
        scene.received(10)
        intake.stop()
        consumer = KafkaConsumer(bootstrap_servers=scene.servers, group_id=scene.settings.group_id)
        try:
            place = TopicPartition(scene.topic, 0)
            told = consumer.committed(place, metadata=True)
        finally:
            consumer.close()
        assert (10, "usage-ledger") == (told.offset, told.metadata)


class TestWhereItBegins:
    """Stored positions rule."""

    def test_at_the_stored_position_whatever_kafka_says(self, scenes: Any) -> None:
        scene = scenes()
        scene.sender.send_events(range(10))
        first = scene.start()
        source = scene.source(first)
        scene.received(10)
        first.stop()
        scene.commit(2, "")
        scene.ledger.set_position(source, 7)
        scene.start()
        scene.received(13)
        assert keys_of([*range(10), 7, 8, 9]) == scene.ledger.keys_in_order()

    def test_at_the_beginning_when_nothing_is_stored(self, scenes: Any) -> None:
        scene = scenes()
        scene.sender.send_events(range(3))
        scene.start()
        scene.received(3)
        assert keys_of(range(3)) == scene.ledger.keys_in_order()

    def test_where_somebody_has_set_the_group_when_nothing_is_stored(self, scenes: Any) -> None:
        scene = scenes()
        scene.sender.send_events(range(5))
        scene.commit(3, "")
        scene.start()
        scene.received(2)
        assert keys_of([3, 4]) == scene.ledger.keys_in_order()

    def test_at_the_beginning_when_the_hint_is_of_a_ledger_that_is_gone(
        self, scenes: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A hint is written after events were stored; without them it would skip them."""
        scene = scenes()
        scene.sender.send_events(range(5))
        scene.commit(3, "usage-ledger")
        with caplog.at_level(logging.WARNING):
            scene.start()
            scene.received(5)
        assert keys_of(range(5)) == scene.ledger.keys_in_order()
        assert "a ledger before this one had taken it in up to offset 3" in caplog.text

    def test_nowhere_while_retention_has_run_over_the_position(self, scenes: Any) -> None:
        scene = scenes()
        scene.sender.send_events(range(10))
        first = scene.start()
        source = scene.source(first)
        scene.received(10)
        first.stop()
        scene.ledger.set_position(source, 4)
        place = TopicPartition(scene.topic, 0)
        scene.administrate(lambda admin: admin.delete_records({place: 6}))
        scene.sender.send_events([10])
        intake = scene.start()
        waits_for(intake, "offsets 4 to 5 were deleted by the topic's retention")
        name = f"{source.cluster}:{scene.topic}:{source.topic_id}:0"
        assert f"usage-ledger accept-gap {name} --from 4 --to 6" in intake.reason
        assert 10 == scene.ledger.total().received
        scene.ledger.set_position(source, 6)
        scene.received(15)
        assert keys_of([*range(10), 6, 7, 8, 9, 10]) == scene.ledger.keys_in_order()
        wait_until(lambda: intake.ready, intake.status)

    def test_nowhere_while_the_position_lies_beyond_the_log(self, scenes: Any) -> None:
        scene = scenes()
        scene.sender.send_events(range(3))
        first = scene.start()
        source = scene.source(first)
        scene.received(3)
        first.stop()
        scene.ledger.set_position(source, 8)
        intake = scene.start()
        waits_for(intake, "the log ends at offset 3, and 8 is the next to take")
        assert "--from 8 --to 3" in intake.reason
        assert 3 == scene.ledger.total().received


class TestTrouble:
    """It says what it waits for, and goes on by itself."""

    def test_a_store_that_is_away_is_waited_for(self, scenes: Any) -> None:
        """Longer than the group waits for a silent consumer, which this one is not."""
        session_seconds = 4
        scene = scenes(session_timeout=f"{session_seconds}s")
        intake = scene.start()
        scene.sender.send_events(range(10))
        scene.received(10)
        scene.ledger.refused = "the database is away"
        scene.sender.send_events(range(10, 500))
        waits_for(intake, "the database is away")
        generation = _member(intake)
        # It polls all the time: three sessions pass without a rebalance.
        passed = time.monotonic() + 3 * session_seconds
        wait_until(lambda: _failures(intake) >= 6 and time.monotonic() > passed, intake.status)
        assert generation == _member(intake)
        assert not intake.ready
        scene.ledger.refused = ""
        scene.received(500)
        assert keys_of(range(500)) == scene.ledger.keys_in_order()
        wait_until(lambda: intake.ready and intake.lag == 0, intake.status)

    def test_a_position_that_somebody_moved_is_asked_for_anew(
        self, scenes: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene = scenes()
        intake = scene.start()
        scene.sender.send_events(range(10))
        scene.received(10)
        scene.ledger.set_position(scene.source(intake), 5)
        with caplog.at_level(logging.WARNING):
            scene.sender.send_events([10])
            scene.received(16)
        assert keys_of([*range(10), *range(5, 11)]) == scene.ledger.keys_in_order()
        assert "the position is another one now; it is read anew" in caplog.text

    @pytest.mark.endurance
    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_a_broker_that_is_away_is_waited_for(self, own_broker: LocalBroker, how: str) -> None:
        scene = Scene(Topics(own_broker.bootstrap_servers), partitions=2)
        try:
            intake = scene.start()
            scene.sender.send_events(range(50))
            scene.received(50)
            getattr(own_broker, how)()
            waits_for(intake, "cannot be asked: no broker answers")
            own_broker.start()
            scene.sender.send_events(range(50, 100))
            scene.received(100)
            assert set(keys_of(range(100))) == set(scene.ledger.keys_in_order())
            assert (100, 100) == scene.ledger.total()[:2]
            wait_until(lambda: intake.ready, intake.status)
        finally:
            scene.close()

    def test_a_topic_that_is_missing_is_waited_for(self, topics: Topics) -> None:
        name = topics.name("usage")
        ledger = MemoryLedger()
        settings = settings_for(topics.bootstrap_servers, name, topics.name("group"))
        intake = Intake(settings, ledger.feed)
        intake.start()
        try:
            waits_for(intake, f"topic {name!r} is not there: `usage-ledger topics create` makes it")
            topics.create(name=name)
            sender = Sender(topics.bootstrap_servers, name)
            sender.send_events([1])
            sender.close()
            wait_until(lambda: ledger.total().received == 1, intake.status)
        finally:
            intake.stop()

    def test_a_topic_made_anew_is_another_source(self, scenes: Any) -> None:
        scene = scenes()
        intake = scene.start()
        scene.sender.send_events(range(20))
        scene.received(20)
        before = scene.source(intake)
        scene.topics.delete(scene.topic)
        waits_for(intake, "is not there")
        scene.topics.create(name=scene.topic)
        sender = Sender(scene.servers, scene.topic)
        sender.send_events(range(100, 105))
        sender.close()
        scene.received(25)
        after = scene.source(intake)
        assert before.topic_id != after.topic_id
        assert {before: 20, after: 5} == scene.ledger.positions
        assert keys_of([*range(20), *range(100, 105)]) == scene.ledger.keys_in_order()


class TestTheGroup:
    """Several intakes share the partitions."""

    def test_partitions_move_and_no_event_is_lost_or_counted_twice(self, scenes: Any) -> None:
        scene = scenes(partitions=4, intake_batch_events=10, intake_buffered_events=40)
        first = scene.start()
        for number in range(4):
            scene.sender.send_events(range(number * 500, number * 500 + 250), partition=number)
        scene.received(300)
        second = scene.start()
        for number in range(4):
            scene.sender.send_events(
                range(number * 500 + 250, number * 500 + 500), partition=number
            )
        scene.received(2000)
        wait_until(lambda: _numbers(first) == 2 and _numbers(second) == 2, first.status)
        first.stop()
        scene.sender.send_events(range(2000, 2100), partition=3)
        scene.received(2100)
        assert (2100, 2100, 0, 0) == scene.ledger.total()
        by_partition: dict[int, list[int]] = {}
        for source, offset, _ in scene.ledger.taken:
            by_partition.setdefault(source.partition, []).append(offset)
        assert {0: 500, 1: 500, 2: 500, 3: 600} == {
            number: len(offsets) for number, offsets in by_partition.items()
        }
        assert all(offsets == sorted(offsets) for offsets in by_partition.values())

    def test_partitions_that_are_added_are_read(self, scenes: Any) -> None:
        """By two of them: the one that shares the partitions out must take its own up, too."""
        scene = scenes(partitions=2)
        first, second = scene.start(), scene.start()
        wait_until(lambda: _numbers(first) == 1 and _numbers(second) == 1, first.status)
        scene.sender.send_events(range(5))
        scene.received(5)
        scene.administrate(lambda admin: admin.create_partitions({scene.topic: NewPartitions(6)}))
        sender = Sender(scene.servers, scene.topic)
        for number in range(6):
            sender.send_events([5 + number], partition=number)
        sender.close()
        scene.received(11)
        assert sorted(keys_of(range(11))) == sorted(scene.ledger.keys_in_order())
        wait_until(lambda: _numbers(first) == 3 and _numbers(second) == 3, first.status)


def _numbers(intake: Intake) -> int:
    return len(intake.status().partitions)


def _member(intake: Intake) -> list[int]:
    """Which partitions it holds, by the identity of what holds them."""
    return [id(partition) for partition in intake._partitions.values()]


def _failures(intake: Intake) -> int:
    return max((partition.failures for partition in intake._partitions.values()), default=0)
