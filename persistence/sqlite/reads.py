"""Reading the SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from persistence.errors import StoreUnavailableError
from persistence.sql import SqlReader
from persistence.sqlite.recorder import BUSY_TIMEOUT_S
from persistence.sqlite.session import KEYS_PER_SELECT
from persistence.sqlite.store import SQLiteStore
from persistence.sqlite.trouble import is_trouble

READER_CACHE_KIB = 16_384


class SQLiteReader(SqlReader):
    """Implements `persistence.Reader`."""

    def __init__(self, store: SQLiteStore) -> None:
        """Open a connection of its own.

        A database in memory is read between the writer's transactions.
        """
        self._lock = store.memory_lock
        if self._lock is not None:
            self._connection = store.connection
        else:
            self._connection = _opened(store.path)
        self._depth = 0

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            if self._lock is None:
                return self._connection.execute(statement, values).fetchall()
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(str(error)) from error

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
                self._connection.execute("COMMIT")

    def rows_of(self, table: str) -> Iterator[tuple[object, ...]]:
        """Give every row of a table of the read model, in one order whatever wrote it."""
        columns = self._one("SELECT count(*) FROM pragma_table_info(?)", (table,))[0]
        order = ", ".join(str(number + 1) for number in range(columns))
        yield from self._connection.execute(f"SELECT * FROM {table} ORDER BY {order}")

    def close(self) -> None:
        """Close the connection."""
        if self._lock is None:
            self._connection.close()


def _opened(path: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{Path(path).absolute().as_uri()}?mode=ro",  # escapes ? # and %
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
