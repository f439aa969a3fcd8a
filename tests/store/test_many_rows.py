"""However many rows are written in one statement, what lies in the tables is the same."""

from __future__ import annotations

import sqlite3

import pytest

from persistence.sqlite.replayed import ROWS_AT_ONCE as MOST
from persistence.sqlite.session import ROWS_AT_ONCE as SOME
from persistence.sqlite.session import SQLiteSession
from persistence.sqlite.store import SQLiteStore
from projections import BalanceDelta
from tests.store.backends import Backend

COUNTS = (0, 1, SOME - 1, SOME, SOME + 1, MOST - 1, MOST, MOST + 1, 2 * MOST + SOME + 3)
VARIABLES_MAX = 32_766  # of one statement of SQLite


def payer(number: int) -> bytes:
    return number.to_bytes(16)


@pytest.mark.parametrize("count", COUNTS)
class TestRows:
    def test_are_added_to_sums(self, backend: Backend, count: int) -> None:
        deltas = {payer(n): BalanceDelta(1, n, 2 * n, 1) for n in range(count)}
        for _ in range(2):
            with backend.store.transaction() as transaction:
                transaction.rows.add_balances(deltas)
        expected = {(payer(n), 2, 2 * n, 4 * n, 2) for n in range(count)}
        assert expected == set(backend.rows()["balances"])

    @pytest.mark.parametrize("at_once", [SOME, MOST])
    def test_keep_the_last_of_a_key(self, count: int, at_once: int) -> None:
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, number INTEGER)")
        session = SQLiteSession(connection, rows_at_once=at_once)
        rows = [(f"{n % 7}", n) for n in range(count)]
        session.put("kept", ("name",), ("name", "number"), rows)
        assert dict(rows) == dict(connection.execute("SELECT name, number FROM kept"))

    @pytest.mark.parametrize("at_once", [SOME, MOST])
    def test_that_are_there_conflict_or_are_let_pass(self, count: int, at_once: int) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, number INTEGER)")
        session = SQLiteSession(connection, rows_at_once=at_once)
        rows = [(f"{n}", n) for n in range(count + 1)]
        session.insert("kept", ("name", "number"), rows[-1:])
        with pytest.raises(sqlite3.IntegrityError):
            session.insert("kept", ("name", "number"), [(name, -1) for name, _ in rows])
        connection.execute("DELETE FROM kept WHERE number < 0")
        session.insert("kept", ("name", "number"), rows, missing_only=True)
        assert rows == connection.execute("SELECT * FROM kept ORDER BY number").fetchall()


def test_no_statement_takes_more_variables_than_there_may_be() -> None:
    store = SQLiteStore(None)
    try:
        tables = store.connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        columns = {
            table: len(store.connection.execute(f"PRAGMA table_info({table})").fetchall())
            for (table,) in tables
        }
    finally:
        store.close()
    assert columns
    assert {} == {table: n for table, n in columns.items() if n * MOST > VARIABLES_MAX}
