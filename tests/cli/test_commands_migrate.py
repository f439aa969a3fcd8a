"""`usage-ledger migrate`, on files and on PostgreSQL."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from persistence.postgres import SCHEMA_VERSION, Database, PostgresStore
from persistence.sqlite import SQLiteStore
from tests.cli.running import usage_ledger
from tests.servers.postgres import PostgresServer
from tests.store.test_sqlite_migrations import write_version_1

EVERY_NUMBER = list(range(1, SCHEMA_VERSION + 1))


def configuration(folder: Path, *urls: str) -> str:
    file = folder / "usage-ledger.toml"
    file.write_text(f'store = "postgres"\n[postgres]\nurls = {json.dumps(urls)}\n')
    return str(file)


class TestALedgerInAFile:
    def test_is_made(self, tmp_path: Path) -> None:
        told = usage_ledger("migrate", "--data-dir", str(tmp_path / "data"))
        for number in EVERY_NUMBER:
            assert f"shard 0: applied migration {number}, " in told
        again = usage_ledger("migrate", "--data-dir", str(tmp_path / "data"))
        assert "Nothing to do: every migration is applied.\n" == again

    def test_of_an_older_version_is_told_and_brought_up(self, tmp_path: Path) -> None:
        write_version_1(tmp_path)
        before = usage_ledger("migrate", "--data-dir", str(tmp_path), "--check", code=1)
        assert "missing" in before
        told = json.loads(usage_ledger("migrate", "--data-dir", str(tmp_path), "--json"))
        assert {"shards": [{"shard": 0, "applied": EVERY_NUMBER[1:]}]} == told
        assert "missing" not in usage_ledger("migrate", "--data-dir", str(tmp_path), "--check")

    def test_in_use_and_up_to_date_is_no_trouble(self, tmp_path: Path) -> None:
        with closing(SQLiteStore(tmp_path)):
            told = usage_ledger("migrate", "--data-dir", str(tmp_path), "--finish")
        assert "Nothing to do: every migration is finished.\n" == told


class TestOptions:
    def test_that_contradict_each_other_are_refused(self, tmp_path: Path) -> None:
        usage_ledger("migrate", "--data-dir", str(tmp_path), "--check", "--finish", code=2)


@pytest.mark.postgres
class TestALedgerOfShards:
    @pytest.fixture
    def urls(self, postgres_server: PostgresServer) -> list[str]:
        return [postgres_server.new_database() for _ in range(2)]

    def test_is_made_of_empty_databases(self, urls: list[str], tmp_path: Path) -> None:
        config = configuration(tmp_path, *urls)
        before = json.loads(usage_ledger("migrate", "--config", config, "--check", "--json", code=1)
                            .partition("\n\n")[0])  # fmt: skip
        assert {False} == {
            row["applied"] for shard in before["shards"] for row in shard["migrations"]
        }
        told = json.loads(usage_ledger("migrate", "--config", config, "--json"))
        assert {
            "shards": [{"shard": 0, "applied": EVERY_NUMBER}, {"shard": 1, "applied": EVERY_NUMBER}]
        } == told
        with closing(PostgresStore(Database(urls[0]))) as first:
            ledger_id = first.ledger_id
        PostgresStore(Database(urls[1]), shard=1, ledger_id=ledger_id).close()
        usage_ledger("migrate", "--config", config, "--check")

    def test_takes_another_shard_in(self, urls: list[str], tmp_path: Path) -> None:
        usage_ledger("migrate", "--config", configuration(tmp_path, urls[0]))
        config = configuration(tmp_path, *urls)
        told = json.loads(usage_ledger("migrate", "--config", config, "--json"))
        assert [[], EVERY_NUMBER] == [shard["applied"] for shard in told["shards"]]

    def test_refuses_shards_in_another_order(self, urls: list[str], tmp_path: Path) -> None:
        usage_ledger("migrate", "--config", configuration(tmp_path, *urls))
        told = usage_ledger("migrate", "--config", configuration(tmp_path, *reversed(urls)), code=1)
        assert "bring postgres.urls into the order of the shards" in told

    def test_is_finished_when_an_operator_says_so(self, urls: list[str], tmp_path: Path) -> None:
        config = configuration(tmp_path, *urls)
        usage_ledger("migrate", "--config", config)
        with psycopg.connect(urls[1], autocommit=True) as connection:
            connection.execute(
                "UPDATE migrations SET finished_at = NULL WHERE number = %s", (SCHEMA_VERSION,)
            )
        assert "--finish" in usage_ledger("migrate", "--config", config)
        assert "not finished" in usage_ledger("migrate", "--config", config, "--check")
        told = usage_ledger("migrate", "--config", config, "--finish")
        assert f"shard 1: finished migration {SCHEMA_VERSION}, " in told
        assert "not finished" not in usage_ledger("migrate", "--config", config, "--check")

    def test_lacks_an_index_that_was_interrupted(self, urls: list[str], tmp_path: Path) -> None:
        config = configuration(tmp_path, *urls)
        usage_ledger("migrate", "--config", config)
        with psycopg.connect(urls[1], autocommit=True) as connection:
            connection.execute("DROP INDEX inbox_by_position")
        told = usage_ledger("migrate", "--config", config, "--check", code=1)
        assert "shard 1: index inbox_by_position is missing\n" in told
        told = usage_ledger("migrate", "--config", config, "--finish", code=1)
        assert "lacks index inbox_by_position: run `usage-ledger migrate` first" in told
        told = usage_ledger("migrate", "--config", config)
        assert "shard 1: made index inbox_by_position\n" == told
        usage_ledger("migrate", "--config", config, "--check")
        assert "Nothing to do" in usage_ledger("migrate", "--config", config, "--finish")

    def test_without_urls_says_what_to_set(self, tmp_path: Path) -> None:
        told = usage_ledger("migrate", "--config", configuration(tmp_path), code=1)
        assert "set postgres.urls" in told


class TestPasswords:
    def test_are_shown_as_stars(self, tmp_path: Path) -> None:
        config = configuration(
            tmp_path,
            "postgresql://me:hunter2@db/ledger?sslpassword=hunter2&connect_timeout=1",
            "postgresql://you@db-2/ledger?password=hunter2",
        )
        for options in ([], ["--json"]):
            told = usage_ledger("config", "show", "--config", config, *options)
            assert "hunter2" not in told
            assert "postgresql://me:***@db/ledger?sslpassword=***&connect_timeout=1" in told

    @pytest.mark.parametrize("urls", ["hunter2", "mysql://me:hunter2@db/ledger"])
    def test_are_not_repeated_in_a_refusal(self, urls: str, tmp_path: Path) -> None:
        told = usage_ledger("config", "show", "--config", configuration(tmp_path, urls), code=2)
        assert "hunter2" not in told
        assert "postgres.urls" in told

    def test_are_in_no_error_of_a_database_that_is_away(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, "postgresql://me:hunter2@127.0.0.1:1/ledger")
        assert "hunter2" not in usage_ledger("migrate", "--config", config, code=1)
