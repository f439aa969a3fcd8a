"""Generations on every backend: the same tables under other names, and one that is served."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from persistence import FIRST, Generations, Promotion, Reader, StoreRefusedError, WritableStore
from persistence.postgres import Database, PostgresGenerations, PostgresReader, PostgresStore
from persistence.postgres.served import ANNOUNCED_SECONDS, BELIEVED_SECONDS, Served
from persistence.sql.generations import (
    POSITIONS,
    READ_MODEL,
    is_of_a_generation,
    name_in,
    redirected,
)
from persistence.sqlite import SQLiteGenerations, SQLiteReader, SQLiteStore
from projections import PROJECTIONS, VERSION
from tests.cluster.processes import wait_until
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.replay import rows_of
from tests.laws.test_postgres import answers, copy_log
from tests.laws.test_seeded_run import history

SECOND = 2
TABLES = (POSITIONS, *READ_MODEL)


class Opened:
    """A store and its generations."""

    def __init__(self, store: WritableStore, generations: Generations) -> None:
        self.store = store
        self.generations = generations

    def reader(self) -> Reader:
        if isinstance(self.store, PostgresStore):
            return PostgresReader(self.store)
        assert isinstance(self.store, SQLiteStore)
        return SQLiteReader(self.store)

    def serve(self, number: int, *, served: int = FIRST) -> None:
        """Serve a generation, whatever is in it."""
        self.generations.announce(number)
        with self.generations.switch(served, number) as switch:
            switch.promote(Promotion(0, number, VERSION, 0, "a test", ""))

    def make_useless(self, number: int) -> None:
        """Rename a generation's tables, so that whoever still asks them hears of it."""
        for table in TABLES:
            name = name_in(table, number)
            self.run(f"ALTER TABLE {name} RENAME TO old_{name}")

    def run(self, statement: str) -> None:
        if isinstance(self.store, PostgresStore):
            with psycopg.connect(self.store.database.url, autocommit=True) as connection:
                connection.execute(statement.encode())
            return
        assert isinstance(self.store, SQLiteStore)
        self.store.connection.execute(statement)

    def definitions(self, number: int) -> dict[str, list[Any]]:
        """What the tables and indexes of a generation are made of, without the names."""
        if isinstance(self.store, PostgresStore):
            with psycopg.connect(self.store.database.url) as connection:
                return {table: _described(connection, table, number) for table in TABLES}
        assert isinstance(self.store, SQLiteStore)
        return {table: _spelt(self.store.connection, table, number) for table in TABLES}


def _spelt(connection: sqlite3.Connection, table: str, number: int) -> list[Any]:
    rows = connection.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL",
        (name_in(table, number),),
    ).fetchall()
    return sorted(re.sub(rf"_g{number}\b", "", row[0]) for row in rows)


def _described(connection: psycopg.Connection[Any], table: str, number: int) -> list[Any]:
    name = name_in(table, number)
    columns = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attcollation FROM"
        " pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        (name,),
    ).fetchall()
    indexes = connection.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass", (name,)
    ).fetchall()
    options = connection.execute(
        "SELECT reloptions FROM pg_class WHERE oid = %s::regclass", (name,)
    ).fetchall()
    checks = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass"
        " ORDER BY 1",
        (name,),
    ).fetchall()
    spelt = sorted(re.sub(r" INDEX \S+ ON \S+ ", " INDEX ON ", row[0]) for row in indexes)
    return [columns, spelt, options, checks]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    store: WritableStore
    generations: Generations
    if request.param == "postgres":
        database = Database(request.getfixturevalue("ledger_database"))
        store, generations = PostgresStore(database, pool_size=4), PostgresGenerations(database)
    else:
        store = SQLiteStore(tmp_path, synchronous="off")
        generations = SQLiteGenerations(tmp_path)
    with closing(store), closing(generations):
        generations.claim()
        yield Opened(store, generations)


class TestANewGeneration:
    def test_has_the_tables_and_indexes_of_the_first(self, opened: Opened) -> None:
        assert SECOND == opened.generations.begin("a test")
        assert opened.definitions(FIRST) == opened.definitions(SECOND)
        assert all(opened.definitions(SECOND).values())
        progress = opened.generations.progress(SECOND)
        assert (dict.fromkeys(PROJECTIONS, 0), {}) == (progress.standing, progress.paused)
        first, second = opened.generations.all()
        assert (FIRST, VERSION, "") == (*first[:2], first.begun_by)
        assert (SECOND, VERSION, "a test") == (*second[:2], second.begun_by)
        assert {VERSION: FIRST} == opened.generations.served()
        with closing(opened.reader()) as reader:
            assert reader.structure(FIRST) == reader.structure(SECOND)
            for table in READ_MODEL:
                assert reader.key_of(table, FIRST) == reader.key_of(table, SECOND) != ()

    def test_is_not_seen_before_it_is_served(self, opened: Opened) -> None:
        opened.generations.begin("a test")
        for number in (FIRST, SECOND):
            with closing(opened.reader()) as reader, opened.store.transaction() as transaction:
                assert number == reader.serves() == opened.store.serves()
                assert PROJECTIONS == tuple(
                    sorted(transaction.standing()[0], key=PROJECTIONS.index)
                )
            opened.serve(SECOND)
        numbers = [promotion.number for promotion in opened.generations.promotions()]
        assert [1, 2, 3] == numbers

    def test_answers_as_the_first_one_did(self, opened: Opened) -> None:
        """Every statement goes to what is served: the first one's tables are not there any more."""
        opened.generations.begin("a test")
        opened.serve(SECOND)
        opened.make_useless(FIRST)
        with closing(ProductLedger()) as ledger, closing(SQLiteReader(ledger.store)) as expected:
            ledger.apply_all(history(20260801)[:60])
            copy_log(expected, opened.store, batch_events=700)
            with closing(opened.reader()) as reader:
                assert answers(expected, pages=97) == answers(reader, pages=97)
                for table in READ_MODEL:
                    assert list(expected.rows_of(table)) == list(reader.rows_of(table))
                assert reader.status(runs_since=0, stopped_since=0).projections
            opened.store.clear_read_model()
            with closing(opened.reader()) as reader:
                assert [] == list(reader.rows_of("balances"))
            assert 0 == min(opened.store.progress().standing.values())

    def test_is_dropped_little_by_little_and_its_tables_with_it(self, opened: Opened) -> None:
        opened.generations.begin("a test")
        opened.serve(SECOND)
        heard: list[int] = []
        with closing(ProductLedger()) as ledger, closing(SQLiteReader(ledger.store)) as expected:
            ledger.apply_all(history(20260801)[:40])
            copy_log(expected, opened.store, batch_events=EVERYTHING)
        opened.serve(FIRST, served=SECOND)
        opened.generations.drop(SECOND, "somebody", heard.append)
        assert len(heard) > 1
        assert heard == sorted(heard)
        with closing(opened.reader()) as reader:
            assert {} == reader.structure(SECOND)
        assert opened.generations.all()[1].dropped_at is not None
        assert {} == opened.generations.progress(SECOND).standing
        assert 3 == opened.generations.begin("a test")  # a number is never given twice

    def test_of_which_the_first_is_dropped_keeps_its_tables(self, opened: Opened) -> None:
        """Later migrations change them, and new generations are made as they are then."""
        opened.generations.begin("a test")
        opened.serve(SECOND)
        opened.generations.drop(FIRST, "somebody", lambda _count: None)
        with closing(opened.reader()) as reader:
            assert set(READ_MODEL) == reader.structure(FIRST).keys()
        assert {VERSION: SECOND} == opened.generations.served()


def claims(generations: Generations) -> bool:
    try:
        generations.claim()
    except StoreRefusedError:
        return False
    return True


class TestAClaim:
    def test_is_one_processs_at_a_time(self, opened: Opened, tmp_path: Path) -> None:
        other: Generations
        if isinstance(opened.store, PostgresStore):
            other = PostgresGenerations(opened.store.database)
        else:
            other = SQLiteGenerations(tmp_path)
        with closing(other):
            with pytest.raises(StoreRefusedError, match="works on the generations of"):
                other.claim()
            opened.generations.close()
            wait_until(lambda: claims(other), what="the server, which has to notice")


class TestAStatement:
    def test_is_redirected_by_the_names_of_its_tables(self) -> None:
        statement = (
            "SELECT payer, entries FROM balances JOIN entries e INDEXED BY entries_by_payer ON 1"
            " LEFT JOIN personal p ON p.position IN (SELECT position FROM projections)"
        )
        assert is_of_a_generation(statement)
        assert statement == redirected(statement, FIRST)
        assert redirected(statement, 3) == (
            "SELECT payer, entries FROM balances_g3 JOIN entries_g3 e INDEXED BY"
            " entries_by_payer_g3 ON 1 LEFT JOIN personal p ON p.position IN (SELECT position FROM"
            " projections_g3)"
        )

    def test_of_the_log_is_the_same_in_every_generation(self) -> None:
        statement = "SELECT * FROM stored_events JOIN inbox ON 1"
        assert not is_of_a_generation(statement)
        assert statement == redirected(statement, 7)


class TestBelief:
    """What a process of a cluster knows of what is served, without asking each time."""

    def test_lasts_a_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        served, asked = Served(), []

        def ask() -> tuple[int, int | None]:
            asked.append(now)
            return len(asked), None

        assert [1, 1] == [served.now(ask), served.now(ask)]
        now += BELIEVED_SECONDS - 0.01
        assert 1 == served.now(ask)
        now += 0.02
        assert 2 == served.now(ask)
        served.forget()
        assert 3 == served.now(ask)

    def test_ends_before_what_was_announced_can_happen(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        served = Served()
        row: tuple[int, int | None] = (1, None)
        assert 1 == served.now(lambda: row)
        row = (1, 2)  # announced now; whoever asks from here on believes nothing
        now += ANNOUNCED_SECONDS
        assert 0 == served.believed()
        assert 1 == served.now(lambda: row)
        assert 0 == served.believed()
        row = (2, None)
        assert 2 == served.now(lambda: row)
        assert 2 == served.believed()

    def test_counts_from_when_it_was_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer that took long is old when it comes."""
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        served = Served()

        def ask() -> tuple[int, int | None]:
            nonlocal now
            now += BELIEVED_SECONDS + 1
            return 1, None

        assert 1 == served.now(ask)
        assert 0 == served.believed()


@pytest.mark.postgres
class TestASnapshot:
    def test_shows_what_was_served_when_it_was_taken(self, ledger_database: str) -> None:
        database = Database(ledger_database)
        with (
            closing(PostgresStore(database, pool_size=4)) as store,
            closing(PostgresGenerations(database)) as generations,
            closing(PostgresReader(store)) as reader,
        ):
            generations.claim()
            generations.begin("a test")
            opened = Opened(store, generations)
            with reader.snapshot():
                assert 0 == reader.balance(bytes(16))
                opened.serve(SECOND)
                store.progress()  # this process knows better by now
                assert FIRST == reader.serves()
                assert 0 == reader.balance(bytes(16))
            assert SECOND == reader.serves()


def test_rows_of_memory_are_never_another_generations() -> None:
    with closing(SQLiteStore(None)) as store, closing(SQLiteReader(store)) as reader:
        assert FIRST == store.serves() == reader.serves()
        assert rows_of(store, ("served",)) == {"served": [(VERSION, FIRST, None)]}
