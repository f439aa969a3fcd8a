"""Crashes, folds that fail, health and reflection: section 4 of the contract, "All calls"."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from ledger.directory import Member
from tests.contract.calls.asking import (
    OTHER,
    PAYER,
    STRIPE,
    UNAVAILABLE,
    add_note,
    cost_centers,
    get_cost_center,
    head,
    list_usage,
    log_of,
    owe,
    refused,
    reset,
    run,
    set_cost_center,
    status,
)
from tests.harness import (
    Calls,
    InProcessService,
    ManualClock,
    health_stub,
    reflection_stub,
    settings_for,
)

INTERNAL = grpc.StatusCode.INTERNAL
SERVING = health_pb2.HealthCheckResponse.SERVING


class BrokenDirectory:
    """A directory with a mistake in it: it raises what nobody foresaw."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def members(self, organization: bytes) -> list[Member]:
        raise self.error

    def block(self, user_id: str, reason: str) -> None:
        raise self.error


class BrokenClock(ManualClock):
    """A clock that fails while it is told to: the writer needs the time for every group."""

    broken = False

    def now_ns(self) -> int:
        if self.broken:
            raise ZeroDivisionError("in secret.py, line 7")
        return super().now_ns()


class Fault:
    """Fails the fold of one projection, once it is armed."""

    def __init__(self) -> None:
        self.projection = ""

    def __call__(self, projection: str) -> None:
        if projection == self.projection:
            raise KeyError("in secret.py, line 7")


class TestACrash:
    @pytest.mark.parametrize(
        "error",
        [
            ZeroDivisionError("division by zero in secret.py"),
            sqlite3.OperationalError("no such table: secret"),
            KeyError("secret"),
        ],
    )
    def test_is_internal_with_a_request_id_and_no_python_or_database_text(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        with InProcessService(settings_for(tmp_path), directory=BrokenDirectory(error)) as service:
            with pytest.raises(grpc.RpcError) as caught:
                get_cost_center(service.calls)
            details = caught.value.details() or ""
            assert INTERNAL == caught.value.code()
            request_id = re.search(r"\b[0-9a-f]{32}\b", details)
            assert request_id
            for text in ("secret", "Error", "Traceback", ".py", "table"):
                assert text not in details
            # Who looks for the request id in the log finds what happened.
            assert request_id[0] in caplog.text
            assert "secret" in caplog.text
            assert [] == cost_centers(service.calls)

    def test_in_the_writer_is_internal_too_and_the_service_stays_up(self, tmp_path: Path) -> None:
        clock = BrokenClock()
        with InProcessService(settings_for(tmp_path), clock=clock) as service:
            clock.broken = True
            with refused(INTERNAL, "request id"):
                add_note(service.calls, 5)
            clock.broken = False
            add_note(service.calls, 1)
            assert -100 == service.calls.balance_cents(PAYER)

    def test_has_another_request_id_each_time(self, tmp_path: Path) -> None:
        directory = BrokenDirectory(ZeroDivisionError())
        with InProcessService(settings_for(tmp_path), directory=directory) as service:
            told = set()
            for _ in range(3):
                with pytest.raises(grpc.RpcError) as caught:
                    get_cost_center(service.calls)
                told.add(caught.value.details())
            assert 3 == len(told)


class TestAFoldThatFails:
    @pytest.fixture
    def fault(self) -> Fault:
        return Fault()

    @pytest.fixture
    def faulty(
        self, tmp_path: Path, clock: ManualClock, fault: Fault
    ) -> Iterator[InProcessService]:
        settings = settings_for(tmp_path)
        with InProcessService(settings, clock=clock, before_fold=fault) as service:
            yield service

    @pytest.mark.parametrize(
        ("projection", "read"),
        [
            ("balances", lambda calls: calls.balance_cents(PAYER)),
            ("instances", lambda calls: calls.balance_cents(PAYER)),
            ("instances", list_usage),
            ("usage-totals", list_usage),
            ("cost-centers", get_cost_center),
            ("cost-centers", cost_centers),
            ("balances", lambda calls: set_cost_center(calls, strategy=STRIPE)),
            ("invoice-drafts", lambda calls: calls.draft(PAYER)),
        ],
    )
    def test_pauses_its_projection_and_reads_of_it_are_unavailable(
        self,
        faulty: InProcessService,
        fault: Fault,
        projection: str,
        read: Callable[[Calls], object],
    ) -> None:
        get_cost_center(faulty.calls)
        fault.projection = projection
        owe(faulty.calls, 5)  # recorded all the same
        fault.projection = ""
        with refused(UNAVAILABLE, "projection", "paused"):
            read(faulty.calls)

    def test_leaves_the_other_calls_as_they_are(
        self, faulty: InProcessService, fault: Fault
    ) -> None:
        fault.projection = "balances"
        run(faulty.calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        assert 1.0 == list_usage(faulty.calls).credits_used
        assert OTHER == get_cost_center(faulty.calls).billing_strategy
        add_note(faulty.calls, 1)
        paused = {p.name for p in status(faulty.calls).projections if p.paused}
        assert {"balances"} == paused

    def test_is_made_good_by_a_restart_and_nothing_is_skipped(
        self, tmp_path: Path, clock: ManualClock, fault: Fault
    ) -> None:
        with InProcessService(settings_for(tmp_path), clock=clock, before_fold=fault) as service:
            owe(service.calls, 5)
            fault.projection = "balances"
            owe(service.calls, 7)
            owe(service.calls, 1)
        with InProcessService(settings_for(tmp_path), clock=clock) as service:
            assert 1300 == service.calls.balance_cents(PAYER)
            assert [] == service.calls.breaches()

    def test_lets_no_reset_decide_on_an_old_balance(
        self, faulty: InProcessService, fault: Fault, clock: ManualClock
    ) -> None:
        get_cost_center(faulty.calls)
        fault.projection = "balances"
        owe(faulty.calls, 5)
        fault.projection = ""
        clock.set("2026-12-01T08:00:00Z")
        for call in (reset, get_cost_center, set_cost_center):
            with refused(UNAVAILABLE, "projection", "balances"):
                call(faulty.calls)
        assert [] == log_of(faulty.calls, "billing-cycle-closed")

    @pytest.mark.parametrize("projection", ["cost-centers", "clock"])
    def test_lets_no_reset_decide_on_old_cost_centers_or_an_old_clock(
        self, faulty: InProcessService, fault: Fault, clock: ManualClock, projection: str
    ) -> None:
        get_cost_center(faulty.calls)
        fault.projection = projection
        owe(faulty.calls, 5)
        fault.projection = ""
        clock.set("2026-12-01T08:00:00Z")
        with refused(UNAVAILABLE, "projection", projection):
            reset(faulty.calls)
        assert [] == log_of(faulty.calls, "billing-cycle-closed")

    def test_lets_no_upgrade_of_a_new_cost_center_half_happen(
        self, faulty: InProcessService, fault: Fault
    ) -> None:
        fault.projection = "balances"
        owe(faulty.calls, 5)
        before = head(faulty.calls)
        with refused(UNAVAILABLE, "projection", "balances"):
            set_cost_center(faulty.calls, strategy=STRIPE)
        assert before == head(faulty.calls)
        assert [] == log_of(faulty.calls, "cost-center-opened")


class TestHealthAndReflection:
    @pytest.mark.parametrize(
        "name", ["", "usage.v1.UsageService", "usage.v1.BillingService", "usage_ledger.writes"]
    )
    def test_health_is_serving(self, calls: Calls, name: str) -> None:
        check = health_stub(calls.channel).Check
        assert SERVING == check(health_pb2.HealthCheckRequest(service=name)).status

    def test_health_of_an_unknown_service_is_not_found(self, calls: Calls) -> None:
        check = health_stub(calls.channel).Check
        with refused(grpc.StatusCode.NOT_FOUND):
            check(health_pb2.HealthCheckRequest(service="usage.v1.Nothing"))

    def test_reflection_lists_every_service(self, calls: Calls) -> None:
        ask = reflection_stub(calls.channel).ServerReflectionInfo
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(iter(ask(iter([request]))))
        names = {service.name for service in answer.list_services_response.service}
        assert names >= {
            "usage.v1.UsageService",
            "usage.v1.BillingService",
            "usage_ledger.v1.PublishingService",
            "usage_ledger.v1.QueryService",
            "usage_ledger.v1.AdminService",
            "usage_ledger.v1.AuditService",
            "grpc.health.v1.Health",
        }

    def test_reflection_describes_a_call(self, calls: Calls) -> None:
        ask = reflection_stub(calls.channel).ServerReflectionInfo
        request = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="usage.v1.UsageService"
        )
        answer = next(iter(ask(iter([request]))))
        assert answer.file_descriptor_response.file_descriptor_proto
