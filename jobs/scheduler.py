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
LEASE = "jobs"
LEASE_SECONDS = 30.0  # after so long without a sign of life another process takes over
RENEW_SECONDS = 8.0
LEASE_LOOK_SECONDS = 5.0  # between two looks whether the lease is free

log = logging.getLogger(__name__)


class Scheduler:
    """The jobs of a ledger."""

    def __init__(self, ledger: Ledger, *, enabled: bool = True) -> None:
        """Plan the jobs as the settings say."""
        self._ledger = ledger
        self._last_ledger_run: int | None = None
        self.holds_lease = False
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
            JobPlan(
                "heads",
                self._run_heads_job,
                every_ms=jobs.heads_every,
                enabled=enabled and jobs.heads_enabled,
            ),
        )
        ledger.jobs = self.plans

    async def plan(self) -> None:
        """Decide when each job is due first."""
        now = self._ledger.now()
        rows = await self._ledger.shards[0].read(lambda queries: queries.reader.jobs())
        ran = {row.name: row for row in rows}
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
        """Run jobs until cancelled, while this process has the lease on them."""
        is_planned = False
        try:
            while True:
                try:
                    if not await self._has_lease():
                        is_planned = False
                        await asyncio.sleep(LEASE_LOOK_SECONDS)
                        continue
                    if not is_planned:  # another process may have run them since
                        await self.plan()
                        is_planned = True
                except Exception:
                    log.exception("jobs cannot be planned; trying again")
                    await asyncio.sleep(LEASE_LOOK_SECONDS)
                    continue
                await self._run_due()
                await self._process_webhooks()
                await asyncio.sleep(min(self._pause(), RENEW_SECONDS))
        finally:
            if self.holds_lease:
                self.holds_lease = False
                await self._ledger.shards[0].release_lease(LEASE)

    async def _has_lease(self) -> bool:
        self.holds_lease = await self._ledger.shards[0].holds_lease(LEASE, LEASE_SECONDS)
        return self.holds_lease

    async def _run_due(self) -> None:
        now = self._ledger.now()
        for plan in self.plans:
            if plan.next_ms is not None and plan.next_ms > now + plan.every_ms:
                plan.next_ms = now + plan.every_ms  # the clock went back
            if plan.enabled and plan.next_ms is not None and plan.next_ms <= now:
                renewing = asyncio.create_task(self._renew())
                try:
                    await self.run_once(plan)
                finally:
                    renewing.cancel()

    async def _process_webhooks(self) -> None:
        """Do what webhooks asked for that were kept by a process that has died since."""
        billing = self._ledger.billing
        if billing is not None:
            try:
                await billing.webhooks.process(self._ledger.operator)
            except Exception:
                log.exception("webhooks could not be processed; trying again")

    async def _renew(self) -> None:
        """Keep the lease while a job runs. A job that two processes run changes nothing twice."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._has_lease()
            except Exception:
                log.exception("the lease on the jobs could not be renewed")

    def _pause(self) -> float:
        now = self._ledger.now()
        due = [plan.next_ms for plan in self.plans if plan.enabled and plan.next_ms is not None]
        seconds = (min(due) - now) / 1000 if due else LOOK_SECONDS_MAX
        return min(max(seconds, 0.05), LOOK_SECONDS_MAX)

    async def run_once(self, plan: JobPlan) -> None:
        """Run a job now and keep how it went; a failure is tried again at the next time."""
        started = self._ledger.now()
        plan.next_ms = started + plan.every_ms
        error = ""
        try:
            await self._ledger.job_ran(plan.name, started=started, finished=None, error="")
            await plan.run()
        except Exception as failure:
            log.exception("job %s failed", plan.name)
            error = f"{type(failure).__name__}: {failure}"
        try:
            finished = self._ledger.now()
            await self._ledger.job_ran(
                plan.name, started=started, finished=None if error else finished, error=error
            )
        except Exception:
            log.exception("that job %s ran could not be kept", plan.name)

    async def _run_ledger_job(self) -> None:
        """Reconcile the time since the last run, then report it to Stripe where that is billed."""
        now = self._ledger.now()
        since = now - self._ledger.settings.ledger_interval
        if self._last_ledger_run is not None:
            since = min(since, self._last_ledger_run)
        await self._ledger.reconcile_usage(since, now, self._ledger.operator)
        self._last_ledger_run = now
        if self._ledger.billing is not None:
            await self._ledger.billing.reconcile(self._ledger.operator)

    async def _run_reset_job(self) -> None:
        """Reset what is due; then tidy up, and finish erasures that were cut off."""
        try:
            done, failed = await self._ledger.cost_centers.reset_due(self._ledger.operator)
            if done or failed:
                log.info("reset %d cost centers, %d failed", done, failed)
        finally:  # personal data must not outlive its retention because resets fail
            try:
                await self._ledger.dead_letters.forget_expired(self._ledger.operator)
                await self._ledger.merge_old_calls(self._ledger.operator)
            finally:
                await self._ledger.erasures.resume(self._ledger.operator)

    async def _run_heads_job(self) -> None:
        """Sign heads over what was recorded since the last ones."""
        await self._ledger.heads.sign_due(self._ledger.operator)
