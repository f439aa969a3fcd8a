"""A clock that leapt ahead had every dead letter forgotten, though resets were held for it."""

from __future__ import annotations

from pathlib import Path

from tests.harness import InProcessService, ManualClock, settings_for
from usage_ledger.v1 import queries_pb2


def test_a_leap_of_the_clock_forgets_no_dead_letter(tmp_path: Path) -> None:
    clock = ManualClock("2026-11-01T08:00:00Z")
    with InProcessService(settings_for(tmp_path), clock=clock) as service:
        service.calls.publish([b"no event"])
        clock.advance(days=400)
        service.run_job("reset")
        status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
        assert status.resets_held
        assert 1 == status.dead_letters


def test_a_clock_that_was_confirmed_forgets_what_is_too_old(tmp_path: Path) -> None:
    clock = ManualClock("2026-11-01T08:00:00Z")
    with InProcessService(settings_for(tmp_path), clock=clock) as service:
        service.calls.publish([b"no event"])
        for _ in range(100):
            clock.advance(days=1)
            service.calls.reconcile()
        service.run_job("reset")
        status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
        assert 0 == status.dead_letters
