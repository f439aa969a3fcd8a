"""What is not promoted, and why; and what keeps a rebuild from going on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest

from ledger.errors import UnavailableError
from ledger.rebuilding.building import Builder
from ledger.rebuilding.promoting import change, compared
from persistence.sqlite import SQLiteGenerations
from projections import VERSION
from tests.cluster.processes import RoleProcess, wait_until
from tests.contract.data.scene import note
from tests.faults.mounts import mounted
from tests.harness import Calls
from tests.laws.adapter import ProductLedger
from tests.laws.test_seeded_run import history
from tests.oracle.events import line_of, payer_of
from tests.oracle.operations import Publish
from tests.rebuild.load import fill
from tests.rebuild.scene import NEXT, Place
from tests.servers.postgres import started_server

EVENTS = 900
PAYER = payer_of("of notes")
DISK_BYTES = 48 * 1024 * 1024


def notes(count: int, *, first: int = 0) -> list[bytes]:
    return [
        line_of(note(1, event_id=f"note {number}", payer=PAYER))
        for number in range(first, first + count)
    ]


@contextmanager
def serving(place: Place) -> Iterator[tuple[RoleProcess, Calls]]:
    with place.role() as service:
        assert service.calls is not None
        fill(service.calls, EVENTS)
        service.calls.publish(notes(7))
        yield service, service.calls


class TestAFoldThatDiffers:
    def test_is_refused_and_named_and_served_when_it_is_meant(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("USAGE_LEDGER_TEST_NEXT", "dearer")
        with serving(place) as (_, calls):
            for command in ("rebuild", "promote"):
                ran = place.run("projections", command, program=NEXT)
                assert 3 == ran.code, ran.text
                assert "balances.booked_cents: 1 rows differ" in ran.text
                assert "booked_cents live -700, new -693" in ran.text
                assert f"payer {PAYER}" in ran.text
                assert "promote --accept balances.booked_cents" in ran.text
            assert {1: "served", 2: "compared"} == place.states()
            assert -700 == calls.balance_cents(PAYER)
            accept = ("projections", "promote", "--accept")
            # Another difference is no consent to this one.
            assert 3 == place.run(*accept, "balances.entries", program=NEXT).code
            text = place.do(*accept, "balances.booked_cents", program=NEXT)
            assert "generation 2 is served" in text
            assert "which is meant" in text
            assert -700 == calls.balance_cents(PAYER)  # the old version goes on with its own
        with place.role(program=NEXT) as service:
            assert service.calls is not None
            assert -693 == service.calls.balance_cents(PAYER)
        assert "accepted" in place.do("projections", "status", program=NEXT)

    def test_is_refused_at_a_start_and_the_old_version_goes_on(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(place):
            pass
        monkeypatch.setenv("USAGE_LEDGER_TEST_NEXT", "dearer")
        started = place.role(program=NEXT)
        with pytest.raises(RuntimeError) as refused:
            started.start()
        if place.url:
            assert "run `usage-ledger projections rebuild`" in str(refused.value)
        else:
            assert "balances.booked_cents (1)" in str(refused.value)
            assert "projections promote --accept balances.booked_cents" in str(refused.value)
        with place.role() as service:
            assert service.calls is not None
            assert -700 == service.calls.balance_cents(PAYER)
            assert [] == service.calls.breaches()

    def test_must_be_named_as_it_was_told(self, place: Place) -> None:
        with serving(place):
            place.do("projections", "rebuild")
            ran = place.run("projections", "promote", "--accept", "balances.cents")
        assert 1 == ran.code
        assert "'balances.cents' is no kind of difference" in ran.text


class TestLiveRowsThatAreWrong:
    def test_are_mended_while_the_service_goes_on(self, place: Place) -> None:
        with serving(place) as (_, calls):
            with place.database() as sql:
                sql("UPDATE balances SET booked_cents = -699 WHERE booked_cents = -700")
            assert -699 == calls.balance_cents(PAYER)
            ran = place.run("projections", "rebuild", "--promote")
            assert 3 == ran.code
            assert "booked_cents live -699, new -700" in ran.text
            place.do("projections", "promote", "--accept", "balances.booked_cents")
            assert -700 == calls.balance_cents(PAYER)
            calls.publish(notes(1, first=7))
            assert -800 == calls.balance_cents(PAYER)
            assert [] == calls.breaches()

    def test_that_become_wrong_behind_the_comparison_are_found(self, tmp_path: Path) -> None:
        """Between comparing and changing come events; their payers' balances are compared again."""
        operations = history(8)
        with (
            closing(ProductLedger(tmp_path, batch_lines=200)) as ledger,
            closing(SQLiteGenerations(tmp_path)) as generations,
        ):
            ledger.apply_all(operations[:60])
            generations.claim()
            builder = Builder(generations, author="a test")
            builder.catch_up(builder.begun(), 1)
            outcome = compared(builder)
            assert [] == outcome.refused
            ledger.apply(next(each for each in operations[60:] if isinstance(each, Publish)))
            wrong = "UPDATE balances SET booked_cents = booked_cents + 1"
            ledger.store.connection.execute(wrong)
            refused = change(builder, outcome)
            assert not refused.promoted
            assert ["balances.booked_cents"] == refused.refused
            assert {VERSION: 1} == generations.served()
            # What was folded for it stays, and is right.
            assert ["balances.booked_cents"] == compared(builder).refused
            accepted = ["balances.booked_cents"]
            assert change(builder, compared(builder, accepted), accepted).promoted
            assert {VERSION: 2} == generations.served()


class TestAFoldThatFails:
    def test_is_told_with_its_event_and_another_program_goes_on(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(place) as (_, calls):
            with place.database() as sql:
                topic = "topic = 'credit-note-issued'"
                first = sql(f"SELECT min(position) FROM stored_events WHERE {topic}")[0][0]
            monkeypatch.setenv("USAGE_LEDGER_TEST_NEXT", "fails")
            ran = place.run("projections", "rebuild", program=NEXT)
            assert 1 == ran.code
            assert "projection 'balances' of generation 2 cannot fold the event" in ran.text
            assert "this version does not know what a note is" in ran.text
            assert int(ran.text.split("at position ")[1].split(",")[0]) <= first
            assert -700 == calls.balance_cents(PAYER)
            monkeypatch.setenv("USAGE_LEDGER_TEST_NEXT", "same")
            text = place.do("projections", "rebuild", program=NEXT)
            assert "generation 2 was compared with generation 1" in text


class TestAPausedProjection:
    def test_is_left_out_and_mended_without_a_restart(self, place: Place) -> None:
        with serving(place) as (_, calls):
            with place.database() as sql:
                sql(
                    "UPDATE projections SET paused_at = 3, paused_reason = 'a test'"
                    " WHERE name = 'balances'"
                )
                sql("UPDATE balances SET booked_cents = 0")
            calls.publish([b"{"], delivery="so that the writer looks")
            wait_until(lambda: refused(calls), what="a pause")
            text = place.do("projections", "rebuild", "--promote")
            assert "not compared: balances: paused at position 3 in generation 1" in text
            wait_until(lambda: not refused(calls), what="the end of the pause")
            assert -700 == calls.balance_cents(PAYER)
            assert [] == calls.breaches()
            assert {1: "kept, paused: balances", 2: "served"} == place.states()
            ran = place.run("projections", "rollback")
            assert 1 == ran.code
            assert "in generation 1 balances are paused" in ran.text


def refused(calls: Calls) -> bool:
    try:
        calls.balance_cents(PAYER)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def generations(place: Place) -> list[int]:
    with place.database() as sql:
        return [number for (number,) in sql("SELECT number FROM generations ORDER BY number")]


class TestTwoAtOnce:
    def test_the_second_is_told_who_works_and_changes_nothing(self, place: Place) -> None:
        with serving(place):
            command = [sys.executable, "-m", "cli.main", "projections", "rebuild"]
            first = subprocess.Popen(
                [*command, "--config", str(place.config)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                # Asked by SQL: before a command has answered, the first may have ended.
                wait_until(lambda: generations(place) == [1, 2], what="the first to begin")
                first.send_signal(signal.SIGSTOP)
                if first.poll() is None:
                    for other in (("rebuild",), ("promote",), ("rollback",), ("drop", "1")):
                        ran = place.run("projections", *other)
                        assert 1 == ran.code
                        assert "works on the generations of" in ran.text
                    assert {1, 2} == place.states().keys()
            finally:
                first.send_signal(signal.SIGCONT)
                first.kill()
                first.wait()
            wait_until(
                lambda: "no generation 7" in place.run("projections", "drop", "7").text,
                what="the server, which has to notice",
            )
            assert "no number differs" in place.do("projections", "rebuild")


class TestNothingToDo:
    def test_is_said(self, place: Place) -> None:
        with serving(place):
            for command, why in (
                (("promote",), f"there is no generation of version {VERSION} to promote"),
                (("rollback",), "no generation was served before the one that is"),
                (("drop", "1"), "generation 1 is served"),
                (("drop", "7"), "there is no generation 7"),
            ):
                ran = place.run("projections", *command)
                assert 1 == ran.code
                assert why in ran.text

    def test_where_no_ledger_is(self, tmp_path: Path) -> None:
        ran = Place(tmp_path).run("projections", "rebuild")
        assert 1 == ran.code
        assert "holds no ledger" in ran.text
        assert not (tmp_path / "data").exists()
        ran = Place(tmp_path).run("projections", "status", USAGE_LEDGER_STORE="memory")
        assert 1 == ran.code
        assert 'store is "memory"' in ran.text


class TestAFullDisk:
    def test_ends_a_rebuild_in_a_file_before_the_service_is_hurt(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "disk", DISK_BYTES) as disk:
            place = Place(tmp_path / "disk")
            with serving(place) as (_, calls):
                disk.fill(DISK_BYTES // 40)
                ran = place.run("projections", "rebuild")
                assert 1 == ran.code
                assert "free space" in ran.text
                calls.publish(notes(1, first=7))
                assert -800 == calls.balance_cents(PAYER)
                disk.empty()
                assert "generation 2 is served" in place.do("projections", "rebuild", "--promote")
                assert -800 == calls.balance_cents(PAYER)
            assert 0 < place.compare()

    @pytest.mark.postgres
    def test_of_a_server_ends_it_and_it_goes_on(self, tmp_path: Path) -> None:
        with started_server() as server:
            url = server.new_ledger()
            with server.on_a_small_disk(url, DISK_BYTES) as disk:
                place = Place(tmp_path, url)
                with serving(place) as (service, calls):
                    disk.fill()
                    ran = place.run("projections", "rebuild")
                    assert 1 == ran.code
                    assert "Traceback" not in ran.text
                    disk.empty()
                    text = place.do("projections", "rebuild", "--promote")
                    assert "is served" in text
                    assert -700 == calls.balance_cents(PAYER)
                    assert 0 == service.stop()
                assert 0 < place.compare()


def test_a_generation_whose_rows_moved_is_not_folded_on(tmp_path: Path) -> None:
    """Were there a second one that builds, each event would still be folded once."""
    with (
        closing(ProductLedger(tmp_path, batch_lines=200)) as ledger,
        closing(SQLiteGenerations(tmp_path)) as generations,
    ):
        ledger.apply_all(history(9)[:30])
        generations.claim()
        builder = Builder(generations, author="a test")
        number = builder.begun()
        builder.catch_up(number, 1)
        assert [] == compared(builder).refused
        with closing(SQLiteGenerations(tmp_path)) as another:
            again = Builder(another, author="a zombie")
            with pytest.raises(UnavailableError, match="does not stand at position"):
                again._fold_next(number, 0, ledger.reader.log(after=0, limit=10))
        assert [] == compared(builder).refused
