"""The numbered migrations of the SQLite store, applied when it is opened.

Nobody else has the file open, so each is finished as soon as it is applied.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from persistence.errors import StoreRefusedError
from persistence.migration import FIRST_PROJECTIONS, Migration, MigrationRow
from persistence.sql.tables import BILLING_NOTES, TABLES
from persistence.sqlite.audit_schema import CLOCKS, PACKS, VERSIONS, WHY
from persistence.sqlite.first import keep_structure, run_script, write_down_first
from persistence.sqlite.schema import BILLING, ERASURES, INTAKE, LOG, READ_MODEL, TREE
from projections import VERSION

_MIGRATIONS_TABLE = """
CREATE TABLE migrations (
    number INTEGER PRIMARY KEY,
    note TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    finished_at INTEGER
);
"""

_CLUSTER = """
CREATE TABLE intake_positions (
    cluster TEXT NOT NULL,
    topic_id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    topic TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (cluster, topic_id, partition)
) WITHOUT ROWID;
CREATE TABLE placement (payer BLOB PRIMARY KEY, shard INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tails (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
"""

_LIVE = """
CREATE TABLE meters (
    payer BLOB NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    has_running INTEGER NOT NULL,
    state BLOB NOT NULL
);
CREATE INDEX meters_running ON meters (payer) WHERE has_running = 1;
CREATE TABLE alerts (
    payer BLOB NOT NULL,
    cycle INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    balance_cents INTEGER NOT NULL,
    spending_limit INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (payer, cycle, threshold)
) WITHOUT ROWID;
CREATE INDEX alerts_by_time ON alerts (recorded_at, payer, cycle, threshold);
CREATE INDEX alerts_by_payer ON alerts (payer, recorded_at, cycle, threshold);
"""

# Nothing of it lies in an older log, so it has folded what the others have.
_BEGIN_BILLING = """
INSERT INTO projections (name, version, position) SELECT 'billing', ?, min(position)
FROM projections
"""

# One script for each part of what auditors need.
_AUDIT = (VERSIONS, TREE, ERASURES, CLOCKS, PACKS, WHY)
_OF_AUDIT = (
    *("entry_versions", "voids", "reconciles", "cycle_voided_notes"),
    *("tree", "tree_tiles", "tree_heads", "erasures"),
    *("sealed_blocks", "sealed_sums", "sealed_spans"),
    "taken_over",
)

# Whoever is known had a shard all along: the only one.
_PLACE_THE_KNOWN = """
INSERT INTO placement (payer, shard)
SELECT payer, 0 FROM balances
UNION SELECT payer, 0 FROM open_cycles
UNION SELECT payer, 0 FROM open_instances
UNION SELECT payer, 0 FROM cost_centers
"""


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }


def _lacks(*tables: str) -> Callable[[sqlite3.Connection], str]:
    def check(connection: sqlite3.Connection) -> str:
        missing = sorted(set(tables) - _tables(connection))
        return f"it lacks {', '.join(missing)}" if missing else ""

    return check


def _has(*tables: str) -> Callable[[sqlite3.Connection], str]:
    def check(connection: sqlite3.Connection) -> str:
        there = sorted(set(tables) & _tables(connection))
        return f"it has {', '.join(there)} already" if there else ""

    return check


def _create_ledger(connection: sqlite3.Connection) -> None:
    for script in (LOG, INTAKE, READ_MODEL):
        run_script(connection, script)
    connection.executemany(
        "INSERT INTO projections (name, version, position) VALUES (?, ?, 0)",
        [(name, VERSION) for name in FIRST_PROJECTIONS],
    )


def _create_cluster(connection: sqlite3.Connection) -> None:
    run_script(connection, _MIGRATIONS_TABLE)
    run_script(connection, _CLUSTER)
    connection.execute(_PLACE_THE_KNOWN)


def _create_billing(connection: sqlite3.Connection) -> None:
    run_script(connection, BILLING)
    connection.execute(_BEGIN_BILLING, (VERSION,))


def _create_audit(connection: sqlite3.Connection) -> None:
    write_down_first(connection)  # before anything here changes a table of the read model
    for script in _AUDIT:
        run_script(connection, script)


def _unplaced(connection: sqlite3.Connection) -> str:
    count = connection.execute(
        "SELECT count(*) FROM balances WHERE payer NOT IN (SELECT payer FROM placement)"
    ).fetchone()[0]
    return f"{count} payers have no shard" if count else ""


MIGRATIONS: tuple[Migration[sqlite3.Connection], ...] = (
    Migration(
        1,
        "log, intake and read model",
        _has("stored_events", "balances"),
        _create_ledger,
        _lacks("stored_events", "inbox", "balances", "projections"),
    ),
    Migration(
        2,
        "intake positions, placement of payers, followers of the log",
        _lacks("stored_events", "balances", "open_cycles", "open_instances", "cost_centers"),
        _create_cluster,
        _unplaced,
    ),
    Migration(
        3,
        "live meters and alerts",
        _has("meters", "alerts"),
        lambda connection: run_script(connection, _LIVE),
        _lacks("meters", "alerts"),
    ),
    Migration(
        4,
        "billing",
        _has("billing_accounts", "billing_reports", *BILLING_NOTES),
        _create_billing,
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


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the tables up to this version, inside the caller's transaction."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version:
        keep_structure(connection)
    for migration in MIGRATIONS:
        if migration.number <= version:
            continue
        objection = migration.before(connection)
        if not objection:
            migration.apply(connection)
            objection = migration.after(connection)
        if objection:
            raise StoreRefusedError(
                f"{path} cannot take migration {migration.number} ({migration.note}): {objection};"
                " restore a backup"
            )
    now = int(time.time() * 1_000)
    connection.executemany(
        "INSERT INTO migrations VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(number, note, now, now) for number, note, *_ in MIGRATIONS],
    )
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def migrations_of(path: Path) -> list[MigrationRow]:
    """Give every migration as a ledger's file has it, without changing a byte of it."""
    done: dict[int, MigrationRow] = {}
    version = 0
    if path.exists() and path.stat().st_size:
        look = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            version = look.execute("PRAGMA user_version").fetchone()[0]
            if "migrations" in _tables(look):
                rows = look.execute("SELECT number, note, applied_at, finished_at FROM migrations")
                done = {row[0]: MigrationRow(*row) for row in rows}
        finally:
            look.close()
    # Version 1 wrote down nothing of what was applied: it was, at a time that nobody knows.
    return [
        done.get(number) or MigrationRow(number, note, 0 if number <= version else None, None)
        for number, note, *_ in MIGRATIONS
    ]
