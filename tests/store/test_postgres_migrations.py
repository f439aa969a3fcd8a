"""Numbered migrations of a PostgreSQL store: from nothing, interrupted, two at once, finished."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from events import encode
from ledger.folding import fold_events
from ledger.projector import Projector
from ledger.rebuilding.shards import serve_own_version
from ledger.settings import load_settings
from ledger.stores import OpenStore
from persistence import StoreRefusedError
from persistence.migration import FIRST_PROJECTIONS
from persistence.postgres import (
    SCHEMA_VERSION,
    Database,
    PostgresReader,
    PostgresStore,
    finish,
    migrate,
    missing_indexes,
    state,
)
from persistence.postgres.types import type_of
from persistence.sql.tables import BILLING_NOTES, SEALED_TABLES, TABLES
from persistence.sqlite import FILE_NAME, SQLiteReader, SQLiteStore
from projections import PROJECTIONS, Pause
from tests.laws.adapter import ProductLedger
from tests.laws.replay import INTAKE, READ_MODEL
from tests.store.facts import note, placed
from tests.store.test_transactions import LONG_S, beside, waits
from tests.stored import ledgers

pytestmark = pytest.mark.postgres

EVERY_NUMBER = list(range(1, SCHEMA_VERSION + 1))
OF_MIGRATION_5 = (
    *("reconciles", "entry_versions", "voids", "cycle_voided_notes"),
    *("tree", "tree_tiles", "tree_heads"),
    *("generations", "promotions", "served", "acts", "erasures", "taken_over"),
    *SEALED_TABLES,
)


class CutOffError(Exception):
    """What ends a migration in its middle."""


def numbers(rows: object) -> list[int]:
    assert isinstance(rows, list)
    return [row.number for row in rows]


def make_invalid(connection: psycopg.Connection) -> None:
    """As an index is whose making was interrupted."""
    connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'inbox_by_position'::regclass"
    )


def wait_for_a_waiter(connection: psycopg.Connection) -> None:
    """Until a migration waits for a lock on a table."""
    until = time.monotonic() + LONG_S
    while time.monotonic() < until:
        waiting = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
        ).fetchone()
        if waiting != (0,):
            return
        time.sleep(0.02)
    raise AssertionError("no migration waits")


class TestMigrating:
    def test_makes_a_ledger_of_an_empty_database(self, empty_database: str) -> None:
        database = Database(empty_database)
        assert {None} == {row.applied_at for row in state(database)}
        assert EVERY_NUMBER == numbers(migrate(database))
        assert EVERY_NUMBER == numbers(state(database))
        with closing(PostgresStore(database)) as store, store.transaction() as transaction:
            assert [1] == [event.position for event in transaction.append([placed("a")])]

    def test_again_does_nothing(self, empty_database: str) -> None:
        database = Database(empty_database)
        migrate(database)
        before = state(database)
        assert [] == migrate(database)
        assert before == state(database)

    @pytest.mark.parametrize("last", EVERY_NUMBER)
    def test_that_was_interrupted_goes_on(self, empty_database: str, last: int) -> None:
        database = Database(empty_database)

        def interrupt(number: int) -> None:
            if number == last:
                raise CutOffError

        with pytest.raises(CutOffError):
            migrate(database, before_commit=interrupt)
        done = [row.number for row in state(database) if row.applied_at is not None]
        assert EVERY_NUMBER[: last - 1] == done
        with pytest.raises(StoreRefusedError, match="run `usage-ledger migrate`"):
            PostgresStore(database)
        assert EVERY_NUMBER[last - 1 :] == numbers(migrate(database))
        PostgresStore(database).close()

    def test_twice_at_once_is_done_once(self, empty_database: str) -> None:
        database = Database(empty_database)
        inside, go_on = threading.Event(), threading.Event()

        def hold(_number: int) -> None:
            inside.set()
            assert go_on.wait(LONG_S)

        first = beside(lambda: migrate(database, before_commit=hold))
        assert inside.wait(LONG_S)
        second = beside(lambda: migrate(database))
        assert waits(second)
        go_on.set()
        applied = numbers(first.result(LONG_S)) + numbers(second.result(LONG_S))
        assert EVERY_NUMBER == sorted(applied)
        PostgresStore(database).close()

    def test_waits_for_whoever_folds_before_it_takes_a_table(self, empty_database: str) -> None:
        database = Database(empty_database)

        def interrupt(number: int) -> None:
            if number == EVERY_NUMBER[-1]:
                raise CutOffError

        with pytest.raises(CutOffError):
            migrate(database, before_commit=interrupt)
        with psycopg.connect(empty_database, autocommit=True) as connection:
            connection.execute("UPDATE log_head SET head = 1")
        with psycopg.connect(empty_database) as older:
            older.execute("SELECT name FROM projections ORDER BY name FOR UPDATE")
            older.execute("LOCK TABLE corrections IN ROW EXCLUSIVE MODE")
            migrating = beside(lambda: migrate(database))
            assert waits(migrating)
            older.execute("SET lock_timeout = '2s'")
            older.execute("LOCK TABLE entries IN ROW EXCLUSIVE MODE")
        assert EVERY_NUMBER[-1:] == numbers(migrating.result(LONG_S))

    def test_lets_events_in_while_it_waits_for_a_reader(self, empty_database: str) -> None:
        database = Database(empty_database)

        def interrupt(number: int) -> None:
            if number == EVERY_NUMBER[-1]:
                raise CutOffError

        with pytest.raises(CutOffError):
            migrate(database, before_commit=interrupt)
        with (
            psycopg.connect(empty_database, autocommit=True) as intake,
            psycopg.connect(empty_database) as reader,
        ):
            intake.execute("UPDATE log_head SET head = 1")
            intake.execute("SET lock_timeout = '5s'")
            reader.execute("SELECT count(*) FROM entries")  # it may be a report of an hour
            migrating = beside(lambda: migrate(database))
            for _ in range(2):
                wait_for_a_waiter(intake)
                with intake.transaction():
                    intake.execute("SELECT head FROM log_head FOR UPDATE")
            assert not migrating.done()
            reader.rollback()
            assert EVERY_NUMBER[-1:] == numbers(migrating.result(LONG_S))

    def test_makes_an_index_anew_that_was_interrupted(self, empty_database: str) -> None:
        database = Database(empty_database)
        migrate(database)
        with psycopg.connect(empty_database, autocommit=True) as connection:
            wanted = (
                "SELECT indisvalid FROM pg_index WHERE indexrelid = 'inbox_by_position'::regclass"
            )
            assert [(True,)] == connection.execute(wanted).fetchall()
            make_invalid(connection)
            assert [] == migrate(database)
            assert [(True,)] == connection.execute(wanted).fetchall()
            connection.execute("DROP INDEX inbox_by_position")
            assert [] == migrate(database)
            assert [(True,)] == connection.execute(wanted).fetchall()

    def test_lets_events_in_while_it_makes_an_index_anew(self, empty_database: str) -> None:
        database = Database(empty_database)
        migrate(database)
        with (
            psycopg.connect(empty_database, autocommit=True) as intake,
            psycopg.connect(empty_database) as reader,
        ):
            make_invalid(intake)
            reader.execute("SELECT count(*) FROM inbox")
            migrating = beside(lambda: migrate(database))
            assert waits(migrating)
            intake.execute("SET lock_timeout = '5s'")
            intake.execute("INSERT INTO inbox VALUES (1, '\\x01', '\\x01', 1)")
            assert not migrating.done()
            reader.rollback()
            assert [] == migrating.result(LONG_S)

    def test_refuses_the_place_of_another_shard(self, ledger_database: str) -> None:
        with pytest.raises(StoreRefusedError, match="stands in the place of shard 1"):
            migrate(Database(ledger_database), shard=1)

    def test_refuses_what_stands_in_its_way(self, ledger_database: str) -> None:
        with psycopg.connect(ledger_database, autocommit=True) as connection:
            connection.execute("DELETE FROM migrations WHERE number = 1")
        with pytest.raises(StoreRefusedError, match="it has balances, stored_events already"):
            migrate(Database(ledger_database))


class TestFinishing:
    def test_is_done_with_a_ledger_that_is_made_now(self, ledger_database: str) -> None:
        assert None not in {row.finished_at for row in state(Database(ledger_database))}

    def test_tells_writers_which_forms_every_role_knows(self, ledger_database: str) -> None:
        database = Database(ledger_database)
        with psycopg.connect(ledger_database, autocommit=True) as connection:
            connection.execute(
                "UPDATE migrations SET finished_at = NULL WHERE number = %s", (SCHEMA_VERSION,)
            )
        with closing(PostgresStore(database)) as store:
            assert SCHEMA_VERSION - 1 == store.finished_schema()
            assert [SCHEMA_VERSION] == numbers(finish(database))
            assert SCHEMA_VERSION == store.finished_schema()
        assert [] == finish(database)

    def test_a_ledger_with_events_waits_for_its_roles(self, empty_database: str) -> None:
        """What was begun by an older version is finished by an operator, not by the migration."""
        database = Database(empty_database)

        def interrupt(number: int) -> None:
            if number == SCHEMA_VERSION:
                raise CutOffError

        with pytest.raises(CutOffError):
            migrate(database, before_commit=interrupt)
        with psycopg.connect(empty_database, autocommit=True) as connection:
            connection.execute("UPDATE log_head SET head = 1")
        (row,) = migrate(database)
        assert row.applied_at is not None
        assert row.finished_at is None

    def test_refuses_while_an_index_is_missing(self, ledger_database: str) -> None:
        database = Database(ledger_database)
        assert [] == missing_indexes(database)
        with psycopg.connect(ledger_database, autocommit=True) as connection:
            make_invalid(connection)
            assert ["inbox_by_position"] == missing_indexes(database)
            with pytest.raises(StoreRefusedError, match="lacks index inbox_by_position: run"):
                finish(database)
        migrate(database)
        assert [] == missing_indexes(database)
        finish(database)

    def test_refuses_while_a_migration_is_missing(self, empty_database: str) -> None:
        with pytest.raises(StoreRefusedError, match="run `usage-ledger migrate` first"):
            finish(Database(empty_database))


class TestProjectionsOfANewerVersion:
    """An old projector takes the lowest position for its own, and folds what follows it."""

    @pytest.fixture
    def in_use(self, ledger_database: str) -> str:
        """A ledger as the version before billing left it, with an event."""
        with psycopg.connect(ledger_database, autocommit=True) as connection:
            for table in (*TABLES["billing"], *BILLING_NOTES, *OF_MIGRATION_5):
                connection.execute(f"DROP TABLE {table}".encode())
            connection.execute("DROP INDEX cost_centers_of_stripe")
            connection.execute("DROP INDEX entries_by_change")
            connection.execute("DROP INDEX other_entries_by_position")
            connection.execute("DROP INDEX inbox_by_position")
            connection.execute(
                "ALTER TABLE entries DROP COLUMN changed_position, DROP COLUMN final_position"
            )
            connection.execute("ALTER TABLE corrections DROP COLUMN effective")
            connection.execute("DELETE FROM projections WHERE name = 'billing'")
            connection.execute("DELETE FROM migrations WHERE number > 3")
            connection.execute(
                "INSERT INTO stored_events VALUES (1, 'a', 1, %s, %s)",
                (note().TOPIC, encode(note())),
            )
            connection.execute("UPDATE log_head SET head = 1")
            connection.execute("UPDATE projections SET position = 1")
        return ledger_database

    def test_begin_when_no_older_role_folds(self, in_use: str) -> None:
        database = Database(in_use)
        migrate(database)
        with closing(PostgresStore(database)) as store:
            assert set(FIRST_PROJECTIONS) == store.progress().standing.keys()
            append_and_fold(in_use, "b")
            assert {2} == set(store.progress().standing.values())
            finish(database)
            assert dict.fromkeys(PROJECTIONS, 2) == store.progress().standing
            append_and_fold(in_use, "c")
            assert dict.fromkeys(PROJECTIONS, 3) == store.progress().standing

    def test_do_not_wait_for_one_that_is_paused(self, in_use: str) -> None:
        database = Database(in_use)
        migrate(database)
        with closing(PostgresStore(database)) as store:
            with store.folding() as transaction:
                transaction.positions.pause("balances", Pause(2, "broken"))
            append_and_fold(in_use, "b")
            finish(database)
            assert 2 == store.progress().standing["billing"]

    def test_stay_where_they_are_when_it_is_finished_again(self, in_use: str) -> None:
        database = Database(in_use)
        migrate(database)
        finish(database)
        append_and_fold(in_use, "b")
        assert [] == finish(database)
        with closing(PostgresStore(database)) as store:
            assert dict.fromkeys(PROJECTIONS, 2) == store.progress().standing


def append_and_fold(url: str, stream: str) -> None:
    """As a writer and a projector do."""
    with closing(PostgresStore(Database(url))) as store:
        with store.transaction() as transaction:
            transaction.append([placed(stream)])
        with store.folding() as transaction:
            fold_events(transaction, transaction.log(after=transaction.head - 1, limit=1))


class TestALedgerOfAnOlderVersion:
    """Rows that the older version's own code has folded, put into a database of its schema."""

    @pytest.fixture(params=ledgers.recorded(), ids="schema-{}".format)
    def older(self, request: pytest.FixtureRequest, empty_database: str, tmp_path: Path) -> Path:
        ledgers.unpack(request.param, tmp_path)

        def interrupt(number: int) -> None:
            if number > request.param:
                raise CutOffError

        with pytest.raises(CutOffError):
            migrate(Database(empty_database), before_commit=interrupt)
        copy(tmp_path / FILE_NAME, empty_database)
        return tmp_path

    def test_is_folded_anew_to_the_rows_that_a_file_has(
        self, older: Path, empty_database: str
    ) -> None:
        database = Database(empty_database)
        migrate(database)
        with pytest.raises(StoreRefusedError, match="run `usage-ledger projections rebuild`"):
            PostgresStore(database)
        ProductLedger(older).close()
        with closing(PostgresStore(database, migrate_at_start=True)) as store:
            assert store.serves() is None
            serve_own_version(
                load_settings(None, store="postgres", postgres={"urls": [empty_database]}),
                [OpenStore(store, lambda: PostgresReader(store))],
                author="a test",
                failpoint=lambda _name: None,
            )
            finish(database)
            projector = Projector(store, "test")
            projector.start()
            assert projector.settled.wait(LONG_S)
            projector.stop()
            with (
                closing(SQLiteStore(older)) as file,
                closing(SQLiteReader(file)) as expected,
                closing(PostgresReader(store)) as reader,
            ):
                assert (2, 2) == (expected.serves(), reader.serves())
                for table in READ_MODEL:
                    assert list(expected.rows_of(table)) == list(reader.rows_of(table)), table
                assert [] == [breach for *_, found in reader.audit() for breach in found]


def copy(file: Path, url: str) -> None:
    """Copy every row of a ledger in a file into a database that has its tables."""
    with (
        closing(sqlite3.connect(file)) as source,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        connection.execute("DELETE FROM projections")
        for table in (*INTAKE, "stored_events", "projections", *READ_MODEL):
            columns = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
            marks = ", ".join(["%s"] * len(columns))
            rows = source.execute(f"SELECT * FROM {table}").fetchall() if columns else []
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} VALUES ({marks})".encode(), rows)
        connection.execute("UPDATE log_head SET head = (SELECT max(position) FROM stored_events)")


class TestColumns:
    def test_have_the_types_that_values_travel_as(self, ledger_database: str) -> None:
        names = {"bigint": "int8", "bytea": "bytea", "text": "text"}
        with psycopg.connect(ledger_database) as connection:
            columns = connection.execute(
                "SELECT table_name, column_name, data_type, collation_name"
                " FROM information_schema.columns WHERE table_schema = 'public'"
                " AND (table_name, column_name) <> ('leases', 'until')"
            ).fetchall()
        assert [(table, column, names[kind]) for table, column, kind, _ in columns] == [
            (table, column, type_of(table, column)) for table, column, *_ in columns
        ]
        # Text is sorted by its bytes, as SQLite sorts it.
        assert {"C"} == {collation for *_, kind, collation in columns if kind == "text"}
