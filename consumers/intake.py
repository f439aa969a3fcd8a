"""Intake: usage events from the bus into the ledger, each exactly once.

One thread owns Kafka's consumer: it polls, reads records into lines and keeps its place in the
group, whatever the store does. A few threads store what was read, a batch of one partition at a
time. Where a partition goes on is decided by the position that the ledger stores with the events;
the offsets that are committed to Kafka afterwards are a hint for people and tools.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError, OffsetOutOfRangeError

from consumers._group import Assignment, note_commit
from consumers._hardening import harden, is_rejoining
from consumers.connecting import client_options, worded
from consumers.partitions import HINT, Partition, PartitionFeed, PartitionStatus, Stage
from consumers.storing import FeedOf, Storing
from consumers.watching import TopicWatch
from ledger.feeds import Message
from ledger.messages import read_lines_of_message
from ledger.settings import KafkaSettings

POLL_MS = 100  # how long a poll waits for records; what was stored meanwhile makes room after it
REJOIN_MS = 1_000  # ... and while the group is shared out anew; the storing threads go on
# A broker gathers so many bytes or waits so long before it answers: an answer for each event would
# cost more than the event.
FETCH_BYTES_MIN = 65_536
FETCH_WAIT_MS = 50
RECORDS_MAX = 2_000  # of one poll; each may be packed
METADATA_MS = 10_000  # how often the consumer looks for new partitions
COMMIT_SECONDS = 1.0  # how often Kafka is told how far we are
CLOSE_MS = 5_000
TROUBLE_SECONDS = 1.0  # before a consumer that failed is made anew
SAID_AGAIN_SECONDS = 30.0

log = logging.getLogger(__name__)


class IntakeStatus(NamedTuple):
    """The intake as health and metrics show it."""

    topic: str
    waiting: str  # what all of it waits for; empty while it goes on
    partitions: list[PartitionStatus]


class _TopicMadeAnew(Exception):
    """The topic of this name is no longer the one that was read."""


class Intake:
    """Takes in the partitions that the group assigns to this process."""

    name = "intake"
    is_needed = True

    def __init__(
        self,
        kafka: KafkaSettings,
        feed_of: FeedOf,
        *,
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Prepare; `start` connects. StartRefusedError when the settings name no servers."""
        self._kafka = kafka
        self._topic = kafka.topics.usage_events
        self._options = {
            **client_options(kafka, "intake"),
            "group_id": kafka.group_id,
            "enable_auto_commit": False,
            # Every partition is sent to its stored position; the library must never choose one.
            "auto_offset_reset": "none",
            # Every n-th partition to each, as payers are spread over shards: where the numbers
            # divide, processes do not wait for one another's shards.
            "partition_assignment_strategy": (RoundRobinPartitionAssignor, RangePartitionAssignor),
            # What a producer has taken back was never published.
            "isolation_level": "read_committed",
            "allow_auto_create_topics": False,
            "session_timeout_ms": kafka.session_timeout,
            "heartbeat_interval_ms": max(kafka.session_timeout // 15, 1),
            "metadata_max_age_ms": METADATA_MS,
            "fetch_min_bytes": FETCH_BYTES_MIN,
            "metrics_enabled": False,  # our own are enough
            "fetch_max_wait_ms": FETCH_WAIT_MS,
        }
        self._failpoint = failpoint
        self._changed = threading.Condition()
        self._watch = TopicWatch(kafka, self._topic, self._looked)
        self._partitions: dict[int, Partition] = {}
        self._storing = Storing(
            kafka, feed_of, self._partitions, self._changed, self._watch, failpoint
        )
        self._stopping = threading.Event()
        self._trouble = ""
        self._said = 0.0
        self._committed: dict[int, int] = {}
        self._committed_at = 0.0
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    # Life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take events in."""
        self._watch.start()
        self._storing.start()
        self._thread.start()

    def stop(self) -> None:
        """Finish the batches that are being stored, and leave the group."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._storing.stop()
        self._watch.stop()

    def status(self) -> IntakeStatus:
        """Tell how it stands; from any thread."""
        with self._changed:
            partitions = [self._partitions[number].status() for number in sorted(self._partitions)]
        return IntakeStatus(self._topic, self._watch.trouble or self._trouble, partitions)

    # How it is, for health ---------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Tell whether its threads run."""
        return self._thread.is_alive() and self._storing.alive

    @property
    def ready(self) -> bool:
        """Tell whether nothing is in its way."""
        return not self.reason

    @property
    def reason(self) -> str:
        """Say what it waits for."""
        status = self.status()
        if status.waiting:
            return status.waiting
        waits = [one for one in status.partitions if one.waiting]
        return "; ".join(f"partition {one.partition}: {one.waiting}" for one in waits)

    @property
    def lag(self) -> int | None:
        """Count the messages that are not taken yet; None before anything is known."""
        lags = [one.lag for one in self.status().partitions if one.lag is not None]
        return sum(lags) if lags else None

    # The consumer's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._consume_until_trouble()
            except _TopicMadeAnew as anew:
                log.warning(
                    "topic %s was made anew, %s: it is read as another one", self._topic, anew
                )
                continue
            except (KafkaError, OSError) as error:
                self._say(f"Kafka: {worded(error)}")
            except Exception as error:
                log.exception("the intake failed; its consumer is made anew")
                self._say(f"a mistake of its own, see the log: {type(error).__name__}: {error}")
            self._stopping.wait(TROUBLE_SECONDS)

    def _looked(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _say(self, trouble: str) -> None:
        now = time.monotonic()
        if trouble != self._trouble or now - self._said > SAID_AGAIN_SECONDS:
            log.error("intake waits: %s", trouble)
            self._said = now
        self._trouble = trouble

    def _consume_until_trouble(self) -> None:
        state = self._watch.state
        if self._watch.trouble or state is None:
            return  # a new consumer would find nothing, either
        identity = state.cluster, state.topic_id
        consumer = KafkaConsumer(**self._options)
        try:
            harden(consumer)
            assignment = Assignment(consumer, self.assigned, self.lost)
            consumer.subscribe([self._topic], listener=assignment)
            # Asked before it joins: a member that knows of no partition assigns none.
            consumer.topics()
            while not self._stopping.is_set():
                self._look_at_topic(identity)
                self._step(consumer)
                self._trouble = ""
            self._storing.stop()
            self._commit(consumer, in_the_end=True)
        finally:
            consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
            self.lost(list(self._partitions))

    def _step(self, consumer: KafkaConsumer) -> None:
        self._move(consumer)
        with self._changed:
            seen = {
                number: (partition, partition.generation)
                for number, partition in self._partitions.items()
            }
            room = self._room()
            is_reading = any(
                partition.raw and partition.buffered < room
                for partition in self._partitions.values()
            )
        timeout_ms = 0 if is_reading else POLL_MS
        if is_rejoining(consumer):
            timeout_ms = REJOIN_MS
        try:
            polled = consumer.poll(timeout_ms=timeout_ms, max_records=RECORDS_MAX)
        except OffsetOutOfRangeError as error:
            self._out_of_range(error)
            return
        if polled:
            self._failpoint("intake-polled")
        self._keep(consumer, polled, seen)
        self._read_ahead()
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self._committed_at = time.monotonic()
            self._pass_marks(consumer)
            self._commit(consumer)

    def _pass_marks(self, consumer: KafkaConsumer) -> None:
        """Note how far the consumer has come over what is no message: marks of transactions.

        Without the lock, which the library's thread may wait for while this waits for it.
        """
        for place in consumer.assignment():
            partition = self._partitions.get(place.partition)
            if partition is None or partition.is_paused or partition.raw:
                continue
            position = consumer.position(place, timeout_ms=0)
            with self._changed:
                if partition.stage is Stage.RUNNING and partition.read_to is not None and position:
                    partition.read_to = max(partition.read_to, position)

    def _look_at_topic(self, identity: tuple[str, str]) -> None:
        """Note where the log ends; give up the consumer when the topic is another one now."""
        state = self._watch.state
        if state is None:
            return
        if identity != (state.cluster, state.topic_id):
            # The library may keep what it knew of the old topic, and the group its assignment.
            raise _TopicMadeAnew(f"{state.topic_id} in place of {identity[1]}")
        with self._changed:
            for partition in self._partitions.values():
                known = state.partitions.get(partition.number)
                if known is not None and partition.stage is not Stage.ASSIGNED:
                    partition.log_end = max(known.end, partition.log_end or 0)

    def _out_of_range(self, error: OffsetOutOfRangeError) -> None:
        """Ask anew where to go on: the log was cut at its beginning, or is another one now."""
        with self._changed:
            for topic_partition in error.args[0]:
                partition = self._partitions.get(topic_partition.partition)
                if partition is not None:
                    partition.reset(time.monotonic(), "its offset is not in the log any more")
            self._changed.notify_all()
        self._watch.look_now()

    def _move(self, consumer: KafkaConsumer) -> None:
        """Send partitions to where they begin, and read ahead no more than there is room for."""
        with self._changed:
            room = self._room()
            for partition in self._partitions.values():
                place = TopicPartition(self._topic, partition.number)
                try:
                    self._move_one(consumer, place, partition, room)
                except (KafkaError, ValueError, KeyError, AssertionError):
                    log.debug("%s was given away meanwhile", place)

    def _room(self) -> int:
        """Give how many events of one partition may be read ahead; the lock is held."""
        share = self._kafka.intake_buffered_events // max(len(self._partitions), 1)
        # One batch is being stored while the next one is read.
        return max(share, 2 * self._kafka.intake_batch_events)

    @staticmethod
    def _move_one(
        consumer: KafkaConsumer, place: TopicPartition, partition: Partition, room: int
    ) -> None:
        if partition.stage is Stage.LOCATED:
            assert partition.read_to is not None
            consumer.seek(place, partition.read_to)
            consumer.resume(place)
            partition.is_paused = False
            partition.stage = Stage.RUNNING
            return
        is_full = partition.buffered >= room or bool(partition.raw)
        has_room = partition.buffered < room // 2 and not partition.raw
        if partition.stage is not Stage.RUNNING:
            is_full, has_room = True, False
        if is_full and not partition.is_paused:
            consumer.pause(place)
            partition.is_paused = True
        elif has_room and partition.is_paused:
            consumer.resume(place)
            partition.is_paused = False

    def _keep(
        self,
        consumer: KafkaConsumer,
        polled: Mapping[TopicPartition, Sequence[Any]],
        seen: Mapping[int, tuple[Partition, int]],
    ) -> None:
        """Keep records of partitions that are still where they were before the poll."""
        with self._changed:
            for place, records in polled.items():
                partition = self._partitions.get(place.partition)
                if partition is None or seen.get(place.partition) != (
                    partition,
                    partition.generation,
                ):
                    continue
                partition.raw.extend(records)
                partition.read_to = records[-1].offset + 1
                end = consumer.highwater(place)
                if end is not None:
                    partition.log_end = end

    def _read_ahead(self) -> None:
        """Read records into lines, partition by partition, while there is room."""
        with self._changed:
            waiting = [one for one in self._partitions.values() if one.raw]
            room = self._room()
        for partition in waiting:
            generation = partition.generation
            messages: list[Message] = []
            events = partition.buffered
            # The storing threads may empty it meanwhile; then there is nothing to read.
            while partition.raw and events < room:
                try:
                    record = partition.raw.popleft()
                except IndexError:
                    break
                lines = read_lines_of_message(
                    record.offset, record.key, record.headers, record.value
                )
                messages.append(Message(record.offset, lines))
                events += len(lines)
            with self._changed:
                if partition.generation == generation:
                    for message in messages:
                        partition.add(message)
                    self._changed.notify_all()
            self._failpoint("intake-read")

    def _commit(self, consumer: KafkaConsumer, *, in_the_end: bool = False) -> None:
        """Tell Kafka how far we are. Nobody relies on it, so a failure is only noted."""
        with self._changed:
            positions = {
                number: partition.position
                for number, partition in self._partitions.items()
                if partition.position is not None
                and partition.position != self._committed.get(number)
            }
        if not positions:
            return
        self._committed.update(positions)
        offsets = {
            TopicPartition(self._topic, number): OffsetAndMetadata(position, HINT, -1)
            for number, position in positions.items()
        }
        try:
            if in_the_end:
                consumer.commit(offsets, timeout_ms=CLOSE_MS)
            else:
                consumer.commit_async(offsets, callback=note_commit)
        except KafkaError as error:
            log.info("offsets were not committed to Kafka: %s", error)
        self._failpoint("intake-committed")

    # Assignment, on the library's own thread ---------------------------------------------------

    def assigned(self, numbers: Iterable[int]) -> None:
        """Take partitions over; each waits, paused, until its position is known."""
        now = time.monotonic()
        with self._changed:
            for number in numbers:
                self._partitions[number] = Partition(number, now)
                self._committed.pop(number, None)
            self._changed.notify_all()
        self._watch.look_now()

    def lost(self, numbers: Iterable[int]) -> None:
        """Drop what was read ahead of partitions; a batch that is being stored may still be."""
        with self._changed:
            for number in numbers:
                partition = self._partitions.pop(number, None)
                if partition is not None:
                    partition.reset(time.monotonic(), "given away")
            self._changed.notify_all()


__all__ = ["Intake", "IntakeStatus", "PartitionFeed"]
