"""The first generation: the tables that migrations make, written down as one of several."""

from __future__ import annotations

import sqlite3
import time

from persistence.generations import FIRST
from persistence.sql.generations import READ_MODEL, name_in, structure_text
from persistence.sqlite.schema import GENERATIONS
from projections import VERSION


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements; not `executescript`, which commits what was begun."""
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)


def structure_in(connection: sqlite3.Connection, generation: int) -> dict[str, tuple[str, ...]]:
    """Give the columns of the tables that a generation has in this file."""
    structure = {}
    for table in READ_MODEL:
        rows = connection.execute(
            "SELECT name FROM pragma_table_info(?)", (name_in(table, generation),)
        ).fetchall()
        if rows:
            structure[table] = tuple(row[0] for row in rows)
    return structure


def write_down_first(connection: sqlite3.Connection) -> None:
    """Make the tables that tell of generations, and say that there is one, which is served.

    Its columns are written down where it has rows, because later statements of a migration give
    the tables columns which those rows know nothing of.
    """
    run_script(connection, GENERATIONS)
    if connection.execute("SELECT 1 FROM generations").fetchone():
        return
    is_new = not connection.execute("SELECT 1 FROM stored_events LIMIT 1").fetchone()
    if is_new:
        connection.execute("UPDATE projections SET version = ?", (VERSION,))
    # A projection that came with a migration since has this version, and the others have not.
    version = connection.execute("SELECT min(version) FROM projections").fetchone()[0]
    structure = None if is_new else structure_text(structure_in(connection, FIRST))
    now = int(time.time() * 1_000)
    connection.execute(
        "INSERT INTO generations (number, version, structure, begun_at, begun_by, differences)"
        " VALUES (?, ?, ?, ?, '', '')",
        (FIRST, version, structure, now),
    )
    connection.execute(
        "INSERT INTO promotions (number, generation, version, promoted_at, author, accepted)"
        " VALUES (1, ?, ?, ?, '', '')",
        (FIRST, version, now),
    )
    connection.execute("INSERT INTO served (version, generation) VALUES (?, ?)", (version, FIRST))


def keep_structure(connection: sqlite3.Connection) -> None:
    """Write down, before migrations change its tables, which columns the first generation fills."""
    row = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE name = 'generations' AND type = 'table'"
    ).fetchone()
    if row and connection.execute("SELECT 1 FROM stored_events LIMIT 1").fetchone():
        connection.execute(
            "UPDATE generations SET structure = ? WHERE number = ? AND structure IS NULL",
            (structure_text(structure_in(connection, FIRST)), FIRST),
        )
