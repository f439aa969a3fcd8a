"""Transactions in PostgreSQL: a writer's, which appends, and those beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from events import Recorded
from persistence.mapper import LedgerMapper
from persistence.postgres.recorder import LedgerRecorder
from persistence.postgres.served import found
from persistence.postgres.session import PostgresSession
from persistence.sql import SqlTransaction
from persistence.sql.packs import SqlPackRows
from persistence.store import StreamEvent
from projections import VERSION

PROBE_BYTES = 65_536  # what a group of a hundred events takes; random, so that it is not squeezed

LOCK_HEAD = "SELECT head FROM log_head FOR UPDATE"
READ_HEAD = "SELECT head FROM log_head"
LOCK_SERVED = "SELECT generation, coming FROM served WHERE version = ? FOR UPDATE"
# In one order everywhere, so that two who fold wait for each other and not in a ring.
LOCK_PROJECTIONS = "SELECT name FROM projections ORDER BY name FOR UPDATE"


class _PackRows(SqlPackRows):
    """A log that is taken over moves the head, too."""

    def restore(self, events: Sequence[StreamEvent]) -> None:
        """Write events of another store behind the newest one, as they are, where they were."""
        super().restore(events)
        self._session.change("UPDATE log_head SET head = ?", (events[-1].position,))


class PostgresTransaction(SqlTransaction):
    """Implements `persistence.Transaction`."""

    def __init__(
        self, session: PostgresSession, recorder: LedgerRecorder, *, appends: bool
    ) -> None:
        """Take the append lock, or leave it to others."""
        super().__init__(session)
        self._postgres = session
        self.packs = _PackRows(session)
        self._recorder = recorder
        self._appends = appends
        self._to_stored_event = LedgerMapper().to_stored_event
        self._head: int | None = self._one(LOCK_HEAD)[0] if appends else None

    @property
    def head(self) -> int:
        """Position of the newest event; without the append lock, when it was first asked for."""
        if self._head is None:
            self._head = self._one(READ_HEAD)[0]
        assert self._head is not None
        return self._head

    def append(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Append to the log and give the events with their positions."""
        assert self._appends, "only a transaction with the append lock appends"
        head = self.head
        placed = [
            Recorded(stream, version, event, position)
            for position, (stream, version, event, _) in enumerate(events, start=head + 1)
        ]
        self._recorder._insert_events(  # noqa: SLF001  # inside our transaction: decision 1
            self._postgres, [self._to_stored_event(recorded) for recorded in placed], head=head
        )
        self._head = head + len(events)
        self._change("UPDATE log_head SET head = ?", (self._head,))
        return placed

    def lock_projections(self) -> None:
        """Let nobody else fold until the transaction ends, nor change what is served.

        Who changes it takes the same locks in the same order. So what is folded here is folded
        into what is served, and once that changes, the old generation stands still.
        """
        generation, _ = found(self._one(LOCK_SERVED, (VERSION,)))
        self._postgres.go_on_in(generation)
        self._all(LOCK_PROJECTIONS)

    def probe(self) -> None:
        """Take and give back as much room as a small group needs."""
        text = os.urandom(PROBE_BYTES).hex()
        self._change("INSERT INTO jobs VALUES ('', 0, 0, ?)", (text,))
        self._change("DELETE FROM jobs WHERE name = ''")
