"""Deadlines, cancelling and shutdown: section 4 of the contract, "All calls"."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.contract.calls.asking import (
    PAYER,
    RIVAL,
    UNAVAILABLE,
    add_note,
    get_cost_center,
    list_usage,
    log_of,
    refused,
)
from tests.harness import Calls, InProcessService, ManualClock, health_stub, settings_for
from usage.v1 import usage_pb2 as pb

DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED
WAIT_SECONDS_MAX = 10
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Gate:
    """Holds the writer in the middle of a group, once it is closed."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def close(self) -> None:
        self.entered.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def __call__(self, _projection: str) -> None:
        if not self._open.is_set():
            self.entered.set()
            assert self._open.wait(WAIT_SECONDS_MAX)


def _waiting(service: InProcessService) -> list[bool]:
    """Of each call that waits for the writer, whether somebody still waits for it."""
    return [not work.cancelled for work in list(service.ledger.shards[0].writer._commands)]


def _wait_until(is_so: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


def _wait_until_given_up(service: InProcessService) -> None:
    """The caller's clock and the service's end a call on their own: wait for the service's."""
    _wait_until(lambda: not any(_waiting(service)), "a call that was given up still waits")


class TestDeadlines:
    @pytest.fixture
    def gate(self) -> Gate:
        return Gate()

    @pytest.fixture
    def gated(self, tmp_path: Path, clock: ManualClock, gate: Gate) -> Iterator[InProcessService]:
        settings = settings_for(tmp_path)
        with InProcessService(settings, clock=clock, before_fold=gate) as service:
            yield service
            gate.open()

    def _note(self, credits_given: int) -> pb.AddUsageCreditNoteRequest:
        return pb.AddUsageCreditNoteRequest(
            attribution_id=PAYER, credits=credits_given, description="sorry"
        )

    @pytest.mark.embedded  # its gate is the fold, which stops no other writer
    @pytest.mark.parametrize(
        "late",
        [
            lambda calls: calls.usage.AddUsageCreditNote(
                pb.AddUsageCreditNoteRequest(attribution_id=PAYER, credits=7, description="late"),
                timeout=0.2,
            ),
            lambda calls: calls.usage.ReconcileUsage(pb.ReconcileUsageRequest(), timeout=0.2),
            lambda calls: calls.usage.ResetUsage(pb.ResetUsageRequest(), timeout=0.2),
            lambda calls: calls.usage.GetCostCenter(
                pb.GetCostCenterRequest(attribution_id=RIVAL), timeout=0.2
            ),
            lambda calls: calls.usage.SetCostCenter(
                pb.SetCostCenterRequest(
                    cost_center=pb.CostCenter(attribution_id=RIVAL, spending_limit=9)
                ),
                timeout=0.2,
            ),
        ],
        ids=["note", "reconcile", "reset", "get-cost-center", "set-cost-center"],
    )
    def test_a_call_whose_deadline_passes_while_it_waits_does_not_execute_later(
        self,
        gated: InProcessService,
        gate: Gate,
        clock: ManualClock,
        late: Callable[[Calls], object],
    ) -> None:
        get_cost_center(gated.calls)
        clock.set("2026-12-01T08:00:00Z")
        gate.close()
        first = gated.calls.usage.AddUsageCreditNote.future(self._note(1))
        assert gate.entered.wait(WAIT_SECONDS_MAX)
        with refused(DEADLINE_EXCEEDED):
            late(gated.calls)
        _wait_until_given_up(gated)
        gate.open()
        first.result(WAIT_SECONDS_MAX)
        add_note(gated.calls, 2)  # what waited has been decided on by now
        topics = [event.topic for event in log_of(gated.calls)]
        expected = ["price-list-published", "cost-center-opened", *["credit-note-issued"] * 2]
        assert expected == topics
        assert -300 == gated.calls.balance_cents(PAYER)

    @pytest.mark.embedded  # as above
    def test_a_call_that_is_cancelled_while_it_waits_does_not_execute_later(
        self, gated: InProcessService, gate: Gate
    ) -> None:
        gate.close()
        first = gated.calls.usage.AddUsageCreditNote.future(self._note(1))
        assert gate.entered.wait(WAIT_SECONDS_MAX)
        second = gated.calls.usage.AddUsageCreditNote.future(self._note(7))
        _wait_until(lambda: [True] == _waiting(gated), "the second call has not come")
        second.cancel()
        _wait_until_given_up(gated)
        gate.open()
        first.result(WAIT_SECONDS_MAX)
        add_note(gated.calls, 2)
        assert -300 == gated.calls.balance_cents(PAYER)

    def test_reads_are_answered_while_the_writer_is_busy(
        self, gated: InProcessService, gate: Gate
    ) -> None:
        add_note(gated.calls, 1)
        gate.close()
        first = gated.calls.usage.AddUsageCreditNote.future(self._note(1))
        assert gate.entered.wait(WAIT_SECONDS_MAX)
        assert -100 == gated.calls.balance_cents(PAYER)
        assert 0 == list_usage(gated.calls).pagination.total
        gate.open()
        first.result(WAIT_SECONDS_MAX)
        assert -200 == gated.calls.balance_cents(PAYER)


class TestShutdown:
    def test_finishes_what_was_begun_and_takes_nothing_new(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        gate = Gate()
        settings = settings_for(tmp_path)
        service = InProcessService(settings, clock=clock, before_fold=gate).__enter__()
        calls = Calls(service.target)
        late = Calls(service.target)
        gate.close()
        begun = calls.usage.AddUsageCreditNote.future(
            pb.AddUsageCreditNoteRequest(attribution_id=PAYER, credits=1, description="begun")
        )
        assert gate.entered.wait(WAIT_SECONDS_MAX)
        stopping = threading.Thread(target=service.__exit__, args=(None, None, None))
        stopping.start()
        codes = [grpc.StatusCode.OK]
        # A call that meets the very moment of closing is cancelled by the library.
        while codes[-1] in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}:
            try:
                late.usage.GetBalance(pb.GetBalanceRequest(attribution_id=PAYER), timeout=5)
            except grpc.RpcError as error:
                codes.append(error.code())
        assert UNAVAILABLE == codes[-1]
        assert stopping.is_alive()
        gate.open()
        begun.result(WAIT_SECONDS_MAX)
        stopping.join(WAIT_SECONDS_MAX)
        assert not stopping.is_alive()
        calls.close()
        late.close()
        with InProcessService(settings, clock=clock) as again:
            assert -100 == again.calls.balance_cents(PAYER)

    def test_health_says_not_serving_while_it_drains(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        service = InProcessService(settings_for(tmp_path), clock=clock).__enter__()
        calls = Calls(service.target)
        watch = health_stub(calls.channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=WAIT_SECONDS_MAX
        )
        seen = [next(watch).status]
        stopping = threading.Thread(target=service.__exit__, args=(None, None, None))
        stopping.start()
        seen.append(next(watch).status)
        watch.cancel()
        stopping.join(WAIT_SECONDS_MAX)
        calls.close()
        assert [SERVING, NOT_SERVING] == seen
