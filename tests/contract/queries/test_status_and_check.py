"""GetStatus tells how the ledger is; Check recomputes its laws and finds what is wrong."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger.errors import StartRefusedError
from tests.contract.data.scene import PAYER, Scene, note, ran, started, stopped, stopping
from usage_ledger.v1 import queries_pb2

PROJECTIONS = {
    "instances",
    "usage-totals",
    "balances",
    "invoice-drafts",
    "cost-centers",
    "clock",
    "billing",
}


class TestStatus:
    def test_of_an_empty_ledger(self, scene: Scene) -> None:
        status = scene.status()
        assert (1, 1, 0, 0, 0, 0) == (
            status.head.number,  # the price list
            status.price_revision,
            status.dead_letters,
            status.cost_centers,
            status.running_instances,
            status.ended_instances,
        )
        assert (0, 0, 0, 0) == scene.counts()
        assert "2026-11-01T08:00:00Z" == status.newest_recorded.ToJsonString()
        assert not status.HasField("accrued_to")
        assert ("", "") == (status.resets_held, status.writes_refused)
        assert status.version

    def test_of_a_ledger_in_use(self, scene: Scene) -> None:
        scene.record(*ran("a", "05:00", "06:00"), started("b", "05:00"))
        scene.record(started("c", "05:00"), stopping("c", "06:00"), stopped("d", "06:00"))
        scene.reject(b"x")
        scene.open_cost_center()
        scene.reconcile()

        status = scene.status()
        assert (1, 2, 1, 1) == (
            status.running_instances,
            status.ended_instances,  # those that are stopping, too: they no longer run
            status.dead_letters,
            status.cost_centers,
        )
        assert (8, 7, 0, 1) == scene.counts()

    def test_every_projection_stands_at_the_head(self, scene: Scene) -> None:
        scene.record(*ran("a", "05:00", "06:00"))

        status = scene.status()
        assert PROJECTIONS == {each.name for each in status.projections}
        assert {status.head.number} == {each.position.number for each in status.projections}
        assert {""} == {each.paused for each in status.projections}

    def test_jobs_with_their_schedule_and_last_run(self) -> None:
        jobs = {"ledger_enabled": True, "reset_enabled": False, "reset_every": "5m"}
        with Scene(jobs=jobs, ledger_interval="30m") as scene:
            scene.service.run_job("ledger")
            status = scene.status()

        assert 1800 == status.ledger_interval.seconds
        by_name = {job.name: job for job in status.jobs}
        ledger, reset = by_name["ledger"], by_name["reset"]
        assert (True, 1800, "2026-11-01T08:00:00Z", "2026-11-01T08:30:00Z", "") == (
            ledger.enabled,
            ledger.every.seconds,
            ledger.last_finished.ToJsonString(),
            ledger.next.ToJsonString(),
            ledger.last_error,
        )
        assert (False, 300, False, False) == (
            reset.enabled,
            reset.every.seconds,
            reset.HasField("last_started"),
            reset.HasField("next"),
        )

    def test_held_resets_are_told_with_their_reason(self, scene: Scene) -> None:
        scene.open_cost_center()
        scene.clock.set("2027-05-01T00:00:00Z")

        assert "more than a month" in scene.status().resets_held


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A ledger on disk that has a row in every table."""
    with Scene(tmp_path) as scene:
        scene.record(*ran("a", "05:00", "06:00"), started("b", "05:00"), started("c", "05:00"))
        scene.record(started("corrected", "05:00", userName="Ada"), stopped("corrected", "06:30"))
        scene.record(note(3), stopped("no start", "06:00"))
        scene.record(note(4, event_id="twice"), *ran("wrong", "05:00", "06:00"))
        scene.reconcile("07:00")
        scene.clock.set("2026-11-01T08:00:00Z")
        scene.open_cost_center()
        scene.record(stopping("corrected", "06:00"), *ran("late", "05:00", "06:00"))
        scene.record(stopped("c", "07:30"))
        scene.set_cost_center(5, strategy=0)
        scene.record(*ran("d", "08:00", "08:01"))
        (twice,) = [each.id for each in scene.calls.entries(PAYER) if each.credit_cents == -400]
        scene.void_note(twice)
        scene.void("wrong")
        scene.reject(b"x")
        scene.service.run_job("ledger")
        assert [] == scene.calls.breaches()
    return tmp_path


def change(data_dir: Path, statement: str) -> None:
    """Changes the file while the service is stopped; the statement has to hit a row."""
    with closing(sqlite3.connect(data_dir / "ledger.db")) as database:
        changed = database.execute(statement).rowcount
        database.commit()
    assert changed > 0, statement


def breaches(data_dir: Path, *, fold_log: bool = False) -> list[str]:
    with Scene(data_dir) as scene:
        laws = scene.calls.queries.Check(queries_pb2.CheckRequest(fold_log=fold_log)).laws
    return [f"{law.law}: {breach}" for law in laws for breach in law.breaches]


CORRUPTIONS = {
    "a stream has a gap": ("UPDATE stored_events SET originator_version = 7 WHERE position = 3"),
    "an id is forgotten": "DELETE FROM inbox WHERE position = 3",
    "two ids have one event": "UPDATE inbox SET position = 3 WHERE position = 4",
    "an id has no event": "UPDATE inbox SET position = 999 WHERE position = 4",
    "received is wrong": "UPDATE deliveries SET received = received + 1 WHERE id = 1",
    "recorded and received are wrong": (
        "UPDATE deliveries SET received = received + 1, recorded = recorded + 1 WHERE id = 1"
    ),
    "a balance is a cent off": "UPDATE balances SET booked_cents = booked_cents + 1",
    "a running balance is a cent off": "UPDATE balances SET running_cents = running_cents + 1",
    "an entry is a cent off": (
        "UPDATE entries SET cents = cents + 1 WHERE start_position = (SELECT min(start_position)"
        " FROM entries)"
    ),
    "an entry is gone": (
        "DELETE FROM entries WHERE start_position = (SELECT min(start_position) FROM entries)"
    ),
    "an entry is dated otherwise": (
        "UPDATE entries SET effective = effective + 86400000 WHERE start_position = 2"
    ),
    "a note is a cent off": "UPDATE other_entries SET cents = cents + 1 WHERE kind = 'credit_note'",
    "an invoice is gone": "DELETE FROM other_entries WHERE kind = 'invoice'",
    "an accrual is a cent off": "UPDATE accruals SET cents = cents + 1",
    "the accrual instant is wrong": "UPDATE accrual SET instant = instant + 3600000",
    "a running instance is gone": "DELETE FROM open_instances WHERE stopping IS NULL"
    " AND started IS NOT NULL",
    "a running instance has another rate": "UPDATE open_instances SET rate = '9'",
    "an hour's total is wrong": "UPDATE rollups SET cents = cents + 1 WHERE unit = 0",
    "a day's total is wrong": "UPDATE rollups SET count = count + 1 WHERE unit = 1",
    "what was carried over is wrong": "UPDATE open_cycles SET carried_cents = carried_cents + 1",
    "the notes of a cycle are wrong": "UPDATE open_cycles SET note_cents = note_cents + 1",
    "a line is a cent off": (
        "UPDATE cycle_lines SET cents = cents + 1"
        " WHERE number = (SELECT max(number) FROM open_cycles)"
    ),
    "a base is a cent off": "UPDATE cycle_bases SET cents = cents + 1",
    "a void is forgotten": "DELETE FROM voids WHERE kind = 'credit_note'",
    "a void is made up": (
        "INSERT INTO voids VALUES (x'01', 2, 'credit_note', x'01', x'', x'', 0, 0, 0)"
    ),
    "a void is of something that counts": (
        "UPDATE voids SET made_position = (SELECT max(start_position) FROM entries)"
        " WHERE kind = 'workspace_instance'"
    ),
    "how an entry stood is forgotten": (
        "DELETE FROM entry_versions WHERE known_to = (SELECT max(known_to) FROM entry_versions)"
    ),
    "how an entry stood before it changed is forgotten": (
        "DELETE FROM entry_versions WHERE known_to = (SELECT min(known_to) FROM entry_versions)"
    ),
    "how an entry stood ends elsewhere": "UPDATE entry_versions SET known_to = known_to + 1",
    "how an entry stood begins elsewhere": (
        "UPDATE entry_versions SET changed_position = changed_position - 1"
    ),
    "the newest reconcile is forgotten": (
        "DELETE FROM reconciles WHERE position = (SELECT max(position) FROM reconciles)"
    ),
    "the voided notes of a cycle are wrong": "UPDATE cycle_voided_notes SET cents = cents + 1",
    "the voided notes of a cycle are gone": "DELETE FROM cycle_voided_notes",
}


@pytest.mark.embedded  # it writes into the file
@pytest.mark.parametrize("what", CORRUPTIONS)
def test_check_finds_a_corruption(data_dir: Path, what: str) -> None:
    change(data_dir, CORRUPTIONS[what])

    assert breaches(data_dir)


@pytest.mark.embedded  # it writes into the file
@pytest.mark.parametrize("position", ["5", "(SELECT max(position) FROM stored_events)"])
def test_a_log_that_lacks_an_event_is_refused_at_start(data_dir: Path, position: str) -> None:
    change(data_dir, f"DELETE FROM stored_events WHERE position = {position}")

    with pytest.raises(StartRefusedError, match="events are missing"):
        Scene(data_dir).__enter__()


ONLY_A_FOLD_SHOWS = {
    "personal text was changed": "UPDATE personal SET fields = x'91a3466f6f'",
    "a cost center has another limit": "UPDATE cost_centers SET spending_limit = 77",
    "a cost center is gone": "DELETE FROM cost_centers",
    "a closed cycle is wrong": "UPDATE closed_cycles SET carried_cents = carried_cents + 1",
    "a closed cycle's line is wrong": "UPDATE cycle_lines SET cents = cents + 1 WHERE number = 0",
    "a correction is wrong": "UPDATE corrections SET cents = cents + 1",
    "an entry stood for another amount": "UPDATE entry_versions SET cents = cents + 1",
    "a void took another amount": "UPDATE voids SET cents = cents + 1 WHERE cents > 0",
    "an entry is final since another event": (
        "UPDATE entries SET final_position = final_position + 1"
    ),
    "the clock is wrong": "UPDATE clock SET newest_recorded = newest_recorded + 1",
    "an account at Stripe is made up": (
        "INSERT INTO billing_accounts VALUES (x'01', 'active', 'cus', 'sub', 0, 0)"
    ),
    "a report is made up": (
        "INSERT INTO billing_reports VALUES"
        " ('sub', 1, x'01', 1, 1, 'cus', 'credits', 'id', 'waiting', NULL, 0, '')"
    ),
    "an event says something else": (
        "UPDATE stored_events SET state = (SELECT state FROM stored_events WHERE position = 3)"
        " WHERE position = 6"
    ),
}


@pytest.mark.embedded  # it writes into the file
@pytest.mark.parametrize("what", ONLY_A_FOLD_SHOWS)
def test_check_finds_by_a_fold_of_the_log(data_dir: Path, what: str) -> None:
    assert breaches(data_dir, fold_log=True) == []
    change(data_dir, ONLY_A_FOLD_SHOWS[what])

    assert breaches(data_dir, fold_log=True)


@pytest.mark.embedded  # it writes into the file
def test_a_projection_behind_the_log_is_folded_anew_at_start(data_dir: Path) -> None:
    change(data_dir, "UPDATE projections SET position = position - 3 WHERE name = 'balances'")
    change(data_dir, "UPDATE balances SET booked_cents = 0")

    assert [] == breaches(data_dir)


def test_check_says_how_much_it_compared(data_dir: Path) -> None:
    with Scene(data_dir) as scene:
        laws = scene.calls.queries.Check(queries_pb2.CheckRequest()).laws
        assert len(laws) >= 8
        assert all(law.checked > 0 for law in laws)
        assert len(laws) == len({law.law for law in laws})
        assert scene.cents(PAYER) > 0
