"""The numbered migrations of the PostgreSQL store, each in a transaction under one advisory lock.

Two processes that migrate at once wait for each other and find the other's work done. One that is
interrupted has applied whole migrations only, and the next run goes on behind them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.migration import AUDIT, FIRST_PROJECTIONS, Migration, MigrationRow
from persistence.postgres.audit_schema import CLOCKS, COLUMNS, PACKS, VERSIONS, WHY_INDEX
from persistence.postgres.database import Database, refuse_wrong_url
from persistence.postgres.first import keep_structure, run_script, write_down_first
from persistence.postgres.identity import identity, refuse_another
from persistence.postgres.indexes import build_indexes, lacks
from persistence.postgres.schema import (
    BILLING,
    CLUSTER,
    ERASURES,
    INTAKE,
    LIVE,
    LOG,
    READ_MODEL,
    TREE,
)
from persistence.postgres.schema import MIGRATIONS as MIGRATIONS_TABLE
from persistence.postgres.transaction import LOCK_PROJECTIONS
from persistence.postgres.trouble import is_trouble
from persistence.sql import Row
from persistence.sql.acts import ADD
from persistence.sql.tables import BILLING_NOTES, TABLES
from projections import PROJECTIONS, VERSION

ADVISORY_LOCK = 0x55534C47  # "USLG": of this ledger's migrations, in its own database
# Another one that migrates may write every row, and its end is waited for.
LOCK_WAIT_MS = 600_000
# So long a step waits for one lock with those that it has, for which others wait meanwhile; then it
# lets go of all and begins anew. Less than `deadlock_timeout`, so that nobody is ended for it.
STEP_LOCK_MS = 500
STEP_PAUSE_SECONDS = 2.0
STEP_SECONDS_MAX = 600.0

LOCK_ALTERED = "LOCK TABLE corrections, entries IN ACCESS EXCLUSIVE MODE"  # by migration 5

_Answer = TypeVar("_Answer")

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
        run_script(connection, script)
    for name in FIRST_PROJECTIONS:
        connection.execute(
            b"INSERT INTO projections (name, version, position) VALUES (%s, %s, 0)",
            (name, VERSION),
            prepare=False,
        )


def _create_cluster(connection: Connection[Row]) -> None:
    run_script(connection, CLUSTER)


# One script for each part of what auditors need.
_AUDIT = (TREE, ERASURES, VERSIONS, CLOCKS, PACKS, COLUMNS)
_OF_AUDIT = (
    *("entry_versions", "voids", "reconciles", "cycle_voided_notes"),
    *("tree", "tree_tiles", "tree_heads", "erasures"),
    *("sealed_blocks", "sealed_sums", "sealed_spans"),
    "taken_over",
)


def _create_audit(connection: Connection[Row]) -> None:
    # As who appends and folds takes them: else each could wait for a table that the other has. And
    # at once, for what was done already would be done again where one of them is not given.
    for lock in ("SELECT head FROM log_head FOR UPDATE", LOCK_PROJECTIONS, LOCK_ALTERED):
        connection.execute(lock.encode(), prepare=False)
    write_down_first(connection)  # before anything here changes a table of the read model
    for script in _AUDIT:
        run_script(connection, script)


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
        lambda connection: run_script(connection, LIVE),
        _lacks("meters", "alerts"),
    ),
    Migration(
        4,
        "billing",
        _has("billing_accounts", "billing_reports", *BILLING_NOTES),
        lambda connection: run_script(connection, BILLING),
        _lacks(*TABLES["billing"], *BILLING_NOTES),
    ),
    Migration(
        5,
        "audit",
        _has(*_OF_AUDIT),
        _create_audit,
        _lacks("generations", "promotions", "served", "acts", *_OF_AUDIT),
    ),
)
SCHEMA_VERSION = MIGRATIONS[-1].number


def migrate(
    database: Database,
    *,
    shard: int = 0,
    ledger_id: str | None = None,
    author: str = "",
    before_commit: Callable[[int], None] = lambda _number: None,
) -> list[MigrationRow]:
    """Apply what is missing and give it; an empty database becomes this shard of the ledger.

    `ledger_id` is that of the first shard, None there; `author` is who asked for it, empty where a
    role does it by itself as it starts. `before_commit` is called with the number
    of each migration (tests interrupt there). StoreRefusedError says what to change.
    """
    done = []
    with migrating(database) as connection:
        for migration in MIGRATIONS:
            apply = partial(_apply, connection, migration, database, shard, ledger_id, author)
            row = _step(connection, database, partial(apply, before_commit))
            if row is not None:
                done.append(row)
        build_indexes(connection)
        refuse_another(identity(connection, database), database, shard=shard, ledger_id=ledger_id)
    return done


def _apply(
    connection: Connection[Row],
    migration: Migration[Connection[Row]],
    database: Database,
    shard: int,
    ledger_id: str | None,
    author: str,
    before_commit: Callable[[int], None],
) -> MigrationRow | None:
    """Apply one migration, unless it is."""
    if _is_applied(connection, migration.number, database):
        return None
    if migration.number > AUDIT:  # from where on there is a list of generations
        keep_structure(connection)
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
    connection.execute(b"INSERT INTO migrations VALUES (%s, %s, %s, %s)", row, prepare=False)
    if author and migration.number >= AUDIT:
        _add_act(connection, now, author, "migrate", migration.number)
    if finished_at is not None and migration.number == SCHEMA_VERSION:
        _begin_projections(connection)
    before_commit(migration.number)
    return row


def _add_act(connection: Connection[Row], now: int, author: str, what: str, number: int) -> None:
    values = (now, author, what, f"up to migration {number}")
    connection.execute(ADD.replace("?", "%s").encode(), values, prepare=False)


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


def migrate_shards(databases: Sequence[Database], author: str = "") -> list[list[MigrationRow]]:
    """Migrate every shard of a ledger, the first one first; give what was applied to each."""
    done: list[list[MigrationRow]] = []
    ledger_id: str | None = None
    for shard, database in enumerate(databases):
        done.append(migrate(database, shard=shard, ledger_id=ledger_id, author=author))
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


def missing_indexes(database: Database) -> list[str]:
    """Name the indexes that applied migrations want and that are not there, or not yet."""
    with migrating(database) as connection:
        is_due = _is_applied(connection, AUDIT, database)
        return [WHY_INDEX] if is_due and lacks(connection, WHY_INDEX) else []


def finish(database: Database, author: str = "") -> list[MigrationRow]:
    """Mark what is applied as finished and give it: from now on newer forms may be written.

    StoreRefusedError while a migration or an index is missing.
    """
    lacking = [f"migration {row.number}" for row in state(database) if row.applied_at is None]
    lacking = lacking or [f"index {name}" for name in missing_indexes(database)]
    if lacking:
        raise StoreRefusedError(
            f"{database.name} lacks {lacking[0]}: run `usage-ledger migrate` first"
        )

    def mark() -> list[Row]:
        now = int(time.time() * 1_000)
        rows = connection.execute(
            b"UPDATE migrations SET finished_at = %s WHERE finished_at IS NULL"
            b" RETURNING number, note, applied_at, finished_at",
            (now,),
            prepare=False,
        ).fetchall()
        if rows and author:
            _add_act(connection, now, author, "migrate --finish", SCHEMA_VERSION)
        _begin_projections(connection)
        return rows

    with migrating(database) as connection:
        return sorted(MigrationRow(*row) for row in _step(connection, database, mark))


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


def _step(connection: Connection[Row], database: Database, work: Callable[[], _Answer]) -> _Answer:
    """Work in a transaction, alone among those that migrate, and anew while a lock is not given."""
    until = time.monotonic() + STEP_SECONDS_MAX
    while True:
        try:
            with connection.transaction():
                lock = b"SELECT pg_advisory_xact_lock(%s)"
                connection.execute(lock, (ADVISORY_LOCK,), prepare=False)
                wait = f"SET LOCAL lock_timeout = {STEP_LOCK_MS}"
                connection.execute(wait.encode(), prepare=False)
                return work()
        except psycopg.errors.LockNotAvailable as error:
            if time.monotonic() > until:
                raise StoreUnavailableError(
                    f"{database.name}: others read or write all the time what is to be changed:"
                    " look in pg_stat_activity for long transactions, and give the command again"
                    " when they have ended"
                ) from error
        time.sleep(STEP_PAUSE_SECONDS)
