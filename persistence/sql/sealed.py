"""What a follower of the log keeps of entries, by SQL: sums, and where instances ran through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from persistence.clocks import Block, Life, Span, nodes_above
from persistence.sql.session import Session, listed
from persistence.sql.tables import SEALED_TABLES

Select = Callable[[str, Sequence[Any]], list[Any]]
Among = Callable[[str, Sequence[Any], Sequence[Any]], list[Any]]

_LIFE = listed(Life._fields)
_SPAN_KEY = ("payer", "axis", "node", "upper", "start_position", "changed_position")
_SPAN = ("payer", *Span._fields)
_SUM = ("payer", "level", "bucket", "position", "sums")

# For each bucket one look into the key: its newest row that was known.
_OF_RANGES = (
    "WITH RECURSIVE wanted (level, bucket, last) AS (SELECT * FROM (VALUES (?, ?, ?), (?, ?, ?))"
    " AS ranges UNION ALL SELECT level, bucket + 1, last FROM wanted WHERE bucket + 1 < last)"
    " SELECT w.bucket, (SELECT s.sums FROM sealed_sums s WHERE s.payer = ? AND s.level = w.level"
    " AND s.bucket = w.bucket AND s.position <= ? ORDER BY s.position DESC LIMIT 1)"
    " FROM wanted w WHERE w.bucket < w.last"
)

_TOUCHED = (
    "WITH RECURSIVE wanted (level, bucket, last) AS (SELECT * FROM (VALUES (?, ?, ?)) AS ranges"
    " UNION ALL SELECT level, bucket + 1, last FROM wanted WHERE bucket + 1 < last)"
    " SELECT w.bucket FROM wanted w WHERE w.bucket < w.last AND EXISTS (SELECT 1"
    " FROM sealed_sums s WHERE s.payer = ? AND s.level = w.level AND s.bucket = w.bucket"
    " AND s.position > ? AND s.position <= ?)"
)


class SqlSealedReader:
    """Implements `persistence.SealedReader` by a reader's own means."""

    def __init__(self, select: Select, among: Among) -> None:
        """Ask on the reader's connection."""
        self._all = select
        self._among = among

    def block_at(self, payer: bytes, position: int) -> Block | None:
        """Give the newest block at or before a position."""
        rows = self._all(
            "SELECT position, sums FROM sealed_blocks WHERE payer = ? AND position <= ?"
            " ORDER BY position DESC LIMIT 1",
            (payer, position),
        )
        return Block(*rows[0]) if rows else None

    def block_from(self, payer: bytes, position: int) -> int | None:
        """Give the position of the oldest block at or behind a position."""
        rows = self._all(
            "SELECT position FROM sealed_blocks WHERE payer = ? AND position >= ?"
            " ORDER BY position LIMIT 1",
            (payer, position),
        )
        return rows[0][0] if rows else None

    def sums(
        self, payer: bytes, position: int, ranges: Sequence[tuple[int, int, int]]
    ) -> list[tuple[int, bytes]]:
        """Give (number, sums) of two ranges of buckets (level, first, last) at a position."""
        one, two = ranges
        rows = self._all(_OF_RANGES, (*one, *two, payer, position))
        return [(row[0], row[1]) for row in rows if row[1] is not None]

    def touched(
        self, payer: bytes, ranges: Sequence[tuple[int, int, int]], *, after: int, upto: int
    ) -> list[int]:
        """Give the buckets of ranges (level, first, last) that changed between two positions."""
        found: list[int] = []
        for wanted in ranges:
            rows = self._all(_TOUCHED, (*wanted, payer, after, upto))
            found += [row[0] for row in rows]
        return found

    def sums_of(self, payer: bytes, position: int, bucket: tuple[int, int]) -> bytes | None:
        """Give the sums of a bucket (level, number) as known at a position; None: nothing."""
        rows = self._all(
            "SELECT sums FROM sealed_sums WHERE payer = ? AND level = ? AND bucket = ?"
            " AND position <= ? ORDER BY position DESC LIMIT 1",
            (payer, *bucket, position),
        )
        return rows[0][0] if rows else None

    def stab(
        self, payer: bytes, axis: int, point: int, *, highest: int, position: int
    ) -> list[Life]:
        """Give what ran through a point, as known at a position; no span ends behind `highest`."""
        low, high = nodes_above(point, highest=highest)
        rows = self._among(
            f"SELECT {_LIFE}, changed_position, known_to FROM sealed_spans WHERE payer = ?"
            " AND axis = ? AND upper >= ? AND node {among}",
            low,
            (payer, axis, point),
        )
        rows += self._among(
            f"SELECT {_LIFE}, changed_position, known_to FROM sealed_spans"
            " INDEXED BY sealed_spans_by_lower WHERE payer = ? AND axis = ? AND lower <= ?"
            " AND node {among}",
            high,
            (payer, axis, point),
        )
        return [Life(*row[:-2]) for row in rows if row[-2] <= position < row[-1]]


class SqlSealedRows:
    """Implements `persistence.SealedRows` inside a transaction."""

    def __init__(self, session: Session) -> None:
        """Take the transaction's session."""
        self._session = session

    def put_block(self, payer: bytes, block: Block) -> None:
        """Keep a block."""
        columns = ("payer", "position", "sums")
        self._session.put("sealed_blocks", columns[:2], columns, [(payer, *block)])

    def put_sums(self, payer: bytes, position: int, rows: Mapping[tuple[int, int], bytes]) -> None:
        """Keep sums of buckets (level, number) as known at a position."""
        self._session.put(
            "sealed_sums",
            _SUM[:4],
            _SUM,
            [(payer, level, bucket, position, sums) for (level, bucket), sums in rows.items()],
        )

    def put_spans(self, payer: bytes, spans: Iterable[Span]) -> None:
        """Keep spans."""
        rows = [(payer, *span) for span in spans]
        self._session.put("sealed_spans", _SPAN_KEY, _SPAN, rows)

    def end_spans(self, payer: bytes, spans: Iterable[Span]) -> None:
        """Say up to which position spans that are kept were known."""
        rows = [
            (
                payer,
                span.axis,
                span.node,
                span.upper,
                span.start_position,
                span.changed_position,
                span.known_to,
            )
            for span in spans
        ]
        self._session.update("sealed_spans", _SPAN_KEY, ("known_to",), rows)

    def forget(self, payer: bytes) -> None:
        """Forget everything of a payer."""
        for table in SEALED_TABLES:
            self._session.change(f"DELETE FROM {table} WHERE payer = ?", (payer,))
