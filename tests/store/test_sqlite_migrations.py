"""A SQLite ledger of an older version is brought up to this one when it is opened."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from events import decode
from events.readable import attribution_id, uuid_text
from ledger.replay import compare_with_log
from persistence import StoreRefusedError
from persistence.sqlite import FILE_NAME, SQLiteReader, SQLiteStore
from persistence.sqlite.migrations import MIGRATIONS, SCHEMA_VERSION
from persistence.sqlite.schema import APPLICATION_ID
from projections import PROJECTIONS, VERSION
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.asking_why import wrong_about
from tests.oracle.operations import VoidInstance
from tests.store.facts import placed
from tests.stored import ledgers

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


@pytest.fixture(params=ledgers.recorded(), ids="schema-{}".format)
def of_an_older_version(request: pytest.FixtureRequest, tmp_path: Path) -> Older:
    """A ledger that the older version's own code has written, and what it answered there."""
    return Older(tmp_path, ledgers.unpack(request.param, tmp_path))


class Older(NamedTuple):
    """A ledger on disk."""

    data_dir: Path
    answers: dict[str, Any]


def folds_of(data_dir: Path) -> list[str]:
    """Open it, and tell which projections of what is served were folded anew at the start."""
    folded: list[str] = []
    ProductLedger(data_dir, before_fold=folded.append).close()
    return folded


def served_in(data_dir: Path) -> dict[int, int]:
    """Which generation each version of the folds serves."""
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as database:
        return dict(database.execute("SELECT version, generation FROM served"))


class TestALedgerOfAnOlderVersion:
    def test_answers_what_it_answered(self, of_an_older_version: Older) -> None:
        with closing(ProductLedger(of_an_older_version.data_dir)) as ledger:
            told = json.loads(json.dumps(ledgers.answers_of(ledger)))
            assert sorted(of_an_older_version.answers) == sorted(told)
            for payer, answers in of_an_older_version.answers.items():
                assert answers == ledgers.without_news(told[payer], answers)

    def test_has_a_tree_without_leaves_that_can_grow(self, of_an_older_version: Older) -> None:
        data_dir = of_an_older_version.data_dir
        ProductLedger(data_dir).close()
        with closing(SQLiteStore(data_dir)) as store, closing(SQLiteReader(store)) as reader:
            assert (0, 0) == (reader.tree.state().size, reader.tree.position())
            with store.beside() as transaction:
                transaction.tree.resize(expected=0, size=3)

    def test_has_the_rows_that_its_log_folds_to(self, of_an_older_version: Older) -> None:
        """Also of billing, though the log has payers who moved to STRIPE."""
        ProductLedger(of_an_older_version.data_dir).close()
        with (
            closing(SQLiteStore(of_an_older_version.data_dir)) as store,
            closing(SQLiteReader(store)) as reader,
        ):
            assert any(
                decode(e.topic, e.state).reason == "upgrade"  # type: ignore[attr-defined]
                for e in reader.log(after=0, limit=EVERYTHING)
                if e.topic == "billing-cycle-closed"
            )
            laws = [*reader.audit(), *compare_with_log(reader)]
        assert [] == [f"{law}: {breach}" for law, _, breaches in laws for breach in breaches]

    def test_is_folded_anew_once(self, of_an_older_version: Older) -> None:
        """Its rows were made by other folds, whose version goes on serving them."""
        for _ in range(2):
            assert [] == folds_of(of_an_older_version.data_dir)
            assert {1: 1, VERSION: 2} == served_in(of_an_older_version.data_dir)

    def test_keeps_its_log_byte_by_byte(self, of_an_older_version: Older) -> None:
        events = "SELECT * FROM stored_events ORDER BY position"
        with closing(sqlite3.connect(of_an_older_version.data_dir / FILE_NAME)) as database:
            before = database.execute(events).fetchall()
        with closing(ProductLedger(of_an_older_version.data_dir)) as ledger:
            assert before == ledger.select(events)
        assert len(before) > 300

    def test_is_explained_to_the_event(self, of_an_older_version: Older) -> None:
        with closing(ProductLedger(of_an_older_version.data_dir)) as ledger:
            for payer in ledger.payers():
                assert [] == list(wrong_about(ledger.queries, payer, size=5))

    def test_goes_on(self, of_an_older_version: Older) -> None:
        """What it had recorded can be voided; and what was older than its price list stays."""
        with closing(ProductLedger(of_an_older_version.data_dir)) as ledger:
            now_ns = (ledger.reader.clock().newest_recorded + 1_000) * 1_000_000
            ended = ledger.select("SELECT instance, payer, cents FROM entries WHERE cents > 0")
            for instance, payer, cents in ended[:5]:
                name = attribution_id(payer)
                before = ledger.balance_cents(name)
                void = VoidInstance(at_ns=now_ns, instance_id=uuid_text(instance), payer=name)
                assert ledger.apply(void) is None
                assert before - cents == ledger.balance_cents(name)
            assert [] == ledger.breaches()

    def test_that_has_to_be_folded_anew_still_is(self, of_an_older_version: Older) -> None:
        data_dir = of_an_older_version.data_dir
        folds_of(data_dir)
        with closing(sqlite3.connect(data_dir / FILE_NAME)) as database, database:
            database.execute(
                "UPDATE projections_g2 SET position = position - 3 WHERE name = 'balances'"
            )
        assert set(PROJECTIONS) == set(folds_of(data_dir))
        assert [] == folds_of(data_dir)
