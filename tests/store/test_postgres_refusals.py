"""What a PostgreSQL store refuses at its start, with a sentence that says what to change."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from persistence import StoreError, StoreRefusedError, StoreUnavailableError
from persistence.postgres import SCHEMA_VERSION, Database, PostgresStore, migrate
from tests.servers.postgres import PostgresServer, started_server
from tests.store.facts import placed

pytestmark = pytest.mark.postgres

SECRET = "correct-horse"


def refusal(database: Database, *, shard: int = 0, ledger_id: str | None = None) -> str:
    with pytest.raises(StoreRefusedError) as refused:
        PostgresStore(database, shard=shard, ledger_id=ledger_id)
    (sentence,) = str(refused.value).splitlines()
    return sentence


def alter(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


class TestTheEnvironment:
    @pytest.mark.parametrize("value", ["y", "true", "1", "On"])
    def test_that_lets_the_library_lose_the_order(
        self, ledger_database: str, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv("POSTGRES_ENABLE_DB_FUNCTIONS", value)
        assert "unset it" in refusal(Database(ledger_database))

    @pytest.mark.parametrize("value", ["", "n", "False", "0"])
    def test_that_leaves_it_off_is_let_pass(
        self, ledger_database: str, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv("POSTGRES_ENABLE_DB_FUNCTIONS", value)
        PostgresStore(Database(ledger_database)).close()


class TestTheDatabase:
    def test_is_empty(self, empty_database: str) -> None:
        assert "is empty; run `usage-ledger migrate`" in refusal(Database(empty_database))

    def test_is_made_at_the_start_when_told(self, empty_database: str) -> None:
        database = Database(empty_database)
        with closing(PostgresStore(database, migrate_at_start=True)) as store:
            assert SCHEMA_VERSION == store.finished_schema()
        PostgresStore(database).close()

    def test_is_another_programs(self, empty_database: str) -> None:
        alter(empty_database, "CREATE TABLE mine (id int)")
        assert "is not a ledger; name another" in refusal(Database(empty_database))
        with pytest.raises(StoreRefusedError, match="is not a ledger"):
            PostgresStore(Database(empty_database), migrate_at_start=True)

    def test_is_another_shard(self, ledger_database: str) -> None:
        sentence = refusal(Database(ledger_database), shard=1)
        assert "is shard 0, but stands in the place of shard 1" in sentence

    def test_is_another_ledgers(self, ledger_database: str) -> None:
        sentence = refusal(Database(ledger_database), ledger_id="another")
        assert "not to another of the first shard" in sentence

    def test_is_a_shard_of_the_first_ones_ledger(
        self, ledger_database: str, empty_database: str
    ) -> None:
        with closing(PostgresStore(Database(ledger_database))) as first:
            ledger_id = first.ledger_id
        second = Database(empty_database)
        migrate(second, shard=1, ledger_id=ledger_id)
        with closing(PostgresStore(second, shard=1, ledger_id=ledger_id)) as store:
            assert ledger_id == store.ledger_id

    def test_does_not_say_whose_it_is(self, ledger_database: str) -> None:
        alter(ledger_database, "DELETE FROM ledger")
        assert "restore a backup" in refusal(Database(ledger_database))

    def test_has_a_newer_schema(self, ledger_database: str) -> None:
        alter(ledger_database, "INSERT INTO migrations VALUES (99, 'of tomorrow', 1, NULL)")
        assert "schema version 99" in refusal(Database(ledger_database))

    def test_has_an_older_schema(self, ledger_database: str) -> None:
        alter(ledger_database, f"DELETE FROM migrations WHERE number = {SCHEMA_VERSION}")
        assert "run `usage-ledger migrate`" in refusal(Database(ledger_database))

    def test_keeps_other_text_than_unicode(self, postgres_server: PostgresServer) -> None:
        url = postgres_server.new_database(encoding="SQL_ASCII")
        try:
            assert "encoding SQL_ASCII" in refusal(Database(url))
        finally:
            postgres_server.drop_database(url)


class TestTheLog:
    @pytest.fixture
    def filled(self, ledger_database: str) -> Database:
        """Three events, folded up to the second."""
        database = Database(ledger_database)
        with closing(PostgresStore(database)) as store:
            with store.transaction() as transaction:
                transaction.append([placed("a"), placed("b"), placed("c")])
            with store.folding() as transaction:
                transaction.positions.advance("clock", expected=0, position=2)
        return database

    @pytest.mark.parametrize("lost", ["position = 2", "position > 2", "true"])
    def test_lacks_events(self, filled: Database, lost: str) -> None:
        alter(filled.url, f"DELETE FROM stored_events WHERE {lost}")
        assert "restore a backup" in refusal(filled)

    def test_is_shorter_than_what_was_folded(self, filled: Database) -> None:
        alter(
            filled.url,
            "DELETE FROM stored_events WHERE position > 1",
            "UPDATE log_head SET head = 1",
        )
        assert "ends at position 1 but was folded up to 2" in refusal(filled)


class TestTheServer:
    def test_may_lose_what_it_answered(self) -> None:
        with started_server() as server:
            database = Database(server.new_ledger())
            server.stop()
            server.start(fsync="off")
            assert "fsync = off" in refusal(database)
            PostgresStore(database, allow_unsafe=True).close()
            server.stop()
            server.start(synchronous_commit="off", full_page_writes="off")
            sentence = refusal(database)
            assert "full_page_writes = off, synchronous_commit = off" in sentence
            assert "postgres.allow_unsafe" in sentence

    def test_is_away_and_may_be_tried_again(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            PostgresStore(Database(f"postgresql://me@/ledger?host={tmp_path}"))

    def test_has_no_such_database(self, postgres_server: PostgresServer) -> None:
        assert "change postgres.urls" in refusal(Database(postgres_server.url_of("nowhere")))


class TestSecrets:
    @pytest.mark.parametrize(
        "url",
        [
            f"postgresql://me:{SECRET}@/ledger?host=/nowhere",
            f"postgresql://me:{SECRET}@127.0.0.1:1/ledger",
            f"postgresql://me:{SECRET}@[/ledger",
            f"postgresql://me:{SECRET}@host/ledger?no_such_option=1",
            f"host=/nowhere password='{SECRET}",
            SECRET,
        ],
    )
    def test_are_in_no_error(self, url: str) -> None:
        with pytest.raises(StoreError) as refused:
            PostgresStore(Database(url))
        assert SECRET not in str(refused.value)
        assert SECRET not in repr(Database(url))

    def test_come_from_a_file_that_can_be_read(self, ledger_database: str, tmp_path: Path) -> None:
        missing = Database(ledger_database, tmp_path / "missing")
        assert "postgres.password_file" in refusal(missing)
        password_file = tmp_path / "password"
        password_file.write_text(f"{SECRET}\n")
        database = Database(ledger_database, password_file)
        assert SECRET == database.parameters(purpose="test")["password"]
        PostgresStore(database).close()
