"""What kafka-python's clients must not do here: stop for ever at a record, use up all sockets, or
consume without partitions.

Corrections of kafka-python 3.0, each held by a test on a real broker.
"""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.net.inet import KafkaNetSocket
from kafka.net.transport import KafkaSSLTransport
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint


class _TolerantBatch(DefaultRecordBatch):  # type: ignore[misc]  # it has no types
    r"""Reads headers whose names are not UTF-8, which any producer may send.

    The library takes them for damage of the whole batch. Here the bad bytes of a name become
    `\xff`, the record is rejected like any other without the headers of an event, and the
    partition goes on.
    """

    _pos: int

    def _read_msg(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super()._read_msg(*arguments, **named)
        except UnicodeDecodeError:
            return self._read_any_header()

    def _read_any_header(self) -> Any:
        """Read a record that the library has found to be whole but for a header's name."""
        buffer = self._buffer
        length, start = decode_varint(buffer, self._pos)
        _attributes, at = decode_varint(buffer, start)
        since_first, at = decode_varint(buffer, at)
        offset_since_first, at = decode_varint(buffer, at)
        key, at = _nullable(buffer, at)
        value, at = _nullable(buffer, at)
        count, at = decode_varint(buffer, at)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, at = _nullable(buffer, at)
            content, at = _nullable(buffer, at)
            headers.append(((name or b"").decode(errors="backslashreplace"), content))
        if at - start != length:
            raise CorruptRecordError(f"a record of {length} bytes was read as {at - start}")
        self._pos = at
        timestamp = (
            self.max_timestamp
            if self.timestamp_type == self.LOG_APPEND_TIME
            else self.first_timestamp + since_first
        )
        return DefaultRecord(
            length,
            self.base_offset + offset_since_first,
            timestamp,
            self.timestamp_type,
            key,
            value,
            headers,
        )


def _nullable(buffer: Any, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(buffer, at)
    if size < 0:
        return None, at
    return bytes(buffer[at : at + size]), at + size


class _EndingRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # it has no types
    """Says again that a record cannot be read, where the library would ask for it without end.

    It forgets the error of a partition that was paused meanwhile, and then waits inside `poll` for
    records of an iterator that has ended.
    """

    def take(self, n: int | None = None) -> Any:
        records = super().take(n)
        if not records and self.record_iterator is not None:
            raise CorruptRecordError(
                f"a record of {self.topic_partition} behind offset {self.next_fetch_offset} "
                "cannot be read"
            )
        return records


class _ClosedSockets(KafkaNetSocket):  # type: ignore[misc]  # it has no types
    """Closes a socket that did not get through.

    The library leaves that to the collector of garbage, which a service may run seldom; a broker
    that is away for hours would cost it all its file descriptors.
    """

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, address: Any, timeout_at: Any = None) -> Any:
        try:
            return await super().sock_connect(net, sock, address, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise


# The library finds the class above by this scheme.
DIRECT = "direct://"

_handshake = KafkaSSLTransport.handshake


async def _closed_handshake(transport: Any) -> None:
    """Close a connection whose handshake failed, for the same reason."""
    try:
        await _handshake(transport)
    except BaseException:
        transport._sock.close()  # noqa: SLF001  # there is no public way
        raise


# Of every connection with TLS, whichever client makes it.
KafkaSSLTransport.handshake = _closed_handshake


class _Answer:
    """What a group answered to a join; it looks as if the join went on, so that it is awaited."""

    is_done = False

    def __init__(self, future: Any) -> None:
        self.add_callback = future.add_callback
        self.add_errback = future.add_errback
        self._future = future

    def __await__(self) -> Any:
        return self._future.__await__()


def _finish_joining(consumer: KafkaConsumer) -> None:
    """Let a consumer take the group's answer also when it came after or between its polls.

    The library takes it only during a poll. Between polls it throws the answer away and joins anew,
    without end where polls are short. And where the leader rejoins because the topic changed, or
    was not known when it joined, it forgets at the end of the poll that it was joining: then it has
    no partitions and no heartbeat for ever, and everything looks well.
    """
    coordinator = consumer._coordinator  # noqa: SLF001  # there is no public way
    need_rejoin, join_group = coordinator.need_rejoin, coordinator.join_group_async

    async def join_group_async(timeout_ms: float | None = None) -> Any:
        task = coordinator._join_task  # noqa: SLF001
        if coordinator.rejoining and task is not None and task.is_done:
            coordinator._join_task = _Answer(task)  # noqa: SLF001
        return await join_group(timeout_ms=timeout_ms)

    coordinator.need_rejoin = lambda: coordinator.rejoining or need_rejoin()
    coordinator.join_group_async = join_group_async


def _give_back_parked_records(consumer: KafkaConsumer) -> None:
    """Let a partition that was paused go on with the records that had been fetched of it.

    The library puts them aside, and takes them up again only while it has nothing else in hand; it
    counts what is used up as something. Unless another partition is paused at the right moment, it
    never reads that partition again.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public way
    fetched_records = fetcher.fetched_records

    def with_parked_records(*arguments: Any, **named: Any) -> Any:
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        return fetched_records(*arguments, **named)

    fetcher.fetched_records = with_parked_records


def harden(consumer: KafkaConsumer) -> None:
    """Apply all corrections; to be called before the first poll."""
    memory_records.DefaultRecordBatch = _TolerantBatch
    consumer._fetcher.PartitionRecords = _EndingRecords  # noqa: SLF001  # there is no public way
    _give_back_parked_records(consumer)
    if consumer._coordinator is not None:  # noqa: SLF001  # a consumer without a group has none
        _finish_joining(consumer)


def is_rejoining(consumer: KafkaConsumer) -> bool:
    """Tell whether the group is being shared out; a poll should last until it is."""
    rejoining: bool = consumer._coordinator.rejoining  # noqa: SLF001
    return rejoining
