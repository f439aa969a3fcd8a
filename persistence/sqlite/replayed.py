"""A fresh file into which a log is folded anew: the tables of the read model, and what they are of.

It is a ledger's file without a log. How far the log was read lies in it, so that an interrupted
replay goes on, and whose log it was, so that it goes on with no other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from persistence.errors import StoreRefusedError
from persistence.generations import FIRST
from persistence.sql import SqlTransaction
from persistence.sqlite.definitions import make_missing_indexes
from persistence.sqlite.reads import SQLiteReader
from persistence.sqlite.session import SQLiteSession
from persistence.sqlite.store import SQLiteStore
from projections import VERSION

CACHE_KIB = 262_144  # at a million events the tables are as large as this

# Other threads of Python get on while so many are written. A statement keeps as many rows' values.
ROWS_AT_ONCE = 1000

# No fold asks by these. What is inserted is in no order that they have, so making them at the end
# costs less; and a file that is thrown away does not need them.
_LATE = ("entries_by_user", "entries_by_change")

_TABLE = """
CREATE TABLE IF NOT EXISTS replay (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    payer BLOB NOT NULL,
    first INTEGER NOT NULL,
    position INTEGER NOT NULL,
    digest BLOB NOT NULL
)
"""


class Replayed(NamedTuple):
    """What a file holds."""

    version: int  # of the folds
    payer: bytes  # whose events; empty: everybody's
    first: int  # the position of the first event that counts
    position: int  # up to which the log was read
    digest: bytes  # of the event there, which tells one log from another


class ReplayFile:
    """A folder with such a file."""

    def __init__(self, folder: Path) -> None:
        """Open or make it; StoreRefusedError when something else lies there."""
        self.folder = folder
        # A power cut may damage it; then it is made anew. A killed process leaves it whole.
        self._store = SQLiteStore(folder, synchronous="off", has_log=False)
        # Whoever folds has it. An interruption may come anywhere, so that whoever closes cannot
        # know by itself whether another thread still folds.
        self._writing = threading.RLock()
        self._connection = self._store.connection
        for pragma in (f"cache_size = -{CACHE_KIB}", "secure_delete = off"):
            self._connection.execute(f"PRAGMA {pragma}")
        if self._connection.execute("SELECT 1 FROM stored_events LIMIT 1").fetchone():
            self._store.close()
            raise StoreRefusedError(
                f"{folder} holds a ledger with a log of its own; name a folder that does not exist"
            )
        self._connection.execute(_TABLE)
        if self.replayed() is None:
            for index in _LATE:
                self._connection.execute(f"DROP INDEX IF EXISTS {index}")

    def replayed(self) -> Replayed | None:
        """Say what the file holds; None while it is empty."""
        row = self._connection.execute(
            "SELECT version, payer, first, position, digest FROM replay"
        ).fetchone()
        return Replayed(*row) if row else None

    @contextmanager
    def folding(self) -> Iterator[SqlTransaction]:
        """Begin a transaction; commit, or roll back when the block raises."""
        with self._writing, self._store.transaction_scope():
            yield SqlTransaction(SQLiteSession(self._connection, FIRST, rows_at_once=ROWS_AT_ONCE))

    def interrupt(self) -> None:
        """Let the statement that another thread runs here fail."""
        self._connection.interrupt()

    def keep(self, replayed: Replayed) -> None:
        """Write down how far the log was read, in the transaction that folds."""
        self._connection.execute(
            "INSERT OR REPLACE INTO replay VALUES (1, ?, ?, ?, ?, ?)", replayed
        )

    def finish(self) -> None:
        """Make what whoever asks the file wants to find: the indexes that a ledger has."""
        make_missing_indexes(self._connection)

    def checkpoint(self) -> None:
        """Move pages from the write-ahead log to the file."""
        with self._writing:
            self._store.checkpoint()

    def reader(self) -> SQLiteReader:
        """Give a connection for reading."""
        return SQLiteReader(self._store)

    def close(self) -> None:
        """Close the file, once nobody folds."""
        with self._writing:
            self._store.close()


def nothing_of(payer: bytes, first: int) -> Replayed:
    """Say what a file holds before the first event is folded."""
    return Replayed(VERSION, payer, first, first - 1, b"")
