"""Several processes on one PostgreSQL ledger: any may fail, and no number changes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest

from events import CreditNoteIssued, encode
from tests.cluster.processes import RoleProcess, wait_until
from tests.contract.data.scene import bytes_of, note, ran, started
from tests.harness import Calls
from tests.harness.service import requests_of
from tests.oracle.events import payer_of
from tests.servers.postgres import PostgresServer, StartedServer, started_server
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.postgres

PAYERS = [payer_of(f"payer {number}") for number in range(20)]


def settings(url: str, *parts: str, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "store": "postgres",
        "postgres": {"urls": [url]},
        "serve": {"parts": list(parts)},
        "jobs": {"ledger_enabled": False, "reset_enabled": False},
    }
    return given | more


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.borrow_ledger()
    yield url
    postgres_server.give_back_ledger(url)


def calls_of(process: RoleProcess) -> Calls:
    assert process.calls is not None
    return process.calls


def balances(calls: Calls) -> list[int]:
    request = queries_pb2.GetBalancesRequest(attribution_ids=PAYERS)
    return [each.credit_cents for each in calls.queries.GetBalances(request).balances]


def notes(count: int, *, first: int = 0) -> list[bytes]:
    return bytes_of(
        note(1, event_id=f"note {number}", payer=PAYERS[number % len(PAYERS)])
        for number in range(first, first + count)
    )


class TestTwoServices:
    def test_take_events_in_at_once_and_show_the_same(self, database: str, tmp_path: Path) -> None:
        with (
            RoleProcess("serve", settings(database, "project"), tmp_path) as first,
            RoleProcess("serve", settings(database, "project"), tmp_path) as second,
        ):
            lines = notes(4_000)
            halves = lines[:2_500], lines[1_500:]  # a thousand come to both
            publishing = [
                threading.Thread(target=calls_of(service).publish, args=(half,))
                for service, half in zip((first, second), halves, strict=True)
            ]
            for thread in publishing:
                thread.start()
            for thread in publishing:
                thread.join()
            assert [-20_000] * 20 == balances(calls_of(first)) == balances(calls_of(second))
            status = calls_of(first).queries.GetStatus(queries_pb2.GetStatusRequest())
            assert (5_000, 4_000, 1_000, 0) == (
                status.total.received,
                status.total.recorded,
                status.total.repeated,
                status.total.rejected,
            )
            assert [] == calls_of(second).breaches()

    def test_open_one_cost_center_together(self, database: str, tmp_path: Path) -> None:
        with (
            RoleProcess("serve", settings(database, "project"), tmp_path) as first,
            RoleProcess("serve", settings(database), tmp_path) as second,
        ):
            answers: list[usage_pb2.CostCenter] = []

            def ask(service: RoleProcess) -> None:
                request = usage_pb2.GetCostCenterRequest(attribution_id=PAYERS[0])
                answers.append(calls_of(service).usage.GetCostCenter(request).cost_center)

            asking = [threading.Thread(target=ask, args=(s,)) for s in [first, second] * 8]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
            assert 16 == len(answers)
            assert 1 == len({answer.SerializeToString() for answer in answers})
            opened = [
                event
                for page in calls_of(first).queries.TailLog(
                    queries_pb2.TailLogRequest(from_position=1)
                )
                for event in page.events
                if event.topic == "cost-center-opened"
            ]
            assert 1 == len(opened)

    def test_read_what_the_other_was_told(self, database: str, tmp_path: Path) -> None:
        with (
            RoleProcess("serve", settings(database, "project"), tmp_path) as first,
            RoleProcess("serve", settings(database), tmp_path) as second,
        ):
            for number in range(50):
                services = (first, second) if number % 2 else (second, first)
                calls_of(services[0]).publish(notes(1, first=number * len(PAYERS)))
                assert -100 * (number + 1) == calls_of(services[1]).balance_cents(PAYERS[0])


class TestTheProjector:
    def test_that_is_killed_is_followed_by_another(self, database: str, tmp_path: Path) -> None:
        with (
            RoleProcess("serve", settings(database), tmp_path) as service,
            RoleProcess("project", settings(database), tmp_path) as first,
            RoleProcess("project", settings(database), tmp_path) as second,
        ):
            calls_of(service).publish(notes(100))
            for projector in (first, second):
                projector.kill()
                if projector is first:
                    calls_of(service).publish(notes(100, first=100))
                    assert [-1_000] * 20 == balances(calls_of(service))
            with RoleProcess("project", settings(database), tmp_path):
                calls_of(service).publish(notes(100, first=200))
                assert [-1_500] * 20 == balances(calls_of(service))
                assert [] == calls_of(service).breaches()

    def test_that_is_not_there_delays_reads_and_loses_nothing(
        self, database: str, tmp_path: Path
    ) -> None:
        with RoleProcess("serve", settings(database), tmp_path) as service:
            request = usage_pb2.AddUsageCreditNoteRequest(
                attribution_id=PAYERS[0], credits=7, description="sorry"
            )
            _, call = calls_of(service).usage.AddUsageCreditNote.with_call(request)
            (told,) = [
                value for key, value in call.trailing_metadata() if key == "usage-ledger-position"
            ]
            shard, position = map(int, str(told).split(":"))
            assert (0, True) == (shard, position > 0)
            assert 0 == calls_of(service).balance_cents(PAYERS[0])
            with RoleProcess("project", settings(database), tmp_path):
                wait_until(lambda: calls_of(service).balance_cents(PAYERS[0]) == -700)

    def test_that_is_paused_as_a_zombie_changes_nothing_when_it_wakes(
        self, database: str, tmp_path: Path
    ) -> None:
        with (
            RoleProcess("serve", settings(database), tmp_path) as service,
            RoleProcess("project", settings(database), tmp_path) as zombie,
        ):
            calls_of(service).publish(notes(100))
            zombie.signal(signal.SIGSTOP)
            with RoleProcess("project", settings(database), tmp_path):
                calls_of(service).publish(notes(1_000, first=100))
                assert [-5_500] * 20 == balances(calls_of(service))
                zombie.signal(signal.SIGCONT)
                calls_of(service).publish(notes(100, first=1_100))
                assert [-6_000] * 20 == balances(calls_of(service))
                assert [] == calls_of(service).breaches()

    @pytest.mark.parametrize("failpoint", ["before-fold-commit", "after-fold-commit"])
    def test_killed_around_its_commit_folds_each_event_once(
        self, database: str, tmp_path: Path, failpoint: str
    ) -> None:
        with RoleProcess("serve", settings(database), tmp_path) as service:
            project = RoleProcess("project", settings(database), tmp_path, failpoint=failpoint)
            with project:
                _publish_without_waiting(calls_of(service), notes(100))
                wait_until(lambda: not project.lives)
                project.restart()
                calls_of(service).publish(notes(100, first=100))
                assert [-1_000] * 20 == balances(calls_of(service))
                assert [] == calls_of(service).breaches()


class TestDecisionsOnABalance:
    def test_are_made_on_all_that_came_before(self, database: str, tmp_path: Path) -> None:
        """The upgrade writes off what is owed; no projector has folded any of it."""
        with RoleProcess("serve", settings(database), tmp_path) as service:
            calls = calls_of(service)
            lines = bytes_of(ran("a", "06:00", "07:00", payer=PAYERS[0]))
            _publish_without_waiting(calls, lines)
            center = usage_pb2.CostCenter(attribution_id=PAYERS[0], spending_limit=5)
            calls.usage.SetCostCenter(usage_pb2.SetCostCenterRequest(cost_center=center))
            with RoleProcess("project", settings(database), tmp_path):
                wait_until(lambda: calls.draft(PAYERS[0]).cycle_number == 2)
                assert 0 == calls.balance_cents(PAYERS[0])
                assert [] == calls.breaches()


def _publish_without_waiting(calls: Calls, lines: list[bytes]) -> None:
    """Nobody folds, so the receipt comes when patience ends; too late, it is asked for again."""

    def is_taken_in() -> bool:
        stream = calls.publishing.Publish(requests_of(lines, "", 500), timeout=2)
        try:
            receipts = [answer.receipt for answer in stream]
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            return False
        return sum(each.recorded + each.repeated for each in receipts) == len(lines)

    wait_until(is_taken_in, what="the receipt")


class TestTheServer:
    def test_restarted_in_between_loses_nothing(self, tmp_path: Path) -> None:
        with started_server() as server:
            url = server.new_ledger()
            with RoleProcess("serve", settings(url, "project"), tmp_path) as service:
                calls = calls_of(service)
                calls.publish(notes(100))
                for way in (_in_order, _killed):
                    before = balances(calls)
                    way(server)
                    with pytest.raises(grpc.RpcError) as refused:
                        calls.publish(notes(100, first=100))
                    assert grpc.StatusCode.UNAVAILABLE == refused.value.code()
                    server.start()
                    wait_until(lambda: _answers(calls))
                    assert before == balances(calls)
                calls.publish(notes(200))
                assert [-1_000] * 20 == balances(calls)
                assert [] == calls.breaches()


def _in_order(server: StartedServer) -> None:
    server.stop()


def _killed(server: StartedServer) -> None:
    server.kill()


def _answers(calls: Calls) -> bool:
    try:
        calls.publish(bytes_of([started("probe", "06:00", payer=payer_of("probe"))]))
        balances(calls)
    except grpc.RpcError:
        return False
    return True


class TestAProcessThatHangsWithTheAppendLock:
    def test_is_waited_for_by_one_that_starts(self, database: str, tmp_path: Path) -> None:
        with RoleProcess("serve", settings(database, "project"), tmp_path) as service:
            calls_of(service).publish(notes(20))
        starting = RoleProcess("serve", settings(database, "project"), tmp_path)
        with psycopg.connect(database) as hanging:
            hanging.execute("SELECT head FROM log_head FOR UPDATE")
            start = threading.Thread(target=starting.start)
            start.start()
            wait_until(lambda: "waiting at the start" in starting.log)
            hanging.rollback()
        start.join()
        assert [-100] * 20 == balances(calls_of(starting))
        assert 0 == starting.stop()


class TestALogOfANewerVersion:
    def test_is_waited_for_by_whoever_meets_it(self, database: str, tmp_path: Path) -> None:
        """Nothing of it is skipped or guessed; once it can be read again everybody goes on."""
        with (
            RoleProcess("serve", settings(database), tmp_path) as service,
            RoleProcess("project", settings(database), tmp_path) as projector,
        ):
            calls = calls_of(service)
            calls.publish(notes(100))
            with psycopg.connect(database, autocommit=True) as connection:
                newer = _append_of_a_newer_version(connection)
                with pytest.raises(grpc.RpcError) as refused:
                    calls.publish(notes(100, first=100))
                assert grpc.StatusCode.UNAVAILABLE == refused.value.code()
                wait_until(lambda: "newer version" in projector.log)
                assert [-500] * 20 == balances(calls)
                status = calls.queries.GetStatus(queries_pb2.GetStatusRequest())
                assert "newer version" in status.writes_refused
                # As an upgrade would: now it can be read.
                connection.execute(
                    "UPDATE stored_events SET state = %s WHERE position = %s",
                    (encode(CreditNoteIssued(0, "test", b"p" * 16, -100, 0, b"", b"")), newer),
                )
            wait_until(lambda: _answers(calls))
            calls.publish(notes(100, first=100))
            assert [-1_000] * 20 == balances(calls)


def _append_of_a_newer_version(connection: psycopg.Connection[Any]) -> int:
    """Append a note of a version that nobody here knows; give its position."""
    with connection.transaction():
        row = connection.execute("UPDATE log_head SET head = head + 1 RETURNING head").fetchone()
        assert row is not None
        state = bytes([200]) + b"whatever it will be"
        connection.execute(
            "INSERT INTO stored_events (position, originator_id, originator_version, topic, state)"
            " VALUES (%s, 'credit-note:newer', 1, 'credit-note-issued', %s)",
            (row[0], state),
        )
        return int(row[0])
