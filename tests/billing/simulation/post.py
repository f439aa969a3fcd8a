"""Webhooks on their way: in any order, twice, late, or never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from billing import EventNotice, Secret
from billing.webhooks import verify
from tests.billing.simulation.stage import AUTHOR, Stage
from tests.stripe_double import WEBHOOK_SECRET, Delivery

TURNS_MAX = 12  # how many turns others may have first; a request takes a few


class Post(Stage):
    """Takes webhooks from the double to the ledger."""

    def __init__(self, *given: Any) -> None:
        """Nothing is on its way."""
        super().__init__(*given)
        self._webhooks: list[Delivery] = []

    def _collect(self) -> None:
        self._webhooks += self._double.outbox
        self._double.outbox.clear()

    async def _webhook_round(self) -> None:
        """Deliver some of what waits: in any order, again, later, or never."""
        rng = self._rng
        waiting, self._webhooks = self._webhooks, []
        rng.shuffle(waiting)
        for delivery in waiting:
            fate = rng.random()
            if fate < self.plan.drops:
                continue
            if fate < self.plan.drops + 0.15:
                self._webhooks.append(delivery)  # it is still on its way
            elif fate < self.plan.drops + 0.25:
                delivery.done(None)  # nobody answered: Stripe tries again
            else:
                await self._deliver(delivery)
                if rng.random() < 0.15:
                    self._webhooks.append(delivery)  # a second copy
        if rng.random() < 0.8:
            await self._process()

    async def _deliver(self, delivery: Delivery) -> None:
        notice = _noticed(delivery, self._double.clock.now)
        boots = self._machine.boots
        await self._call(
            f"hears {notice.type} of {notice.object_id}",
            lambda: self._machine.billing.webhooks.keep(notice),
        )
        delivery.done(200 if self._machine.boots == boots else None)

    async def _hear_at_once(self, act: Callable[[], None]) -> None:
        """Let something happen at Stripe, hear of it and do what it asks for, beside others."""
        for _ in range(self._rng.randint(0, TURNS_MAX)):
            await asyncio.sleep(0)
        act()
        self._collect()
        told, self._webhooks = self._webhooks, []
        for delivery in told:
            await self._machine.billing.webhooks.keep(_noticed(delivery, self._double.clock.now))
            delivery.done(200)
        await self._machine.billing.webhooks.process(AUTHOR)

    async def _process(self) -> None:
        await self._once_or_twice("process", lambda: self._machine.billing.webhooks.process(AUTHOR))

    async def _hear_everything(self) -> None:
        self._collect()
        while self._webhooks:
            waiting, self._webhooks = self._webhooks, []
            for delivery in waiting:
                await self._deliver(delivery)
            self._collect()
        while await self._call("process", lambda: self._machine.billing.webhooks.process(AUTHOR)):
            pass


def _noticed(delivery: Delivery, now_seconds: int) -> EventNotice:
    return verify(
        delivery.body, delivery.signature, Secret(WEBHOOK_SECRET), now_seconds=now_seconds
    )
