"""The Faust app of live meters and alerts on `ledger.events`.

At least once, with positions: offsets are committed behind what was written, and every value of the
table carries the last position applied, so what is read again changes nothing. An alert is on its
topic before the state that remembers it is anywhere: were it the other way round, a worker killed
in between would never send it.

Bytes are decoded here and not by a codec of Faust's: what a codec cannot decode, Faust logs and
acknowledges. Nor is Faust trusted to hand over every message: around a recovery it may drop what it
has read. The table keeps the next offset of each partition beside the states, and whatever is
missing is sought again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import faust
from faust.streams import _current_event
from faust.transport.drivers import aiokafka
from faust.types import TP, EventT

from consumers.connecting import client_options, compression_of
from consumers.live_messages import (
    ALERT_ID_HEADER,
    alert_id,
    alert_message,
    key_of,
    meters_message,
)
from consumers.live_states import (
    Changes,
    LiveStates,
    header_of,
    offset_key,
    pack,
    pack_offset,
)
from ledger.settings import KafkaSettings
from projections.live import LIVE_VERSION
from projections.readings import reading_of

TABLE = "meters"
# Messages folded together; packed ones reach the bytes first.
BATCH_MAX = 10_000
BATCH_BYTES = 8 * 1024 * 1024
BUFFERED_MAX = 1_000  # messages that Faust reads ahead of that
GATHER_SECONDS = 0.02  # how long messages are gathered before they are folded
# A key is written once for all its messages in a batch, and to write costs ten times what folding
# does. So when many come, the batch is made larger, and an alert is that much late.
BUSY_MESSAGES = 200
BUSY_SECONDS = 0.5
COMMIT_SECONDS = 1.0
LOOK_SECONDS = 0.5  # how often it is looked whether messages come
MISSED_SECONDS = 3.0  # without any, while there are some, until they are sought again
STALLED_SECONDS = 30.0  # ... and until the worker gives up
# A payer's state takes about 30 bytes for each of its running instances.
VALUE_BYTES_MAX = 16 * 1024 * 1024
# Until then compaction leaves the changelog alone: a worker that hung may write an old value behind
# a newer one, and whoever recovers must still find the newer one.
COMPACTION_LAG_MS = 86_400_000

_RAW: dict[str, Any] = {
    "key_type": bytes,
    "value_type": bytes,
    "key_serializer": "raw",
    "value_serializer": "raw",
}

log = logging.getLogger(__name__)


class Layout(NamedTuple):
    """How the cluster has the topics."""

    partitions: int  # of `ledger.events`; the table's changelog has as many
    replication_factor: int


class StalledError(Exception):
    """Messages that are there do not come, though they were sought; the text says which."""


class Consumer(aiokafka.Consumer):
    """Faust's, which commits nothing that was not acknowledged.

    Faust takes what it did not read for what a transaction left, and acknowledges it itself. Here
    it is what Faust dropped: its offsets would be committed unread, and once it comes after all,
    each twice, after which Faust commits one offset a second. `ledger.events` has no such gaps.
    """

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        pass


class StateTable(faust.Table[bytes, bytes]):
    """A table whose recovery keeps, of two values of a key, the one with the later position."""

    overtaken: set[bytes]  # keys of which an older value was found behind a newer one

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Begin with nothing recovered."""
        super().__init__(*arguments, **options)
        self.overtaken = set()

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Take a stretch of the changelog."""
        kept = []
        newest: dict[bytes, int] = {}
        for event in batch:
            key, value = event.message.key, event.message.value
            assert key is not None, "every value of the table has a key"
            assert value is not None, "nothing is ever taken out of the table"
            position = header_of(value).position
            known = newest.get(key)
            if known is None:
                present = self.data.get(key)
                known = -1 if present is None else header_of(present).position
            if position < known:
                self.overtaken.add(key)
                continue
            newest[key] = position
            kept.append(event)
        super().apply_changelog_batch(kept)


class LiveApp:
    """The app, its table and topics, and what it does with a batch of messages."""

    def __init__(
        self,
        kafka: KafkaSettings,
        layout: Layout,
        *,
        store: str,
        data_dir: Path,
        on_failure: Callable[[BaseException], None],
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Prepare; nothing connects before `app.start()`.

        `store` is `memory` or `rocksdb`, in `data_dir`. `on_failure` hears what must end the
        worker: nothing that failed is acknowledged.
        """
        self._on_failure = on_failure
        self._failpoint = failpoint
        self.folded = 0  # messages
        self._gathered: list[EventT[Any]] = []
        self._gathered_bytes = 0
        self._news, self._full, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._stream: Any = None
        self._is_folding = False
        self._at = -1, -1  # partition and offset of the message that is being folded
        self._offsets: dict[int, int] = {}  # the next of each partition, in this generation
        self._offsets_of: int | None = None  # which generation
        self._sought: dict[int, float] = {}  # when a partition was last sought, by the loop's time
        self._states: LiveStates | None = None
        self._generation: int | None = None
        self.app = _app(kafka, layout, store=store, data_dir=data_dir)
        topics = kafka.topics
        self._events = self.app.topic(topics.ledger_events, **_RAW)
        self._alerts = self.app.topic(topics.alerts, **_RAW)
        self._meters = self.app.topic(topics.meters, **_RAW)
        self.table: Any = self.app.Table(
            TABLE,
            key_type=bytes,
            value_type=bytes,
            partitions=layout.partitions,
            extra_topic_configs={
                "max.message.bytes": str(VALUE_BYTES_MAX),
                "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
            },
        )
        self.app.agent(self._events, name="live-views")(self._follow)

    async def _follow(self, stream: Any) -> None:
        """Gather what is read."""
        # Faust acknowledges a message also when an agent raises. We do it ourselves, when
        # everything that came of the message is written.
        stream.enable_acks = False
        self._stream = stream
        async for event in stream.events():
            self._gathered.append(event)
            self._gathered_bytes += len(event.message.value or b"")
            self._news.set()
            if len(self._gathered) >= BATCH_MAX or self._gathered_bytes >= BATCH_BYTES:
                self._room.clear()
                self._full.set()
                await self._room.wait()

    async def fold_forever(self) -> None:
        """Fold what was gathered, batch after batch, until cancelled or until something fails."""
        try:
            while True:
                await self._news.wait()
                # A rebalance waits for what was read, so nothing is held back for long.
                await asyncio.sleep(GATHER_SECONDS)
                if len(self._gathered) >= BUSY_MESSAGES:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(BUSY_SECONDS):
                            await self._full.wait()
                events, self._gathered, self._gathered_bytes = self._gathered, [], 0
                self._news.clear()
                self._full.clear()
                self._room.set()
                self._is_folding = True
                await self._take(events)
                self._is_folding = False
        except Exception as error:
            log.exception(
                "live views cannot go on at partition %d, offset %d; nothing of this batch is"
                " acknowledged",
                *self._at,
            )
            self._on_failure(error)

    async def _take(self, events: Sequence[EventT[Any]]) -> None:
        generation = self.app.consumer_generation_id
        # What was read before a rebalance may belong to another worker now.
        current = [e for e in events if e.message.generation_id == generation]
        if not current:
            return
        states = await self._states_of(generation)
        current = [event for event in current if await self._is_next(event)]
        changes = states.take(self._messages(current))
        self._failpoint("live-folded")
        await self._publish_alerts(changes)
        self._failpoint("live-alerted")
        await self._write(changes, {e.message.partition: e for e in current})
        self._failpoint("live-written")
        for event in current:
            await self._stream.ack(event)
        self.folded += len(current)

    def _messages(self, events: Iterable[EventT[Any]]) -> Iterator[tuple[int, bytes]]:
        for event in events:
            message = event.message
            self._at = message.partition, message.offset
            yield message.partition, message.value or b""

    # Nothing missing ---------------------------------------------------------------------------

    async def _is_next(self, event: EventT[Any]) -> bool:
        """Say whether no message was left out before this one; if one was, seek it."""
        partition, offset = event.message.partition, event.message.offset
        wanted = await self._offset_of(partition)
        if offset > wanted:
            await self._seek(partition, wanted)
            return False
        self._offsets[partition] = max(wanted, offset + 1)
        return True

    async def _offset_of(self, partition: int) -> int:
        """Give the next offset of a partition.

        At first, what is committed, but not beyond what the table has seen; without either, where
        the partition begins.
        """
        generation = self.app.consumer_generation_id
        if generation != self._offsets_of:
            self._offsets, self._offsets_of = {}, generation
        known = self._offsets.get(partition)
        if known is None:
            place = self._place(partition)
            value = self.table.data.get(offset_key(partition))
            consumer: Any = self.app.consumer
            committed = consumer._committed_offset.get(place)  # noqa: SLF001  # nothing public tells
            if value is None or committed is None:
                known = (await self.app.consumer.earliest_offsets(place))[place]
            else:
                known = min(committed, header_of(value).position)
            self._offsets[partition] = known
        return known

    async def _seek(self, partition: int, offset: int) -> None:
        now = asyncio.get_running_loop().time()
        # What was read behind the gap is still coming; one seek is enough for all of it.
        if now - self._sought.get(partition, -MISSED_SECONDS) < MISSED_SECONDS:
            return
        self._sought[partition] = now
        log.warning("partition %d: what follows offset %d was not handed over", partition, offset)
        await self.app.consumer.seek(self._place(partition), offset)

    def _place(self, partition: int) -> TP:
        return TP(self._events.get_topic_name(), partition)

    async def watch_forever(self) -> None:
        """Seek what Faust has dropped and nothing follows; fail when nothing helps."""
        since: dict[int, tuple[int, float]] = {}  # the offset that is waited for, and since when
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = asyncio.get_running_loop().time()
            if self.app.rebalancing or self._is_folding or self._gathered:
                since.clear()
                continue
            for partition in self._partitions():
                # None until something was fetched.
                end = self.app.consumer.highwater(self._place(partition)) or 0
                wanted = await self._offset_of(partition)
                if wanted >= end:
                    since.pop(partition, None)
                    continue
                offset, begun = since.get(partition, (wanted, now))
                if offset != wanted:
                    offset, begun = wanted, now
                since[partition] = offset, begun
                if now - begun > STALLED_SECONDS:
                    self._on_failure(StalledError(f"offset {offset} of partition {partition}"))
                    return
                if now - begun > MISSED_SECONDS:
                    await self._seek(partition, offset)

    # Writing -----------------------------------------------------------------------------------

    async def _states_of(self, generation: int) -> LiveStates:
        """Look at the table anew after every rebalance: partitions came and went."""
        if self._states is None or generation != self._generation:
            self._states = LiveStates(self.table.data)
            self._generation = generation
            await self._heal()
        return self._states

    async def _heal(self) -> None:
        """Write the newer values again that were found before older ones, so that they stay."""
        mended = [key for key in sorted(self.table.overtaken) if key in self.table.data]
        self.table.overtaken.clear()
        if mended:
            log.warning("%d payers' states were overtaken by older ones: mended", len(mended))
        sent = []
        for key in mended:
            value = self.table.data[key]
            partition = header_of(value).partition
            if partition in self._partitions():
                sent.append(self.table.send_changelog(partition, key, value))
        await asyncio.gather(*sent)

    def _partitions(self) -> set[int]:
        name = self._events.get_topic_name()
        return {tp.partition for tp in self.app.consumer.assignment() if tp.topic == name}

    async def _publish_alerts(self, changes: Changes) -> None:
        sent = [
            await self._alerts.send(
                key=key_of(alert.payer),
                value=alert_message(alert).SerializeToString(),
                headers={ALERT_ID_HEADER: alert_id(alert)},
            )
            for alert in changes.alerts
        ]
        await asyncio.gather(*sent)

    async def _write(self, changes: Changes, contexts: dict[int, EventT[Any]]) -> None:
        """Write states and readings, and wait until the broker has them."""
        sent: list[Any] = []
        for key, (partition, state) in changes.states.items():
            value = pack(state, partition)
            # The store keeps a database for each partition and asks the current event for its own.
            _current_event.set(weakref.ref(contexts[partition]))
            self.table.data[key] = value
            sent.append(self.table.send_changelog(partition, key, value))
            reading = meters_message(reading_of(state)).SerializeToString()
            sent.append(await self._meters.send(key=key, value=reading))
        for partition, event in contexts.items():
            _current_event.set(weakref.ref(event))
            key, offset = offset_key(partition), self._offsets[partition]
            known = self.table.data.get(key)
            if known is not None:  # what comes again has been seen
                offset = max(offset, header_of(known).position)
            self.table.data[key] = value = pack_offset(partition, offset)
            sent.append(self.table.send_changelog(partition, key, value))
        await asyncio.gather(*sent)


def _app(kafka: KafkaSettings, layout: Layout, *, store: str, data_dir: Path) -> faust.App:
    options = client_options(kafka, "faust")
    servers = ";".join(f"kafka://{server}" for server in options["bootstrap_servers"])
    app = faust.App(
        # The version is part of the name: other folds begin at the first event, with a new table.
        f"{kafka.group_id}-live-views-{LIVE_VERSION}",
        broker=servers,
        broker_credentials=_credentials(options),
        store=f"{store}://",
        datadir=data_dir,
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=layout.partitions,
        topic_replication_factor=layout.replication_factor,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=COMMIT_SECONDS,
        broker_session_timeout=kafka.session_timeout / 1000,
        broker_heartbeat_interval=kafka.session_timeout / 5_000,
        producer_max_request_size=VALUE_BYTES_MAX,
        producer_compression_type=compression_of(kafka),
        stream_buffer_maxsize=BUFFERED_MAX,
        Table=StateTable,
        # Their loggers pass what they have to ours.
        logging_config={"version": 1, "disable_existing_loggers": False},
    )
    app.transport.Consumer = Consumer  # type: ignore[misc]  # of this app alone
    return app


def _credentials(options: dict[str, Any]) -> Any:
    """Translate the options of the other clients."""
    context: ssl.SSLContext | None = None
    if options["security_protocol"].endswith("SSL"):
        context = ssl.create_default_context(cafile=options.get("ssl_cafile"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options["ssl_keyfile"])
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)
