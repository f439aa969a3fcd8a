"""Two sets of rows of the read model, compared by their keys, however many there are."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from events.readable import attribution_id
from persistence import Reader
from persistence.sql.tables import OF_A_PAYER, TABLES

CHUNK = 2_000  # rows of each side that are compared at a time, and lie in memory
EXAMPLES_MAX = 3  # kept of each kind of difference
MISSING, ADDED = "missing", "added"  # a row that only the live rows have, or only the new ones

Row = tuple[object, ...]


class Side(NamedTuple):
    """One of the two: where its rows come from."""

    reader: Reader
    generation: int
    structure: Mapping[str, Sequence[str]]  # the columns that its folds have filled, by table


class Difference(NamedTuple):
    """A row that differs; `kinds` say in what: `balances.booked_cents`, `entries:added`."""

    table: str
    kinds: tuple[str, ...]
    text: str  # for people


class Comparison:
    """What was compared, and what differs."""

    def __init__(self, position: int = 0) -> None:
        """Begin with nothing; both sides stand at the position."""
        self.position = position
        self.rows: Counter[str] = Counter()  # compared, by table
        self.kinds: Counter[str] = Counter()  # rows that differ, by kind
        self.examples: dict[str, list[str]] = {}  # by kind
        self.not_compared: list[str] = []  # with the reason

    def add(self, difference: Difference) -> None:
        """Count a row that differs."""
        for kind in difference.kinds:
            self.kinds[kind] += 1
            examples = self.examples.setdefault(kind, [])
            if len(examples) < EXAMPLES_MAX:
                examples.append(difference.text)

    def count(self, table: str, rows: int) -> None:
        """Count rows that were looked at."""
        self.rows[table] += rows

    def refused(self, accepted: Sequence[str]) -> list[str]:
        """Give the kinds of differences that nobody meant."""
        return sorted(self.kinds.keys() - set(accepted))


def compare(
    live: Side,
    anew: Side,
    comparison: Comparison,
    *,
    left_out: Mapping[str, str] | None = None,
    payer: bytes | None = None,
    projections: Sequence[str] = tuple(TABLES),
) -> Iterator[Difference]:
    """Give the rows that differ, table by table, and count in `comparison`.

    `left_out` has the projections whose rows cannot be compared, with the reason.
    """
    for projection in projections:
        why = (left_out or {}).get(projection)
        if why:
            comparison.not_compared.append(f"{projection}: {why}")
            continue
        for table in TABLES[projection]:
            columns = _columns(live, anew, table, comparison, payer=payer)
            if columns is None:
                continue
            key_columns = len(anew.reader.key_of(table, anew.generation))
            ours, theirs = (
                side.reader.rows_of(table, columns, generation=side.generation, payer=payer)
                for side in (anew, live)
            )
            compared = functools.partial(comparison.count, table)
            for pair in differing_rows(theirs, ours, key_columns, compared):
                difference = difference_of(table, columns, key_columns, *pair)
                comparison.add(difference)
                yield difference


def _columns(
    live: Side, anew: Side, table: str, comparison: Comparison, *, payer: bytes | None
) -> tuple[str, ...] | None:
    """Give the columns that both have, those of the key first; None when nothing can be compared.

    What only one of the two has is said, for no number of the other's differs from it.
    """
    ours, theirs = anew.structure.get(table, ()), live.structure.get(table, ())
    if not ours or not theirs:
        comparison.not_compared.append(
            f"{table}: {'the live rows' if ours else 'the new rows'} have no such table"
        )
        return None
    if payer is not None and "payer" not in ours and table not in OF_A_PAYER:
        return None
    key = anew.reader.key_of(table, anew.generation)
    if not set(key) <= set(theirs):
        comparison.not_compared.append(f"{table}: the live rows have another key")
        return None
    for column in ours:
        if column not in theirs:
            comparison.not_compared.append(f"{table}.{column}: the live rows have no such column")
    for column in theirs:
        if column not in ours:
            comparison.not_compared.append(f"{table}.{column}: the new rows have no such column")
    return (*key, *(column for column in ours if column in theirs and column not in key))


def differing_rows(
    live: Iterator[Row], anew: Iterator[Row], key_columns: int, compared: Callable[[int], None]
) -> Iterator[tuple[Row | None, Row | None]]:
    """Give pairs of rows with the same key that are not the same, and rows without the other.

    Both sides come by their key. `compared` hears how many rows were looked at.
    """
    ours: list[Row] = []
    theirs: list[Row] = []
    while True:
        ours += itertools.islice(anew, CHUNK - len(ours))
        theirs += itertools.islice(live, CHUNK - len(theirs))
        if ours == theirs:  # nearly always, and in one step
            compared(len(ours))
            if not ours:
                return
            ours, theirs = [], []
            continue
        i = j = 0
        while i < len(ours) or j < len(theirs):
            if CHUNK in {i, j}:
                break  # more of that side may come before what is left of the other
            left = theirs[j] if j < len(theirs) else None
            right = ours[i] if i < len(ours) else None
            if left is not None and right is not None:
                if left[:key_columns] == right[:key_columns]:
                    i, j = i + 1, j + 1
                    if left != right:
                        yield left, right
                    continue
                if left[:key_columns] < right[:key_columns]:
                    right = None
                else:
                    left = None
            i, j = i + (right is not None), j + (left is not None)
            yield left, right
        compared(max(i, j))
        ours, theirs = ours[i:], theirs[j:]


def difference_of(
    table: str, columns: Sequence[str], key_columns: int, live: Row | None, anew: Row | None
) -> Difference:
    """Say in what two rows with the same key differ, one of which may be missing."""
    some = live if live is not None else anew
    assert some is not None
    named = zip(columns[:key_columns], some[:key_columns], strict=True)
    key = " ".join(f"{column} {_shown(column, value)}" for column, value in named)
    if live is None or anew is None:
        kind = f"{table}:{ADDED if live is None else MISSING}"
        rest = zip(columns[key_columns:], some[key_columns:], strict=True)
        row = ", ".join(f"{column} {_shown(column, value)}" for column, value in rest)
        where = "only in the new rows" if live is None else "only in the live rows"
        return Difference(table, (kind,), f"{table} {key}: {where} ({row})")
    changed = [
        (column, before, after)
        for column, before, after in zip(columns, live, anew, strict=True)
        if before != after
    ]
    texts = (
        f"{column} live {_shown(column, before)}, new {_shown(column, after)}"
        for column, before, after in changed
    )
    kinds = tuple(f"{table}.{column}" for column, _, _ in changed)
    return Difference(table, kinds, f"{table} {key}: {'; '.join(texts)}")


def _shown(column: str, value: object) -> str:
    if isinstance(value, bytes):
        return attribution_id(value) if column == "payer" and len(value) == 16 else value.hex()
    return "none" if value is None else str(value)
