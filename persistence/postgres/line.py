"""A connection for transactions that is made anew after the server went away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus

from persistence.errors import StoreUnavailableError
from persistence.postgres.database import Database, discard
from persistence.postgres.served import Ask
from persistence.postgres.session import PostgresSession
from persistence.postgres.trouble import is_trouble
from persistence.sql import Row


def unknown(_ask: Ask) -> int:
    """Refuse to read or write the read model where no generation was named."""
    raise AssertionError("no generation was named")


class Line:
    """One transaction at a time, whichever thread it is in."""

    def __init__(
        self, database: Database, purpose: str, serves: Callable[[Ask], int] = unknown
    ) -> None:
        """Connect when it is first needed; `serves` tells which generation is served."""
        self._database = database
        self._serves = serves
        self._purpose = purpose
        self._lock = threading.Lock()
        self._session: PostgresSession | None = None
        self._written_before = 0

    @property
    def rows_written(self) -> int:
        """Count the rows that were written, over all connections."""
        session = self._session
        return self._written_before + (session.rows_written if session else 0)

    @contextmanager
    def transaction(self, generation: int = 0) -> Iterator[PostgresSession]:
        """Begin; commit at the end, or roll back when the block raises.

        It is in a generation, or in the one that is served.

        StoreUnavailableError for the database's trouble. When it is lost while it commits, nobody
        here knows the outcome. That is safe: whoever tries again finds the truth in the database.
        Positions of intake, followers and projections move by compare-and-set and have moved or
        not; an event that was recorded is in the inbox and repeats; a stream takes a version once.
        """
        with self._lock:
            session = self._begin(generation)
            try:
                yield session
                session.control(b"COMMIT")
            except BaseException as error:
                self._undo(session)
                if is_trouble(error):
                    raise StoreUnavailableError(_text(error)) from error
                raise

    def _begin(self, generation: int) -> PostgresSession:
        """Begin on the connection that is there, or on a new one when it is dead.

        The server may have been restarted since the last transaction; nothing is lost by that.
        """
        try:
            if self._session is not None:
                try:
                    self._session.begin(generation)
                except psycopg.Error as error:
                    if not is_trouble(error):
                        raise
                    self._drop()
                else:
                    return self._session
            connection = self._database.connect(self._purpose)
            self._session = PostgresSession(connection, self._serves)
            self._session.begin(generation)
        except psycopg.Error as error:
            self._drop()
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(_text(error)) from error
        except OSError as error:  # the password file
            self._drop()
            raise StoreUnavailableError(str(error)) from error
        return self._session

    def _undo(self, session: PostgresSession) -> None:
        connection: Connection[Row] = session.connection
        if connection.closed or connection.info.transaction_status == TransactionStatus.ACTIVE:
            self._drop()
            return
        try:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                session.control(b"ROLLBACK")
        except psycopg.Error:
            self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._written_before += session.rows_written
            discard(session.connection)

    def close(self) -> None:
        """Close the connection, once nobody is in a transaction."""
        with self._lock:
            self._drop()


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
