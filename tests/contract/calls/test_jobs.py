"""The jobs and their schedules: section 7 of the contract."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from jobs import Scheduler
from ledger.clock import SystemClock
from ledger.errors import StartRefusedError
from ledger.job_plan import JobPlan
from ledger.settings import load_settings
from tests.contract.calls.asking import (
    PAYER,
    get_cost_center,
    invoices,
    list_usage,
    log_of,
    names_of,
    owe,
    run,
    status,
)
from tests.harness import Calls, InProcessService, ManualClock, settings_for
from usage_ledger.v1 import queries_pb2

WAIT_SECONDS_MAX = 10
BOTH_ON = {"ledger_enabled": True, "reset_enabled": True}


def job(calls: Calls, name: str) -> queries_pb2.JobStatus:
    return next(job for job in status(calls).jobs if job.name == name)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


class Running:
    """Let a service's scheduler run as `serve` lets it, inside `with`."""

    def __init__(self, service: InProcessService, scheduler: Scheduler | None = None) -> None:
        self._service = service
        self._scheduler = scheduler or service.scheduler

    def __enter__(self) -> None:
        self._task = self._service.wait(self._begin())

    async def _begin(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._scheduler.run())

    def __exit__(self, *_: object) -> None:
        self._service.wait(self._end())

    async def _end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class TestSchedules:
    def test_are_1_hour_for_ledger_and_heads_and_15_minutes_for_the_reset_job(
        self, tmp_path: Path
    ) -> None:
        settings = load_settings(None, data_dir=tmp_path, listen="127.0.0.1:0")
        jobs = settings.jobs
        every_ms = (settings.ledger_interval, jobs.reset_every, jobs.heads_every)
        assert (3_600_000, 900_000, 3_600_000) == every_ms
        assert jobs.ledger_enabled
        assert jobs.reset_enabled
        assert jobs.heads_enabled
        with InProcessService(settings, clock=ManualClock()) as service:
            every = {job.name: job.every.seconds for job in status(service.calls).jobs}
            assert {"ledger": 3600, "reset": 900, "heads": 3600} == every

    def test_are_kept_over_and_over(self, tmp_path: Path) -> None:
        jobs = {**BOTH_ON, "reset_every": "150ms"}
        settings = settings_for(tmp_path, ledger_interval="200ms", jobs=jobs)
        with InProcessService(settings, clock=SystemClock()) as service, Running(service):
            wait_until(lambda: len(log_of(service.calls, "usage-reconciled")) >= 3)
            runs = [
                json.loads(e.json)["instant"] for e in log_of(service.calls, "usage-reconciled")
            ]
            assert sorted(set(runs)) == runs
            first, second, _ = service.scheduler.plans
            assert ("ledger", 200, "reset", 150) == (
                first.name,
                first.every_ms,
                second.name,
                second.every_ms,
            )
            wait_until(lambda: job(service.calls, "reset").HasField("last_finished"))


class TestTheLedgerJob:
    def test_reconciles_the_last_hour(self, service: InProcessService) -> None:
        run(service.calls, "a", "2026-11-01T07:00:00Z")
        service.run_job("ledger")
        assert ["a"] == names_of(list_usage(service.calls).usage_entries)
        assert 1000 == service.calls.balance_cents(PAYER)
        (event,) = log_of(service.calls, "usage-reconciled")
        recorded = json.loads(event.json)
        assert "2026-11-01T07:00:00.000Z" == recorded["from_time"]
        assert "2026-11-01T08:00:00.000Z" == recorded["to_time"]

    def test_resets_nothing(self, service: InProcessService, clock: ManualClock) -> None:
        get_cost_center(service.calls)
        owe(service.calls, 5)
        clock.set("2026-12-01T08:00:00Z")
        service.run_job("ledger")
        assert [] == invoices(service.calls)


class TestTheResetJob:
    def test_resets_what_is_due(self, service: InProcessService, clock: ManualClock) -> None:
        get_cost_center(service.calls)
        owe(service.calls, 5)
        clock.set("2026-12-01T08:00:00Z")
        service.run_job("reset")
        assert [-500] == invoices(service.calls)

    def test_reconciles_nothing(self, service: InProcessService) -> None:
        service.run_job("reset")
        assert [] == log_of(service.calls, "usage-reconciled")


class TestSwitches:
    @pytest.mark.parametrize("on", ["ledger", "reset"])
    def test_each_job_can_be_switched_off(
        self, tmp_path: Path, clock: ManualClock, on: str
    ) -> None:
        off = "reset" if on == "ledger" else "ledger"
        jobs = {f"{on}_enabled": True, f"{off}_enabled": False}
        with InProcessService(settings_for(tmp_path, jobs=jobs), clock=clock) as service:
            assert job(service.calls, on).enabled
            assert not job(service.calls, off).enabled
            service.run_job(on)
            service.run_job(off)
            before = job(service.calls, off)
            clock.advance(hours=2)
            later = clock.now_ns() // 1_000_000_000
            with Running(service):
                wait_until(lambda: job(service.calls, on).last_finished.seconds == later)
            assert before.last_started == job(service.calls, off).last_started

    def test_no_job_runs_without_a_scheduler(self, tmp_path: Path, clock: ManualClock) -> None:
        with InProcessService(settings_for(tmp_path, jobs=BOTH_ON), clock=clock) as service:
            service.run_job("ledger")
            clock.advance(hours=2)
            off = Scheduler(service.ledger, enabled=False)
            with Running(service, off):
                time.sleep(0.2)
            assert 1 == len(log_of(service.calls, "usage-reconciled"))


class TestOneAtATime:
    def test_no_two_jobs_run_at_once(self, service: InProcessService, clock: ManualClock) -> None:
        running: list[str] = []
        done: list[str] = []

        def slow(name: str) -> Callable[[], Awaitable[None]]:
            async def job() -> None:
                assert [] == running
                running.append(name)
                await asyncio.sleep(0.05)
                running.remove(name)
                done.append(name)

            return job

        names = ["a", "b", "c"]
        service.scheduler.plans = [
            JobPlan(name, slow(name), every_ms=1, enabled=True) for name in names
        ]
        for plan in service.scheduler.plans:  # they ran before, so they are due at once
            service.wait(service.scheduler.run_once(plan))
        clock.advance(hours=1)
        with Running(service):
            wait_until(lambda: len(done) >= 6)
        assert names * 2 == done[:6]
        assert {""} == {plan.last_error for plan in status(service.calls).jobs}

    @pytest.mark.embedded  # elsewhere a lease decides who works
    def test_a_second_instance_on_the_same_store_does_not_start(
        self, service: InProcessService
    ) -> None:
        with pytest.raises(StartRefusedError):
            InProcessService(service.settings).__enter__()


class TestAMissedHour:
    def test_is_made_up_for_at_the_next_start(self, tmp_path: Path, clock: ManualClock) -> None:
        settings = settings_for(tmp_path, jobs=BOTH_ON)
        with InProcessService(settings, clock=clock) as service:
            run(service.calls, "a", "2026-11-01T07:00:00Z")
            service.run_job("ledger")
        clock.advance(hours=5)
        with InProcessService(settings, clock=clock) as service, Running(service):
            wait_until(lambda: len(log_of(service.calls, "usage-reconciled")) == 2)
            recorded = json.loads(log_of(service.calls, "usage-reconciled")[1].json)
            assert "2026-11-01T08:00:00.000Z" == recorded["from_time"]
            assert "2026-11-01T13:00:00.000Z" == recorded["to_time"]
            # The log tells of it a moment before its projections do, where another thread folds.
            wait_until(lambda: service.calls.balance_cents(PAYER) == 6000)

    def test_is_not_made_up_for_twice(self, tmp_path: Path, clock: ManualClock) -> None:
        settings = settings_for(tmp_path, jobs=BOTH_ON)
        with InProcessService(settings, clock=clock) as service:
            service.run_job("ledger")
        clock.advance(minutes=59)
        with InProcessService(settings, clock=clock) as service:
            assert "2026-11-01T09:00:00Z" == job(service.calls, "ledger").next.ToJsonString()
            with Running(service):
                time.sleep(0.1)
            assert 1 == len(log_of(service.calls, "usage-reconciled"))

    def test_of_the_reset_job_is_made_up_for_too(self, tmp_path: Path, clock: ManualClock) -> None:
        settings = settings_for(tmp_path, jobs=BOTH_ON)
        with InProcessService(settings, clock=clock) as service:
            get_cost_center(service.calls)
            owe(service.calls, 5)
            service.run_job("reset")
        clock.set("2026-12-01T08:00:00Z")
        with InProcessService(settings, clock=clock) as service, Running(service):
            wait_until(lambda: invoices(service.calls) == [-500])

    def test_that_failed_is_in_the_next_run_also_after_a_restart(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        settings = settings_for(tmp_path, jobs=BOTH_ON)
        with InProcessService(settings, clock=clock) as service:
            service.run_job("ledger")
            clock.advance(hours=1)
            # A run that was cut off: it began, and nothing tells that it ended.
            started = service.ledger.now()
            service.wait(service.ledger.job_ran("ledger", started=started, finished=None, error=""))
        clock.advance(hours=1)
        with InProcessService(settings, clock=clock) as service:
            service.run_job("ledger")
            recorded = json.loads(log_of(service.calls, "usage-reconciled")[1].json)
            assert "2026-11-01T08:00:00.000Z" == recorded["from_time"]

    def test_a_clock_that_went_back_does_not_stop_the_jobs(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        settings = settings_for(tmp_path, jobs=BOTH_ON)
        with InProcessService(settings, clock=clock) as service:
            service.run_job("ledger")
            clock.set("2026-06-01T08:00:00Z")
            with Running(service):
                wait_until(lambda: len(log_of(service.calls, "usage-reconciled")) == 2)


class TestAJobThatFails:
    def test_is_told_in_the_status_and_runs_again_at_its_next_time(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        async def fail() -> None:
            raise ValueError("no luck")

        settings = settings_for(tmp_path, jobs=BOTH_ON)
        with InProcessService(settings, clock=clock) as service:
            plan = service.scheduler.plans[0]
            well, plan.run = plan.run, fail
            service.run_job("ledger")
            told = job(service.calls, "ledger")
            assert "no luck" in told.last_error
            assert "2026-11-01T09:00:00Z" == told.next.ToJsonString()
            plan.run = well
            clock.advance(hours=1)
            service.run_job("ledger")
            told = job(service.calls, "ledger")
            assert "" == told.last_error
            assert "2026-11-01T09:00:00Z" == told.last_finished.ToJsonString()
