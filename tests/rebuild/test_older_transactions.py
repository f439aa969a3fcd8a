"""Whom a drop waits for: transactions that may read what it drops, and those it cannot see."""

from __future__ import annotations

import time
import uuid

import psycopg
import pytest

from persistence.postgres.generations import _OLDER

pytestmark = pytest.mark.postgres

VACUUM_SECONDS_MAX = 90


def older(connection: psycopg.Connection) -> tuple[int, int]:
    statement = _OLDER.replace("?", "clock_timestamp()")
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.fixture
def limited(ledger_database: str) -> str:
    """A user who may not see what others do."""
    name = f"limited_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(ledger_database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}".encode())
    return name


def test_one_that_only_is_there_is_not_waited_for(ledger_database: str) -> None:
    with (
        psycopg.connect(ledger_database, autocommit=True) as looking,
        psycopg.connect(ledger_database, autocommit=True) as other,
    ):
        other.execute("SELECT 1")
        assert (0, 0) == older(looking)
        with other.transaction():
            other.execute("SELECT 1")
            assert (1, 0) == older(looking)


def test_one_that_cannot_be_seen_is(ledger_database: str, limited: str) -> None:
    with (
        psycopg.connect(ledger_database, autocommit=True) as looking,
        psycopg.connect(ledger_database, autocommit=True) as other,
        other.transaction(),
    ):
        other.execute("SELECT 1")
        looking.execute(f"SET ROLE {limited}".encode())
        assert (1, 1) == older(looking)
        looking.execute("RESET ROLE")
        looking.execute(f"GRANT pg_read_all_stats TO {limited}".encode())
        looking.execute(f"SET ROLE {limited}".encode())
        assert (1, 0) == older(looking)


def test_the_servers_own_work_is_not_waited_for(ledger_database: str, limited: str) -> None:
    """Of which, too, one who may not see what others do sees next to nothing."""
    with psycopg.connect(ledger_database, autocommit=True) as looking:
        looking.execute("CREATE TABLE vacuumed AS SELECT generate_series(1, 60000) AS number")
        looking.execute(
            "ALTER TABLE vacuumed SET (autovacuum_vacuum_threshold = 1,"
            " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100,"
            " autovacuum_vacuum_cost_limit = 1)"
        )
        looking.execute("DELETE FROM vacuumed WHERE number % 2 = 0")
        wait_for_a_vacuum(looking)
        looking.execute(f"SET ROLE {limited}".encode())
        assert (0, 0) == older(looking)
        looking.execute("RESET ROLE")
        assert has_a_vacuum(looking), "it ended before it was looked at"
        looking.execute("DROP TABLE vacuumed")


def has_a_vacuum(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'autovacuum worker'"
    ).fetchone()
    return row != (0,)


def wait_for_a_vacuum(connection: psycopg.Connection) -> None:
    until = time.monotonic() + VACUUM_SECONDS_MAX
    while not has_a_vacuum(connection):
        assert time.monotonic() < until, "the server does not vacuum"
        time.sleep(0.1)
