"""How a database is reached, and what every connection to it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from persistence.errors import StoreRefusedError
from persistence.postgres.trouble import is_trouble
from persistence.postgres.types import adapters
from persistence.sql import Row

CONNECT_TIMEOUT_S = 5
# A dead peer is noticed after 10 + 3 * 5 s in silence, or after 15 s with something unanswered.
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
STATEMENTS_PREPARED = 500  # more than the statements that there are
# Waiting longer for the append lock would only make callers wait who hear nothing meanwhile.
LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 60_000  # a batch takes a second; what takes a minute hangs
# A process that was paused inside a transaction holds locks that others wait for.
IDLE_IN_TRANSACTION_MS = 10_000
# A reader holds no lock; between two statements of an audit it may compute for a while.
READER_IDLE_IN_TRANSACTION_MS = 300_000

_WRITER = {
    # Enough, because whoever decides holds a lock, and each statement sees what was committed
    # before that lock was given.
    "default_transaction_isolation": "read committed",
    "lock_timeout": LOCK_TIMEOUT_MS,
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
    # Rows are looked up by key, however few or many there are. A plan that was made while a table
    # was small would read all of it when it is large, until the statistics are renewed.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_READER = {
    "lock_timeout": LOCK_TIMEOUT_MS,
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": READER_IDLE_IN_TRANSACTION_MS,
    "default_transaction_read_only": "on",
    "enable_seqscan": "off",
    "jit": "off",
}


@dataclass(frozen=True)
class Database:
    """A database by its URL; `role` is what its server shows of us."""

    url: str = field(repr=False)  # may hold a password
    password_file: Path | None = None
    role: str = "ledger"

    @property
    def name(self) -> str:
        """Name the database for people, without any secret."""
        try:
            parts = conninfo_to_dict(self.url)
        except psycopg.Error:
            return "a database"
        place = parts.get("host") or parts.get("hostaddr") or "localhost"
        return f"database {parts.get('dbname') or parts.get('user') or 'postgres'!r} on {place}"

    def parameters(self, *, purpose: str) -> dict[str, Any]:
        """Give what psycopg connects with; the password file is read anew each time."""
        given: Mapping[str, Any] = conninfo_to_dict(self.url)
        told: dict[str, Any] = {
            **KEEPALIVES,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": f"usage-ledger {self.role} {purpose}"[:63],
            **given,
            "client_encoding": "utf8",
            "autocommit": True,
            "context": adapters(),
            "prepare_threshold": 0,
        }
        if self.password_file is not None:
            told["password"] = self.password_file.read_text(encoding="utf-8").strip()
        return told

    def connect(self, purpose: str, *, reads: bool = False) -> Connection[Row]:
        """Connect and tell the session what holds for it; psycopg's errors."""
        connection = psycopg.connect(**self.parameters(purpose=purpose))
        try:
            configure(connection, reads=reads)
        except BaseException:
            connection.close()
            raise
        return connection


def configure(connection: Connection[Row], *, reads: bool) -> None:
    """Tell a new session what holds for it."""
    connection.prepared_max = STATEMENTS_PREPARED
    names = _READER if reads else _WRITER
    calls = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in names.items())
    connection.execute(f"SELECT {calls}".encode(), prepare=False)


def refuse_wrong_url(database: Database) -> None:
    """Refuse a URL that cannot be read, and never repeat it: it may hold a password."""
    try:
        conninfo_to_dict(database.url)
    except psycopg.Error:
        raise StoreRefusedError(
            "postgres.urls has an entry that is not the URL of a PostgreSQL database;"
            " write postgresql://user@host:5432/name"
        ) from None
    if database.password_file is not None:
        try:
            database.password_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "") or "it is not text"
            raise StoreRefusedError(
                f"postgres.password_file {database.password_file} cannot be read: {reason};"
                " change its permissions or name another one"
            ) from None


def refused_connection(error: BaseException) -> bool:
    """Say whether a server answered that it does not want us, or has no such database."""
    if not isinstance(error, psycopg.Error):
        return False
    text = str(error)
    return (error.sqlstate or "")[:2] in {"28", "3D"} or any(
        # Before a session stands, libpq gives no state, only the server's sentence.
        sign in text
        for sign in (
            "authentication failed",
            "does not exist",
            "no pg_hba.conf entry",
            "fe_sendauth",
        )
    )


def discard(connection: Connection[Any]) -> None:
    """Close a connection whatever state it is in."""
    with contextlib.suppress(psycopg.Error):
        connection.close()


def unusable(connection: Connection[Any], error: BaseException) -> bool:
    """Say whether a connection must be made anew after an error."""
    return connection.closed or connection.broken or is_trouble(error)
