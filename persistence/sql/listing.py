"""Totals and pages of usage entries over any [start, end).

The hourly and daily sums answer the totals; entries are read only of the partial hours at the two
edges. The same sums are cumulative counts: a page far down is found by walking days, then hours,
and only inside one hour by OFFSET.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from projections import BUCKET_MS, DAILY, HOURLY

_HOUR, _DAY = BUCKET_MS[HOURLY], BUCKET_MS[DAILY]
WALK_OFFSET_MIN = 400  # below this a plain OFFSET is as quick as walking

_All = Callable[[str, Sequence[Any]], list[Any]]
_One = Callable[[str, Sequence[Any]], Any]
_Range = tuple[int, int]

_EMPTY: _Range = (0, 0)


def _source(user: bytes) -> tuple[str, str]:
    """Give the index to read, and the condition on payer and user."""
    if user:
        return "entries_by_user", 'payer = ? AND "user" = ? AND "user" <> x\'\''
    return "entries_by_payer", "payer = ?"


def _cut(start: int, end: int, user: bytes) -> tuple[_Range, _Range, _Range, _Range, _Range]:
    """Cut [start, end) into edge (times), hours, days, hours, edge (times)."""
    if user:  # there are no sums by hour of one user
        first_day, last_day = -(-start // _DAY), end // _DAY
        if first_day >= last_day:
            return (start, end), _EMPTY, _EMPTY, _EMPTY, _EMPTY
        head, tail = (start, first_day * _DAY), (last_day * _DAY, end)
        return head, _EMPTY, (first_day, last_day), _EMPTY, tail
    first_hour, last_hour = -(-start // _HOUR), end // _HOUR
    if first_hour >= last_hour:
        return (start, end), _EMPTY, _EMPTY, _EMPTY, _EMPTY
    head, tail = (start, first_hour * _HOUR), (last_hour * _HOUR, end)
    first_day, last_day = -(-first_hour // 24), last_hour // 24
    if first_day >= last_day:
        return head, (first_hour, last_hour), _EMPTY, _EMPTY, tail
    return (
        head,
        (first_hour, first_day * 24),
        (first_day, last_day),
        (last_day * 24, last_hour),
        tail,
    )


def range_totals(one: _One, payer: bytes, user: bytes, *, start: int, end: int) -> tuple[int, int]:
    """Give (count, cents) of the entries in [start, end)."""
    index, condition = _source(user)
    who = (payer, user) if user else (payer,)
    head, hours, days, more_hours, tail = _cut(start, end, user)
    parts, values = [], []
    for stretch in (head, tail):
        if stretch[0] < stretch[1]:
            parts.append(
                f"SELECT count(*) AS n, sum(cents) AS c FROM entries INDEXED BY {index}"
                f" WHERE {condition} AND effective >= ? AND effective < ?"
            )
            values += [*who, *stretch]
    for unit, stretch in ((HOURLY, hours), (DAILY, days), (HOURLY, more_hours)):
        if stretch[0] < stretch[1]:
            parts.append(
                "SELECT sum(count) AS n, sum(cents) AS c FROM rollups"
                ' WHERE payer = ? AND "user" = ? AND unit = ? AND bucket >= ? AND bucket < ?'
            )
            values += [payer, user, unit, *stretch]
    if not parts:
        return 0, 0
    row = one(
        "SELECT coalesce(sum(n), 0), coalesce(sum(c), 0)"
        f" FROM ({' UNION ALL '.join(parts)}) AS stretches",
        values,
    )
    return row[0], row[1]


def entry_page(
    select: _All,
    columns: str,
    payer: bytes,
    user: bytes,
    *,
    start: int,
    end: int,
    ascending: bool,
    offset: int,
    limit: int,
) -> list[Any]:
    """Give a stretch of the entries in [start, end), by time, ties by id ascending."""
    if offset >= WALK_OFFSET_MIN:
        moved = _walk(select, payer, user, start=start, end=end, ascending=ascending, offset=offset)
        if moved is None:
            return []
        edge, offset = moved
        start, end = (edge, end) if ascending else (start, edge)
    index, condition = _source(user)
    direction = "ASC" if ascending else "DESC"
    # The inner select finds the page in the index alone; rows are fetched for its few entries only.
    return select(
        f"SELECT {columns} FROM (SELECT start_position AS s, effective AS t, entry_id AS i"
        f" FROM entries INDEXED BY {index}"
        f" WHERE {condition} AND effective >= ? AND effective < ?"
        f" ORDER BY effective {direction}, entry_id ASC LIMIT ? OFFSET ?) k"
        " CROSS JOIN entries e ON e.start_position = k.s"
        f" LEFT JOIN personal p ON p.position = e.start_position ORDER BY k.t {direction}, k.i ASC",
        [payer, *((user,) if user else ()), start, end, limit, offset],
    )


def _walk(
    select: _All,
    payer: bytes,
    user: bytes,
    *,
    start: int,
    end: int,
    ascending: bool,
    offset: int,
) -> tuple[int, int] | None:
    """Skip whole hours and days: give where the offset's hour begins, and the offset inside it.

    None when the range has no more than `offset` entries.
    """
    head, hours, days, more_hours, tail = _cut(start, end, user)
    pieces = [(None, head), (HOURLY, hours), (DAILY, days), (HOURLY, more_hours), (None, tail)]
    for unit, stretch in pieces if ascending else reversed(pieces):
        if stretch[0] >= stretch[1]:
            continue
        if unit is None:
            count = _count(select, payer, user, stretch)
            if offset < count:
                return (stretch[0] if ascending else stretch[1]), offset
            offset -= count
            continue
        found, offset = _walk_buckets(
            select, payer, user, unit, stretch, ascending=ascending, offset=offset
        )
        if found is None:
            continue
        if unit == DAILY and user:
            return (found if ascending else found + 1) * _DAY, offset
        if unit == DAILY:
            in_day = (found * 24, found * 24 + 24)
            found, offset = _walk_buckets(
                select, payer, user, HOURLY, in_day, ascending=ascending, offset=offset
            )
            assert found is not None, "a day has fewer entries than its sum says"
        return (found if ascending else found + 1) * _HOUR, offset
    return None


def _count(select: _All, payer: bytes, user: bytes, stretch: _Range) -> int:
    index, condition = _source(user)
    count: int = select(
        f"SELECT count(*) FROM entries INDEXED BY {index}"
        f" WHERE {condition} AND effective >= ? AND effective < ?",
        [payer, *((user,) if user else ()), *stretch],
    )[0][0]
    return count


def _walk_buckets(
    select: _All,
    payer: bytes,
    user: bytes,
    unit: int,
    stretch: _Range,
    *,
    ascending: bool,
    offset: int,
) -> tuple[int | None, int]:
    """Find the bucket that the offset falls into, and the offset inside it."""
    direction = "ASC" if ascending else "DESC"
    for bucket, count in select(
        'SELECT bucket, count FROM rollups WHERE payer = ? AND "user" = ? AND unit = ?'
        f" AND bucket >= ? AND bucket < ? ORDER BY bucket {direction}",
        [payer, user, unit, *stretch],
    ):
        if offset < count:
            return bucket, offset
        offset -= count
    return None, offset
