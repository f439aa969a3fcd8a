"""The tables of a new generation: what this version's migrations make, under other names.

Not what the file has: it may be an older version's, which goes on serving from it.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from contextlib import closing

from persistence.sql.generations import OF_A_GENERATION, name_in
from persistence.sqlite.migrations import migrate

_TABLE = re.compile(r'^CREATE TABLE "?(\w+)"?')
_INDEX = re.compile(r'^CREATE( UNIQUE)? INDEX "?(\w+)"? ON "?(\w+)"?')


def make_tables(connection: sqlite3.Connection, generation: int) -> None:
    """Make the tables and indexes of a generation, inside the caller's transaction."""
    for definition in _definitions():
        connection.execute(_in_generation(definition, generation))


def make_missing_indexes(connection: sqlite3.Connection) -> None:
    """Make the indexes of the first generation that are not there."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
    there = {row[0] for row in rows}
    for definition in _definitions():
        index = _INDEX.match(definition)
        if index is not None and index[2] not in there:
            connection.execute(definition)


@functools.cache
def _definitions() -> tuple[str, ...]:
    names = OF_A_GENERATION
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as pristine:
        migrate(pristine, "a ledger in memory")
        rows = pristine.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
            f" AND tbl_name IN ({', '.join('?' * len(names))}) ORDER BY type DESC, rowid",
            names,
        ).fetchall()
    return tuple(row[0] for row in rows)


def _in_generation(definition: str, generation: int) -> str:
    def table(match: re.Match[str]) -> str:
        return f"CREATE TABLE {name_in(match[1], generation)}"

    def index(match: re.Match[str]) -> str:
        unique, name, on = match.groups(default="")
        return f"CREATE{unique} INDEX {name_in(name, generation)} ON {name_in(on, generation)}"

    return _INDEX.sub(index, _TABLE.sub(table, definition))
