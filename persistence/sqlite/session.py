"""A SQLite connection as the shared SQL wants it."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from persistence.errors import StoreUnavailableError
from persistence.generations import FIRST
from persistence.sql import Columns, Row, listed, quoted
from persistence.sql.generations import redirected, table_in
from persistence.sqlite.trouble import is_trouble

ROWS_AT_ONCE = 20  # cost a quarter less than one by one; more of them hardly less than that
KEYS_PER_SELECT = 400  # two variables each, far below SQLite's limit of 32,766 and cheap to prepare


class SQLiteSession:
    """Implements `persistence.sql.Session`: many rows are `executemany`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        generation: int = FIRST,
        *,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        """Take a connection inside a transaction, and the generation that it reads and writes."""
        self._counts = (rows_at_once, 1)
        self.generation = generation
        self._execute = connection.execute
        self._many = connection.executemany

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Give the rows that a statement answers with."""
        return self._execute(redirected(statement, self.generation), values).fetchall()

    def one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Give the first row, or None."""
        return self._execute(redirected(statement, self.generation), values).fetchone()

    def stream(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Give the rows one after the other, however many."""
        return self._execute(redirected(statement, self.generation), values)

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that writes; give how many rows it wrote."""
        return self._execute(redirected(statement, self.generation), values).rowcount

    def among(
        self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()
    ) -> Iterator[Any]:
        """Give the rows whose column is among the keys; so many keys a statement."""
        statement = redirected(statement, self.generation)
        for start in range(0, len(keys), KEYS_PER_SELECT):
            part = keys[start : start + KEYS_PER_SELECT]
            yield from self._execute(_with_marks(statement, len(part)), (*values, *part))

    def matching(
        self, table: str, columns: Columns, keys: Columns, wanted: Sequence[Row]
    ) -> Iterator[Any]:
        """Give the rows whose key columns are one of the wanted tuples."""
        table = self._table(table)
        for start in range(0, len(wanted), KEYS_PER_SELECT):
            part = wanted[start : start + KEYS_PER_SELECT]
            yield from self._execute(
                _join(table, columns, keys, len(part)), [value for key in part for value in key]
            )

    def insert(
        self, table: str, columns: Columns, rows: Sequence[Row], *, missing_only: bool = False
    ) -> None:
        """Write new rows; those that are there already are a conflict, or let pass."""
        end = " ON CONFLICT DO NOTHING" if missing_only else ""
        self._insert(rows, _insert, self._table(table), columns, end)

    def put(
        self,
        table: str,
        keys: Columns,  # noqa: ARG002  # the table's own key decides here
        columns: Columns,
        rows: Sequence[Row],
        *,
        changed: Columns = (),
    ) -> None:
        """Write rows, new or not; of those that are there change all columns or the named ones."""
        self._insert(rows, _put, self._table(table), columns, changed)

    def add(self, table: str, keys: Columns, sums: Columns, rows: Sequence[Row]) -> None:
        """Add to the sums of rows by key; a row that is not there begins with what is added."""
        self._insert(rows, _add, self._table(table), keys, sums)

    def update(
        self,
        table: str,
        keys: Columns,
        columns: Columns,
        rows: Sequence[Row],
        *,
        raised: Columns = (),
    ) -> None:
        """Set or raise columns of rows that are there; a row is its keys, then the columns."""
        self._many(_update(self._table(table), keys, columns, raised), rows)

    def remove(
        self, table: str, keys: Columns, wanted: Sequence[Row], *, condition: str = ""
    ) -> None:
        """Delete rows by key, where a condition on their own columns holds."""
        self._many(_remove(self._table(table), keys, condition), wanted)

    def _insert(self, rows: Sequence[Row], statement: Callable[..., str], *about: Any) -> None:
        """Run a statement that takes rows, with as many at a time as pay."""
        begin = 0
        for count in self._counts:
            end = len(rows) - (len(rows) - begin) % count
            if begin < end:
                parts = (
                    list(chain.from_iterable(rows[start : start + count]))
                    for start in range(begin, end, count)
                )
                self._many(statement(*about, count), parts)
            begin = end

    def _table(self, table: str) -> str:
        return table_in(table, self.generation)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside when it raises, and nothing else."""
        self._execute("SAVEPOINT fold")
        try:
            yield
        except BaseException as error:
            if is_trouble(error):  # the whole transaction is lost, savepoints and all
                raise StoreUnavailableError(str(error)) from error
            self._execute("ROLLBACK TO fold")
            self._execute("RELEASE fold")
            raise
        self._execute("RELEASE fold")


@functools.cache
def _with_marks(statement: str, count: int) -> str:
    return statement.replace("{among}", f"IN ({', '.join('?' * count)})")


@functools.cache
def _join(table: str, columns: Columns, keys: Columns, count: int) -> str:
    names = ", ".join(f"k{n}" for n in range(len(keys)))
    marks = ", ".join([f"({', '.join('?' * len(keys))})"] * count)
    equal = " AND ".join(f"{quoted(key)} = k{n}" for n, key in enumerate(keys))
    # CROSS JOIN keeps the keys outside, so that each is one look-up in the primary key.
    return (
        f"WITH wanted ({names}) AS (VALUES {marks}) SELECT {listed(columns)} FROM wanted"
        f" CROSS JOIN {table} ON {equal}"
    )


@functools.cache
def _insert(table: str, columns: Columns, end: str, count: int) -> str:
    marks = ", ".join([f"({', '.join('?' * len(columns))})"] * count)
    return f"INSERT INTO {table} ({listed(columns)}) VALUES {marks}{end}"


@functools.cache
def _put(table: str, columns: Columns, changed: Columns, count: int) -> str:
    if not changed:
        return _insert(table, columns, "", count).replace("INSERT", "INSERT OR REPLACE", 1)
    sets = ", ".join(f"{quoted(c)} = excluded.{quoted(c)}" for c in changed)
    return _insert(table, columns, f" ON CONFLICT DO UPDATE SET {sets}", count)


@functools.cache
def _add(table: str, keys: Columns, sums: Columns, count: int) -> str:
    sets = ", ".join(f"{c} = {c} + excluded.{c}" for c in sums)
    return _insert(table, keys + sums, f" ON CONFLICT DO UPDATE SET {sets}", count)


@functools.cache
def _where(keys: Columns) -> str:
    # Numbered: an update has the values of its keys first, but names them last.
    return " AND ".join(f"{quoted(key)} = ?{n}" for n, key in enumerate(keys, start=1))


@functools.cache
def _update(table: str, keys: Columns, columns: Columns, raised: Columns) -> str:
    sets = ", ".join(
        f"{quoted(c)} = {f'{c} + ' if c in raised else ''}?{n}"
        for n, c in enumerate(columns, start=len(keys) + 1)
    )
    return f"UPDATE {table} SET {sets} WHERE {_where(keys)}"


@functools.cache
def _remove(table: str, keys: Columns, condition: str) -> str:
    return f"DELETE FROM {table} WHERE {_where(keys)}" + (f" AND {condition}" if condition else "")
