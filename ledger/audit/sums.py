"""Sums of entries by day, and how they are kept: totals of 32 and of 1,024 days and of all.

A day's sum is what the entries dated in it come to, so any prefix of history is some sixty of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from persistence import Change, OtherChange
from projections import Amount

DAY_MS = 86_400_000
DAYS, MONTHS = 0, 1  # levels of buckets that have rows of their own; a month has 32 days
DAYS_A_MONTH = _WIDTH = 32  # ... and a year as many of them

# What an amount is of: a workspace class, or invoices, or credit notes.
INSTANCES, INVOICES, CREDIT_NOTES = 0, 1, 2
_OTHERS = {"invoice": (INVOICES, ""), "credit_note": (CREDIT_NOTES, "")}

Key = tuple[int, str]
Sums = dict[Key, Amount]
Bucket = tuple[int, int]  # level, number

NO_BUCKETS = (DAYS, 0, 0)

_Packed = list[tuple[int, str, int, int, int]]
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Packed).decode
_unpack_block = msgspec.msgpack.Decoder(tuple[_Packed, dict[int, tuple[int, _Packed]]]).decode


class BlockSums(NamedTuple):
    """What a block says itself: all entries, and those of every 1,024 days."""

    all: Sums
    years: dict[int, Sums]
    touched: dict[int, int]  # position of the newest block in which a year changed


def add(sums: Sums, key: Key, amount: Amount, sign: int = 1) -> None:
    """Add an amount to sums."""
    count, cents, seconds = sums.get(key, (0, 0, 0))
    sums[key] = Amount(
        count + sign * amount.count, cents + sign * amount.cents, seconds + sign * amount.seconds
    )


def add_all(sums: Sums, more: Mapping[Key, Amount], sign: int = 1) -> None:
    """Add sums to sums."""
    for key, amount in more.items():
        add(sums, key, amount, sign)


def cents_in(sums: Mapping[Key, Amount]) -> int:
    """Give what sums come to."""
    return sum(amount.cents for amount in sums.values())


def by_day(
    changes: Iterable[Change], others: Iterable[OtherChange]
) -> dict[int, dict[Key, Amount]]:
    """Sum what came and went by the day that it is dated in."""
    days: dict[int, dict[Key, list[int]]] = {}
    for sign, stand in changes:
        key = INSTANCES, stand.workspace_class
        row = days.setdefault(stand.effective // DAY_MS, {}).setdefault(key, [0, 0, 0])
        row[0] += sign
        row[1] += sign * stand.cents
        row[2] += sign * stand.seconds
    for sign, other in others:
        row = days.setdefault(other.effective // DAY_MS, {}).setdefault(
            _OTHERS[other.kind], [0, 0, 0]
        )
        row[0] += sign
        row[1] += sign * other.cents
    return {
        day: {key: Amount(*row) for key, row in amounts.items()} for day, amounts in days.items()
    }


def key_of(kind: str) -> Key:
    """Give what an invoice or a credit note is summed under."""
    return _OTHERS[kind]


def pack(sums: Mapping[Key, Amount]) -> bytes:
    """Write sums; what came to nothing is left out."""
    return _pack(_listed(sums))


def _listed(sums: Mapping[Key, Amount]) -> _Packed:
    return [(*key, *amount) for key, amount in sorted(sums.items()) if any(amount)]


def unpack(packed: bytes) -> Sums:
    """Read sums."""
    return _sums(_unpack(packed))


def _sums(rows: _Packed) -> Sums:
    return {(kind, name): Amount(*amount) for kind, name, *amount in rows}


def pack_block(block: BlockSums) -> bytes:
    """Write a block's own sums."""
    years = {
        number: (block.touched[number], _listed(sums))
        for number, sums in sorted(block.years.items())
    }
    return _pack((_listed(block.all), years))


def unpack_block(packed: bytes) -> BlockSums:
    """Read a block's own sums."""
    all_, years = _unpack_block(packed)
    return BlockSums(
        _sums(all_),
        {number: _sums(rows) for number, (_, rows) in years.items()},
        {number: position for number, (position, _) in years.items()},
    )


def day_of(time: int) -> int:
    """Number the day of a time."""
    return time // DAY_MS


def year_of(day: int) -> int:
    """Number the 1,024 days that a day lies in."""
    return day // _WIDTH // _WIDTH


def buckets_of(day: int) -> tuple[Bucket, Bucket]:
    """Name the buckets with rows of their own that a day lies in."""
    return (DAYS, day), (MONTHS, day // _WIDTH)


def bounds_of(bucket: int) -> tuple[int, int]:
    """Give the first of the smaller buckets in a larger one, and the one behind the last."""
    return bucket * _WIDTH, (bucket + 1) * _WIDTH
