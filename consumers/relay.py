"""The relay: what was recorded, and what was rejected, from the ledger to Kafka.

At least once: a position moves after the broker has acknowledged, so a crash in between repeats
messages with the positions they had, and a reader drops them by position, key by key.

Order holds for each key. Events of one payer in a batch go into one message, or into several that
wait for each other; facts for everybody are barriers: what came before is acknowledged first, then
the fact goes to every partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from consumers.connecting import BusUnavailableError, client_options, compression_of
from consumers.live_messages import correction_message, key_of
from consumers.recorded_events import message_of
from ledger.live_folding import corrections_in
from ledger.messages import unpack_stored
from ledger.queries import Queries
from ledger.settings import KafkaSettings
from ledger.shards import Shard
from ledger.tails import Tail
from ledger.views import DeadLetter, Recorded
from projections.corrections import Correction
from usage_ledger.v1.ledger_events_pb2 import RecordedEvent, RecordedEvents

NAME = "relay"
LETTERS_NAME = "dead-letters"
FORMAT_VERSION = 1
CONTENT_TYPE = b"application/protobuf"
EVENTS_MAX = 500  # of one message: what a reader takes in at once
MESSAGE_BYTES = 512 * 1024  # an event has at most 256 KiB, and brokers take a megabyte
ACKNOWLEDGED_SECONDS = 30.0  # a broker that takes longer is taken for gone, and all is sent again
LETTERS_MAX = 200  # dead letters at once: each may have 256 KiB
LETTERS_SECONDS = 1.0  # between two looks for new ones

Header = tuple[str, bytes]


class Outlet:
    """A producer that keeps the order, made anew after each failure."""

    def __init__(self, kafka: KafkaSettings, purpose: str) -> None:
        """Connect when something is to be sent; StartRefusedError for settings that cannot work."""
        self._options = {
            **client_options(kafka, purpose),
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 5,
            "max_request_size": 2 * MESSAGE_BYTES,
            "delivery_timeout_ms": round(ACKNOWLEDGED_SECONDS * 1_000),
            "compression_type": compression_of(kafka),
        }
        self._producer: KafkaProducer | None = None
        self._sent: list[Any] = []

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header],
        partition: int | None = None,
    ) -> None:
        """Hand a message to the producer."""
        self._sent.append(
            self._connected().send(
                topic, key=key, value=value, headers=list(headers), partition=partition
            )
        )

    def partitions_of(self, topic: str) -> list[int]:
        """Give the numbers of a topic's partitions."""
        found = self._connected().partitions_for(topic)
        if not found:
            raise BusUnavailableError(f"topic {topic} is not there: `usage-ledger topics create`")
        return sorted(found)

    def settle(self) -> None:
        """Return once everything that was sent is acknowledged."""
        sent, self._sent = self._sent, []
        if not sent:
            return
        self._connected().flush(timeout=ACKNOWLEDGED_SECONDS)
        for future in sent:
            future.get(timeout=0)

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = KafkaProducer(**self._options)
        return self._producer

    def give_up(self) -> None:
        """Forget what was sent; the next message goes out in a new session."""
        producer, self._producer, self._sent = self._producer, None, []
        if producer is not None:
            producer.close(timeout=0)


class LedgerEventsSink:
    """Sends batches of one shard's log to `ledger.events`."""

    def __init__(self, kafka: KafkaSettings, shard: Shard) -> None:
        """Prepare; the broker is asked when the first batch comes."""
        self._topic = kafka.topics.ledger_events
        self._outlet = Outlet(kafka, f"relay-{shard.number}")
        self._shard = shard

    async def deliver(self, shard: int, events: Sequence[Recorded]) -> None:
        """Return once the batch is acknowledged; BusUnavailableError, and all may come again."""
        corrections = await self._corrections(events)
        await asyncio.to_thread(self._deliver, shard, events, corrections)

    async def _corrections(self, events: Sequence[Recorded]) -> Mapping[int, Correction]:
        def ask(queries: Queries) -> dict[int, Correction]:
            return corrections_in(events, queries.reader.streams)

        return await self._shard.read(ask)

    def _deliver(
        self, shard: int, events: Sequence[Recorded], corrections: Mapping[int, Correction]
    ) -> None:
        try:
            for run in runs_of(events):
                payer = getattr(run[0].event, "payer", None)
                if payer is None:
                    self._send_to_everybody(run[0], shard)
                else:
                    self._send_by_key(run, shard, corrections)
                self._outlet.settle()
        except KafkaError as error:
            self._outlet.give_up()
            raise BusUnavailableError(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self._outlet.give_up()
            raise

    def _send_by_key(
        self, run: Sequence[Recorded], shard: int, corrections: Mapping[int, Correction]
    ) -> None:
        by_payer: dict[bytes, list[RecordedEvent]] = {}
        for recorded in run:
            message = message_of(recorded, shard)
            correction = corrections.get(recorded.position)
            if correction is not None:
                message.correction.CopyFrom(correction_message(correction))
            payer: bytes = recorded.event.payer  # type: ignore[attr-defined]  # `runs_of` saw it
            by_payer.setdefault(payer, []).append(message)
        waves = zip_longest(
            *[
                [(payer, part) for part in parts_of(messages)]
                for payer, messages in by_payer.items()
            ]
        )
        for wave in waves:
            # Of one key only one message is on its way at a time. Were there two, the second might
            # arrive and the first not; when both come again, a reader would drop the first by the
            # position of the second.
            self._outlet.settle()
            for told in wave:
                if told is not None:
                    payer, part = told
                    self._send(key_of(payer), part, shard)

    def _send_to_everybody(self, recorded: Recorded, shard: int) -> None:
        message = message_of(recorded, shard)
        for partition in self._outlet.partitions_of(self._topic):
            self._send(b"", [message], shard, partition)

    def _send(
        self,
        key: bytes,
        messages: Sequence[RecordedEvent],
        shard: int,
        partition: int | None = None,
    ) -> None:
        self._outlet.send(
            self._topic,
            key=key,
            value=RecordedEvents(events=messages).SerializeToString(),
            headers=headers_of(messages, shard),
            partition=partition,
        )

    async def close(self) -> None:
        """Close the connection."""
        await asyncio.to_thread(self._outlet.give_up)


def runs_of(events: Sequence[Recorded]) -> Iterable[Sequence[Recorded]]:
    """Cut a batch before and after each fact for everybody."""
    start = 0
    for index, recorded in enumerate(events):
        if getattr(recorded.event, "payer", None) is None:
            if index > start:
                yield events[start:index]
            yield events[index : index + 1]
            start = index + 1
    if start < len(events):
        yield events[start:]


def parts_of(messages: Sequence[RecordedEvent]) -> Iterable[Sequence[RecordedEvent]]:
    """Cut the events of one payer so that a message stays small enough for reader and broker."""
    part: list[RecordedEvent] = []
    size = 0
    for message in messages:
        added = message.ByteSize()
        if part and (len(part) >= EVENTS_MAX or size + added > MESSAGE_BYTES):
            yield part
            part, size = [], 0
        part.append(message)
        size += added
    if part:
        yield part


def headers_of(messages: Sequence[RecordedEvent], shard: int) -> list[Header]:
    """Tell what a message holds to those who look at headers only."""
    first, last = messages[0], messages[-1]
    topic = first.topic if len(messages) == 1 else "packed"
    return [
        ("content-type", CONTENT_TYPE),
        ("ledger-shard", b"%d" % shard),
        ("ledger-first-position", b"%d" % first.position.number),
        ("ledger-position", b"%d" % last.position.number),
        ("ledger-topic", topic.encode()),
        ("ledger-version", b"%d" % FORMAT_VERSION),
    ]


class RelayTail(Tail):
    """Follows a shard's log to `ledger.events`."""

    def __init__(self, kafka: KafkaSettings, shard: Shard) -> None:
        """Prepare to follow."""
        self._sink = LedgerEventsSink(kafka, shard)
        super().__init__(shard, NAME, self._sink.deliver)

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            await super().run()
        finally:
            await self._sink.close()


class DeadLetterTail(Tail):
    """Follows a shard's dead letters, by their numbers, to their topic."""

    def __init__(self, kafka: KafkaSettings, shard: Shard) -> None:
        """Prepare to follow."""
        self._topic = kafka.topics.dead_letters
        self._outlet = Outlet(kafka, f"dead-letters-{shard.number}")
        super().__init__(shard, LETTERS_NAME)

    @property
    def lag(self) -> int:
        """Nobody counts them ahead of time."""
        return 0

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            await super().run()
        finally:
            await asyncio.to_thread(self._outlet.give_up)

    async def _listen(self) -> None:
        await asyncio.sleep(LETTERS_SECONDS)

    async def step(self) -> int:
        """Send the next letters and move the position; give how many."""
        after = await self.find_position()
        letters = await self.shard.beside(lambda t: t.dead_letters_after(after, LETTERS_MAX))
        if not letters:
            return 0
        await asyncio.to_thread(self._send, letters)
        self.shard.core.failpoint("after-deliver")
        await self.move(after, letters[-1][0].id)
        return len(letters)

    def _send(self, letters: Sequence[tuple[DeadLetter, str]]) -> None:
        try:
            for letter, delivery in letters:
                key, headers, value = message_of_letter(letter)
                told = [
                    ("dead-letter-id", b"%d" % letter.id),
                    ("dead-letter-shard", b"%d" % self.shard.number),
                    ("dead-letter-reason", letter.reason.encode()),
                    ("dead-letter-delivery", delivery.encode()),
                    ("dead-letter-line", b"%d" % letter.line),
                    ("dead-letter-kind", letter.kind.encode()),
                ]
                self._outlet.send(self._topic, key=key, value=value, headers=[*headers, *told])
            self._outlet.settle()
        except KafkaError as error:
            self._outlet.give_up()
            raise BusUnavailableError(f"{type(error).__name__}: {error}") from error


def message_of_letter(
    letter: DeadLetter,
) -> tuple[bytes | None, list[Header], bytes | None]:
    """Give key, headers and value of a rejected message, as they came; of others their bytes."""
    if letter.kind != "message":
        return None, [], letter.original
    stored = unpack_stored(letter.original)
    return stored.key, [(name, value or b"") for name, value in stored.headers], stored.value
