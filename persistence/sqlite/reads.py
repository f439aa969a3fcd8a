"""Reading the SQLite store."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.sql import SqlReader
from persistence.sql.generations import (
    PAUSED,
    SERVED,
    STANDS_AT,
    is_of_a_generation,
    redirected,
    rows_statement,
    table_in,
)
from persistence.sqlite.first import structure_in
from persistence.sqlite.migrations import SCHEMA_VERSION
from persistence.sqlite.opening import refuse_foreign
from persistence.sqlite.recorder import BUSY_TIMEOUT_S
from persistence.sqlite.session import KEYS_PER_SELECT
from persistence.sqlite.trouble import is_trouble
from projections import VERSION, Pause

READER_CACHE_KIB = 16_384

Shared = tuple[sqlite3.Connection, threading.RLock]


class Readable(Protocol):
    """A ledger in a file, or in memory with the connection and the lock of its writer."""

    @property
    def path(self) -> str:
        """Give where the file lies."""

    @property
    def shared(self) -> Shared | None:
        """Give the connection that a reader shares with a writer, and its lock."""


class ReadableFile(NamedTuple):
    """A ledger's file that another process may have opened."""

    path: str
    shared: Shared | None = None


class SQLiteReader(SqlReader):
    """Implements `persistence.Reader`."""

    contains = "instr({}, ?) > 0"

    def __init__(self, store: Readable) -> None:
        """Open a connection of its own.

        A database in memory is read between the writer's transactions.
        """
        self._lock: threading.RLock | None = None
        if store.shared is not None:
            self._connection, self._lock = store.shared
        else:
            self._connection = _opened(store.path)
        self._depth = 0
        self._generation: int | None = None  # of the snapshot

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            if self._lock is not None:
                with self._lock:
                    return self._in_generation(statement, values)
            if self._depth or not is_of_a_generation(statement):
                return self._in_generation(statement, values)
            with self.snapshot():
                return self._in_generation(statement, values)
        except sqlite3.DatabaseError as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(str(error)) from error

    def _in_generation(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Ask the generation that is served, which one snapshot shows with its rows."""
        if is_of_a_generation(statement):
            statement = redirected(statement, self.serves())
        return self._connection.execute(statement, values).fetchall()

    def serves(self) -> int:
        """Give the generation of the read model that is served."""
        if self._generation is None or self._lock is not None:
            row = self._connection.execute(SERVED, (VERSION,)).fetchone()
            if row is None:
                raise StoreUnavailableError(f"no projections of version {VERSION} are served")
            self._generation = row[0]
        return self._generation

    def _among(self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()) -> list[Any]:
        rows: list[Any] = []
        for start in range(0, len(keys), KEYS_PER_SELECT):
            part = keys[start : start + KEYS_PER_SELECT]
            marks = ", ".join("?" * len(part))
            rows += self._all(statement.replace("{among}", f"IN ({marks})"), (*values, *part))
        return rows

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything inside see the same state."""
        if self._lock is not None:
            with self._lock:
                yield
            return
        self._depth += 1
        if self._depth == 1:
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._generation = None
                self._connection.execute("COMMIT")

    def rows_of(
        self,
        table: str,
        columns: Sequence[str] = (),
        *,
        generation: int | None = None,
        payer: bytes | None = None,
    ) -> Iterator[tuple[object, ...]]:
        """Give the rows of a table by its key: all of them, or those of a payer."""
        with self.snapshot():
            number = generation or self.serves()
            key = self.key_of(table, number)
            statement = rows_statement(table, columns, key, of_payer=payer is not None)
            values = (payer,) * statement.count("?")
            yield from self._connection.execute(redirected(statement, number), values)

    def stands_at(self, generation: int) -> int:
        """Give where the projections that fold stand; the log's head when all are paused."""
        statement = redirected(STANDS_AT, generation)
        position: int = self._connection.execute(statement).fetchone()[0]
        return position

    def paused(self, generation: int) -> dict[str, Pause]:
        """Give the projections that stand still in a generation."""
        rows = self._connection.execute(redirected(PAUSED, generation))
        return {name: Pause(position, reason) for name, position, reason in rows}

    def structure(self, generation: int) -> dict[str, tuple[str, ...]]:
        """Give the columns of the tables that a generation has."""
        return structure_in(self._connection, generation)

    def key_of(self, table: str, generation: int) -> tuple[str, ...]:
        """Give the columns of the primary key that a table has in a generation."""
        rows = self._connection.execute(
            "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk",
            (table_in(table, generation),),
        )
        return tuple(row[0] for row in rows)

    def streamed(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Give the rows of a statement one after the other, however many."""
        yield from self._connection.execute(statement, values)

    def close(self) -> None:
        """Close the connection."""
        if self._lock is None:
            self._connection.close()


class SQLiteFileReader(SQLiteReader):
    """Reads a ledger's file beside the service that has it open, or when none has."""

    def __init__(self, path: Path) -> None:
        """Open it; StoreRefusedError if it is no ledger of this version."""
        if not path.exists():
            raise StoreRefusedError(f"{path} is not there; name another data directory")
        refuse_foreign(path, writes=False)
        self._lock = None
        self._depth = 0
        self._generation = None
        # Without a write-ahead log nobody writes, and nothing need be made beside the file.
        is_written = path.with_name(path.name + "-wal").exists()
        self._connection = _opened(str(path), "" if is_written else "&immutable=1")
        version = self._one("PRAGMA user_version")[0]
        if version != SCHEMA_VERSION:
            self.close()
            raise StoreRefusedError(
                f"{path} has schema version {version}, this version reads {SCHEMA_VERSION}: start"
                " `usage-ledger serve` once"
            )


def _opened(path: str, more: str = "") -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{Path(path).absolute().as_uri()}?mode=ro{more}",  # escapes ? # and %
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_S,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        connection.execute("PRAGMA query_only = on")
    except sqlite3.OperationalError as error:
        raise StoreUnavailableError(str(error)) from error
    return connection
