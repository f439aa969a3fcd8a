"""The PostgreSQL store: one shard of a ledger that many processes share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.postgres.database import (
    Database,
    discard,
    refuse_wrong_url,
    refused_connection,
)
from persistence.postgres.identity import identity, refuse_another
from persistence.postgres.line import Line
from persistence.postgres.migrations import finished, migrate
from persistence.postgres.opening import (
    refuse_environment,
    refuse_gaps,
    refuse_schema,
    refuse_server,
    refuse_unserved,
)
from persistence.postgres.pool import POOL_SIZE, ReaderPool
from persistence.postgres.recorder import LedgerDatastore, LedgerRecorder
from persistence.postgres.served import ASK_SERVED, Served
from persistence.postgres.session import translated
from persistence.postgres.transaction import PostgresTransaction
from persistence.postgres.trouble import is_trouble
from persistence.store import Progress
from projections import VERSION, Pause

_HOLD_LEASE = (
    "INSERT INTO leases (name, holder, until)"
    " VALUES (?, ?, clock_timestamp() + ? * interval '1 millisecond')"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
    " WHERE leases.holder = excluded.holder OR leases.until <= clock_timestamp()"
)
# Without the end of the file being cut off, which would lock everybody out.
_VACUUM = (
    b"VACUUM (TRUNCATE false) personal, dead_letters, erasures,"
    b" billing_troubles, billing_run, webhooks, jobs"
)
_PROGRESS = (
    "SELECT h.head, p.name, p.position, p.paused_at, p.paused_reason FROM projections p, log_head h"
)


log = logging.getLogger(__name__)


class PostgresStore:
    """Implements `persistence.WritableStore`."""

    is_shared = True

    def __init__(
        self,
        database: Database,
        *,
        shard: int = 0,
        ledger_id: str | None = None,
        pool_size: int = POOL_SIZE,
        migrate_at_start: bool = False,
        allow_unsafe: bool = False,
    ) -> None:
        """Open a shard's database; `ledger_id` is the first shard's, None there.

        StoreRefusedError says what to change; StoreUnavailableError, that it cannot be reached
        now and may be tried again.
        """
        refuse_environment()
        refuse_wrong_url(database)
        self.database = database
        self.shard = shard
        if migrate_at_start:
            migrate(database, shard=shard, ledger_id=ledger_id)
        self.ledger_id = self._refuse(
            ledger_id, allow_unsafe=allow_unsafe, may_build=migrate_at_start
        )
        self._recorder = LedgerRecorder(LedgerDatastore())
        self.served = Served()
        self._writer = Line(database, "write", self.served.now)
        self._folder = Line(database, "fold", self.served.now)
        self._beside = Line(database, "beside", self.served.now)
        self._leases = Line(database, "leases")
        self._lines = (self._writer, self._folder, self._beside, self._leases)
        self.readers = ReaderPool(database, pool_size)

    def _refuse(self, ledger_id: str | None, *, allow_unsafe: bool, may_build: bool) -> str:
        """Look at server and ledger and refuse what must not be used; give the ledger's id."""
        database = self.database
        try:
            connection = database.connect("open", reads=True)
        except psycopg.Error as error:
            text = f"{database.name} cannot be reached: {' '.join(str(error).split())}"
            if refused_connection(error):
                raise StoreRefusedError(f"{text}; change postgres.urls") from error
            raise StoreUnavailableError(text) from error
        try:
            refuse_server(connection, database, allow_unsafe=allow_unsafe)
            refuse_schema(connection, database)
            found = identity(connection, database)
            refuse_another(found, database, shard=self.shard, ledger_id=ledger_id)
            if not may_build:
                refuse_unserved(connection, database)
            refuse_gaps(connection, database)
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(f"{database.name}: {error}") from error
        finally:
            discard(connection)
        return found.ledger_id

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        """Begin with the append lock; commit at the end, or roll back when the block raises."""
        with self._writer.transaction() as session:
            yield PostgresTransaction(session, self._recorder, appends=True)

    @contextmanager
    def folding(self) -> Iterator[PostgresTransaction]:
        """Begin with the projections locked and without the append lock."""
        with self._folder.transaction() as session:
            transaction = PostgresTransaction(session, self._recorder, appends=False)
            transaction.lock_projections()
            yield transaction

    @contextmanager
    def beside(self) -> Iterator[PostgresTransaction]:
        """Begin with neither lock."""
        with self._beside.transaction() as session:
            yield PostgresTransaction(session, self._recorder, appends=False)

    def hold_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or renew a lease by the database's clock; False while another holds it."""
        with self._leases.transaction() as session:
            return session.change(_HOLD_LEASE, (name, holder, round(seconds * 1_000))) == 1

    def release_lease(self, name: str, holder: str) -> None:
        """Give a lease back, so that another need not wait for its end."""
        with self._leases.transaction() as session:
            session.change("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))

    def progress(self) -> Progress:
        """Look how far the log is written and folded: one quick read, no lock, any thread."""
        connection = self.readers.take()
        try:
            # Nothing is folded into a generation any more once another is served, so it does no
            # harm when that happens between the two statements.
            generation = self.served.asked(
                lambda: connection.execute(ASK_SERVED, (VERSION,), binary=True).fetchone()
            )
            rows = connection.execute(translated(_PROGRESS, generation), binary=True).fetchall()
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(str(error)) from error
        finally:
            self.readers.give_back(connection)
        return Progress(
            rows[0][0],
            {name: position for _, name, position, *_ in rows},
            {name: Pause(at, why) for _, name, _, at, why in rows if at is not None},
        )

    def serves(self) -> int | None:
        """Give the generation that this version of the folds serves; None while there is none."""
        with self._beside.transaction() as session:
            row = session.ask_served()
        return row[0] if row else None

    def finished_schema(self) -> int:
        """Give the newest migration that every role knows; newer forms must not be written yet."""
        connection = self.readers.take()
        try:
            return finished(connection)
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(str(error)) from error
        finally:
            self.readers.give_back(connection)

    def clear_read_model(self, paused: str = "") -> None:
        """Empty every projection, so that the log can be folded anew."""
        with self._folder.transaction() as session:
            transaction = PostgresTransaction(session, self._recorder, appends=False)
            transaction.lock_projections()
            session.control(b"SET LOCAL statement_timeout = 0")
            transaction.clear_read_model(paused)

    def probe(self) -> None:
        """Write and commit something that changes nothing; StoreUnavailableError when it cannot."""
        with self.transaction() as transaction:
            transaction.probe()

    def rows_written(self) -> int:
        """Count the rows that were written since the store was opened, of whatever table."""
        return sum(line.rows_written for line in self._lines)

    def checkpoint(self) -> None:
        """The server has a checkpointer of its own."""

    def checkpoint_beside(self) -> None:
        """The server has a checkpointer of its own."""

    def scrub(self) -> bool:
        """Let the server give back what earlier states of erased rows took.

        Else autovacuum waits until a fifth of a table is gone. Whoever reads an older state keeps
        it; bytes within the data files, the server's own log and its archive follow in their time.
        """
        try:
            connection = self.database.connect("vacuum")
        except psycopg.Error as error:
            raise StoreUnavailableError(f"{self.database.name}: {error}") from error
        try:
            connection.execute(b"SET statement_timeout = 0", prepare=False)
            connection.execute(_VACUUM, prepare=False)
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            log.warning("%s is not vacuumed yet: %s", self.database.name, error)
            return False
        finally:
            discard(connection)
        return True

    def close(self) -> None:
        """Close every connection."""
        for line in self._lines:
            line.close()
        self.readers.close()
