"""A SQLite ledger of an older version is brought up to this one when it is opened."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from events import decode
from ledger.replay import compare_with_log
from persistence import StoreRefusedError
from persistence.sql.tables import BILLING_NOTES, TABLES
from persistence.sqlite import FILE_NAME, SQLiteReader, SQLiteStore
from persistence.sqlite.migrations import MIGRATIONS, SCHEMA_VERSION
from persistence.sqlite.schema import APPLICATION_ID
from projections import PROJECTIONS
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.replay import READ_MODEL, rows_of
from tests.laws.test_seeded_run import history
from tests.store.facts import placed

OLD_PROJECTIONS = {
    "instances", "usage-totals", "balances", "invoice-drafts", "cost-centers", "clock",
}  # fmt: skip
PAYERS = [n.to_bytes(16, "big") for n in range(4)]


def write_version_1(folder: Path) -> None:
    """Leave a ledger as version 1 did, that knows a payer from each of four tables."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as ledger, ledger:
        MIGRATIONS[0].apply(ledger)
        ledger.execute("INSERT INTO balances VALUES (?, 0, 0, 0, 0)", (PAYERS[0],))
        ledger.execute("INSERT INTO cost_centers VALUES (?, 0, 'other', 1, 0, 0)", (PAYERS[1],))
        ledger.execute(
            "INSERT INTO open_cycles VALUES (?, 0, NULL, 0, NULL, 0, 0, 0, 0, 0, 0)", (PAYERS[2],)
        )
        ledger.execute(
            "INSERT INTO open_instances VALUES"
            " (?, x'01', x'02', x'', '', '', '', NULL, NULL, NULL, 5, '', 0, 0)",
            (PAYERS[3],),
        )
        ledger.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        ledger.execute("PRAGMA user_version = 1")


@pytest.fixture
def of_version_1(tmp_path: Path) -> Path:
    write_version_1(tmp_path)
    return tmp_path


class TestALedgerOfVersion1:
    def test_is_opened_and_places_every_payer_it_knows(self, of_version_1: Path) -> None:
        with closing(SQLiteStore(of_version_1)) as store, closing(SQLiteReader(store)) as reader:
            assert [0, 0, 0, 0] == [reader.placement(payer) for payer in PAYERS]
            assert reader.placement(bytes([9] * 16)) is None
            assert SCHEMA_VERSION == store.finished_schema()
            with store.transaction() as transaction:
                transaction.append([placed("a")])

    def test_keeps_what_was_applied(self, of_version_1: Path) -> None:
        SQLiteStore(of_version_1).close()
        SQLiteStore(of_version_1).close()
        with closing(sqlite3.connect(of_version_1 / FILE_NAME)) as ledger:
            rows = ledger.execute("SELECT number, note, finished_at > 0 FROM migrations").fetchall()
        assert [(migration.number, migration.note, 1) for migration in MIGRATIONS] == rows

    def test_is_left_as_it_was_when_it_cannot_be_migrated(self, of_version_1: Path) -> None:
        with closing(sqlite3.connect(of_version_1 / FILE_NAME)) as ledger, ledger:
            ledger.execute("DROP TABLE open_cycles")
        with pytest.raises(StoreRefusedError, match=r"cannot take migration 2 .*lacks open_cycles"):
            SQLiteStore(of_version_1)
        with closing(sqlite3.connect(of_version_1 / FILE_NAME)) as ledger:
            assert (1,) == ledger.execute("PRAGMA user_version").fetchone()
            tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('migrations', 'placement')"
            assert (0,) == ledger.execute(tables).fetchone()


def write_version_3(folder: Path) -> None:
    """Leave a ledger of three months as version 3 did: none of it knows of billing."""
    with closing(ProductLedger(folder)) as ledger:
        ledger.apply_all(history(20260801)[:300])
        assert ledger.select(
            "SELECT count(*) FROM stored_events WHERE topic = 'billing-cycle-closed'"
        ) > [(0,)]
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
        for table in (*TABLES["billing"], *BILLING_NOTES):
            database.execute(f"DROP TABLE {table}")
        database.execute("DROP INDEX cost_centers_of_stripe")
        database.execute("DELETE FROM projections WHERE name = 'billing'")
        database.execute("DELETE FROM migrations WHERE number > 3")
        database.execute("PRAGMA user_version = 3")
        assert OLD_PROJECTIONS == {
            name for (name,) in database.execute("SELECT name FROM projections")
        }


@pytest.fixture(scope="module")
def of_version_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("version-3")
    write_version_3(folder)
    return folder


@pytest.fixture
def data_dir(of_version_3: Path, tmp_path: Path) -> Path:
    shutil.copy(of_version_3 / FILE_NAME, tmp_path / FILE_NAME)
    return tmp_path


def folds_of(data_dir: Path) -> list[str]:
    """Open it, and tell which projections were folded at the start."""
    folded: list[str] = []
    ProductLedger(data_dir, before_fold=folded.append).close()
    return folded


class TestALedgerOfVersion3:
    def test_is_opened_without_folding_anything_anew(self, data_dir: Path) -> None:
        with closing(sqlite3.connect(data_dir / FILE_NAME)) as database:
            before = {
                table: sorted(database.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
                for table in READ_MODEL
                if table not in TABLES["billing"]
            }
        assert [] == folds_of(data_dir)
        with closing(SQLiteStore(data_dir)) as store:
            assert before == rows_of(store, tuple(before))
            standing = store.progress().standing
        assert set(PROJECTIONS) == standing.keys()
        assert 1 == len(set(standing.values()))

    def test_has_the_rows_that_its_log_folds_to(self, data_dir: Path) -> None:
        """Also of billing, though the log has payers who moved to STRIPE."""
        with closing(SQLiteStore(data_dir)) as store, closing(SQLiteReader(store)) as reader:
            assert any(
                decode(e.topic, e.state).reason == "upgrade"  # type: ignore[attr-defined]
                for e in reader.log(after=0, limit=EVERYTHING)
                if e.topic == "billing-cycle-closed"
            )
            laws = [*reader.audit(), *compare_with_log(reader)]
        assert [] == [f"{law}: {breach}" for law, _, breaches in laws for breach in breaches]

    def test_that_has_to_be_folded_anew_still_is(self, data_dir: Path) -> None:
        with closing(sqlite3.connect(data_dir / FILE_NAME)) as database, database:
            database.execute(
                "UPDATE projections SET position = position - 3 WHERE name = 'balances'"
            )
        assert set(PROJECTIONS) == set(folds_of(data_dir))
        assert [] == folds_of(data_dir)
