"""The event store library's SQLite recorder, with a declared position and batched inserts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
)

from persistence.sqlite.schema import LOG

WRITER_CACHE_KIB = 65_536  # holds the upper levels of the two indexes over random ids at 4 M events
BUSY_TIMEOUT_S = 5


class LedgerConnectionPool(SQLiteConnectionPool):
    """Opens connections as the ledger wants them."""

    def __init__(self, *, db_name: str, synchronous: str) -> None:
        """Remember how durable a commit is.

        `full` survives power loss, `normal` only a killed process.
        """
        self._synchronous = synchronous
        super().__init__(db_name=db_name, pool_size=2, lock_timeout=BUSY_TIMEOUT_S)

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        raw = connection._sqlite_conn  # noqa: SLF001  # the library gives no other way
        raw.row_factory = None  # our statements read tuples
        for pragma in (
            f"synchronous = {self._synchronous}",
            f"cache_size = -{WRITER_CACHE_KIB}",
            "temp_store = memory",
            "wal_autocheckpoint = 0",  # the checkpointer does it, beside the writer
            "secure_delete = on",  # an erased row must be gone from the file
        ):
            raw.execute(f"PRAGMA {pragma}")
        return connection


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

    def _insert_events(  # type: ignore[override]  # ours takes the bare cursor of our transaction
        self, c: sqlite3.Connection, stored_events: Sequence[StoredEvent], *, head: int, **_: Any
    ) -> Sequence[int]:
        positions = range(head + 1, head + 1 + len(stored_events))
        c.executemany(
            self.insert_events_statement,
            [
                (position, s.originator_id, s.originator_version, s.topic, s.state)
                for position, s in zip(positions, stored_events, strict=True)
            ],
        )
        return positions
