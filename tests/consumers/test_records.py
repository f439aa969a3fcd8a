"""Records are read as the library reads them, and what it cannot read is read or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.memory_records import MemoryRecordsBuilder

from consumers._records import Record, read_batch

BATCH_BYTES = 1 << 20
values = st.one_of(st.none(), st.binary(max_size=300))
headers = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8"), max_size=80), st.binary(max_size=80)),
    max_size=6,
)
messages = st.lists(st.tuples(values, values, headers), min_size=1, max_size=8)


def batch_of(told: list[Any], *, first: int = 0, compression: int = 0) -> bytes:
    """The messages as a producer sends them."""
    builder = MemoryRecordsBuilder(
        magic=2, compression_type=compression, batch_size=BATCH_BYTES, offset=first
    )
    for number, (key, value, headers_told) in enumerate(told):
        builder.append(timestamp=1_000 + number, key=key, value=value, headers=headers_told)
    builder.close()
    return bytes(builder.buffer())


def batch(encoded: bytes) -> Any:
    return MemoryRecords(encoded).next_batch()


class TestRecords:
    """`read_batch`."""

    @given(messages, st.sampled_from(range(5)))
    def test_are_those_of_the_library(self, told: list[Any], compression: int) -> None:
        """Plain, and compressed by gzip, snappy, lz4 and zstd."""
        encoded = batch_of(told, compression=compression)
        expected = [
            Record(one.offset, one.key, one.value, list(one.headers)) for one in batch(encoded)
        ]
        assert expected == list(read_batch(batch(encoded)))
        assert [(key, value, list(named)) for key, value, named in told] == [
            (one.key, one.value, one.headers) for one in expected
        ]

    def test_with_a_header_whose_name_is_no_text_are_read(self) -> None:
        encoded = batch_of([(b"k", b"v", [("name", b"x"), ("other", b"y")])])
        broken = encoded.replace(b"name", b"n\xffme")
        (record,) = read_batch(batch(broken))
        assert Record(0, b"k", b"v", [("n\\xffme", b"x"), ("other", b"y")]) == record

    @given(messages, st.data())
    def test_that_are_damaged_are_refused_or_read(
        self, told: list[Any], data: st.DataObject
    ) -> None:
        """Whatever the bytes say: an error of the library's own kind, or records; never a hang."""
        encoded = bytearray(batch_of(told))
        head = 61  # of a batch; what comes behind it are records
        at = data.draw(st.integers(head, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255))
        try:
            records = list(read_batch(batch(bytes(encoded))))
        except CorruptRecordError:
            return
        assert len(told) == len(records)

    def test_that_end_too_early_are_refused(self) -> None:
        encoded = batch_of([(b"k", b"value", [])])
        whole = batch(encoded)
        whole._buffer = memoryview(bytes(whole._buffer)[:-2])
        with pytest.raises(CorruptRecordError, match="ends in the middle of a record"):
            list(read_batch(whole))
