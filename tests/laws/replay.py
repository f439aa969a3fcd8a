"""A ledger's log folded anew into a fresh store, and every row of a store, to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from events import Recorded, decode
from persistence import StreamEvent
from persistence.sql.tables import TABLES
from persistence.sqlite import SQLiteReader, SQLiteStore
from projections import ReadModel

READ_MODEL = tuple(table for tables in TABLES.values() for table in tables)
INTAKE = ("sources", "inbox", "personal", "deliveries", "dead_letters")
# Where each projection stands belongs to the rows that it made.
EVERY_TABLE = ("stored_events", *INTAKE, "projections", *READ_MODEL)

Rows = dict[str, list[tuple[Any, ...]]]


def rows_of(store: SQLiteStore, tables: tuple[str, ...] = EVERY_TABLE) -> Rows:
    """Every row of these tables, sorted, by table."""
    return {
        table: sorted(store.connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
        for table in tables
    }


@contextmanager
def replayed(store: SQLiteStore, *, batch_events: int) -> Iterator[SQLiteStore]:
    """A fresh store in memory with the same log, folded in batches of so many events."""
    fresh = SQLiteStore(None)
    try:
        log = _log_of(store)
        for start in range(0, len(log), batch_events):
            batch = log[start : start + batch_events]
            with fresh.transaction() as transaction:
                appended = transaction.append([_recorded(event) for event in batch])
                standing, paused = transaction.standing()
                model = ReadModel(transaction.rows, transaction.positions, standing, paused)
                model.fold(appended)
        yield fresh
    finally:
        fresh.close()


def _log_of(store: SQLiteStore) -> list[StreamEvent]:
    reader = SQLiteReader(store)
    try:
        return reader.log(after=0, limit=1_000_000)
    finally:
        reader.close()


def _recorded(event: StreamEvent) -> Recorded:
    return Recorded(event.stream, event.version, decode(event.topic, event.state), event.position)
