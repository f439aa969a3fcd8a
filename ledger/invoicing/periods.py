"""Stripe's billing periods, where they are others than those that were counted."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from billing import GatewayError, Subscription
from ledger.commands.periods import note_period
from ledger.errors import UnavailableError
from ledger.invoicing.accounts import account_of
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

# Looks at one object of Stripe's that was another one each time: somebody is at work on it.
LOOKS_MAX = 10

log = logging.getLogger(__name__)


class StripePeriods:
    """What Stripe tells of periods is noted, for reports and books go by them."""

    def __init__(self, ledger: Ledger, gateway: Gateway) -> None:
        """Follow the periods of a ledger's subscriptions."""
        self._ledger = ledger
        self._gateway = gateway

    async def look(self, subscription_id: str) -> Subscription:
        """Fetch a subscription."""
        try:
            return await self._gateway.subscription(subscription_id)
        except GatewayError as error:
            raise told(error, f"subscription {subscription_id} is fetched") from error

    async def follow(self, payer: bytes, found: Subscription, author: str) -> bool:
        """Note the period in which a living subscription is; say whether it was news.

        What was fetched may be older than what is noted, so after each note it is fetched again.
        """
        for looks in range(LOOKS_MAX):
            period = None if found.is_dead else period_of(found)
            if period is None or not await self._note(payer, found.subscription_id, period, author):
                return looks > 0
            found = await self.look(found.subscription_id)
        raise UnavailableError(
            f"the periods of subscription {found.subscription_id} change too fast; try again later"
        )

    async def of_lines(
        self, payer: bytes, subscription_id: str, period: tuple[int, int], author: str
    ) -> bool:
        """Note the period that metered lines of a final invoice bill, in ms.

        True when the subscription has ended with it, which may not have been noted yet.
        """
        if await self._is_cycle(payer, subscription_id, period):
            return False
        found = await self.look(subscription_id)
        start, end = period
        if found.ended_at is not None and found.ended_at * 1_000 == end:
            return True
        await self.follow(payer, found, author)
        current = period_of(found)
        is_over = found.is_dead or (current is not None and start < current[0])
        if is_over and not await self._is_cycle(payer, subscription_id, period):
            await self._note(payer, subscription_id, period, author)
        return False

    async def _is_cycle(self, payer: bytes, subscription_id: str, period: tuple[int, int]) -> bool:
        account = await account_of(self._ledger, payer)
        return account.has_cycle(subscription_id, start=period[0], end=period[1])

    async def _note(
        self, payer: bytes, subscription_id: str, period: tuple[int, int], author: str
    ) -> bool:
        shard = await self._ledger.placing.place_one(payer)
        is_news: bool = await shard.decide(
            partial(
                note_period,
                payer=payer,
                subscription_id=subscription_id,
                start=period[0],
                end=period[1],
            ),
            author,
        )
        if is_news:
            log.warning(
                "subscription %s has a period that is not counted from its start: its billing"
                " anchor was moved at Stripe, and its cycles follow",
                subscription_id,
            )
        return is_news


def period_of(found: Subscription) -> tuple[int, int] | None:
    """Give the period of a subscription, in ms; None when it has not exactly one price."""
    item = found.item
    if item is None:
        return None
    return item.current_period_start * 1_000, item.current_period_end * 1_000
