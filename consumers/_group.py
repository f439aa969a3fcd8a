"""What Kafka's group tells a consumer, and what it answers to committed offsets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition

log = logging.getLogger(__name__)

Numbers = Iterable[int]


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # it has no types
    """Tells which partitions come and go. Runs on the library's thread, so it never waits."""

    def __init__(
        self,
        consumer: KafkaConsumer,
        assigned: Callable[[Numbers], None],
        lost: Callable[[Numbers], None],
    ) -> None:
        """Tell two functions, by the numbers of the partitions."""
        self._consumer = consumer
        self._assigned = assigned
        self._lost = lost

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Hold the partitions until they are sent to their stored positions."""
        for place in assigned:
            # Any position will do: a partition that is paused is not read.
            self._consumer.seek(place, 0)
            self._consumer.pause(place)
        numbers = sorted(place.partition for place in assigned)
        log.info("intake has partitions %s", numbers)
        self._assigned(numbers)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let the partitions go, whether or not the group still waits for it."""
        self._lost([place.partition for place in revoked])


def note_commit(offsets: object, outcome: object) -> None:
    """Note that a hint did not arrive; nobody relies on it."""
    if isinstance(outcome, Exception):
        log.info("offsets %s were not committed to Kafka: %s", offsets, outcome)
