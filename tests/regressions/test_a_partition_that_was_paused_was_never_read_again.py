"""Records that kafka-python had put aside for a paused partition were not given out any more.

The intake pauses a partition while its buffer is full. Now and then one of them stood still from
then on: its lag grew, and nothing was in its way.
"""

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumers._hardening import harden
from tests.cluster.processes import wait_until
from tests.servers.kafka import Topics

RECORDS = 50


@pytest.mark.kafka
def test_a_partition_that_goes_on_has_all_its_records(topics: Topics) -> None:
    topic = topics.create(partitions=2)
    paused, other = (TopicPartition(topic, number) for number in range(2))
    with_records(topics, topic, 0)
    consumer = KafkaConsumer(
        bootstrap_servers=topics.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    harden(consumer)
    try:
        consumer.assign([paused, other])
        seen = {paused: 0, other: 0}

        def poll(max_records: int) -> None:
            polled = consumer.poll(timeout_ms=100, max_records=max_records)
            for place, records in polled.items():
                seen[place] += len(records)

        def has(place: TopicPartition, records: int, max_records: int) -> bool:
            poll(max_records)
            return seen[place] == records

        wait_until(lambda: has(paused, 1, 1), what="the first record")
        consumer.pause(paused)
        with_records(topics, topic, 1)
        wait_until(lambda: has(other, RECORDS, 500), what="the records of the other partition")
        consumer.resume(paused)
        wait_until(lambda: has(paused, RECORDS, 500), what="the rest")
    finally:
        consumer.close()


def with_records(topics: Topics, topic: str, partition: int) -> None:
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap_servers, linger_ms=50)
    try:
        for number in range(RECORDS):
            producer.send(topic, value=b"%d" % number, partition=partition)
        producer.flush()
    finally:
        producer.close()
