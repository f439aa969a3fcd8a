"""The numbered migrations of the PostgreSQL store, each in a transaction under one advisory lock.

Two processes that migrate at once wait for each other and find the other's work done. One that is
interrupted has applied whole migrations only, and the next run goes on behind them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.migration import FIRST_PROJECTIONS, Migration, MigrationRow
from persistence.postgres.database import Database, refuse_wrong_url
from persistence.postgres.identity import identity, refuse_another
from persistence.postgres.schema import BILLING, CLUSTER, INTAKE, LIVE, LOG, READ_MODEL
from persistence.postgres.schema import MIGRATIONS as MIGRATIONS_TABLE
from persistence.postgres.transaction import LOCK_PROJECTIONS
from persistence.postgres.trouble import is_trouble
from persistence.sql import Row
from persistence.sql.tables import BILLING_NOTES, TABLES
from projections import PROJECTIONS, VERSION

ADVISORY_LOCK = 0x55534C47  # "USLG": of this ledger's migrations, in its own database
# A migration may wait for long transactions and may itself write every row.
LOCK_WAIT_MS = 600_000

_MARKS = {"stored_events", "ledger", "migrations"}  # what every ledger has


def tables(connection: Connection[Row]) -> set[str]:
    """Name the tables and views of the schema in which ours are made."""
    rows = connection.execute(
        b"SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        b" AND c.relnamespace = current_schema()::regnamespace",
        prepare=False,
    ).fetchall()
    return {row[0] for row in rows}


def is_ledger(names: set[str]) -> bool:
    """Say whether tables with these names are a ledger's."""
    return names >= _MARKS


def applied(connection: Connection[Row]) -> list[MigrationRow]:
    """Give the migrations that a ledger has."""
    rows = connection.execute(
        b"SELECT number, note, applied_at, finished_at FROM migrations ORDER BY number",
        prepare=False,
    ).fetchall()
    return [MigrationRow(*row) for row in rows]


def _run(connection: Connection[Row], script: str) -> None:
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement.encode(), prepare=False)


def _has(*names: str) -> Callable[[Connection[Row]], str]:
    def check(connection: Connection[Row]) -> str:
        there = sorted(set(names) & tables(connection))
        return f"it has {', '.join(there)} already" if there else ""

    return check


def _lacks(*names: str) -> Callable[[Connection[Row]], str]:
    def check(connection: Connection[Row]) -> str:
        missing = sorted(set(names) - tables(connection))
        return f"it lacks {', '.join(missing)}" if missing else ""

    return check


def _create_ledger(connection: Connection[Row]) -> None:
    for script in (MIGRATIONS_TABLE, LOG, INTAKE, READ_MODEL):
        _run(connection, script)
    for name in FIRST_PROJECTIONS:
        connection.execute(
            b"INSERT INTO projections (name, version, position) VALUES (%s, %s, 0)",
            (name, VERSION),
            prepare=False,
        )


def _create_cluster(connection: Connection[Row]) -> None:
    _run(connection, CLUSTER)


MIGRATIONS: tuple[Migration[Connection[Row]], ...] = (
    Migration(
        1,
        "log, intake and read model",
        _has("stored_events", "balances"),
        _create_ledger,
        _lacks("stored_events", "log_head", "inbox", "balances", "projections"),
    ),
    Migration(
        2,
        "intake positions, placement of payers, followers of the log",
        _lacks("stored_events", "log_head", "ledger"),
        _create_cluster,
        _lacks("intake_positions", "placement", "tails", "leases"),
    ),
    Migration(
        3,
        "live meters and alerts",
        _has("meters", "alerts"),
        lambda connection: _run(connection, LIVE),
        _lacks("meters", "alerts"),
    ),
    Migration(
        4,
        "billing",
        _has("billing_accounts", "billing_reports", *BILLING_NOTES),
        lambda connection: _run(connection, BILLING),
        _lacks(*TABLES["billing"], *BILLING_NOTES),
    ),
)
SCHEMA_VERSION = MIGRATIONS[-1].number


def migrate(
    database: Database,
    *,
    shard: int = 0,
    ledger_id: str | None = None,
    before_commit: Callable[[int], None] = lambda _number: None,
) -> list[MigrationRow]:
    """Apply what is missing and give it; an empty database becomes this shard of the ledger.

    `ledger_id` is that of the first shard, None there. `before_commit` is called with the number
    of each migration (tests interrupt there). StoreRefusedError says what to change.
    """
    done = []
    with migrating(database) as connection:
        for migration in MIGRATIONS:
            with _step(connection):
                if _is_applied(connection, migration.number, database):
                    continue
                _take(connection, migration, database)
                if migration.number == 1:
                    connection.execute(
                        b"INSERT INTO ledger VALUES (1, %s, %s)",
                        (ledger_id or str(uuid.uuid4()), shard),
                        prepare=False,
                    )
                now = int(time.time() * 1_000)
                # Nobody older reads a ledger without events, so nobody need be waited for.
                finished_at = now if _is_new(connection) else None
                row = MigrationRow(migration.number, migration.note, now, finished_at)
                connection.execute(
                    b"INSERT INTO migrations VALUES (%s, %s, %s, %s)", row, prepare=False
                )
                if finished_at is not None and migration.number == SCHEMA_VERSION:
                    _begin_projections(connection)
                before_commit(migration.number)
            done.append(row)
        refuse_another(identity(connection, database), database, shard=shard, ledger_id=ledger_id)
    return done


def _is_new(connection: Connection[Row]) -> bool:
    row = connection.execute(b"SELECT head = 0 FROM log_head", prepare=False).fetchone()
    return bool(row and row[0])


def _is_applied(connection: Connection[Row], number: int, database: Database) -> bool:
    there = tables(connection)
    if not there:
        return False
    if not is_ledger(there):
        raise StoreRefusedError(f"{database.name} is not a ledger; name another database")
    return number in {row.number for row in applied(connection)}


def _take(
    connection: Connection[Row], migration: Migration[Connection[Row]], database: Database
) -> None:
    objection = migration.before(connection)
    if not objection:
        migration.apply(connection)
        objection = migration.after(connection)
    if objection:
        raise StoreRefusedError(
            f"{database.name} cannot take migration {migration.number} ({migration.note}):"
            f" {objection}; restore a backup"
        )


def migrate_shards(databases: Sequence[Database]) -> list[list[MigrationRow]]:
    """Migrate every shard of a ledger, the first one first; give what was applied to each."""
    done: list[list[MigrationRow]] = []
    ledger_id: str | None = None
    for shard, database in enumerate(databases):
        done.append(migrate(database, shard=shard, ledger_id=ledger_id))
        if ledger_id is None:
            with migrating(database) as connection:
                ledger_id = identity(connection, database).ledger_id
    return done


def state(database: Database) -> list[MigrationRow]:
    """Give every migration as this database has it, newer ones than ours included."""
    with migrating(database) as connection:
        there = tables(connection)
        if there and not is_ledger(there):
            raise StoreRefusedError(f"{database.name} is not a ledger; name another database")
        known = {row.number: row for row in applied(connection)} if there else {}
    missing = [
        MigrationRow(migration.number, migration.note, None, None)
        for migration in MIGRATIONS
        if migration.number not in known
    ]
    return sorted([*known.values(), *missing])


def finish(database: Database) -> list[MigrationRow]:
    """Mark what is applied as finished and give it: from now on newer forms may be written.

    StoreRefusedError while a migration is missing.
    """
    lacking = [row.number for row in state(database) if row.applied_at is None]
    if lacking:
        raise StoreRefusedError(
            f"{database.name} lacks migration {lacking[0]}: run `usage-ledger migrate` first"
        )
    with migrating(database) as connection, _step(connection):
        rows = connection.execute(
            b"UPDATE migrations SET finished_at = %s WHERE finished_at IS NULL"
            b" RETURNING number, note, applied_at, finished_at",
            (int(time.time() * 1_000),),
            prepare=False,
        ).fetchall()
        _begin_projections(connection)
    return sorted(MigrationRow(*row) for row in rows)


def _begin_projections(connection: Connection[Row]) -> None:
    """Let projections that came with this version begin where the others are.

    Not while an older role may fold: it would take the position that stands still for its own and
    fold everything behind it twice. Nothing for them lies in the log yet.
    """
    connection.execute(LOCK_PROJECTIONS.encode(), prepare=False)
    connection.execute(
        b"INSERT INTO projections (name, version, position) SELECT given.name, %s,"
        b" (SELECT coalesce(min(position) FILTER (WHERE paused_at IS NULL), min(position))"
        b" FROM projections) FROM unnest(%s::text[]) AS given (name) ON CONFLICT DO NOTHING",
        (VERSION, list(PROJECTIONS)),
        prepare=False,
    )


def finished(connection: Connection[Row]) -> int:
    """Give the newest migration up to which all are finished."""
    newest = 0
    for row in applied(connection):
        if row.finished_at is None:
            break
        newest = row.number
    return newest


@contextmanager
def migrating(database: Database) -> Iterator[Connection[Row]]:
    """Connect for a migration; trouble is StoreUnavailableError."""
    refuse_wrong_url(database)
    connection: Connection[Any] | None = None
    try:
        connection = database.connect("migrate")
        connection.execute(
            f"SELECT set_config('lock_timeout', '{LOCK_WAIT_MS}', false),"
            " set_config('statement_timeout', '0', false),"
            " set_config('enable_seqscan', 'on', false)".encode(),
            prepare=False,
        )
        yield connection
    except psycopg.Error as error:
        if not is_trouble(error):
            raise
        raise StoreUnavailableError(f"{database.name}: {' '.join(str(error).split())}") from error
    finally:
        if connection is not None:
            connection.close()


@contextmanager
def _step(connection: Connection[Row]) -> Iterator[None]:
    with connection.transaction():
        connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,), prepare=False)
        yield
