"""Reading the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, Cursor

from persistence.errors import StoreUnavailableError
from persistence.postgres.session import STREAMED_ROWS, among_array, translated
from persistence.postgres.store import PostgresStore
from persistence.postgres.trouble import is_trouble
from persistence.postgres.types import array_of
from persistence.reading import StatusRows
from persistence.sql import Row, SqlReader

_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# What counts or compares everything reads whole tables and takes its time.
_WHOLE_TABLES = (
    b"SET LOCAL statement_timeout = 0",
    b"SET LOCAL enable_seqscan = on",
)

_Answer = TypeVar("_Answer")


class PostgresReader(SqlReader):
    """Implements `persistence.Reader`; used by one thread at a time."""

    folds_later = True

    def __init__(self, store: PostgresStore) -> None:
        """Borrow a connection when it is first needed, and keep it."""
        self._pool = store.readers
        self._connection: Connection[Row] | None = None
        self._cursor: Cursor[Row] | None = None
        self._depth = 0
        self._streams = 0

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        spelt = translated(statement)
        return self._ask(lambda cursor: cursor.execute(spelt, values).fetchall())

    def _among(self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()) -> list[Any]:
        if not keys:
            return []
        spelt, asked = among_array(statement), (*values, array_of(keys))
        return self._ask(lambda cursor: cursor.execute(spelt, asked).fetchall())

    def _ask(self, question: Callable[[Cursor[Row]], _Answer]) -> _Answer:
        """Ask, and once more on a new connection when a kept one turns out to be dead."""
        kept = self._connection is not None
        try:
            return self._ask_once(question)
        except StoreUnavailableError:
            if not kept or self._depth or self._connection is not None:
                raise
        return self._ask_once(question)

    def _ask_once(self, question: Callable[[Cursor[Row]], _Answer]) -> _Answer:
        cursor = self._borrowed()
        try:
            return question(cursor)
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            if cursor.connection.closed:
                self._give_back()
            raise StoreUnavailableError(" ".join(str(error).split())) from error

    def _borrowed(self) -> Cursor[Row]:
        if self._cursor is None:
            self._connection = self._pool.take()
            self._cursor = self._connection.cursor(binary=True)
        return self._cursor

    def _give_back(self) -> None:
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            self._pool.give_back(connection)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything inside see the same state."""
        if self._depth == 0:
            self._ask(lambda cursor: cursor.execute(_SNAPSHOT))
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._end()

    def _end(self) -> None:
        """End the snapshot; nothing was written, so how it ends does not matter."""
        if self._cursor is None:
            return
        try:
            # Not ROLLBACK: after one psycopg forgets every prepared statement.
            self._cursor.execute(b"COMMIT")
        except psycopg.Error:
            self._cursor.connection.close()
            self._give_back()

    @contextmanager
    def _whole_tables(self) -> Iterator[None]:
        with self.snapshot():
            self._ask(lambda cursor: [cursor.execute(statement) for statement in _WHOLE_TABLES])
            yield

    def rows_of(self, table: str) -> Iterator[tuple[object, ...]]:
        """Give every row of a table of the read model, in one order whatever wrote it."""
        with self._whole_tables():
            columns = self._all(
                "SELECT count(*) FROM pg_attribute WHERE attrelid = ?::regclass AND attnum > 0"
                " AND NOT attisdropped",
                (table,),
            )[0][0]
            # As SQLite has it, nothing comes before something.
            order = ", ".join(f"{number + 1} NULLS FIRST" for number in range(columns))
            yield from self._stream(f"SELECT * FROM {table} ORDER BY {order}")

    def _stream(self, statement: str) -> Iterator[tuple[object, ...]]:
        assert self._connection is not None
        self._streams += 1
        try:
            with self._connection.cursor(f"rows_{self._streams}", binary=True) as cursor:
                cursor.itersize = STREAMED_ROWS
                cursor.execute(translated(statement))
                yield from cursor
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(" ".join(str(error).split())) from error

    def status(self, *, runs_since: int, stopped_since: int) -> StatusRows:
        """Tell how the ledger is."""
        with self._whole_tables():
            return super().status(runs_since=runs_since, stopped_since=stopped_since)

    def audit(self) -> Iterator[tuple[str, int, list[str]]]:
        """Recompute the laws: give (law, how many compared, breaches) one after the other."""
        with self._whole_tables():
            yield from super().audit()

    def close(self) -> None:
        """Give the connection back."""
        self._give_back()
