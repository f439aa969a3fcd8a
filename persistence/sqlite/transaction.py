"""The writer's transaction in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from events import Recorded
from persistence.errors import StoreUnavailableError
from persistence.mapper import LedgerMapper
from persistence.sql import SqlTransaction
from persistence.sqlite.recorder import LedgerRecorder
from persistence.sqlite.session import SQLiteSession
from projections import VERSION

PROBE_BYTES = 65_536  # what a group of a hundred events adds to the write-ahead log
# What an erasure writes anew, with its key. Whoever writes waits for it, some 20 ms a megabyte.
_SCRUBBED = {
    "erasures": "user",
    "dead_letters": "id",
    "webhooks": "event_id",
    "billing_troubles": "payer",
    "billing_run": "one",
    "jobs": "name",
}
_BEGIN = (
    "SELECT (SELECT coalesce(max(position), 0) FROM stored_events),"
    " (SELECT generation FROM served WHERE version = ?)"
)


class SQLiteTransaction(SqlTransaction):
    """Implements `persistence.Transaction` on the writer's connection."""

    def __init__(self, recorder: LedgerRecorder, connection: sqlite3.Connection) -> None:
        """Begin where the log ends, in the generation that this version serves now."""
        head, generation = connection.execute(_BEGIN, (VERSION,)).fetchone()
        if generation is None:
            raise StoreUnavailableError(f"no projections of version {VERSION} are served")
        super().__init__(SQLiteSession(connection, generation))
        self._head: int = head
        self._recorder = recorder
        self._to_stored_event = LedgerMapper().to_stored_event
        self._connection = connection

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
        """Take and give back as much room as a small group needs.

        Not in a table whose rows are erased one day: this moves its neighbours on their page.
        """
        self._change("INSERT INTO jobs VALUES ('', 0, 0, hex(zeroblob(?)))", (PROBE_BYTES // 2,))
        self._change("DELETE FROM jobs WHERE name = ''")

    def scrub_pages(self) -> None:
        """Write what was erased, personal data apart, anew on pages that were wiped.

        `secure_delete` wipes a row that is deleted and a page that is given back. It does not wipe
        where a row stood that moved to another page, when its own was divided or joined.
        """
        for table, key in _SCRUBBED.items():
            self._change(f"CREATE TABLE scrubbed AS SELECT * FROM {table} ORDER BY {key}")
            self._change(f"DELETE FROM {table}")
            self._change(f"INSERT INTO {table} SELECT * FROM scrubbed ORDER BY {key}")
            self._change("DROP TABLE scrubbed")
