"""Records of Kafka's log, read in half the library's time, and read whatever their headers say.

The library calls a function for each number of a record, nineteen times for an event, and makes of
each record what nobody here asks for. It also takes a header whose name is not UTF-8, which any
producer may send, for damage of the whole batch, and stops there for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel

_FORMAT_WITH_HEADERS = 2
NAMES_KEPT_MAX = 1_000  # of headers; a producer that makes names up does not fill the memory


class Record(NamedTuple):
    """One message of a partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


_names: dict[bytes, str] = {}


class QuickRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # it has no types
    """The records that were fetched of a partition."""

    def take(self, n: int | None = None) -> Any:
        """Give the next records.

        The library forgets that a record could not be read while its partition was paused, and
        then asks an iterator that has ended for more, without end, inside `poll`.
        """
        records = super().take(n)
        if not records and self.record_iterator is not None:
            raise CorruptRecordError(
                f"a record of {self.topic_partition} behind offset {self.next_fetch_offset} "
                "cannot be read"
            )
        return records

    def _unpack_records(self, place: Any, records: Any, *_deserializers: Any) -> Iterator[Record]:
        batch = records.next_batch()
        last = None
        while batch is not None:
            last = batch
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(
                    f"a batch of {place} at offset {batch.base_offset} is damaged"
                )
            if batch.magic < _FORMAT_WITH_HEADERS:
                yield from self._old_records(batch)
            elif self._is_passed_over(batch):
                self.next_fetch_offset = batch.next_offset
            else:
                for record in read_batch(batch):
                    self.records_read += 1
                    self.next_fetch_offset = record.offset + 1
                    yield record
                self.bytes_read += batch.size_in_bytes
            batch = records.next_batch()
        if last is not None and last.magic >= _FORMAT_WITH_HEADERS:
            # Behind the last record there may be some that compaction took away.
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _old_records(self, batch: Any) -> Iterator[Record]:
        """Read what brokers wrote before version 0.11 and still keep: messages without headers."""
        for record in batch:
            self.records_read += 1
            self.bytes_read += record.size_in_bytes
            self.next_fetch_offset = record.offset + 1
            yield Record(record.offset, record.key, record.value, [])

    def _is_passed_over(self, batch: Any) -> bool:
        """Tell whether a batch holds marks of transactions, or events that were taken back."""
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def read_batch(batch: Any) -> Iterator[Record]:
    """Read the records of a batch.

    CorruptRecordError when it is damaged in a way that its checksum does not tell.
    """
    # There is no public way to the bytes of a batch.
    batch._maybe_uncompress()  # noqa: SLF001
    content = bytes(memoryview(batch._buffer)[batch._pos :])  # noqa: SLF001
    base: int = batch.base_offset
    at = 0
    try:
        for _ in range(batch.records_count):
            record, at = _read_record(content, at, base)
            yield record
    except IndexError:
        at = -1
    if at != len(content):
        raise CorruptRecordError(f"a batch at offset {base} ends in the middle of a record")


def _read_record(content: bytes, at: int, base: int) -> tuple[Record, int]:
    size, at = _number(content, at)
    end = at + size
    if size < 0 or end > len(content):
        raise IndexError
    _timestamp, at = _number(content, at + 1)  # behind a byte of attributes
    offset, at = _number(content, at)
    key, at = _bytes_or_none(content, at)
    value, at = _bytes_or_none(content, at)
    count, at = _number(content, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        # Both lengths are mostly below 64, and then one byte that is even.
        length = content[at]
        if length < 0x80 and not length & 1:
            start = at + 1
            at = start + (length >> 1)
            raw = content[start:at]
        else:
            raw_or_none, at = _bytes_or_none(content, at)
            raw = raw_or_none or b""
        name = _names.get(raw)
        if name is None:
            name = _kept_name(raw)
        length = content[at]
        if length < 0x80 and not length & 1:
            start = at + 1
            at = start + (length >> 1)
            headers.append((name, content[start:at]))
        else:
            told, at = _bytes_or_none(content, at)
            headers.append((name, told))
    if at != end:
        raise IndexError
    return Record(base + offset, key, value, headers), at


def _kept_name(raw: bytes) -> str:
    if len(_names) >= NAMES_KEPT_MAX:
        _names.clear()
    name = _names[raw] = raw.decode(errors="backslashreplace")
    return name


def _bytes_or_none(content: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = _number(content, at)
    if size < 0:
        return None, at
    end = at + size
    return content[at:end], end


def _number(content: bytes, at: int) -> tuple[int, int]:
    """Read a number in Kafka's spelling (zigzag), and give where it ends."""
    byte = content[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 0x7F, 7
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
