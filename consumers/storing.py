"""Storing what the intake has read: a batch of one partition at a time, on a few threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from consumers.connecting import PartitionState
from consumers.partitions import Partition, PartitionFeed, Stage, start_of
from consumers.watching import TopicWatch
from ledger.errors import LedgerError
from ledger.feeds import Message, SourceMovedError
from ledger.settings import KafkaSettings
from ledger.views import SourceKey, StoreUnavailableError

# While one batch is being committed, another one is decided on; the batches of several partitions
# may share a transaction.
THREADS = 2
IDLE_SECONDS = 1.0
SAID_AGAIN_SECONDS = 30.0

FeedOf = Callable[[SourceKey, str], PartitionFeed]

log = logging.getLogger(__name__)


class _Job(NamedTuple):
    """What a thread does next for a partition."""

    partition: Partition
    generation: int
    batch: list[Message]  # empty: find out where the partition begins


class Storing:
    """Finds the positions of partitions and empties their buffers."""

    def __init__(
        self,
        kafka: KafkaSettings,
        feed_of: FeedOf,
        partitions: Mapping[int, Partition],
        changed: threading.Condition,
        watch: TopicWatch,
        failpoint: Callable[[str], None],
    ) -> None:
        """Share partitions and lock with the consumer's thread; `start` begins."""
        self._topic = kafka.topics.usage_events
        self._batch_events = kafka.intake_batch_events
        self._feed_of = feed_of
        self._partitions = partitions
        self._changed = changed
        self._watch = watch
        self._failpoint = failpoint
        self._stopping = False
        self._turn = 0  # the partition that was served last; the others come first
        self._said: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._run, name=f"intake-store-{number}", daemon=True)
            for number in range(THREADS)
        ]

    @property
    def alive(self) -> bool:
        """Tell whether the threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin to store."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is being stored."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                job = self._next_job()
                while job is None and not self._stopping:
                    self._changed.wait(self._pause())
                    job = self._next_job()
                if self._stopping:
                    return
            assert job is not None
            try:
                if job.batch:
                    self._store(job)
                else:
                    self._locate(job)
            except SourceMovedError as error:
                self._moved(job, error)
            except (LedgerError, StoreUnavailableError) as error:
                self._failed(job, str(error))
            except Exception as error:
                log.exception("a batch of partition %d failed", job.partition.number)
                self._failed(job, f"a mistake of its own, see the log: {type(error).__name__}")

    def _next_job(self) -> _Job | None:
        """Choose a partition that can go on, in turns; the lock is held."""
        now = time.monotonic()
        numbers = sorted(self._partitions)
        behind = [number for number in numbers if number > self._turn]
        for number in behind + [number for number in numbers if number <= self._turn]:
            partition = self._partitions[number]
            if partition.is_taking or partition.retry_at > now:
                continue
            if partition.stage in {Stage.ASSIGNED, Stage.STOPPED}:
                if self._watch.looked_at <= partition.locate_after:
                    continue
                batch: list[Message] = []
            elif partition.buffer:
                batch = partition.front(self._batch_events)
            else:
                continue
            partition.is_taking = True
            self._turn = number
            return _Job(partition, partition.generation, batch)
        return None

    def _pause(self) -> float:
        """Give how long nothing can be done; the lock is held."""
        now = time.monotonic()
        waits = [one.retry_at - now for one in self._partitions.values() if one.retry_at > now]
        return min([*waits, IDLE_SECONDS])

    def _locate(self, job: _Job) -> None:
        """Find out where a partition goes on."""
        partition = job.partition
        looked_at, state = self._watch.looked_at, self._watch.state
        assert state is not None  # it was looked at
        known = state.partitions.get(partition.number)
        source = SourceKey(state.cluster, state.topic_id, partition.number)
        feed = self._feed_of(source, self._topic)
        position = feed.position() if known is not None else None
        with self._changed:
            if partition.generation != job.generation:
                return
            partition.is_taking = False
            # Look again after the next look, unless it can go on now.
            partition.locate_after = looked_at
            if known is None:
                partition.waiting = "the cluster does not tell of it yet"
                return
            partition.feed, partition.source = feed, source
            partition.position, partition.log_end = position, known.end
            self._begin(partition, known)
            self._changed.notify_all()

    def _begin(self, partition: Partition, known: PartitionState) -> None:
        start = start_of(known, partition.position)
        partition.failures = 0
        if start.gap:
            partition.stage = Stage.STOPPED
            self._say_gap(partition, start.gap, known)
            return
        if start.remark:
            log.warning("partition %d: %s", partition.number, start.remark)
        if partition.stage is Stage.STOPPED:
            log.warning("partition %d goes on at offset %d", partition.number, start.offset)
        partition.read_to = start.offset
        partition.waiting = ""
        partition.stage = Stage.LOCATED

    def _say_gap(self, partition: Partition, gap: str, known: PartitionState) -> None:
        assert partition.source is not None
        assert partition.position is not None
        go_on = known.start if partition.position < known.start else known.end
        source = partition.source
        name = f"{source.cluster}:{self._topic}:{source.topic_id}:{source.partition}"
        partition.waiting = (
            f"{gap}. It stays where it is until an operator accepts that: usage-ledger accept-gap "
            f"{name} --from {partition.position} --to {go_on}"
        )
        now = time.monotonic()
        if now - self._said.get(partition.number, -SAID_AGAIN_SECONDS) >= SAID_AGAIN_SECONDS:
            log.error("partition %d: %s", partition.number, partition.waiting)
            self._said[partition.number] = now

    def _store(self, job: _Job) -> None:
        partition = job.partition
        feed = partition.feed
        assert feed is not None
        after = job.batch[-1].offset + 1
        receipt = feed.take(job.batch, after)
        self._failpoint("intake-taken")
        if receipt.rejects:
            first = receipt.rejects[0]
            log.warning(
                "partition %d: %d of %d events were rejected; the first at offset %d: %s",
                partition.number,
                len(receipt.rejects),
                receipt.counts.received,
                first.line,
                first.reason,
            )
        with self._changed:
            if partition.generation != job.generation:
                return
            if partition.waiting:
                log.info("partition %d goes on", partition.number)
            partition.stored(job.batch, after)
            self._changed.notify_all()

    def _moved(self, job: _Job, error: Exception) -> None:
        """Somebody else went on with the partition; ask anew where it stands."""
        log.warning("partition %d: %s; it is read anew", job.partition.number, error)
        with self._changed:
            if job.partition.generation == job.generation:
                job.partition.reset(time.monotonic(), "another consumer has moved its position")
                self._changed.notify_all()
        self._watch.look_now()

    def _failed(self, job: _Job, reason: str) -> None:
        number = job.partition.number
        now = time.monotonic()
        with self._changed:
            if job.partition.generation != job.generation:
                return
            is_new = job.partition.failed(now, reason)
            if is_new or now - self._said.get(number, 0.0) > SAID_AGAIN_SECONDS:
                self._said[number] = now
                log.error("partition %d waits: %s", number, reason)
