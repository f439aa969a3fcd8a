"""The first generation: the tables that migrations make, written down as one of several."""

from __future__ import annotations

import time

from psycopg import Connection

from persistence.generations import FIRST
from persistence.postgres.schema import GENERATIONS
from persistence.sql import Row
from persistence.sql.generations import READ_MODEL, structure_text
from projections import VERSION

_COLUMNS = (
    b"SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
    b" AND NOT attisdropped ORDER BY attnum"
)


def run_script(connection: Connection[Row], script: str) -> None:
    """Run statements one after the other."""
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement.encode(), prepare=False)


def write_down_first(connection: Connection[Row]) -> None:
    """Make the tables that tell of generations, and say that there is one, which is served.

    Its columns are written down where it has rows, because later statements of a migration give
    the tables columns which those rows know nothing of.
    """
    run_script(connection, GENERATIONS)
    is_new = not _has_events(connection)
    if is_new:
        connection.execute(b"UPDATE projections SET version = %s", (VERSION,), prepare=False)
    # A projection that came with a migration since has this version, and the others have not.
    row = connection.execute(b"SELECT min(version) FROM projections", prepare=False).fetchone()
    assert row is not None
    version, now = row[0], int(time.time() * 1_000)
    connection.execute(
        b"INSERT INTO generations (number, version, structure, begun_at, begun_by, differences)"
        b" VALUES (%s, %s, %s, %s, '', '')",
        (FIRST, version, None if is_new else structure_text(_structure(connection)), now),
        prepare=False,
    )
    connection.execute(
        b"INSERT INTO promotions (number, generation, version, promoted_at, author, accepted)"
        b" VALUES (1, %s, %s, %s, '', '')",
        (FIRST, version, now),
        prepare=False,
    )
    connection.execute(
        b"INSERT INTO served (version, generation) VALUES (%s, %s)", (version, FIRST), prepare=False
    )


def keep_structure(connection: Connection[Row]) -> None:
    """Write down, before migrations change its tables, which columns the first generation fills."""
    if _has_events(connection):
        connection.execute(
            b"UPDATE generations SET structure = %s WHERE number = %s AND structure IS NULL",
            (structure_text(_structure(connection)), FIRST),
            prepare=False,
        )


def _has_events(connection: Connection[Row]) -> bool:
    row = connection.execute(b"SELECT head > 0 FROM log_head", prepare=False).fetchone()
    return bool(row and row[0])


def _structure(connection: Connection[Row]) -> dict[str, tuple[str, ...]]:
    structure = {}
    for table in READ_MODEL:
        rows = connection.execute(_COLUMNS, (table,), prepare=False).fetchall()
        if rows:
            structure[table] = tuple(row[0] for row in rows)
    return structure
