"""Meters and alerts of a cluster, read from their topics into the memory of a process that serves.

Both topics are read from their beginning at the start, and followed from then on. Until the end is
reached for the first time, calls are told to try again.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumers.connecting import client_options
from consumers.live_messages import alert_of_message, reading_of_message
from ledger.errors import UnavailableError
from ledger.health import Part
from ledger.live_views import Alert, AlertPlace, Reading, place_of
from ledger.settings import KafkaSettings
from usage_ledger.v1.live_views_pb2 import PayerMeters, SpendingAlert

PAYERS_MAX = 500_000  # readings kept, about a kilobyte each
ALERTS_MAX = 100_000  # the newest ones
POLL_MS = 500
TROUBLE_SECONDS = 1.0  # between two tries to reach the broker
PARTITIONS_SECONDS = 30.0  # how often somebody may have added partitions

log = logging.getLogger(__name__)


class BusViews:
    """Implements `LiveViews` on what a Faust worker publishes."""

    def __init__(self, kafka: KafkaSettings) -> None:
        """Connect with `run`."""
        self._options = client_options(kafka, "live-views")
        self._meters_topic = kafka.topics.meters
        self._alerts_topic = kafka.topics.alerts
        self.probe = Part("live-views", is_needed=False)
        self._lock = threading.Lock()
        self._readings: dict[bytes, bytes] = {}  # as they came: few of them are asked for
        self._positions: dict[bytes, int] = {}
        self._payers: list[bytes] = []  # sorted
        self._alerts: list[tuple[AlertPlace, Alert]] = []  # sorted
        self._alert_ids: set[tuple[bytes, int, int]] = set()
        self._applied: dict[int, int] = {}
        self._offsets: dict[TopicPartition, int] = {}  # the next of each
        self._waits = "they have not been read yet"
        self._is_complete = False
        self._stopping = threading.Event()

    async def run(self) -> None:
        """Follow until cancelled, on a thread."""
        thread = threading.Thread(target=self._follow, name="live-views", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._stopping.set()
            await asyncio.to_thread(thread.join)

    # Answers -----------------------------------------------------------------------------------

    async def meters(self, payer: bytes | None, *, after: bytes, limit: int) -> list[Reading]:
        """Give readings by payer, of one payer or of all behind `after`."""
        self._refuse_if_incomplete()
        with self._lock:
            if payer is not None:
                found = [payer] if payer in self._readings else []
            else:
                start = bisect.bisect_right(self._payers, after)
                found = self._payers[start : start + limit]
            values = [self._readings[each] for each in found]
        return [reading_of_message(PayerMeters.FromString(value)) for value in values]

    async def alerts(
        self, payer: bytes | None, *, before: AlertPlace | None, limit: int
    ) -> list[Alert]:
        """Give alerts, newest first, of one payer or of all; from a place on, if one is given."""
        self._refuse_if_incomplete()
        found: list[Alert] = []
        with self._lock:
            end = len(self._alerts)
            if before is not None:
                end = bisect.bisect_left(self._alerts, before, key=lambda each: each[0])
            while end and len(found) < limit:
                end -= 1
                alert = self._alerts[end][1]
                if payer is None or alert.payer == payer:
                    found.append(alert)
        return found

    async def applied(self) -> dict[int, int]:
        """Give the newest position of each shard that is in any of them."""
        self._refuse_if_incomplete()
        with self._lock:
            return dict(self._applied)

    def _refuse_if_incomplete(self) -> None:
        if not self._is_complete:
            raise UnavailableError(f"live views are not there: {self._waits}; try again")

    # Following ---------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow_once()
            except (KafkaError, OSError, UnavailableError) as error:
                self._wait_for(f"{type(error).__name__}: {error}")
            except Exception as error:
                log.exception("following the live views failed; trying again")
                self._wait_for(f"{type(error).__name__}: {error}")
            self._stopping.wait(TROUBLE_SECONDS)

    def _wait_for(self, what: str) -> None:
        if what != self._waits:
            log.error("live views wait: %s", what)
        self._waits = what
        self.probe.waits(what)

    def _follow_once(self) -> None:
        consumer = KafkaConsumer(**self._options, group_id=None, enable_auto_commit=False)
        try:
            places = self._assign(consumer)
            looked = time.monotonic()
            while not self._stopping.is_set():
                polled = consumer.poll(timeout_ms=POLL_MS)
                for place, records in polled.items():
                    self._take(place, records)
                if not polled or not self._is_complete:
                    self._look_for_the_end(consumer, places)
                if time.monotonic() - looked > PARTITIONS_SECONDS:
                    looked = time.monotonic()
                    if self._partitions(consumer) != places:
                        return  # and begin again with all of them
        finally:
            consumer.close()

    def _assign(self, consumer: Any) -> list[TopicPartition]:
        places = self._partitions(consumer)
        consumer.assign(places)
        for place in places:
            offset = self._offsets.get(place)
            if offset is None:
                consumer.seek_to_beginning(place)
            else:
                consumer.seek(place, offset)
        return places

    def _partitions(self, consumer: Any) -> list[TopicPartition]:
        places: list[TopicPartition] = []
        for topic in (self._meters_topic, self._alerts_topic):
            numbers = consumer.partitions_for_topic(topic)
            if not numbers:
                raise UnavailableError(
                    f"topic {topic!r} is not there: `usage-ledger topics create` makes it"
                )
            places += [TopicPartition(topic, number) for number in sorted(numbers)]
        return places

    def _look_for_the_end(self, consumer: Any, places: list[TopicPartition]) -> None:
        ends = consumer.end_offsets(places)
        missing = sum(max(ends[place] - consumer.position(place), 0) for place in places)
        if missing and not self._is_complete:
            self._waits = f"{missing} messages of their topics are yet to be read"
            return
        self._is_complete = True
        self.probe.is_well(lag=missing)

    def _take(self, place: TopicPartition, records: list[Any]) -> None:
        take: Callable[[bytes | None], None] = (
            self._take_reading if place.topic == self._meters_topic else self._take_alert
        )
        with self._lock:
            for record in records:
                take(record.value)
        self._offsets[place] = records[-1].offset + 1

    def _take_reading(self, value: bytes | None) -> None:
        if value is None:
            return
        message = PayerMeters.FromString(value)
        payer = bytes.fromhex(message.attribution_id.removeprefix("team:").replace("-", ""))
        position = message.position.number
        if position < self._positions.get(payer, 0):
            return  # a worker that hung wrote it behind a newer one
        if payer not in self._readings:
            if len(self._readings) >= PAYERS_MAX:
                self._is_complete = False
                raise UnavailableError(f"there are more than {PAYERS_MAX} payers: read the topic")
            bisect.insort(self._payers, payer)
        self._readings[payer], self._positions[payer] = value, position
        shard = message.position.shard
        self._applied[shard] = max(self._applied.get(shard, 0), position)

    def _take_alert(self, value: bytes | None) -> None:
        if value is None:
            return
        alert = alert_of_message(SpendingAlert.FromString(value))
        if alert.id in self._alert_ids:
            return
        self._alert_ids.add(alert.id)
        bisect.insort(self._alerts, (place_of(alert), alert))
        if len(self._alerts) > ALERTS_MAX:
            _, oldest = self._alerts.pop(0)
            self._alert_ids.discard(oldest.id)
