"""How values travel to PostgreSQL and back: three column types, and arrays of them.

Every column is a bigint, a bytea or a text; which one follows from its name, as in `schema.py`.
Arrays are put into their binary form here: psycopg's own way costs more than the database's part.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap, Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from psycopg.types.string import BytesBinaryDumper, StrBinaryDumper

from persistence.sql import Columns, Row

BIGINT, BYTEA, TEXT = "int8", "bytea", "text"

_BYTES = {
    *("payer", "user", "instance", "entry_id"),
    *("event_key", "digest", "state", "salt", "fields", "original"),
    *("hashes", "root", "texts", "sums"),
}
_TEXTS = {
    *("originator_id", "topic", "workspace_class", "workspace_type", "workspace_id", "rate"),
    *("source", "name", "kind", "reason", "last_error", "paused_reason", "strategy"),
    *("cluster", "topic_id", "note", "holder", "ledger_id"),
    *("customer_id", "subscription_id", "invoice_id", "event_name", "identifier", "outcome"),
    *("event_id", "type", "object_id", "detail", "error"),
    *("origin", "fault", "key_name", "author"),
    *("structure", "begun_by", "differences", "author", "accepted", "what"),
}
_OTHERWISE = {  # what a name does not say everywhere
    ("inbox", "source"): BIGINT,  # its number
    ("billing_accounts", "state"): TEXT,
    ("erasures", "state"): TEXT,
    ("billing_reports", "state"): TEXT,
    ("webhooks", "state"): TEXT,
}
_NULL = struct.pack(">i", -1)
_length = struct.Struct(">i").pack
_bigint = struct.Struct(">iq").pack


class _Array(bytes):
    """The binary form of an array of one dimension."""


class BigintArray(_Array):
    """An array of bigint."""


class ByteaArray(_Array):
    """An array of bytea."""


class TextArray(_Array):
    """An array of text."""


def type_of(table: str, column: str) -> str:
    """Give a column's type by its name."""
    otherwise = _OTHERWISE.get((table, column))
    if otherwise is not None:
        return otherwise
    if column in _BYTES:
        return BYTEA
    return TEXT if column in _TEXTS else BIGINT


def array(kind: str, values: Sequence[Any]) -> _Array:
    """Put values of one type, or None, into an array."""
    if kind == BIGINT:
        return BigintArray(
            _head(20, values)
            + b"".join([_NULL if value is None else _bigint(8, value) for value in values])
        )
    if kind == BYTEA:
        return ByteaArray(_head(17, values) + _sized(values))
    # Classes, types and rates are few and come again and again.
    encoded = {value: None if value is None else value.encode() for value in set(values)}
    return TextArray(_head(25, values) + _sized([encoded[value] for value in values]))


def array_of(values: Sequence[Any]) -> _Array:
    """Put keys into an array of the type that the first one has."""
    first = values[0] if values else 0
    kind = BYTEA if isinstance(first, bytes) else TEXT if isinstance(first, str) else BIGINT
    return array(kind, values)


def arrays(table: str, columns: Columns, rows: Sequence[Row]) -> list[_Array]:
    """Turn rows into one array for each column."""
    by_column = zip(*rows, strict=True)
    return [
        array(type_of(table, column), values)
        for column, values in zip(columns, by_column, strict=True)
    ]


def _head(element_oid: int, values: Sequence[Any]) -> bytes:
    # One dimension, may hold nulls, element type, how many, counted from one.
    return struct.pack(">iiIii", 1, 1, element_oid, len(values), 1)


def _sized(values: Sequence[bytes | None]) -> bytes:
    """Put the length before each value."""
    sizes = {-1 if value is None else len(value) for value in values}
    if len(sizes) == 1 and -1 not in sizes:  # ids, mostly
        before = _length(sizes.pop())
        return before + before.join(values)  # type: ignore[arg-type]  # none of them is None
    return b"".join([_NULL if value is None else _length(len(value)) + value for value in values])


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> Buffer | None:
        return obj


class _BigintArrayDumper(_ArrayDumper):
    oid = 1016


class _ByteaArrayDumper(_ArrayDumper):
    oid = 1001


class _TextArrayDumper(_ArrayDumper):
    oid = 1009


class _BoolDumper(Int8BinaryDumper):
    """A truth is a number here, as it is in SQLite."""

    def dump(self, obj: Any) -> Buffer | None:
        return super().dump(int(obj))


class _WholeNumberLoader(Loader):
    """Only sums of whole numbers are numeric here."""

    format = Format.TEXT

    def load(self, data: Buffer) -> int:
        return int(bytes(data))


class _WholeNumberBinaryLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        digits, weight, sign, _scale = struct.unpack_from(">hhHh", data)
        value = 0
        for number in range(weight + 1):
            digit = struct.unpack_from(">h", data, 8 + 2 * number)[0] if number < digits else 0
            value = value * 10_000 + digit
        return -value if sign else value


def adapters() -> AdaptersMap:
    """Give the types of every connection of ours.

    An integer is a bigint however small, so that a prepared statement serves all of them.
    """
    known = AdaptersMap(psycopg.adapters)
    known.register_dumper(bool, _BoolDumper)
    # The last one of a type in the database is the one that streams use; these are not in Python.
    for dumper in (Int8Dumper, Int8BinaryDumper):
        known.register_dumper(int, dumper)
    known.register_dumper(bytes, BytesBinaryDumper)
    known.register_dumper(str, StrBinaryDumper)
    known.register_dumper(BigintArray, _BigintArrayDumper)
    known.register_dumper(ByteaArray, _ByteaArrayDumper)
    known.register_dumper(TextArray, _TextArrayDumper)
    known.register_loader("numeric", _WholeNumberLoader)
    known.register_loader("numeric", _WholeNumberBinaryLoader)
    return known
