"""Evidence packs by SQL: what lies beside the log, and a log that is taken over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from persistence.erasures import Personal
from persistence.packs import RecordedId
from persistence.sql.session import Session
from persistence.store import Counts, StreamEvent

Select = Callable[[str, Sequence[Any]], list[Any]]

# As `LOG_COLUMNS`, in the order of a StreamEvent.
_LOG = ("position", "originator_id", "originator_version", "topic", "state")
# A ledger in which one of these has a row is not empty. Rows that are folded follow from the log.
_HOLDINGS = (
    *("stored_events", "inbox", "personal", "deliveries", "dead_letters", "placement"),
    *("intake_positions", "webhooks", "tree_tiles", "tree_heads"),
)


class SqlPackReader:
    """Implements `persistence.PackReader` by a reader's own means."""

    def __init__(self, select: Select) -> None:
        """Ask on the reader's connection."""
        self._all = select

    def recorded_ids(self, *, after: tuple[int, bytes], limit: int) -> list[RecordedId]:
        """Give rows of the inbox beyond a (number of the source, event key), in that order."""
        rows = self._all(
            "SELECT i.source, s.source, i.event_key, i.digest, i.position FROM inbox i"
            " JOIN sources s ON s.number = i.source WHERE (i.source, i.event_key) > (?, ?)"
            " ORDER BY i.source, i.event_key LIMIT ?",
            (*after, limit),
        )
        return [RecordedId(*row) for row in rows]

    def personal_after(self, position: int, limit: int) -> list[Personal]:
        """Give personal rows at higher positions, in order."""
        rows = self._all(
            "SELECT position, salt, fields FROM personal WHERE position > ?"
            " ORDER BY position LIMIT ?",
            (position, limit),
        )
        return [Personal(*row) for row in rows]

    def deliveries(self) -> list[tuple[str, Counts]]:
        """Give every source of delivery with its counts, by name."""
        rows = self._all(
            "SELECT name, received, recorded, repeated, rejected FROM deliveries ORDER BY name", ()
        )
        return [(row[0], Counts(*row[1:])) for row in rows]

    def placements_after(self, payer: bytes, limit: int) -> list[tuple[bytes, int]]:
        """Give payers behind one, with their shards, in order. First shard only."""
        return [
            (row[0], row[1])
            for row in self._all(
                "SELECT payer, shard FROM placement WHERE payer > ? ORDER BY payer LIMIT ?",
                (payer, limit),
            )
        ]

    def streams_of(self, topic: str, *, after: int, up_to: int) -> list[str]:
        """Name the streams that have an event of a topic at positions in (after, up_to]."""
        rows = self._all(
            "SELECT DISTINCT originator_id FROM stored_events"
            " WHERE position > ? AND position <= ? AND topic = ?",
            (after, up_to, topic),
        )
        return [row[0] for row in rows]

    def last_position(self) -> int:
        """Give the position of the log's newest event, or 0."""
        found: int = self._all("SELECT coalesce(max(position), 0) FROM stored_events", ())[0][0]
        return found

    def personal_left_through(self) -> int:
        """Give the position up to which personal fields stayed behind at a take-over, or 0."""
        rows = self._all("SELECT personal_left_through FROM taken_over", ())
        return rows[0][0] if rows else 0


class SqlPackRows:
    """Implements `persistence.PackRows` inside a transaction."""

    def __init__(self, session: Session) -> None:
        """Take the transaction's session."""
        self._session = session

    def holdings(self) -> list[str]:
        """Name the tables that make a ledger one that is not empty."""
        return [table for table in _HOLDINGS if self._session.one(f"SELECT 1 FROM {table} LIMIT 1")]

    def restore(self, events: Sequence[StreamEvent]) -> None:
        """Write events of another store behind the newest one, as they are, where they were."""
        self._session.insert("stored_events", _LOG, events)

    def rename_tree(self, origin: str) -> None:
        """Give a tree without leaves and heads the name that it had in another store."""
        self._session.change("UPDATE tree SET origin = ? WHERE size = 0", (origin,))
        self._session.change(
            "INSERT INTO tree (one, origin, size, fault) VALUES (1, ?, 0, '')"
            " ON CONFLICT DO NOTHING",
            (origin,),
        )

    def leave_personal(self, through: int) -> None:
        """Keep that the personal fields of events up to a position were not taken over."""
        self._session.insert("taken_over", ("one", "personal_left_through"), [(1, through)])
