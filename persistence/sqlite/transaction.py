"""The writer's transaction in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from events import Recorded
from persistence.mapper import LedgerMapper
from persistence.sql import SqlTransaction
from persistence.sqlite.recorder import LedgerRecorder
from persistence.sqlite.session import SQLiteSession

PROBE_BYTES = 65_536  # what a group of a hundred events adds to the write-ahead log


class SQLiteTransaction(SqlTransaction):
    """Implements `persistence.Transaction` on the writer's connection."""

    def __init__(self, recorder: LedgerRecorder, connection: sqlite3.Connection) -> None:
        """Begin where the log ends."""
        super().__init__(SQLiteSession(connection))
        self._recorder = recorder
        self._to_stored_event = LedgerMapper().to_stored_event
        self._connection = connection
        self._head: int = self._one("SELECT coalesce(max(position), 0) FROM stored_events")[0]

    @property
    def head(self) -> int:
        """Position of the newest event."""
        return self._head

    def append(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Append to the log and give the events with their positions."""
        head = self._head
        placed = [
            Recorded(stream, version, event, position)
            for position, (stream, version, event, _) in enumerate(events, start=head + 1)
        ]
        self._recorder._insert_events(  # noqa: SLF001  # inside our transaction: decision 1
            self._connection, [self._to_stored_event(recorded) for recorded in placed], head=head
        )
        self._head = head + len(events)
        return placed

    def lock_projections(self) -> None:
        """Nobody else folds: there is one writer."""

    def probe(self) -> None:
        """Take and give back as much room as a small group needs."""
        self._change("INSERT INTO personal VALUES (-1, x'', zeroblob(?))", (PROBE_BYTES,))
        self._change("DELETE FROM personal WHERE position = -1")
