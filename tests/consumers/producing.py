"""Events for the bus, and a way to wait for what comes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from kafka import KafkaProducer

from consumers._hardening import DIRECT
from tests.consumers.encodings import Event, Told, binary_protobuf
from tests.oracle.events import named_uuid

WAIT_SECONDS_MAX = 60
PAYER = f"team:{named_uuid('payer')}"


def stop_event(number: int, *, payer: str = PAYER, source: str = "/test") -> Event:
    """Give the event of a made-up instance that stopped; each number is another one."""
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": source,
        "type": "usage.workspace_instance.stopped.v1",
        "datacontenttype": "application/json",
        "data": {
            "workspaceInstanceId": named_uuid("instance", str(number)),
            "attributionId": payer,
            "stoppedTime": "2026-11-01T08:00:00Z",
        },
    }


def keys_of(numbers: Iterable[int]) -> list[bytes]:
    """Give how the inbox knows the events of these numbers."""
    return [b"tevent-%d" % number for number in numbers]


class Sender:
    """Sends messages to one topic and waits until they are acknowledged."""

    def __init__(self, bootstrap_servers: str, topic: str, **options: object) -> None:
        self._topic = topic
        self.producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            acks="all",
            linger_ms=2,
            proxy_url=DIRECT,
            **options,
        )

    def send(self, told: Sequence[Told], *, partition: int | None = None) -> None:
        sent = [
            self.producer.send(
                self._topic,
                one.value,
                key=PAYER.encode(),
                headers=[(name, value or b"") for name, value in one.headers],
                partition=partition,
            )
            for one in told
        ]
        self.producer.flush()
        for future in sent:
            future.get(timeout=WAIT_SECONDS_MAX)

    def send_events(self, numbers: Iterable[int], *, partition: int | None = None) -> None:
        self.send([binary_protobuf(stop_event(number)) for number in numbers], partition=partition)

    def close(self) -> None:
        self.producer.close()


def wait_until(what: Callable[[], bool], why: Callable[[], object] = lambda: "") -> None:
    """Wait for something that happens elsewhere; fail when it does not."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)
