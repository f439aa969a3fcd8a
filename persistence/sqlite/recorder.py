"""The event store library's SQLite recorder, with a declared position and batched inserts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import InterfaceError, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from persistence.sqlite.schema import LOG

WRITER_CACHE_KIB = 65_536  # holds the upper levels of the two indexes over random ids at 4 M events
BUSY_TIMEOUT_S = 5
STATEMENTS_CACHED = 512  # statements differ by their number of keys, too


class LedgerConnectionPool(SQLiteConnectionPool):
    """Opens connections as the ledger wants them."""

    def __init__(self, *, db_name: str, synchronous: str) -> None:
        """Remember how durable a commit is.

        `full` survives power loss, `normal` only a killed process.
        """
        self._synchronous = synchronous
        super().__init__(db_name=db_name, pool_size=2, lock_timeout=BUSY_TIMEOUT_S)

    def _create_connection(self) -> SQLiteConnection:
        # Not the library's way to connect: it keeps one prepared statement, and ours are many.
        try:
            raw = sqlite3.connect(
                self.db_name,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENTS_CACHED,
            )
        except sqlite3.Error as error:
            raise InterfaceError(error) from error
        for pragma in (
            "journal_mode = wal",
            f"synchronous = {self._synchronous}",
            f"cache_size = -{WRITER_CACHE_KIB}",
            "temp_store = memory",
            "wal_autocheckpoint = 0",  # the checkpointer does it, beside the writer
            "secure_delete = on",  # an erased row must be gone from the file
        ):
            raw.execute(f"PRAGMA {pragma}")
        return SQLiteConnection(raw, max_age=None)


class LedgerDatastore(SQLiteDatastore):
    """The library's datastore over our connections."""

    def __init__(self, db_name: str, *, synchronous: str) -> None:
        """Open nothing yet; the pool connects when it is asked."""
        super().__init__(db_name, originator_id_type="text")
        self.pool = LedgerConnectionPool(db_name=db_name, synchronous=synchronous)


class LedgerRecorder(SQLiteApplicationRecorder):
    """Appends batches; positions are given by the one writer, without gaps."""

    def __init__(self, datastore: LedgerDatastore) -> None:
        """Use our column names instead of the library's column order."""
        super().__init__(datastore)
        self.insert_events_statement = (
            "INSERT INTO stored_events"
            " (position, originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?, ?)"
        )

    def construct_create_table_statements(self) -> list[str]:
        """Give our table: the library's has no declared position."""
        return [LOG]

    def _insert_events(
        self,
        c: SQLiteCursor | sqlite3.Connection,
        stored_events: Sequence[StoredEvent],
        *,
        head: int | None = None,
        **_: Any,
    ) -> Sequence[int]:
        """Append behind `head`; the library, which does not know it, leaves it out."""
        if head is None:
            head = self._head(c)
        positions = range(head + 1, head + 1 + len(stored_events))
        c.executemany(
            self.insert_events_statement,
            [
                (position, s.originator_id, s.originator_version, s.topic, s.state)
                for position, s in zip(positions, stored_events, strict=True)
            ],
        )
        return positions

    @staticmethod
    def _head(c: SQLiteCursor | sqlite3.Connection) -> int:
        statement = "SELECT coalesce(max(position), 0) FROM stored_events"
        if isinstance(c, sqlite3.Connection):
            row = c.execute(statement).fetchone()
        else:
            c.execute(statement)
            row = c.fetchone()
        head: int = row[0]
        return head
