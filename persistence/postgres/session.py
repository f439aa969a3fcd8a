"""A PostgreSQL connection as the shared SQL wants it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import Connection

from persistence.errors import StoreUnavailableError
from persistence.generations import FIRST
from persistence.postgres.served import ASK_SERVED, Ask
from persistence.postgres.trouble import is_trouble
from persistence.postgres.types import array_of, arrays, type_of
from persistence.sql import Columns, Row, listed, quoted
from persistence.sql.generations import (
    is_in_generations,
    is_of_a_generation,
    redirected,
    table_in,
)
from projections import VERSION

# From so many rows on, a stream into the table costs less than arrays; it takes more round trips.
COPY_ROWS_MIN = 50
STREAMED_ROWS = 5_000  # rows that a server-side cursor sends at a time

_INDEXED_BY = re.compile(r" INDEXED BY \w+")


@functools.cache
def translated(statement: str, generation: int = FIRST) -> bytes:
    """Give a statement as PostgreSQL spells it, for a generation."""
    spelt = redirected(_INDEXED_BY.sub("", statement), generation)
    spelt = spelt.replace("%", "%%").replace("?", "%s")
    return spelt.replace("x''", "''::bytea").replace("CROSS JOIN", "JOIN").encode()


@functools.cache
def among_array(statement: str, generation: int = FIRST) -> bytes:
    """Give a statement whose keys are one array."""
    return translated(statement.replace("{among}", "= ANY(?)"), generation)


class PostgresSession:
    """Implements `persistence.sql.Session`: many rows are arrays, or a stream."""

    def __init__(
        self, connection: Connection[Row], serves: Callable[[Ask], int], generation: int = 0
    ) -> None:
        """Take a connection inside a transaction, or about to begin one.

        `serves` tells which generation is served, when a statement first needs to know; unless a
        generation is given.
        """
        self.connection = connection
        self._serves = serves
        self._generation = self._given = generation
        self.rows_written = 0
        self._cursor = connection.cursor(binary=True)
        self._streams = 0

    @property
    def generation(self) -> int:
        """Give the generation that is read and written."""
        if not self._generation:
            self._generation = self._serves(self.ask_served)
        return self._generation

    def ask_served(self) -> Row | None:
        """Ask which generation this version serves, and which may come."""
        return self._cursor.execute(ASK_SERVED, (VERSION,)).fetchone()

    def begin(self, generation: int = 0) -> None:
        """Begin a transaction, in a generation, or in the one that is served."""
        self._generation = generation or self._given
        self.control(b"BEGIN")

    def go_on_in(self, generation: int) -> None:
        """Read and write another generation from now on, until the transaction ends."""
        self._generation = generation

    def _spelt(self, statement: str) -> bytes:
        number = self.generation if is_of_a_generation(statement) else FIRST
        return translated(statement, number)

    def _table(self, table: str) -> str:
        return table_in(table, self.generation) if is_in_generations(table) else table

    def control(self, statement: bytes) -> None:
        """Begin, commit, undo, set: one message, for there is nothing to plan."""
        self._cursor.execute(statement, prepare=False)

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Give the rows that a statement answers with."""
        return self._cursor.execute(self._spelt(statement), values).fetchall()

    def one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Give the first row, or None."""
        return self._cursor.execute(self._spelt(statement), values).fetchone()

    def stream(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Give the rows one after the other, however many."""
        self._streams += 1
        with self.connection.cursor(f"stream_{self._streams}", binary=True) as cursor:
            cursor.itersize = STREAMED_ROWS
            cursor.execute(self._spelt(statement), values)
            yield from cursor

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that writes; give how many rows it wrote."""
        return self._wrote(self._spelt(statement), values)

    def _wrote(self, statement: bytes, values: Sequence[Any]) -> int:
        count = self._cursor.execute(statement, values).rowcount
        self.rows_written += count
        return count

    def among(
        self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()
    ) -> Iterator[Any]:
        """Give the rows whose column is among the keys; all keys are one array."""
        if not keys:
            return iter(())
        number = self.generation if is_of_a_generation(statement) else FIRST
        asked = (*values, array_of(keys))
        return iter(self._cursor.execute(among_array(statement, number), asked).fetchall())

    def matching(
        self, table: str, columns: Columns, keys: Columns, wanted: Sequence[Row]
    ) -> Iterator[Any]:
        """Give the rows whose key columns are one of the wanted tuples."""
        if not wanted:
            return iter(())
        statement = _join(self._table(table), columns, keys)
        return iter(self._cursor.execute(statement, arrays(table, keys, wanted)).fetchall())

    def insert(
        self, table: str, columns: Columns, rows: Sequence[Row], *, missing_only: bool = False
    ) -> None:
        """Write new rows; those that are there already are a conflict, or let pass."""
        if missing_only or len(rows) < COPY_ROWS_MIN:
            statement = _insert(self._table(table), columns, missing_only=missing_only)
            self._write(statement, table, columns, rows)
            return
        with self._cursor.copy(_copy(self._table(table), columns)) as copy:
            copy.set_types([type_of(table, column) for column in columns])
            for row in rows:
                copy.write_row(row)
        self.rows_written += len(rows)

    def put(
        self,
        table: str,
        keys: Columns,
        columns: Columns,
        rows: Sequence[Row],
        *,
        changed: Columns = (),
    ) -> None:
        """Write rows, new or not; of those that are there change all columns or the named ones."""
        self._write(_put(self._table(table), keys, columns, changed), table, columns, rows)

    def add(self, table: str, keys: Columns, sums: Columns, rows: Sequence[Row]) -> None:
        """Add to the sums of rows by key; a row that is not there begins with what is added."""
        self._write(_add(self._table(table), keys, sums), table, keys + sums, rows)

    def update(
        self,
        table: str,
        keys: Columns,
        columns: Columns,
        rows: Sequence[Row],
        *,
        raised: Columns = (),
    ) -> None:
        """Set columns of rows that are there, or raise them by what is given."""
        self._write(_update(self._table(table), keys, columns, raised), table, keys + columns, rows)

    def remove(
        self, table: str, keys: Columns, wanted: Sequence[Row], *, condition: str = ""
    ) -> None:
        """Delete rows by key, where a condition on their own columns holds."""
        self._write(_remove(self._table(table), keys, condition), table, keys, wanted)

    def _write(self, statement: bytes, table: str, columns: Columns, rows: Sequence[Row]) -> None:
        if rows:
            self._wrote(statement, arrays(table, columns, rows))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside when it raises, and nothing else."""
        self.control(b"SAVEPOINT fold")
        try:
            yield
        except BaseException as error:
            if is_trouble(error) or self.connection.broken:  # the whole transaction is lost
                raise StoreUnavailableError(str(error)) from error
            self.control(b"ROLLBACK TO SAVEPOINT fold")
            self.control(b"RELEASE SAVEPOINT fold")
            raise
        self.control(b"RELEASE SAVEPOINT fold")


def _given(columns: Columns) -> str:
    """Give the arrays of a statement as rows, one column each."""
    return f"unnest({', '.join(['%s'] * len(columns))}) AS given ({listed(columns)})"


def _same(table: str, keys: Columns) -> str:
    return " AND ".join(f"{table}.{quoted(key)} = given.{quoted(key)}" for key in keys)


@functools.cache
def _copy(table: str, columns: Columns) -> bytes:
    return f"COPY {table} ({listed(columns)}) FROM STDIN (FORMAT binary)".encode()


@functools.cache
def _join(table: str, columns: Columns, keys: Columns) -> bytes:
    found = ", ".join(f"{table}.{quoted(column)}" for column in columns)
    return f"SELECT {found} FROM {_given(keys)} JOIN {table} ON {_same(table, keys)}".encode()


def _new(table: str, columns: Columns) -> str:
    names = listed(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {_given(columns)}"


@functools.cache
def _insert(table: str, columns: Columns, *, missing_only: bool) -> bytes:
    return (_new(table, columns) + (" ON CONFLICT DO NOTHING" if missing_only else "")).encode()


@functools.cache
def _put(table: str, keys: Columns, columns: Columns, changed: Columns) -> bytes:
    sets = ", ".join(
        f"{quoted(column)} = excluded.{quoted(column)}"
        for column in changed or columns
        if column not in keys
    )
    return f"{_new(table, columns)} ON CONFLICT ({listed(keys)}) DO UPDATE SET {sets}".encode()


@functools.cache
def _add(table: str, keys: Columns, sums: Columns) -> bytes:
    sets = ", ".join(f"{column} = {table}.{column} + excluded.{column}" for column in sums)
    return f"{_new(table, keys + sums)} ON CONFLICT ({listed(keys)}) DO UPDATE SET {sets}".encode()


@functools.cache
def _update(table: str, keys: Columns, columns: Columns, raised: Columns) -> bytes:
    sets = ", ".join(
        f"{quoted(c)} = {f'{table}.{c} + ' if c in raised else ''}given.{quoted(c)}"
        for c in columns
    )
    return (
        f"UPDATE {table} SET {sets} FROM {_given(keys + columns)} WHERE {_same(table, keys)}"
    ).encode()


@functools.cache
def _remove(table: str, keys: Columns, condition: str) -> bytes:
    end = f" AND {condition}" if condition else ""
    return f"DELETE FROM {table} USING {_given(keys)} WHERE {_same(table, keys)}{end}".encode()
