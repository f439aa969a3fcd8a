"""The writer's transaction in SQLite."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from events import Recorded
from persistence.errors import PositionMovedError
from persistence.mapper import LedgerMapper
from persistence.sqlite.recorder import LedgerRecorder
from persistence.sqlite.rows import KEYS_PER_SELECT, SQLiteRows
from persistence.store import (
    Counts,
    DeadLetter,
    EventKey,
    Inboxed,
    Personal,
    SourceKey,
    StreamEvent,
)
from projections import VERSION, Pause

FILE_NAME = "ledger.db"
PROBE_BYTES = 65_536  # what a group of a hundred events adds to the write-ahead log

log = logging.getLogger(__name__)


class SQLiteTransaction:
    """Implements `persistence.Transaction` on the writer's connection."""

    def __init__(self, recorder: LedgerRecorder, connection: sqlite3.Connection) -> None:
        """Begin where the log ends."""
        self._recorder = recorder
        self._to_stored_event = LedgerMapper().to_stored_event
        self._connection = connection
        self._execute = connection.execute
        self._many = connection.executemany
        self.rows = SQLiteRows(connection)
        self.positions = self.rows
        self._head: int = self._execute(
            "SELECT coalesce(max(position), 0) FROM stored_events"
        ).fetchone()[0]

    @property
    def head(self) -> int:
        """Position of the newest event."""
        return self._head

    def standing(self) -> tuple[dict[str, int], dict[str, Pause]]:
        """Give where each projection stands, and which are paused."""
        standing: dict[str, int] = {}
        paused: dict[str, Pause] = {}
        for name, position, paused_at, reason in self._execute(
            "SELECT name, position, paused_at, paused_reason FROM projections"
        ):
            standing[name] = position
            if paused_at is not None:
                paused[name] = Pause(paused_at, reason)
        return standing, paused

    def outdated(self) -> list[str]:
        """Name the projections that another version of the folds has filled."""
        rows = self._execute("SELECT name FROM projections WHERE version <> ?", (VERSION,))
        return [row[0] for row in rows]

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

    def streams(self, ids: Sequence[str]) -> dict[str, list[StreamEvent]]:
        """Load whole streams, each in order; streams without events are left out."""
        found: dict[str, list[StreamEvent]] = {}
        for start in range(0, len(ids), KEYS_PER_SELECT):
            part = ids[start : start + KEYS_PER_SELECT]
            marks = ", ".join("?" * len(part))
            for row in self._execute(
                "SELECT position, originator_id, originator_version, topic, state"
                f" FROM stored_events WHERE originator_id IN ({marks})"
                " ORDER BY originator_id, originator_version",
                part,
            ):
                event = StreamEvent(*row)
                found.setdefault(event.stream, []).append(event)
        return found

    def log(self, *, after: int, limit: int) -> list[StreamEvent]:
        """Read the log in order."""
        rows = self._execute(
            "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
            " WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        return [StreamEvent(*row) for row in rows]

    def version(self, stream: str) -> int:
        """Give the version of a stream's newest event; 0 without events."""
        version: int = self._execute(
            "SELECT coalesce(max(originator_version), 0) FROM stored_events"
            " WHERE originator_id = ?",
            (stream,),
        ).fetchone()[0]
        return version

    def source_number(self, source: str) -> int:
        """Give the number of a source, a new one if it is new."""
        return self._number("sources", "number", "source", source)

    def delivery(self, name: str) -> int:
        """Give the number of a source of delivery, a new one if it is new."""
        return self._number("deliveries", "id", "name", name)

    def delivery_name(self, number: int) -> str:
        """Give the name of a source of delivery."""
        name: str = self._execute("SELECT name FROM deliveries WHERE id = ?", (number,)).fetchone()[
            0
        ]
        return name

    def _number(self, table: str, number: str, column: str, value: str) -> int:
        row = self._execute(f"SELECT {number} FROM {table} WHERE {column} = ?", (value,)).fetchone()
        if row is None:
            row = self._execute(
                f"INSERT INTO {table} ({column}) VALUES (?) RETURNING {number}", (value,)
            ).fetchone()
        found: int = row[0]
        return found

    def inbox(self, keys: Sequence[EventKey]) -> dict[EventKey, Inboxed]:
        """Find recorded events by source and id."""
        found: dict[EventKey, Inboxed] = {}
        by_source: dict[int, list[bytes]] = {}
        for source, key in keys:
            by_source.setdefault(source, []).append(key)
        for source, event_keys in by_source.items():
            for start in range(0, len(event_keys), KEYS_PER_SELECT):
                part = event_keys[start : start + KEYS_PER_SELECT]
                marks = ", ".join("?" * len(part))
                for key, digest, position in self._execute(
                    "SELECT event_key, digest, position FROM inbox"
                    f" WHERE source = ? AND event_key IN ({marks})",
                    [source, *part],
                ):
                    found[source, key] = Inboxed(digest, position)
        return found

    def add_inbox(self, rows: Iterable[tuple[int, bytes, bytes, int]]) -> None:
        """Keep (source, event key, digest, position) of recorded events."""
        self._many("INSERT INTO inbox VALUES (?, ?, ?, ?)", rows)

    def add_personal(self, rows: Iterable[Personal]) -> None:
        """Keep personal rows."""
        self._many("INSERT INTO personal VALUES (?, ?, ?)", rows)

    def personal(self, position: int) -> Personal | None:
        """Load a personal row; None once erased."""
        row = self._execute("SELECT * FROM personal WHERE position = ?", (position,)).fetchone()
        return Personal(*row) if row else None

    def count(self, delivery: int, counts: Counts) -> None:
        """Add to the counts of a source of delivery (moves between counts may be negative)."""
        self._execute(
            "UPDATE deliveries SET received = received + ?, recorded = recorded + ?,"
            " repeated = repeated + ?, rejected = rejected + ? WHERE id = ?",
            (*counts, delivery),
        )

    def merge_deliveries(self, *, prefix: str, into: str, keep: int) -> int:
        """Add up all but the newest sources of delivery with a prefix; give how many."""
        old = [
            row[0]
            for row in self._execute(
                "SELECT id FROM deliveries WHERE name GLOB ? AND name <> ?"
                " ORDER BY id DESC LIMIT -1 OFFSET ?",
                (prefix + "*", into, keep),
            )
        ]
        if not old:
            return 0
        merged = self.delivery(into)
        for start in range(0, len(old), KEYS_PER_SELECT):
            part = old[start : start + KEYS_PER_SELECT]
            marks = ", ".join("?" * len(part))
            sums = self._execute(
                "SELECT sum(received), sum(recorded), sum(repeated), sum(rejected) FROM deliveries"
                f" WHERE id IN ({marks})",
                part,
            ).fetchone()
            self.count(merged, Counts(*sums))
            self._execute(
                f"UPDATE dead_letters SET delivery = ? WHERE delivery IN ({marks})", [merged, *part]
            )
            self._execute(f"DELETE FROM deliveries WHERE id IN ({marks})", part)
        return len(old)

    def dead_letters(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Find the ids of dead letters by the digest of their bytes."""
        found: dict[bytes, int] = {}
        for start in range(0, len(digests), KEYS_PER_SELECT):
            part = digests[start : start + KEYS_PER_SELECT]
            marks = ", ".join("?" * len(part))
            found.update(
                self._execute(
                    f"SELECT digest, id FROM dead_letters WHERE digest IN ({marks})", part
                )
            )
        return found

    def dead_letter(self, letter_id: int) -> DeadLetter | None:
        """Load one dead letter."""
        row = self._execute("SELECT * FROM dead_letters WHERE id = ?", (letter_id,)).fetchone()
        return DeadLetter(*row) if row else None

    def add_dead_letter(self, letter: DeadLetter) -> int:
        """Keep a rejected line; its id is given by the store."""
        added = self._execute(
            "INSERT INTO dead_letters (digest, kind, delivery, line, reason, original, size_bytes,"
            " first_rejected, last_rejected, times) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            letter[1:],
        )
        assert added.lastrowid is not None
        return added.lastrowid

    def dead_letter_repeated(self, ids: Iterable[int], now: int) -> None:
        """Raise the counters of dead letters whose bytes came again."""
        self._many(
            "UPDATE dead_letters SET times = times + 1, last_rejected = ? WHERE id = ?",
            [(now, letter_id) for letter_id in ids],
        )

    def dead_letter_reason(self, letter_id: int, reason: str, now: int) -> None:
        """Write today's reason to a dead letter that was retried in vain."""
        self._execute(
            "UPDATE dead_letters SET reason = ?, last_rejected = ? WHERE id = ?",
            (reason, now, letter_id),
        )

    def remove_dead_letters(self, ids: Iterable[int]) -> None:
        """Forget dead letters."""
        self._many("DELETE FROM dead_letters WHERE id = ?", [(letter_id,) for letter_id in ids])

    def expired_dead_letters(self, before: int, limit: int) -> list[int]:
        """Give ids of dead letters that were last rejected before a time."""
        rows = self._execute(
            "SELECT id FROM dead_letters WHERE last_rejected < ? LIMIT ?", (before, limit)
        )
        return [row[0] for row in rows]

    def due_cost_centers(self, now: int, limit: int, after: bytes) -> list[bytes]:
        """Give payers, in order, whose non-Stripe cycle has ended by now."""
        rows = self._execute(
            "SELECT payer FROM cost_centers WHERE strategy = 'other' AND next_billing <= ?"
            " AND payer > ? ORDER BY payer LIMIT ?",
            (now, after, limit),
        )
        return [row[0] for row in rows]

    def balance(self, payer: bytes) -> tuple[int, int]:
        """Give (balance in cents, live events) as folded so far."""
        row = self._execute(
            "SELECT booked_cents + running_cents, live_events FROM balances WHERE payer = ?",
            (payer,),
        ).fetchone()
        return row or (0, 0)

    def probe(self) -> None:
        """Take and give back as much room as a small group needs."""
        self._execute("INSERT INTO personal VALUES (-1, x'', zeroblob(?))", (PROBE_BYTES,))
        self._execute("DELETE FROM personal WHERE position = -1")

    def job_ran(self, name: str, *, started: int, finished: int | None, error: str) -> None:
        """Keep when a job last ran."""
        self._execute(
            "INSERT INTO jobs VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " last_started = excluded.last_started, last_finished ="
            " coalesce(excluded.last_finished, last_finished), last_error = excluded.last_error",
            (name, started, finished, error),
        )

    def resume_projections(self, paused: str) -> None:
        """End the pause of the projections that are paused for this reason."""
        self._execute(
            "UPDATE projections SET paused_at = NULL, paused_reason = NULL WHERE paused_reason = ?",
            (paused,),
        )

    def lock_projections(self) -> None:
        """Nobody else folds: there is one writer."""

    def intake_position(self, key: SourceKey) -> int | None:
        """Give the next offset to take of a source; None before the first."""
        row = self._execute(
            "SELECT position FROM intake_positions WHERE cluster = ? AND topic_id = ?"
            " AND partition = ?",
            key,
        ).fetchone()
        return row[0] if row else None

    def advance_intake(
        self, key: SourceKey, *, topic: str, expected: int | None, position: int
    ) -> None:
        """Move by compare-and-set; PositionMovedError when the position is not the expected one."""
        # Compare-and-set, not "greater than": a zombie may hold a batch that begins before our
        # position and ends behind it.
        if expected is None:
            moved = self._execute(
                "INSERT INTO intake_positions (cluster, topic_id, partition, topic, position)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*key, topic, position),
            )
        else:
            moved = self._execute(
                "UPDATE intake_positions SET position = ?, topic = ?"
                " WHERE cluster = ? AND topic_id = ? AND partition = ? AND position = ?",
                (position, topic, *key, expected),
            )
        if moved.rowcount != 1:
            raise PositionMovedError(f"the intake of {key} is not at {expected}")

    def placements(self, payers: Sequence[bytes]) -> dict[bytes, int]:
        """Find the shards of payers; those without one are left out."""
        found: dict[bytes, int] = {}
        for start in range(0, len(payers), KEYS_PER_SELECT):
            part = payers[start : start + KEYS_PER_SELECT]
            marks = ", ".join("?" * len(part))
            found.update(
                self._execute(
                    f"SELECT payer, shard FROM placement WHERE payer IN ({marks})", list(part)
                )
            )
        return found

    def place(self, payer_to_shard: Mapping[bytes, int]) -> dict[bytes, int]:
        """Place payers that have no shard; give the shards that are now true."""
        self._many(
            "INSERT INTO placement (payer, shard) VALUES (?, ?) ON CONFLICT DO NOTHING",
            list(payer_to_shard.items()),
        )
        return self.placements(list(payer_to_shard))

    def tail_position(self, name: str) -> int:
        """Give where a follower of the log stands; 0 at first."""
        row = self._execute("SELECT position FROM tails WHERE name = ?", (name,)).fetchone()
        return row[0] if row else 0

    def advance_tail(self, name: str, *, expected: int, position: int) -> None:
        """Move by compare-and-set; PositionMovedError when the position is not the expected one."""
        if expected == 0:
            self._execute("INSERT INTO tails VALUES (?, 0) ON CONFLICT DO NOTHING", (name,))
        moved = self._execute(
            "UPDATE tails SET position = ? WHERE name = ? AND position = ?",
            (position, name, expected),
        )
        if moved.rowcount != 1:
            raise PositionMovedError(f"tail {name!r} is not at {expected}")

    def dead_letters_after(self, letter_id: int, limit: int) -> list[tuple[DeadLetter, str]]:
        """Give dead letters with higher ids, by id, with the names of their deliveries."""
        rows = self._execute(
            "SELECT l.*, d.name FROM dead_letters l JOIN deliveries d ON d.id = l.delivery"
            " WHERE l.id > ? ORDER BY l.id LIMIT ?",
            (letter_id, limit),
        )
        return [(DeadLetter(*row[:-1]), row[-1]) for row in rows]
