"""One version of the folds takes over from another, and back, without a stop for a fold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from persistence.sqlite import FILE_NAME
from projections import VERSION
from tests.cluster.processes import wait_until
from tests.harness import Calls
from tests.oracle.events import payer_of
from tests.rebuild.load import Load, fill
from tests.rebuild.next_version import NEW_COLUMN, NEW_TABLE
from tests.rebuild.scene import NEXT, Place
from tests.servers.postgres import PostgresServer
from tests.stored import ledgers
from usage.v1 import usage_pb2

EVENTS = 900
PAYER = payer_of("of a version")
ANEW = "folding the whole log anew"


def note(calls: Calls) -> None:
    request = usage_pb2.AddUsageCreditNoteRequest(
        attribution_id=PAYER, credits=1, description="a note"
    )
    calls.usage.AddUsageCreditNote(request)


class TestTakingOver:
    def test_needs_no_fold_when_it_was_built_before(self, place: Place) -> None:
        with place.role() as old:
            assert old.calls is not None
            fill(old.calls, EVENTS)
            with Load(old.target, pause_seconds=0.02) as load:
                assert "no number differs" in place.do("projections", "rebuild", program=NEXT)
                place.do("projections", "promote", program=NEXT)
                load.wait_for(30)
            note(old.calls)
        with place.role(program=NEXT) as new:
            assert new.calls is not None
            assert ANEW not in new.log
            assert -100 == new.calls.balance_cents(PAYER)
            with Load(new.target, name="new", pause_seconds=0.02) as load:
                load.wait_for(30)
                assert 0 < place.compare(NEXT)
                ran = place.run("projections", "rollback", program=NEXT)
                assert 1 == ran.code
                assert f"generation 1 was folded by version {VERSION}" in ran.text
                assert "Start the program that served it" in ran.text
            note(new.calls)
        # The way back: the old program goes on where its rows stand.
        with place.role() as old:
            assert old.calls is not None
            assert ANEW not in old.log
            calls = old.calls
            wait_until(lambda: calls.balance_cents(PAYER) == -200)
            assert [] == old.calls.breaches()
        assert 0 < place.compare()
        with place.role(program=NEXT) as new:
            assert new.calls is not None
            assert ANEW not in new.log
            assert -200 == new.calls.balance_cents(PAYER)

    def test_without_a_build_folds_at_the_start_of_a_file(self, place: Place) -> None:
        """Of a database it is refused, unless the settings let a start do it."""
        with place.role() as old:
            assert old.calls is not None
            fill(old.calls, EVENTS)
            note(old.calls)
        if place.url:
            with pytest.raises(RuntimeError, match="run `usage-ledger projections rebuild`"):
                place.role(program=NEXT).start()
            place.settings["postgres"] |= {"migrate_at_start": True}
        with place.role(program=NEXT) as new:
            assert new.calls is not None
            assert ANEW in new.log
            assert -100 == new.calls.balance_cents(PAYER)
            assert [] == new.calls.breaches()
        assert {1: "served by its version", 2: "served"} == place.states(NEXT)
        assert 0 < place.compare(NEXT)
        with place.role(program=NEXT) as new:
            assert ANEW not in new.log

    def test_forgets_the_old_rows_only_when_told_twice(self, place: Place) -> None:
        with place.role() as old:
            assert old.calls is not None
            fill(old.calls, EVENTS)
            place.do("projections", "rebuild", "--promote", program=NEXT)
            ran = place.run("projections", "drop", "1", program=NEXT)
            assert 1 == ran.code
            assert f"version {VERSION} of the folds serves generation 1" in ran.text
            if place.url:
                ran = place.run("projections", "drop", "1", "--force", program=NEXT)
                assert 1 == ran.code
                assert "stop every role of that version first" in ran.text
            assert 0 == old.stop()
        place.do("projections", "drop", "1", "--force", program=NEXT)
        assert {1: "dropped", 2: "served"} == place.states(NEXT)
        with place.role(program=NEXT) as new:
            assert new.calls is not None
            note(new.calls)
            assert -100 == new.calls.balance_cents(PAYER)
        assert 0 < place.compare(NEXT)


class TestAVersionThatAddsTables:
    def test_is_built_beside_the_old_one(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What only the new rows have is said, and is no difference."""
        with place.role() as old:
            assert old.calls is not None
            fill(old.calls, EVENTS)
            monkeypatch.setenv("USAGE_LEDGER_TEST_NEXT", "wider")
            if place.url:
                place.do("migrate", program=NEXT)
            text = place.do("projections", "rebuild", "--promote", program=NEXT)
            assert f"not compared: balances.{NEW_COLUMN}: the live rows have no such column" in text
            assert f"not compared: {NEW_TABLE}: the live rows have no such table" in text
            assert "generation 2 is served" in text
            note(old.calls)  # the old one goes on, on tables that it knows
            assert -100 == old.calls.balance_cents(PAYER)
            with place.database() as sql:
                assert [] == list(sql(f"SELECT * FROM {NEW_TABLE}_g2"))
                assert {0} == {row[0] for row in sql(f"SELECT {NEW_COLUMN} FROM balances_g2")}
        with place.role(program=NEXT) as new:
            assert new.calls is not None
            assert ANEW not in new.log
            assert -100 == new.calls.balance_cents(PAYER)
            text = place.do("projections", "rebuild", program=NEXT)
            assert "not compared" not in text  # both of this version now
        assert 0 < place.compare(NEXT)


@pytest.mark.postgres
def test_two_versions_serve_at_once(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """As while roles are replaced one after the other: each folds and reads its own rows."""
    url = postgres_server.new_ledger()
    place = Place(tmp_path, url)
    with (
        place.role("serve", "jobs") as old,
        place.role("project"),
    ):
        assert old.calls is not None
        fill(old.calls, EVENTS)
        place.do("projections", "rebuild", "--promote", program=NEXT)
        with (
            place.role("serve", "jobs", program=NEXT) as new,
            place.role("project", program=NEXT),
            Load(old.target, name="old", pause_seconds=0.02) as first,
            Load(new.target, name="new", block_lines=0, pause_seconds=0.02) as second,
        ):
            assert new.calls is not None
            for number in range(20):
                writing, reading = (old, new) if number % 2 else (new, old)
                assert writing.calls is not None
                assert reading.calls is not None
                note(writing.calls)
                # Each process waits for its own version's fold; the other's is a moment behind.
                wait_until(
                    lambda calls=reading.calls, owed=-100 * (number + 1): (
                        calls.balance_cents(PAYER) == owed
                    )
                )
            first.wait_for(30)
            second.wait_for(30)
            assert [] == new.calls.breaches()
        assert [] == old.calls.breaches()
        assert 0 < place.compare()
        assert 0 < place.compare(NEXT)
    postgres_server.drop_database(url)


class TestAFileOfAnOlderVersion:
    """As the program of schema 4 left it, which knew of no generations and had other folds."""

    @pytest.fixture
    def older(self, tmp_path: Path) -> Place:
        place = Place(tmp_path)
        place.data_dir.mkdir()
        ledgers.unpack(4, place.data_dir)
        return place

    def test_is_rebuilt_without_being_migrated(self, older: Place) -> None:
        """Its program may be running: what it knows nothing of is made beside what it has."""
        with closing(sqlite3.connect(older.data_dir / FILE_NAME, isolation_level=None)) as file:
            positions = "SELECT DISTINCT version, position FROM projections"
            before = file.execute(positions).fetchall()
            assert {1: "served by its version"} == older.states()
            assert "generation 2 is served" in older.do("projections", "rebuild", "--promote")
            assert (4,) == file.execute("PRAGMA user_version").fetchone()
            assert before == file.execute(positions).fetchall()
        with older.role() as service:
            assert service.calls is not None
            assert ANEW not in service.log
            note(service.calls)
            assert -100 == service.calls.balance_cents(PAYER)
            assert [] == service.calls.breaches()
        assert {1: "served by its version", 2: "served"} == older.states()
        assert 0 < older.compare()

    def test_that_is_not_rebuilt_before_is_folded_when_it_is_opened(self, older: Place) -> None:
        for is_first in (True, False):
            with older.role() as service:
                assert service.calls is not None
                assert is_first == (ANEW in service.log)
                assert [] == service.calls.breaches()
        assert {1: "served by its version", 2: "served"} == older.states()
        assert 0 < older.compare()
