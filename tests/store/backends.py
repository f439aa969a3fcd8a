"""The backends that the suite runs on. A new one is a class with these four members."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol

import psycopg
import pytest

from persistence import Reader, WritableStore
from persistence.postgres import Database, PostgresReader, PostgresStore
from persistence.sqlite import SQLiteReader, SQLiteStore
from tests.laws.replay import EVERY_TABLE, Rows, rows_of

# In the order of what they need; the last has a mark, because it needs a server.
BACKENDS = ("memory", "file", pytest.param("postgres", marks=pytest.mark.postgres))
EMBEDDED = ("memory", "file")


class Backend(Protocol):
    """A store, opened; `store` is the one writer's."""

    store: WritableStore
    conflict: type[Exception]  # what a row raises that is there already

    def reader(self) -> Reader:
        """A connection of its own; the caller closes it."""

    def rows(self) -> Rows:
        """Every row of every table, by table."""

    def close(self) -> None:
        """Close store and readers."""


class SQLiteBackend:
    """In a file, or in memory without a folder."""

    def __init__(self, data_dir: Path | None) -> None:
        self._sqlite = SQLiteStore(data_dir, synchronous="off")
        self.store: WritableStore = self._sqlite
        self.conflict: type[Exception] = sqlite3.IntegrityError

    def reader(self) -> Reader:
        return SQLiteReader(self._sqlite)

    def rows(self) -> Rows:
        return rows_of(self._sqlite, (*EVERY_TABLE, "jobs"))

    def close(self) -> None:
        self.store.close()


class PostgresBackend:
    """In a database of its own."""

    def __init__(self, url: str) -> None:
        self._postgres = PostgresStore(Database(url), pool_size=4)
        self.store: WritableStore = self._postgres
        self.conflict: type[Exception] = psycopg.errors.UniqueViolation

    def reader(self) -> Reader:
        return PostgresReader(self._postgres)

    def rows(self) -> Rows:
        reader = PostgresReader(self._postgres)
        try:
            return {
                table: sorted(reader.rows_of(table), key=repr) for table in (*EVERY_TABLE, "jobs")
            }
        finally:
            reader.close()

    def close(self) -> None:
        self.store.close()
