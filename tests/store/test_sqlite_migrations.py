"""A SQLite ledger of an older version is brought up to this one when it is opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from persistence import StoreRefusedError
from persistence.sqlite import FILE_NAME, SQLiteReader, SQLiteStore
from persistence.sqlite.migrations import MIGRATIONS, SCHEMA_VERSION
from persistence.sqlite.schema import APPLICATION_ID
from tests.store.facts import placed

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
