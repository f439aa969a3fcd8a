"""The PostgreSQL store: one shard of a ledger that many processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
)
from persistence.postgres.pool import POOL_SIZE, ReaderPool
from persistence.postgres.recorder import LedgerDatastore, LedgerRecorder
from persistence.postgres.transaction import LOCK_PROJECTIONS, PostgresTransaction
from persistence.postgres.trouble import is_trouble
from persistence.sql.tables import TABLES
from persistence.store import Progress
from projections import VERSION, Pause

_HOLD_LEASE = (
    "INSERT INTO leases (name, holder, until)"
    " VALUES (?, ?, clock_timestamp() + ? * interval '1 millisecond')"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
    " WHERE leases.holder = excluded.holder OR leases.until <= clock_timestamp()"
)
_PROGRESS = (
    b"SELECT h.head, p.name, p.position, p.paused_at, p.paused_reason"
    b" FROM log_head h CROSS JOIN projections p"
)


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
        self.ledger_id = self._refuse(ledger_id, allow_unsafe=allow_unsafe)
        self._recorder = LedgerRecorder(LedgerDatastore())
        self._writer = Line(database, "write")
        self._folder = Line(database, "fold")
        self._beside = Line(database, "beside")
        self._leases = Line(database, "leases")
        self._lines = (self._writer, self._folder, self._beside, self._leases)
        self.readers = ReaderPool(database, pool_size)

    def _refuse(self, ledger_id: str | None, *, allow_unsafe: bool) -> str:
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
        rows = self._look(_PROGRESS)
        return Progress(
            rows[0][0],
            {name: position for _, name, position, *_ in rows},
            {name: Pause(at, why) for _, name, _, at, why in rows if at is not None},
        )

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

    def _look(self, statement: bytes) -> list[Any]:
        connection = self.readers.take()
        try:
            return connection.execute(statement, binary=True).fetchall()
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(str(error)) from error
        finally:
            self.readers.give_back(connection)

    def clear_read_model(self, paused: str = "") -> None:
        """Empty every projection, so that the log can be folded anew."""
        with self._folder.transaction() as session:
            session.all(LOCK_PROJECTIONS)
            session.control(b"SET LOCAL statement_timeout = 0")
            for tables in TABLES.values():
                for table in tables:
                    # Not TRUNCATE: who reads an older state would suddenly see nothing.
                    session.change(f"DELETE FROM {table}")
            session.change(
                "UPDATE projections SET position = 0, paused_at = ?, paused_reason = ?,"
                " version = ?",
                (0 if paused else None, paused or None, VERSION),
            )

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

    def close(self) -> None:
        """Close every connection."""
        for line in self._lines:
            line.close()
        self.readers.close()
