"""Runs jobs when they are due, one at a time; what was missed is made up for.

When a job last ran is kept in the store. A job that never ran is due one period after the service
began.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ledger.application import Ledger
from ledger.job_plan import JobPlan

LOOK_SECONDS_MAX = 20  # how long to sleep at most: a clock that was set forward is noticed by then

log = logging.getLogger(__name__)


class Scheduler:
    """The two jobs of a ledger."""

    def __init__(self, ledger: Ledger, *, enabled: bool = True) -> None:
        """Plan the jobs as the settings say."""
        self._ledger = ledger
        self._last_ledger_run: int | None = None
        jobs = ledger.settings.jobs
        self.plans: Sequence[JobPlan] = (
            JobPlan(
                "ledger",
                self._run_ledger_job,
                every_ms=ledger.settings.ledger_interval,
                enabled=enabled and jobs.ledger_enabled,
            ),
            JobPlan(
                "reset",
                self._run_reset_job,
                every_ms=jobs.reset_every,
                enabled=enabled and jobs.reset_enabled,
            ),
        )
        ledger.jobs = self.plans

    def plan(self) -> None:
        """Decide when each job is due first."""
        now = self._ledger.queries.now()
        ran = {row.name: row for row in self._ledger.queries.reader.jobs()}
        for plan in self.plans:
            row = ran.get(plan.name)
            last = None if row is None else row.last_started
            if plan.name == "ledger" and row is not None and last is not None:
                # A run that failed or was cut off covered nothing: the one before it counts.
                before = last - plan.every_ms if row.last_finished is None else row.last_finished
                self._last_ledger_run = min(last, before)
            if last is None:
                plan.next_ms = now + plan.every_ms
            elif last > now:
                plan.next_ms = now  # the clock went back: what it said then counts no more
            else:
                plan.next_ms = last + plan.every_ms

    async def run(self) -> None:
        """Run jobs until cancelled."""
        while True:
            try:
                self.plan()
                break
            except Exception:
                log.exception("jobs cannot be planned; trying again")
                await asyncio.sleep(LOOK_SECONDS_MAX)
        while True:
            now = self._ledger.queries.now()
            for plan in self.plans:
                if plan.next_ms is not None and plan.next_ms > now + plan.every_ms:
                    plan.next_ms = now + plan.every_ms  # the clock went back
                if plan.enabled and plan.next_ms is not None and plan.next_ms <= now:
                    await self.run_once(plan)
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        now = self._ledger.queries.now()
        due = [plan.next_ms for plan in self.plans if plan.enabled and plan.next_ms is not None]
        seconds = (min(due) - now) / 1000 if due else LOOK_SECONDS_MAX
        return min(max(seconds, 0.05), LOOK_SECONDS_MAX)

    async def run_once(self, plan: JobPlan) -> None:
        """Run a job now and keep how it went; a failure is tried again at the next time."""
        started = self._ledger.queries.now()
        plan.next_ms = started + plan.every_ms
        error = ""
        try:
            await self._ledger.job_ran(plan.name, started=started, finished=None, error="")
            await plan.run()
        except Exception as failure:
            log.exception("job %s failed", plan.name)
            error = f"{type(failure).__name__}: {failure}"
        try:
            finished = self._ledger.queries.now()
            await self._ledger.job_ran(
                plan.name, started=started, finished=None if error else finished, error=error
            )
        except Exception:
            log.exception("that job %s ran could not be kept", plan.name)

    async def _run_ledger_job(self) -> None:
        """Reconcile the time since the last run.

        Reporting to Stripe follows once billing is configured.
        """
        now = self._ledger.queries.now()
        since = now - self._ledger.settings.ledger_interval
        if self._last_ledger_run is not None:
            since = min(since, self._last_ledger_run)
        await self._ledger.reconcile_usage(since, now, self._ledger.operator)
        self._last_ledger_run = now

    async def _run_reset_job(self) -> None:
        """Reset what is due; forget old dead letters, and add up the counts of old calls."""
        try:
            done, failed = await self._ledger.reset_usage(self._ledger.operator)
            if done or failed:
                log.info("reset %d cost centers, %d failed", done, failed)
        finally:  # personal data must not outlive its retention because resets fail
            await self._ledger.forget_expired_dead_letters(self._ledger.operator)
            await self._ledger.merge_old_calls(self._ledger.operator)
