"""The SQLite store: one writer connection, its transactions, and the lock on its folder."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from eventsourcing.persistence import PersistenceError

from events import Recorded
from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.mapper import LedgerMapper
from persistence.sqlite.opening import claim, refuse_foreign
from persistence.sqlite.recorder import BUSY_TIMEOUT_S, LedgerDatastore, LedgerRecorder
from persistence.sqlite.rows import KEYS_PER_SELECT, SQLiteRows
from persistence.sqlite.schema import (
    APPLICATION_ID,
    INTAKE,
    READ_MODEL,
    SCHEMA_VERSION,
    TABLES,
)
from persistence.sqlite.trouble import is_trouble
from persistence.store import (
    Counts,
    DeadLetter,
    EventKey,
    Inboxed,
    Personal,
    StreamEvent,
)
from projections import PROJECTIONS, VERSION, Pause

FILE_NAME = "ledger.db"
PROBE_BYTES = 65_536  # what a group of a hundred events adds to the write-ahead log

log = logging.getLogger(__name__)


class SQLiteTransaction:
    """Implements `persistence.Transaction` on the writer's connection."""

    def __init__(self, store: SQLiteStore, connection: sqlite3.Connection) -> None:
        """Begin where the log ends."""
        self._recorder = store.recorder
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


class SQLiteStore:
    """Implements `persistence.WritableStore`.

    A file, or a database in memory for tests and trials.
    """

    def __init__(self, data_dir: Path | None, *, synchronous: str = "full") -> None:
        """Open or make the ledger in `data_dir`.

        None keeps it in memory. Refuses with a sentence.
        """
        self._lock_file: IO[str] | None = None
        # Readers of a database in memory share the writer's connection and wait for its
        # transactions.
        self.memory_lock: threading.RLock | None = None
        if data_dir is None:
            self.path = ":memory:"
            self.memory_lock = threading.RLock()
        else:
            self._lock_file = claim(data_dir)
            self.path = str(data_dir / FILE_NAME)
        try:
            if data_dir is not None:
                refuse_foreign(data_dir / FILE_NAME)
            self._datastore = LedgerDatastore(self.path, synchronous=synchronous)
            self.recorder = LedgerRecorder(self._datastore)
            self._library_connection = self._datastore.pool.get_connection(is_writer=True)
            self.connection = self._library_connection._sqlite_conn  # noqa: SLF001  # as above
            self._prepare()
        except (sqlite3.Error, PersistenceError) as error:
            self._unlock()
            raise StoreRefusedError(
                f"{self.path} cannot be opened: {error}; is it a ledger, readable and writable?"
            ) from error
        except StoreRefusedError:
            self._unlock()
            raise

    def _prepare(self) -> None:
        if self.connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            self._create()
        self._check_gaps()

    def _create(self) -> None:
        with self.transaction_scope():
            for statement in (*self.recorder.create_table_statements,):
                self.connection.execute(statement)
            for script in (INTAKE, READ_MODEL):
                for statement in script.split(";"):
                    if statement.strip():
                        self.connection.execute(statement)
            self.connection.executemany(
                "INSERT INTO projections (name, version, position) VALUES (?, ?, 0)",
                [(name, VERSION) for name in PROJECTIONS],
            )
            self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check_gaps(self) -> None:
        head, count = self.connection.execute(
            "SELECT coalesce(max(position), 0), count(*) FROM stored_events"
        ).fetchone()
        if head != count:
            raise StoreRefusedError(
                f"the log of {self.path} has {count} events but ends at position {head}: events are"
                " missing; restore a backup"
            )
        folded = self.connection.execute("SELECT max(position) FROM projections").fetchone()[0]
        if folded > head:
            raise StoreRefusedError(
                f"the log of {self.path} ends at position {head} but was folded up to {folded}:"
                " events are missing; restore a backup"
            )

    @contextmanager
    def transaction_scope(self) -> Iterator[None]:
        """Begin at once as the writer; commit, or roll back when the block raises."""
        lock = self.memory_lock
        if lock is not None:
            lock.acquire()
        try:
            self._begin()
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
        finally:
            if lock is not None:
                lock.release()

    def _begin(self) -> None:
        # IMMEDIATE: a deferred transaction that reads first fails with BUSY_SNAPSHOT when it
        # writes.
        self.connection.execute("BEGIN IMMEDIATE")

    @contextmanager
    def transaction(self) -> Iterator[SQLiteTransaction]:
        """Begin; commit at the end, or roll back when the block raises."""
        try:
            with self.transaction_scope():
                yield SQLiteTransaction(self, self.connection)
        except sqlite3.DatabaseError as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(str(error)) from error

    def clear_read_model(self) -> None:
        """Empty every projection, so that the log can be folded anew."""
        with self.transaction():
            for tables in TABLES.values():
                for table in tables:
                    self.connection.execute(f"DELETE FROM {table}")
            self.connection.execute(
                "UPDATE projections SET position = 0, paused_at = NULL, paused_reason = NULL,"
                f" version = {VERSION}"
            )

    def probe(self) -> None:
        """Write and commit something that changes nothing; StoreUnavailableError when it cannot."""
        with self.transaction() as transaction:
            transaction.probe()

    def checkpoint(self) -> None:
        """Move committed pages from the write-ahead log to the file, as far as readers let it."""
        if self.memory_lock is not None:
            return
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # a full disk: the pages stay where they are as durable
            log.warning("checkpoint put off: %s", error)

    def checkpoint_beside(self) -> None:
        """The same on a connection of its own, from another thread, while the writer goes on."""
        if self.memory_lock is not None:
            return
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # the pages stay in the write-ahead log until the next time
            log.warning("checkpoint put off: %s", error)
        finally:
            connection.close()

    def close(self) -> None:
        """Close every connection and let other processes in."""
        self._datastore.pool.put_connection(self._library_connection)
        self._datastore.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
