"""A poll that ended while the group still shared out made kafka-python forget the answer.

The leader of the group then had no partitions and no heartbeat, and nobody heard of it. It happened
at a start whose topic was not known yet when the group was joined, and whenever partitions were
added.
"""

import time
from collections.abc import Callable

import pytest
from kafka import KafkaConsumer

from consumers._group import Assignment
from consumers._hardening import harden
from tests.cluster.processes import wait_until
from tests.servers.kafka import Topics

METADATA_MS = 200


@pytest.mark.kafka
def test_partitions_that_are_added_are_given_to_the_leader(topics: Topics) -> None:
    topic = topics.create(partitions=2)
    consumer = KafkaConsumer(
        bootstrap_servers=topics.bootstrap_servers,
        group_id=topics.name("group"),
        enable_auto_commit=False,
        metadata_max_age_ms=METADATA_MS,
    )
    has: set[int] = set()
    harden(consumer)
    try:
        consumer.subscribe(
            [topic], listener=Assignment(consumer, has.update, has.difference_update)
        )
        poll_until(consumer, lambda: has == {0, 1})
        topics.add_partitions(topic, 5)
        poll_until(consumer, lambda: has == {0, 1, 2, 3, 4})
    finally:
        consumer.close()


def poll_until(consumer: KafkaConsumer, holds: Callable[[], bool]) -> None:
    """Poll as a consumer does that has something else to do: no poll waits for the group."""

    def look() -> bool:
        consumer.poll(timeout_ms=0)
        time.sleep(0.02)
        return holds()

    wait_until(look, what="the partitions")
