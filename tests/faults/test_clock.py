"""A clock that steps back or jumps ahead breaks nothing, and the next reconcile repairs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Calls, InProcessService, ManualClock, settings_for
from tests.oracle import instant, text_of
from tests.oracle.events import credit_note_event, instance_event, line_of, named_uuid, payer_of
from usage.v1 import usage_pb2
from usage_ledger.v1 import admin_pb2, queries_pb2

START_NS = instant("2026-11-01T08:00:00Z")
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
END_NS = START_NS + 2 * DAY_NS
PAYERS = [payer_of(n) for n in range(3)]
# Where the clock stands, in hours from the start, while each step is done; it ends right.
SCRIPTS = {
    "steady": (1, 2, 3, 4, 5, 6),
    "back a little": (1, 0.999, 3, 2.9999, 5, 6),
    "back three days": (1, -72, -71, 4, 3, 6),
    "back fifty years": (1, 2, -50 * 365 * 24, 3, 5, 6),
    "a week ahead": (1, 2, 24 * 7, 4, 5, 6),
    "two years ahead": (1, 2, 2 * 365 * 24, 2 * 365 * 24, 5, 6),
    "two years ahead at once": (2 * 365 * 24, 2, 3, 2 * 365 * 24, 5, 6),
    "ahead and back and ahead": (1, 60 * 24, -60 * 24, 60 * 24, 1, 6),
}


def lines(part: int) -> Iterator[bytes]:
    for number in range(part * 12, part * 12 + 12):
        payer = PAYERS[number % 3]
        known = instance_of(number)
        started_ns = START_NS - (number + 1) * HOUR_NS
        more = {"workspaceClass": "default", "userId": named_uuid("user", number % 2)}
        yield line_of(
            instance_event("started", started_ns, instance_id=known, payer=payer, more=more)
        )
        if number % 3:
            stopped = instance_event(
                "stopped", started_ns + number * 10**9, instance_id=known, payer=payer
            )
            yield line_of(stopped)
        if number % 5 == 0:
            note = credit_note_event(
                started_ns, payer=payer, credits_given=number - 9, event_id=f"note {number}"
            )
            yield line_of(note)


def instance_of(number: int) -> str:
    return named_uuid("clock", number)


class Steps:
    """A day's work under a clock that stands where a script says."""

    def __init__(self, service: InProcessService) -> None:
        """Take the service."""
        assert isinstance(service.clock, ManualClock)
        self._service = service
        self._clock = service.clock
        self.calls: Calls = service.calls

    def run(self, hours: tuple[float, ...]) -> dict[str, object]:
        """Do every step, look at the laws after each, and give the numbers at the end."""
        calls = self.calls
        calls.usage.GetCostCenter(usage_pb2.GetCostCenterRequest(attribution_id=PAYERS[0]))
        steps: tuple[Callable[[], object], ...] = (
            lambda: calls.publish(lines(0)),
            calls.reconcile,
            lambda: calls.publish(lines(1)),
            lambda: self._service.run_job("reset"),
            lambda: self._service.run_job("ledger"),
            lambda: calls.publish([*lines(0), *lines(2)]),
        )
        for step, offset in zip(steps, hours, strict=True):
            self._clock.set_ns(START_NS + round(offset * HOUR_NS))
            step()
            self.check()
        self._clock.set_ns(END_NS)
        calls.reconcile()
        self.check()
        return {payer: self._numbers(payer) for payer in PAYERS}

    def check(self) -> None:
        assert [] == self.calls.breaches()
        recorded = recorded_times(self.calls)
        assert sorted(recorded) == recorded, "recorded times went back"

    def _numbers(self, payer: str) -> object:
        center = self.calls.draft(payer).cost_center
        return (
            self.calls.balance_cents(payer),
            [
                (e.id, e.credit_cents, e.effective_time.ToMilliseconds(), e.draft)
                for e in self.calls.entries(payer)
            ],
            center.billing_cycle_start.seconds,
            center.next_billing_time.seconds,
        )


def recorded_times(calls: Calls) -> list[int]:
    return [
        event.recorded.ToNanoseconds()
        for page in calls.queries.TailLog(queries_pb2.TailLogRequest(from_position=1))
        for event in page.events
    ]


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    settings = settings_for(tmp_path_factory.mktemp("steady") / "data")
    with InProcessService(settings, clock=ManualClock(text_of(START_NS))) as service:
        return Steps(service).run(SCRIPTS["steady"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_are_those_of_a_steady_clock(
    tmp_path: Path, steady: dict[str, object], script: str
) -> None:
    """Also for the reset job, which must not believe a clock that stands years ahead."""
    settings = settings_for(tmp_path / "data")
    with InProcessService(settings, clock=ManualClock(text_of(START_NS))) as service:
        assert steady == Steps(service).run(SCRIPTS[script])


@pytest.mark.parametrize("leap_days", [40, 800])
def test_resets_wait_for_a_second_opinion(tmp_path: Path, leap_days: int) -> None:
    clock = ManualClock(text_of(START_NS))
    with InProcessService(settings_for(tmp_path / "data"), clock=clock) as service:
        calls = service.calls
        calls.usage.GetCostCenter(usage_pb2.GetCostCenterRequest(attribution_id=PAYERS[0]))
        calls.publish(lines(0))

        def cycle() -> int:
            return calls.draft(PAYERS[0]).cycle_number

        clock.advance(days=leap_days)
        for _ in range(2):
            calls.usage.ResetUsage(usage_pb2.ResetUsageRequest())
            assert 1 == cycle()
            calls.publish(lines(1))  # what the jumped clock records agrees with itself, not with us
        calls.reconcile()
        calls.reconcile()
        calls.usage.ResetUsage(usage_pb2.ResetUsageRequest())
        assert 1 == cycle()
        clock.advance(hours=1)
        calls.reconcile()
        calls.usage.ResetUsage(usage_pb2.ResetUsageRequest())
        assert 2 == cycle()
        assert [] == calls.breaches()


def test_an_operator_s_word_is_enough(tmp_path: Path) -> None:
    clock = ManualClock(text_of(START_NS))
    with InProcessService(settings_for(tmp_path / "data"), clock=clock) as service:
        calls = service.calls
        calls.usage.GetCostCenter(usage_pb2.GetCostCenterRequest(attribution_id=PAYERS[0]))
        clock.advance(days=100)
        calls.usage.ResetUsage(usage_pb2.ResetUsageRequest())
        assert 1 == calls.draft(PAYERS[0]).cycle_number
        calls.admin.ConfirmReset(admin_pb2.ConfirmResetRequest())
        assert 2 == calls.draft(PAYERS[0]).cycle_number


def test_what_a_restart_finds_ahead_of_the_clock(tmp_path: Path) -> None:
    """The log ends in the future; a service that starts under the right clock goes on."""
    clock = ManualClock(text_of(START_NS))
    with InProcessService(settings_for(tmp_path / "data"), clock=clock) as service:
        clock.advance(days=500)
        service.calls.publish(lines(0))
        service.calls.reconcile()
        ahead = recorded_times(service.calls)[-1]
    clock.set_ns(START_NS)
    with InProcessService(settings_for(tmp_path / "data"), clock=clock) as service:
        service.calls.publish(lines(1))
        service.calls.reconcile()
        assert ahead == recorded_times(service.calls)[-1]
        status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
        assert START_NS == status.accrued_to.ToNanoseconds()
        assert [] == service.calls.breaches()
        service.run_job("ledger")
        service.run_job("reset")
