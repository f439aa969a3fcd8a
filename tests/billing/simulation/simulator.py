"""Steps of one life of billing, all from one seed; then quiet, and everything is added up."""

from __future__ import annotations

import asyncio
from functools import partial

from ledger.failpoints import OF_BILLING
from tests.billing.simulation.checks import SIGNING_UP
from tests.billing.simulation.clients import Clients
from tests.billing.simulation.dashboard import Dashboard
from tests.billing.simulation.machine import new_loop
from tests.billing.simulation.post import Post
from tests.billing.simulation.stage import AUTHOR
from tests.billing.simulation.town import DAY_MS, HOUR_MS

KILLED_AT = (*OF_BILLING, "before-commit", "after-commit")
KILL_PASSES_MAX = 4
# Longer than Stripe's last try of a webhook, a cycle, and the longest grace.
QUIET_DAYS_MAX = 150
CALM_RUNS = 2


class Simulation(Clients, Dashboard, Post):
    """One life."""

    def run(self) -> None:
        """Take the steps; raise BrokenLawError as soon as a law does not hold."""
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._machine.boot()
        try:
            await self._life()
        finally:
            self._machine.lose_power()

    async def _life(self) -> None:
        if not self.plan.signs_up:
            for resident in self.town.residents:
                await self._sign_up(resident, card="good")
        ends = self.now + self.plan.days * DAY_MS
        while self.now < ends:
            await self._step()
            self._hold(self._checks.after_step())
        await self._quiet()
        self._hold(self._checks.at_the_end(self.now))

    async def _step(self) -> None:
        self._pass_time()
        self._collect()
        rng = self._rng
        if self._machine.keeps and rng.random() < self.plan.kills:
            # It may take a while until that place is passed; then another one is drawn.
            place = rng.choice(KILLED_AT)
            self._machine.power.fail_at(place, rng.choice((1, 1, 2, KILL_PASSES_MAX)))
            self._tell(f"(dies at {place})")
        self._use()
        await self._publish()
        await self._webhook_round()
        names, weights = zip(*self.plan.acts.items(), strict=True)
        for name in rng.choices(names, weights, k=rng.randint(1, 3)):
            await getattr(self, f"_{name}")()

    async def _meanwhile(self) -> None:
        """Two settle an invoice; in between something happens to it, and is heard of at once.

        Half of the time what has just been done to it is undone then.
        """
        invoice = self._some_invoice()
        if invoice is None:
            return
        if self._rng.random() < 0.5:
            then = self._do_and_undo(invoice)
        else:
            then = partial(self._do_something, invoice)
        settle = partial(self._machine.billing.settlements.finalize, invoice.id, AUTHOR)
        await self._call(
            f"FinalizeInvoice {invoice.id}, and something happens to it",
            settle,
            lambda: self._hear_at_once(then),
            settle,
        )

    async def _quiet(self) -> None:
        """No more faults; time passes until nothing waits any more."""
        self._tell("quiet")
        self._double.faults.clear()
        self._outage_ends = None
        self._double.world.late_refusals.clear()
        self._machine.power.secure()
        self._accept_again()
        self.town.stop_all(self.now)
        while not self.town.is_heard:
            await self._publish(everything=True)
        await self._give_notes()
        until = self.now + QUIET_DAYS_MAX * DAY_MS
        calm = 0
        while self.now < until:
            self._advance(self._rng.choice((6 * HOUR_MS, DAY_MS, 3 * DAY_MS)))
            await self._hear_everything()
            await self._resume_all()
            await self._job()
            self._hold(self._checks.refused())
            # Nothing is in the way of a sign-up any more, whatever Stripe has stored of a failure.
            self._hold(self._checks.unfinished(*SIGNING_UP))
            await self._hear_everything()
            waits = self._checks.waits()
            # Twice, for what one run finds lost the next one asks for anew.
            calm = 0 if waits else calm + 1
            if calm == CALM_RUNS:
                return
        self._hold([f"never quiet: {what}" for what in waits])
