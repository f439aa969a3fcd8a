"""The event store library's PostgreSQL recorder, with explicit positions and a stream of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from persistence.postgres.session import PostgresSession
from persistence.sql.transaction import LOG_COLUMNS


class LedgerDatastore(PostgresDatastore):
    """The library's datastore, which never connects: the ledger's connections are its own."""

    def __init__(self) -> None:
        """Name nothing to connect to."""
        super().__init__("", "", "", "", "", originator_id_type="text")

    def register_type_adapters(self) -> None:
        """Leave out the composite types of the library's inserts: rows are streamed."""


class LedgerRecorder(PostgresApplicationRecorder):
    """Appends batches inside our transaction.

    The library would lock the whole table, take positions from a sequence, which leaves gaps, and
    try again by itself, which tells an append that did commit as a conflict.
    """

    def _insert_events(  # type: ignore[override]  # ours needs positions, and gives them
        self,
        curs: PostgresSession,
        stored_events: Sequence[StoredEvent],
        *,
        head: int,
        **_: Any,
    ) -> Sequence[int]:
        """Append behind `head`, whose row the transaction holds."""
        positions = range(head + 1, head + 1 + len(stored_events))
        curs.insert(
            "stored_events",
            LOG_COLUMNS,
            [
                (position, s.originator_id, s.originator_version, s.topic, s.state)
                for position, s in zip(positions, stored_events, strict=True)
            ],
        )
        return positions
