"""Before a database is used: whether it is a ledger, the right one, and safe."""

from __future__ import annotations

import os
from typing import Any

from psycopg import Connection

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.generations import FIRST
from persistence.postgres.database import Database
from persistence.postgres.migrations import SCHEMA_VERSION, applied, is_ledger, tables
from persistence.sql import Row
from persistence.sql.generations import redirected
from projections import VERSION

SERVER_VERSION_MIN = 140_000
# Looking at every position would read the whole index at every start; `usage-ledger check` does.
POSITIONS_CHECKED = 100_000
DB_FUNCTIONS = "POSTGRES_ENABLE_DB_FUNCTIONS"
_SERVED = "SELECT generation FROM served WHERE version = %s"
_FOLDED = "SELECT coalesce(max(position), 0) FROM projections"
_FALSE = {"", "0", "n", "no", "f", "false", "off"}
_DURABLE = {"fsync": {"on"}, "full_page_writes": {"on"}}
_NOT_DURABLE = {"synchronous_commit": {"off"}}


def refuse_environment() -> None:
    """Refuse a variable of the event store library that loses order and positions."""
    if os.environ.get(DB_FUNCTIONS, "").strip().lower() not in _FALSE:
        raise StoreRefusedError(
            f"the environment variable {DB_FUNCTIONS} is set: appends would lose their order;"
            " unset it"
        )


def refuse_server(connection: Connection[Row], database: Database, *, allow_unsafe: bool) -> None:
    """Refuse a server that is too old, keeps other text, or may lose what it has answered."""
    name = database.name
    version = connection.info.server_version
    if version < SERVER_VERSION_MIN:
        raise StoreRefusedError(
            f"the server of {name} is PostgreSQL {version // 10_000}: 14 or newer is needed"
        )
    shown = _settings(connection)
    if shown["pg_is_in_recovery"] != "false":
        raise StoreUnavailableError(f"{name} is a standby, which takes no writes")
    if shown["server_encoding"] != "UTF8":
        raise StoreRefusedError(
            f"{name} has the encoding {shown['server_encoding']}: make one with ENCODING 'UTF8'"
        )
    unsafe = [f"{key} = {shown[key]}" for key, ok in _DURABLE.items() if shown[key] not in ok]
    unsafe += [f"{key} = {shown[key]}" for key, bad in _NOT_DURABLE.items() if shown[key] in bad]
    if unsafe and not allow_unsafe:
        raise StoreRefusedError(
            f"the server of {name} may lose what it has answered ({', '.join(unsafe)}): switch it"
            " on, or set postgres.allow_unsafe = true where losing the ledger does no harm"
        )


def _settings(connection: Connection[Row]) -> dict[str, str]:
    names = ("server_encoding", *_DURABLE, *_NOT_DURABLE)
    columns = ", ".join(f"current_setting('{name}')" for name in names)
    row = _one(connection, f"SELECT {columns}, pg_is_in_recovery()::text")
    return dict(zip((*names, "pg_is_in_recovery"), row, strict=True))


def refuse_schema(connection: Connection[Row], database: Database) -> None:
    """Refuse a database that is not a ledger, or of another version."""
    name = database.name
    there = tables(connection)
    if not is_ledger(there):
        if there:
            raise StoreRefusedError(f"{name} is not a ledger; name another database")
        raise StoreRefusedError(f"{name} is empty; run `usage-ledger migrate` to make a ledger")
    newest = max((row.number for row in applied(connection)), default=0)
    if newest > SCHEMA_VERSION:
        raise StoreRefusedError(
            f"{name} has schema version {newest}, this version knows {SCHEMA_VERSION}: use the"
            " newer version of usage-ledger that wrote it"
        )
    if newest < SCHEMA_VERSION:
        raise StoreRefusedError(
            f"{name} has schema version {newest}, this version needs {SCHEMA_VERSION}: run"
            " `usage-ledger migrate`"
        )


def refuse_unserved(connection: Connection[Row], database: Database) -> None:
    """Refuse a ledger whose projections are of another version of the folds."""
    served = {row[0] for row in connection.execute(b"SELECT version FROM served", prepare=False)}
    if VERSION not in served:
        versions = ", ".join(map(str, sorted(served))) or "none"
        raise StoreRefusedError(
            f"the projections that {database.name} serves are of version {versions}, this version"
            f" of usage-ledger folds version {VERSION}: run `usage-ledger projections rebuild` and"
            " `usage-ledger projections promote`, while the old roles go on"
        )


def refuse_gaps(connection: Connection[Row], database: Database) -> None:
    """Refuse a log that lacks events, as one restored by halves does."""
    # In one snapshot: other processes append and fold meanwhile, and a log is not to be refused
    # because it grew between two looks.
    connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", prepare=False)
    try:
        _refuse_gaps(connection, database.name)
    finally:
        if not connection.closed:
            connection.execute(b"ROLLBACK", prepare=False)


def _refuse_gaps(connection: Connection[Row], name: str) -> None:
    head, newest = _one(
        connection,
        "SELECT (SELECT head FROM log_head),"
        " (SELECT coalesce(max(position), 0) FROM stored_events)",
    )
    after = max(0, newest - POSITIONS_CHECKED)
    there = _one(connection, "SELECT count(*) FROM stored_events WHERE position > %s", (after,))[0]
    if head != newest or there != newest - after:
        raise StoreRefusedError(
            f"the log of {name} ends at position {newest} of {head} and lacks"
            f" {newest - after - there} of its last {newest - after} events: restore a backup"
        )
    generation = (_one(connection, _SERVED, (VERSION,)) or (FIRST,))[0]
    folded = _one(connection, redirected(_FOLDED, generation))[0]
    if folded > newest:
        raise StoreRefusedError(
            f"the log of {name} ends at position {newest} but was folded up to {folded}: events"
            " are missing; restore a backup"
        )


def _one(connection: Connection[Row], statement: str, values: tuple[Any, ...] = ()) -> Any:
    return connection.execute(statement.encode(), values, prepare=False).fetchone()
