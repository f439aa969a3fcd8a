"""Reading the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import Connection, Cursor

from persistence.errors import StoreUnavailableError
from persistence.generations import FIRST
from persistence.postgres.database import Database, discard, refuse_wrong_url
from persistence.postgres.opening import refuse_schema
from persistence.postgres.pool import ReaderPool
from persistence.postgres.served import ASK_SERVED, Served, found
from persistence.postgres.session import STREAMED_ROWS, among_array, translated
from persistence.postgres.trouble import is_trouble
from persistence.postgres.types import array_of
from persistence.reading import StatusRows
from persistence.sql import Row, SqlReader
from persistence.sql.generations import (
    PAUSED,
    READ_MODEL,
    STANDS_AT,
    is_of_a_generation,
    rows_statement,
    table_in,
)
from projections import VERSION, Pause

_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# What counts or compares everything reads whole tables and takes its time.
_WHOLE_TABLES = (
    b"SET LOCAL statement_timeout = 0",
    b"SET LOCAL enable_seqscan = on",
)

CONNECTIONS = 2  # of a reader that has its own
_COLUMNS = (
    "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0"
    " AND NOT attisdropped ORDER BY attnum"
)
_KEY = (
    "SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (at, n),"
    " pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = k.at"
    " AND i.indrelid = to_regclass(?) AND i.indisprimary ORDER BY k.n"
)

_Answer = TypeVar("_Answer")


class Readable(Protocol):
    """What a reader borrows its connections from, and asks which generation is served."""

    @property
    def readers(self) -> ReaderPool:
        """Give the pool."""

    @property
    def served(self) -> Served:
        """Give what is known of what is served."""


class PostgresReader(SqlReader):
    """Implements `persistence.Reader`; used by one thread at a time."""

    folds_later = True
    contains = "position(? in {}) > 0"

    def __init__(self, store: Readable) -> None:
        """Borrow a connection when it is first needed, and keep it."""
        self._begin(store.readers, store.served)

    def _begin(self, pool: ReaderPool, served: Served) -> None:
        self._pool = pool
        self._served = served
        self._generation = 0  # of the snapshot; 0 while it is not known
        self._connection: Connection[Row] | None = None
        self._cursor: Cursor[Row] | None = None
        self._depth = 0
        self._streams = 0

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        def question(cursor: Cursor[Row]) -> list[Any]:
            spelt = translated(statement, self._generation_of(statement, cursor))
            return cursor.execute(spelt, values).fetchall()

        return self._ask(question)

    def _among(self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()) -> list[Any]:
        if not keys:
            return []
        asked = (*values, array_of(keys))

        def question(cursor: Cursor[Row]) -> list[Any]:
            spelt = among_array(statement, self._generation_of(statement, cursor))
            return cursor.execute(spelt, asked).fetchall()

        return self._ask(question)

    def _generation_of(self, statement: str, cursor: Cursor[Row]) -> int:
        return self._serves(cursor) if is_of_a_generation(statement) else FIRST

    def _serves(self, cursor: Cursor[Row]) -> int:
        """Give the generation that is asked: a snapshot has one throughout."""

        def ask() -> Row | None:
            return cursor.execute(ASK_SERVED, (VERSION,)).fetchone()

        if not self._depth:
            return self._served.now(ask)
        if not self._generation:
            # As the snapshot shows it, which may be older than what others know.
            self._generation = found(ask())[0]
        return self._generation

    def serves(self) -> int:
        """Give the generation of the read model that is served."""
        return self._ask(self._serves)

    def _ask(self, question: Callable[[Cursor[Row]], _Answer]) -> _Answer:
        """Ask, and once more on a new connection when a kept one turns out to be dead."""
        kept = self._connection is not None
        try:
            return self._ask_once(question)
        except psycopg.errors.UndefinedTable:
            # The thread stood still while its generation was replaced and dropped.
            if self._depth:
                raise
            self._served.forget()
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
            self._ask(self._take_snapshot)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._end()

    def _take_snapshot(self, cursor: Cursor[Row]) -> None:
        # Believed now, it is served when the snapshot is taken, a moment later: whatever was
        # waited for a connection lies before.
        self._generation = self._served.believed()
        cursor.execute(_SNAPSHOT)

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

    def rows_of(
        self,
        table: str,
        columns: Sequence[str] = (),
        *,
        generation: int | None = None,
        payer: bytes | None = None,
    ) -> Iterator[tuple[object, ...]]:
        """Give the rows of a table by its key: all of them, or those of a payer."""
        with self._whole_tables():
            number = generation or self.serves()
            key = self.key_of(table, number)
            statement = rows_statement(table, columns, key, of_payer=payer is not None)
            values = (payer,) * statement.count("?")
            yield from self._stream(translated(statement, number), values)

    def stands_at(self, generation: int) -> int:
        """Give where the projections that fold stand; the log's head when all are paused."""
        spelt = translated(STANDS_AT, generation)
        position: int = self._ask(lambda cursor: cursor.execute(spelt).fetchall())[0][0]
        return position

    def paused(self, generation: int) -> dict[str, Pause]:
        """Give the projections that stand still in a generation."""
        spelt = translated(PAUSED, generation)
        rows = self._ask(lambda cursor: cursor.execute(spelt).fetchall())
        return {name: Pause(position, reason) for name, position, reason in rows}

    def structure(self, generation: int) -> dict[str, tuple[str, ...]]:
        """Give the columns of the tables that a generation has."""
        found: dict[str, tuple[str, ...]] = {}
        for table in READ_MODEL:
            rows = self._all(_COLUMNS, (table_in(table, generation),))
            if rows:
                found[table] = tuple(row[0] for row in rows)
        return found

    def key_of(self, table: str, generation: int) -> tuple[str, ...]:
        """Give the columns of the primary key that a table has in a generation."""
        return tuple(row[0] for row in self._all(_KEY, (table_in(table, generation),)))

    def _stream(self, spelt: bytes, values: Sequence[Any]) -> Iterator[tuple[object, ...]]:
        assert self._connection is not None
        self._streams += 1
        try:
            with self._connection.cursor(f"rows_{self._streams}", binary=True) as cursor:
                cursor.itersize = STREAMED_ROWS
                cursor.execute(spelt, values)
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


class PostgresDatabaseReader(PostgresReader):
    """Reads a ledger's database beside whoever writes there, by connections of its own."""

    def __init__(self, database: Database) -> None:
        """Connect; StoreRefusedError if it is no ledger of this version."""
        refuse_wrong_url(database)
        try:
            connection = database.connect("read", reads=True)
        except (psycopg.Error, OSError) as error:
            raise StoreUnavailableError(f"{database.name}: {error}") from error
        try:
            refuse_schema(connection, database)
        finally:
            discard(connection)
        self._begin(ReaderPool(database, CONNECTIONS), Served())

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._pool.close()
