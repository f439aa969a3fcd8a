"""The SQLite store: one writer connection, its transactions, and the lock on its folder."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from eventsourcing.persistence import PersistenceError

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.generations import FIRST
from persistence.sql.generations import SERVED, redirected
from persistence.sqlite.migrations import SCHEMA_VERSION, migrate
from persistence.sqlite.opening import claim, refuse_foreign
from persistence.sqlite.recorder import BUSY_TIMEOUT_S, LedgerDatastore, LedgerRecorder
from persistence.sqlite.schema import APPLICATION_ID
from persistence.sqlite.transaction import SQLiteTransaction
from persistence.sqlite.trouble import is_trouble
from persistence.store import Progress
from projections import VERSION, Pause

FILE_NAME = "ledger.db"
SCRUB_WAIT_S = 0.2  # a writer waits as long as whoever empties the log waits for readers
_PROGRESS = (
    "SELECT (SELECT coalesce(max(position), 0) FROM stored_events), name, position, paused_at,"
    " paused_reason FROM projections"
)

log = logging.getLogger(__name__)


class SQLiteStore:
    """Implements `persistence.WritableStore`.

    A file, or a database in memory for tests and trials.
    """

    is_shared = False

    def __init__(
        self, data_dir: Path | None, *, synchronous: str = "full", has_log: bool = True
    ) -> None:
        """Open or make the ledger in `data_dir`.

        None keeps it in memory. Without a log its rows were folded from one that lies elsewhere.
        Refuses with a sentence.
        """
        self._lock_file: IO[str] | None = None
        # Readers of a database in memory share the writer's connection and wait for its
        # transactions.
        self.memory_lock: threading.RLock | None = None
        self._look: sqlite3.Connection | None = None  # for `progress`, made when it is first asked
        self._looking: threading.Lock | threading.RLock = threading.Lock()
        if data_dir is None:
            self.path = ":memory:"
            self._looking = self.memory_lock = threading.RLock()
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
            self._prepare(has_log=has_log)
        except (sqlite3.Error, PersistenceError) as error:
            self._give_up()
            raise StoreRefusedError(
                f"{self.path} cannot be opened: {error}; is it a ledger, readable and writable?"
            ) from error
        except StoreRefusedError:
            self._give_up()
            raise

    @property
    def shared(self) -> tuple[sqlite3.Connection, threading.RLock] | None:
        """Give the connection and the lock of a ledger in memory, to its readers."""
        return None if self.memory_lock is None else (self.connection, self.memory_lock)

    def _prepare(self, *, has_log: bool) -> None:
        if self.connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
            with self.transaction_scope():
                migrate(self.connection, self.path)
                self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if has_log:
            self._check_gaps()

    def _check_gaps(self) -> None:
        head, count = self.connection.execute(
            "SELECT coalesce(max(position), 0), count(*) FROM stored_events"
        ).fetchone()
        if head != count:
            raise StoreRefusedError(
                f"the log of {self.path} has {count} events but ends at position {head}: events are"
                " missing; restore a backup"
            )
        generation = self.serves() or FIRST
        statement = redirected("SELECT max(position) FROM projections", generation)
        folded = self.connection.execute(statement).fetchone()[0]
        if folded > head:
            raise StoreRefusedError(
                f"the log of {self.path} ends at position {head} but was folded up to {folded}:"
                " events are missing; restore a backup"
            )

    def serves(self) -> int | None:
        """Give the generation that this version serves; None before one was promoted."""
        row = self.connection.execute(SERVED, (VERSION,)).fetchone()
        return row[0] if row else None

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
                yield SQLiteTransaction(self.recorder, self.connection)
        except sqlite3.DatabaseError as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(str(error)) from error

    def folding(self) -> AbstractContextManager[SQLiteTransaction]:
        """Begin a transaction: there is one writer, and it folds."""
        return self.transaction()

    def beside(self) -> AbstractContextManager[SQLiteTransaction]:
        """Begin a transaction: there is one writer."""
        return self.transaction()

    def hold_lease(self, name: str, holder: str, seconds: float) -> bool:  # noqa: ARG002
        """Say yes: the lock on the folder keeps others out."""
        return True

    def release_lease(self, name: str, holder: str) -> None:
        """Nobody waits for it."""

    def progress(self) -> Progress:
        """Look how far the log is written and folded: one quick read, no lock, any thread."""
        with self._looking:
            try:
                connection = self._look_connection()
                # Nothing is folded into a generation any more once another is served, so it does
                # no harm when that happens between the two statements.
                row = connection.execute(SERVED, (VERSION,)).fetchone()
                rows = connection.execute(redirected(_PROGRESS, row[0])).fetchall()
            except sqlite3.DatabaseError as error:
                if not is_trouble(error):
                    raise
                raise StoreUnavailableError(str(error)) from error
        return Progress(
            rows[0][0],
            {name: position for _, name, position, *_ in rows},
            {name: Pause(at, why) for _, name, _, at, why in rows if at is not None},
        )

    def _look_connection(self) -> sqlite3.Connection:
        if self.memory_lock is not None:
            return self.connection
        if self._look is None:
            self._look = sqlite3.connect(
                f"{Path(self.path).absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                timeout=BUSY_TIMEOUT_S,
                check_same_thread=False,
            )
        return self._look

    def finished_schema(self) -> int:
        """Give this version's schema: nobody else reads the file."""
        return SCHEMA_VERSION

    def clear_read_model(self, paused: str = "") -> None:
        """Empty every projection, so that the log can be folded anew."""
        with self.transaction() as transaction:
            transaction.clear_read_model(paused)

    def probe(self) -> None:
        """Write and commit something that changes nothing; StoreUnavailableError when it cannot."""
        with self.transaction() as transaction:
            transaction.probe()

    def rows_written(self) -> int:
        """Count the rows that were written since the store was opened, of whatever table."""
        return self.connection.total_changes

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

    def scrub(self) -> bool:
        """Move everything into the file and empty the write-ahead log, which has what was erased.

        False while a reader needs the log. It holds up no writer for longer than a moment.
        """
        if self.memory_lock is not None:
            return True
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=SCRUB_WAIT_S)
        try:
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError as error:  # a full disk, or a lock
            log.warning("the write-ahead log is not emptied yet: %s", error)
            return False
        finally:
            connection.close()
        return not is_busy

    def close(self) -> None:
        """Close every connection and let other processes in."""
        if self._look is not None:
            self._look.close()
        self._datastore.pool.put_connection(self._library_connection)
        self._datastore.close()
        self._unlock()

    def _give_up(self) -> None:
        """Leave a refused ledger as it was found: an open connection has files beside it."""
        connection: sqlite3.Connection | None = getattr(self, "connection", None)
        if connection is not None:
            connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
