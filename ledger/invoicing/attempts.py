"""Attempts at a subscription: one comes of them at the most, whatever becomes of answers.

Before Stripe is asked, and again where it tells of a failure, what this attempt and those before it
have made is looked for: by a list, which does not lag, and by a mark in the metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from aggregates import SUBSCRIPTION_STEP, BillingAccount
from aggregates.calendar import add_months, periods_until
from billing import (
    GatewayError,
    StripeCardError,
    StripeMissingError,
    StripeRefusedError,
    Subscription,
    intent_key,
)
from events import SubscriptionRequested
from events.readable import attribution_id
from ledger.commands import billing_accounts as commands
from ledger.errors import AlreadyExistsError, FailedPreconditionError, LedgerError, TroubleError
from ledger.invoicing.accounts import account_of, claim, marker
from ledger.invoicing.customers import Customers
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

ATTEMPT_MARK = "subscription"

log = logging.getLogger(__name__)


class _OvertakenError(Exception):
    """Another call has taken this step meanwhile."""


class Attempts:
    """The step of the saga that makes the subscription."""

    def __init__(self, ledger: Ledger, gateway: Gateway, customers: Customers) -> None:
        """Make subscriptions of a ledger's customers."""
        self._ledger = ledger
        self._gateway = gateway
        self._customers = customers

    async def make(self, payer: bytes, account: BillingAccount, author: str) -> LedgerError | None:
        """Make the subscription of the attempt that goes on, and bind it.

        LedgerError says what is in the way. It is given, not raised, where another attempt was put
        in the place of this one, whose key answers nothing but a failure for a day.
        """
        wanted = account.wanted
        assert wanted is not None
        doing = f"Failed to create subscription with customer ID {wanted.customer_id}"
        try:
            made = await self._look(payer, account, wanted, author)
            if made is None:
                made = await self._create(payer, account, wanted)
        except _OvertakenError:
            return None
        except (StripeCardError, StripeRefusedError, StripeMissingError) as error:
            if not await self.refuse(
                payer, wanted, SUBSCRIPTION_STEP, error.code or "refused", author
            ):
                return None
            if isinstance(error, StripeMissingError):
                await self._customers.note_deleted(wanted.customer_id, author)
            raise told(error, doing) from error
        except GatewayError as error:
            failure = told(error, doing)
            if not error.is_stored_failure:
                raise failure from error
            return await self._after_failure(payer, account, wanted, failure, author)
        await self._bind(payer, wanted, made, author)
        return None

    async def _after_failure(
        self,
        payer: bytes,
        account: BillingAccount,
        wanted: SubscriptionRequested,
        failure: LedgerError,
        author: str,
    ) -> LedgerError | None:
        """Bind what the request made before it failed; where it made nothing, begin another one.

        The request is over, so a list tells for good, but for what Stripe itself mends later.
        """
        try:
            made = await self._look(payer, account, wanted, author)
        except _OvertakenError:
            return None
        except GatewayError as error:
            raise failure from error
        if made is not None:
            await self._bind(payer, wanted, made, author)
            return None
        shard = await self._ledger.placing.place_one(payer)
        await shard.command(
            partial(commands.renew_attempt, payer=payer, attempt=wanted.attempt), author
        )
        self._ledger.failpoint("subscription-renewed")
        return failure

    async def _look(
        self, payer: bytes, account: BillingAccount, wanted: SubscriptionRequested, author: str
    ) -> Subscription | None:
        """Find what this attempt made, or one before it of which nobody knew.

        None when nothing is there; LedgerError when something is in the way.
        """
        known = await self._gateway.subscriptions_of(wanted.customer_id)
        alive = [one for one in known if not one.is_dead]
        for attempt in (wanted.attempt, *account.uncertain):
            mark = marker(ATTEMPT_MARK, payer, attempt)
            made = next((one for one in alive if one.marker == mark), None)
            if made is not None:
                return made
        mark = marker(ATTEMPT_MARK, payer, wanted.attempt)
        dead = next((one for one in known if one.marker == mark), None)
        if dead is not None:
            # Under the same key Stripe would tell what it was when it was made: alive.
            await self._end(payer, wanted, "it has ended", author)
            raise FailedPreconditionError(
                f"subscription {dead.subscription_id} ended before it was bound"
            )
        if alive:
            await self._end(payer, wanted, "another one is there", author)
            raise AlreadyExistsError(
                f"Customer ({attribution_id(payer)}) already has an active subscription"
                f" ({alive[0].subscription_id})"
            )
        return None

    async def _create(
        self, payer: bytes, account: BillingAccount, wanted: SubscriptionRequested
    ) -> Subscription:
        assert account.verified is not None
        name = attribution_id(payer)
        return await self._gateway.create_subscription(
            key=intent_key("create-subscription", name, generation=wanted.attempt),
            customer_id=wanted.customer_id,
            price_id=wanted.price_id,
            automatic_tax=account.verified.tax_state == "supported",
            attribution_id=name,
            marker=marker(ATTEMPT_MARK, payer, wanted.attempt),
        )

    async def _bind(
        self, payer: bytes, wanted: SubscriptionRequested, made: Subscription, author: str
    ) -> None:
        self._ledger.failpoint("subscription-made")
        item = made.item
        if item is None:
            raise TroubleError(f"subscription {made.subscription_id} has not exactly one price")
        start = _first_start(made, item.current_period_start)
        shard = await self._ledger.placing.place_one(payer)
        await claim(self._ledger, payer, made.subscription_id, author)
        await shard.command(
            partial(
                commands.subscription_created,
                payer=payer,
                attempt=wanted.attempt,
                subscription_id=made.subscription_id,
                price_id=item.price_id,
                period_start=start,
                period_end=add_months(start, 1),
            ),
            author,
        )
        self._ledger.failpoint("subscription-created")
        bound = (await account_of(self._ledger, payer)).subscription
        if bound is not None and bound.subscription_id != made.subscription_id:
            # Another call has bound what an earlier attempt had made, while this one was asked for.
            await self._end_unbound(made)

    async def refuse(
        self, payer: bytes, wanted: SubscriptionRequested, step: str, reason: str, author: str
    ) -> bool:
        """Note that an attempt comes to nothing; False when another call has taken the step."""
        shard = await self._ledger.placing.place_one(payer)
        refused: bool = await shard.command(
            partial(
                commands.refuse_subscription,
                payer=payer,
                attempt=wanted.attempt,
                step=step,
                reason=reason,
            ),
            author,
        )
        return refused

    async def _end(
        self, payer: bytes, wanted: SubscriptionRequested, reason: str, author: str
    ) -> None:
        if not await self.refuse(payer, wanted, SUBSCRIPTION_STEP, reason, author):
            raise _OvertakenError

    # What came to light later ------------------------------------------------------------------

    async def end_twin(self, payer: bytes, found: Subscription) -> None:
        """End what an attempt made behind a stored failure, if another one stands in its place.

        It came to light after it was looked for. Nothing is reported to it by name; but Stripe
        bills a customer's usage to each of its subscriptions.
        """
        account = await account_of(self._ledger, payer)
        is_open = account.wanted is not None and account.subscription is None
        if is_open or found.is_dead or found.subscription_id in account.ever_bound:
            return
        if found.marker not in _marks(payer, account.uncertain):
            return
        await self._end_unbound(found)

    async def _end_unbound(self, twin: Subscription) -> None:
        log.error(
            "subscription %s came to light after Stripe had told of a failure and another one was"
            " bound: it is ended, and nothing of it is billed",
            twin.subscription_id,
        )
        try:
            await self._gateway.cancel_subscription(twin.subscription_id, bills_open_usage=False)
        except GatewayError as error:
            raise told(error, f"subscription {twin.subscription_id} is ended") from error


def _marks(payer: bytes, attempts: Iterable[int]) -> set[str]:
    return {marker(ATTEMPT_MARK, payer, attempt) for attempt in attempts}


def _first_start(made: Subscription, current_start: int) -> int:
    """Give when the first period began, in ms, of a subscription that may be months old.

    Periods are counted from there: the one that began on 28 February may have begun on a 31st.
    """
    created, current = made.created * 1_000, current_start * 1_000
    is_counted = add_months(created, periods_until(created, current)) == current
    return created if is_counted else current
