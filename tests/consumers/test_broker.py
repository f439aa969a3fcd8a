"""The broker that the tests start does what fault tests ask of it."""

from __future__ import annotations

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.servers.kafka import LocalBroker, Topics

pytestmark = pytest.mark.kafka


def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    try:
        for value in values:
            producer.send(topic, value)
        producer.flush()
    finally:
        producer.close()


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        values: list[bytes] = []
        while len(values) < count:
            for records in consumer.poll(timeout_ms=1_000).values():
                values += [record.value for record in records]
        return values
    finally:
        consumer.close()


class TestTheBrokerOfTheTests:
    """`tests.servers.kafka`."""

    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_keeps_what_it_acknowledged(self, own_broker: LocalBroker, how: str) -> None:
        """Ended in order or killed, and started again on the same port."""
        topic = Topics(own_broker.bootstrap_servers).create()
        produce(own_broker.bootstrap_servers, topic, [b"one"])
        getattr(own_broker, how)()
        own_broker.start()
        produce(own_broker.bootstrap_servers, topic, [b"two"])
        assert [b"one", b"two"] == consume(own_broker.bootstrap_servers, topic, 2)

    def test_gives_every_test_topics_of_its_own(self, topics: Topics) -> None:
        """Two of one word differ."""
        assert topics.create("usage") != topics.create("usage")
