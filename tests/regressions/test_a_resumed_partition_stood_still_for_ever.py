"""kafka-python kept to itself what it had read of a partition before it was paused.

It had put those records aside and took them up again only while no other partition was "in line";
one that was read to its end stayed in line. At the end of the topic nothing ever came to replace
it, and the intake stood still with a lag, well and ready by its own account.
"""

from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumers._hardening import harden
from tests.servers.kafka import Topics

RECORDS = 20
POLLS_MAX = 50


@pytest.mark.kafka
def test_records_of_a_paused_partition_come_when_it_is_resumed(topics: Topics) -> None:
    topic = topics.create(partitions=2)
    first, second = (TopicPartition(topic, number) for number in range(2))
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap_servers)
    for number in range(RECORDS):
        for place in (first, second):
            producer.send(topic, partition=place.partition, value=b"%d" % number)
    producer.close()

    consumer = KafkaConsumer(
        bootstrap_servers=topics.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        # Both partitions are in one answer.
        fetch_min_bytes=2 * RECORDS * 60,
        fetch_max_wait_ms=500,
    )
    harden(consumer)
    consumer.assign([first, second])
    seen = {first: 0, second: 0}

    def poll_until(is_so: Callable[[], bool]) -> None:
        for _ in range(POLLS_MAX):
            for place, records in consumer.poll(timeout_ms=200, max_records=5).items():
                seen[place] += len(records)
            if is_so():
                return

    # A few records of one partition; the rest of them waits inside the library.
    poll_until(lambda: any(seen.values()))
    paused, other = (first, second) if seen[first] else (second, first)
    consumer.pause(paused)
    poll_until(lambda: seen[other] == RECORDS)
    consumer.resume(paused)
    poll_until(lambda: seen[paused] == RECORDS)
    consumer.close()
    assert {first: RECORDS, second: RECORDS} == seen
