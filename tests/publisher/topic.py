"""What is on a topic, read back with another consumer."""

from __future__ import annotations

from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from ledger.arrivals import Arrival
from ledger.messages import read_lines_of_message
from publisher import Publisher
from tests.publisher.samples import SOURCE
from usage.events.v1.packed_pb2 import PackedEvents

READ_SECONDS_MAX = 60


class Read(NamedTuple):
    """One message."""

    partition: int
    offset: int
    key: bytes | None
    headers: dict[str, bytes]
    value: bytes

    @property
    def content_type(self) -> bytes:
        return self.headers["content-type"]

    @property
    def event_ids(self) -> list[str]:
        """Of the events that it holds, in their order."""
        if self.content_type == b"application/x-usage-events+protobuf":
            return [event.id for event in PackedEvents.FromString(self.value).events]
        return [self.headers["ce_id"].decode()]

    def arrivals(self) -> list[Arrival | str]:
        """What the ledger's intake makes of it: events, or why they are rejected."""
        lines = read_lines_of_message(0, self.key, list(self.headers.items()), self.value)
        return [
            line.content if isinstance(line.content, Arrival) else line.reason for line in lines
        ]


class Topic(NamedTuple):
    """A topic, and who publishes to it in a test."""

    bootstrap_servers: str
    name: str

    def publisher(self, **options: Any) -> Publisher:
        return Publisher(self.bootstrap_servers, topic=self.name, **{"source": SOURCE, **options})

    def messages(self) -> list[Read]:
        return read_all(self.bootstrap_servers, self.name)


def read_all(bootstrap_servers: str, topic: str) -> list[Read]:
    """Every message of the topic, partition by partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=READ_SECONDS_MAX * 1000,
    )
    try:
        partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
        ends = {one: end for one, end in consumer.end_offsets(partitions).items() if end}
        if not ends:
            return []
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        found: list[Read] = []
        while any(consumer.position(one) < end for one, end in ends.items()):
            for records in consumer.poll(timeout_ms=1000).values():
                found += [_read(record) for record in records]
    finally:
        consumer.close()
    return sorted(found, key=lambda read: (read.partition, read.offset))


def _read(record: Any) -> Read:
    headers = dict(record.headers)
    assert len(record.headers) == len(headers), "a header is there twice"
    return Read(record.partition, record.offset, record.key, headers, record.value)


def ids_of(messages: list[Read]) -> list[str]:
    return [event_id for message in messages for event_id in message.event_ids]
