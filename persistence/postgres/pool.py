"""The connections of readers."""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from persistence.errors import StoreUnavailableError
from persistence.postgres.database import Database, configure
from persistence.sql import Row

POOL_SIZE = 8  # readers at once
CONNECTION_WAIT_S = 1.0  # readers sit on the event loop: who waits there, lets everybody wait
# After nothing could be had, so long nobody waits again: else a server that is away would stop the
# event loop for a second with every call.
PAUSE_S = 0.5
# The pool would try again by itself after 1, 2, 4 … seconds and meanwhile make no other connection,
# so readers would wait although the server is back. They ask again themselves, and that tries anew.
RECONNECT_TIMEOUT_S = 0.0

# It tells each attempt; readers and writers tell the same, once.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class ReaderPool:
    """Lends connections on which nothing can be written."""

    def __init__(self, database: Database, size: int = POOL_SIZE) -> None:
        """Connect in the background."""

        def configured(connection: Connection[Row]) -> None:
            configure(connection, reads=True)

        self._refused_until = 0.0
        self._pool: ConnectionPool[Connection[Row]] = ConnectionPool(
            kwargs=lambda: database.parameters(purpose="read"),
            min_size=1,
            max_size=size,
            configure=configured,
            # One round trip more, but a server that was restarted is no error to anybody.
            check=ConnectionPool.check_connection,
            timeout=CONNECTION_WAIT_S,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
            max_lifetime=3_600.0,
            open=True,
            name=f"usage-ledger {database.role}",
        )

    def take(self) -> Connection[Row]:
        """Lend a connection; StoreUnavailableError when there is none within a second."""
        if time.monotonic() < self._refused_until:
            raise StoreUnavailableError("no connection to the database could be had just now")
        try:
            return self._pool.getconn()
        except PoolTimeout as error:
            self._refused_until = time.monotonic() + PAUSE_S
            raise StoreUnavailableError(str(error)) from error
        except psycopg.OperationalError as error:  # the pool is closed
            raise StoreUnavailableError(str(error)) from error

    def give_back(self, connection: Connection[Any]) -> None:
        """Take a connection back; a dead one is replaced."""
        self._pool.putconn(connection)

    def close(self) -> None:
        """Close all that are not lent."""
        self._pool.close()
