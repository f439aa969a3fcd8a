"""Subscriptions: a saga that goes on where it was, and ends with everything reported.

Requested, hold verified, created, active; then, when it is to end: cancelling, ended. Each step
looks at the recorded state first, so any process may take the next one.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from aggregates import CARD_STEP, HOLD_STEP, BillingAccount
from billing import (
    GatewayError,
    Hold,
    StripeCardError,
    StripeMissingError,
    StripeRefusedError,
    Subscription,
    is_stripe_id,
)
from events import SubscriptionRequested
from ledger.commands import billing_accounts as commands
from ledger.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    LedgerError,
    NotFoundError,
)
from ledger.invoicing.accounts import account_of, marker, payer_of_stripe_id
from ledger.invoicing.attempts import Attempts
from ledger.invoicing.customers import Customers
from ledger.invoicing.holds import HOLD_MARK, Holds
from ledger.invoicing.periods import StripePeriods, period_of
from ledger.invoicing.prices import price_for
from ledger.invoicing.told import CARD_REFUSED, told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

Flush = Callable[[bytes, str], Awaitable[bool]]  # report all; whether all of it would be billed

log = logging.getLogger(__name__)


class Subscriptions:
    """The use cases of subscriptions."""

    def __init__(
        self, ledger: Ledger, gateway: Gateway, customers: Customers, holds: Holds, flush: Flush
    ) -> None:
        """`flush` reports everything of a payer before its subscription ends."""
        self._ledger = ledger
        self._gateway = gateway
        self._customers = customers
        self._holds = holds
        self._flush = flush
        self._attempts = Attempts(ledger, gateway, customers)
        self._periods = StripePeriods(ledger, gateway)

    # The saga ----------------------------------------------------------------------------------

    async def create(
        self, payer: bytes, *, payment_intent_id: str, usage_limit: int, author: str
    ) -> str:
        """Subscribe a payer; give the subscription's id. Any number of calls make one."""
        found = await self._customers.of_payer(payer, author)
        settings = self._ledger.settings.stripe
        shard = await self._ledger.placing.place_one(payer)
        request = partial(
            commands.request_subscription,
            payer=payer,
            payment_intent_id=payment_intent_id,
            usage_limit=usage_limit,
            price_id=price_for(settings.price_eur, settings.price_usd, found.customer.currency),
        )
        try:
            await shard.command(request, author)
        except AlreadyExistsError:
            if not await self._made_way(payer, author):
                raise
            await shard.command(request, author)
        self._ledger.failpoint("subscription-requested")
        account = await self.go_on(payer, author)
        if account.subscription is None:
            commands.bound(account, payer)  # or it was deleted meanwhile
            raise InvalidArgumentError(CARD_REFUSED)  # another call has just seen that it is bad
        return account.subscription.subscription_id

    async def _made_way(self, payer: bytes, author: str) -> bool:
        """Bring what is in a subscription's way to its end; False when it is there to stay."""
        account = await account_of(self._ledger, payer)
        if account.subscription is not None:
            return await self.note_end(payer, author)
        with contextlib.suppress(InvalidArgumentError):  # an attempt whose hold is no good
            await self.go_on(payer, author)
        return True

    async def note_end(self, payer: bytes, author: str) -> bool:
        """Note that the bound subscription has ended at Stripe, if it has; say whether."""
        account = await account_of(self._ledger, payer)
        if account.subscription is None:
            return False
        found = await self._periods.look(account.subscription.subscription_id)
        if found.is_dead:
            await self._end(payer, found, author)
        else:
            await self._periods.follow(payer, found, author)
        return found.is_dead

    async def go_on(self, payer: bytes, author: str) -> BillingAccount:
        """Take every step that is left; LedgerError says what is in the way."""
        failed: LedgerError | None = None
        while True:
            account = await account_of(self._ledger, payer)
            if account.subscription is not None:
                if account.is_cancelling:
                    await self._cancel(payer, account, author)
                elif not account.is_active:
                    await self._activate(payer, author)
                    continue
                return account
            if account.wanted is None:
                return account
            if account.verified is None:
                await self._verify(payer, account.wanted, author)
            else:
                failure = await self._attempts.make(payer, account, author)
                if failure is not None and failed is not None:
                    raise failure  # of a second key, too: Stripe is broken
                failed = failed or failure

    async def _verify(self, payer: bytes, wanted: SubscriptionRequested, author: str) -> None:
        """See that the hold is the customer's and good, and let its card pay."""
        hold = await self._hold(payer, wanted, author)
        if hold is None:
            return
        assert hold.payment_method_id is not None
        try:
            method = await self._gateway.attach_payment_method(
                payment_method_id=hold.payment_method_id, customer_id=wanted.customer_id
            )
            customer = await self._gateway.set_default_payment_method(
                customer_id=wanted.customer_id,
                payment_method_id=method.payment_method_id,
                address=method.address,
            )
        except (StripeCardError, StripeRefusedError, StripeMissingError) as error:
            reason = error.code or "refused"
            if not await self._attempts.refuse(payer, wanted, CARD_STEP, reason, author):
                return  # another call has taken this step meanwhile
            await self._holds.release(payer, wanted.payment_intent_id, "refused", author)
            if isinstance(error, StripeMissingError):
                await self._customers.note_deleted(wanted.customer_id, author)
            raise InvalidArgumentError(
                f"Failed to set default payment for customer ID {wanted.customer_id}"
            ) from error
        except GatewayError as error:
            raise told(
                error, f"Failed to set default payment for customer ID {wanted.customer_id}"
            ) from error
        self._ledger.failpoint("card-set")
        shard = await self._ledger.placing.place_one(payer)
        await shard.command(
            partial(
                commands.hold_verified,
                payer=payer,
                attempt=wanted.attempt,
                payment_method_id=method.payment_method_id,
                tax_state=customer.tax_state or "",
            ),
            author,
        )
        self._ledger.failpoint("hold-verified")
        await self._holds.release(payer, wanted.payment_intent_id, "used", author)

    async def _hold(self, payer: bytes, wanted: SubscriptionRequested, author: str) -> Hold | None:
        """Fetch the hold; one that is not ours is neither used nor cancelled.

        None when another call has used it for this attempt meanwhile, which goes on.
        """
        if not is_stripe_id(wanted.payment_intent_id):
            # Asked for when nobody looked: Stripe has none of this name, and it could not be asked.
            await self._attempts.refuse(payer, wanted, HOLD_STEP, "no id", author)
            raise InvalidArgumentError(CARD_REFUSED)
        try:
            hold = await self._gateway.hold(wanted.payment_intent_id)
        except (StripeMissingError, StripeRefusedError) as error:
            await self._attempts.refuse(payer, wanted, HOLD_STEP, error.code or "missing", author)
            raise InvalidArgumentError(CARD_REFUSED) from error
        except GatewayError as error:
            raise told(error, "the hold is fetched") from error
        is_ours = (hold.marker or "").startswith(marker(HOLD_MARK, payer, 0)[:-1])
        if hold.customer_id != wanted.customer_id or not is_ours:
            await self._attempts.refuse(
                payer, wanted, HOLD_STEP, "of another customer or purpose", author
            )
            raise InvalidArgumentError(CARD_REFUSED)
        if not hold.is_held or hold.payment_method_id is None:
            if not await self._attempts.refuse(payer, wanted, HOLD_STEP, hold.status, author):
                return None
            await self._holds.release(payer, hold.hold_id, "refused", author)
            raise InvalidArgumentError(CARD_REFUSED)
        return hold

    async def _activate(self, payer: bytes, author: str) -> None:
        shard = await self._ledger.placing.place_one(payer)
        opening = await self._ledger.cost_centers.opening_in(shard, payer, author)
        await shard.decide(
            partial(commands.activate_subscription, payer=payer, opening=opening), author
        )
        self._ledger.failpoint("subscription-activated")

    async def end_twin(self, payer: bytes, found: Subscription) -> None:
        """End a subscription that an attempt made, and another one stands in its place."""
        await self._attempts.end_twin(payer, found)

    # The end -----------------------------------------------------------------------------------

    async def cancel(self, subscription_id: str, author: str) -> bytes | None:
        """End a subscription that is bound, or note that Stripe has ended it; give whose it is.

        One that is bound to nobody changes nothing, and None is given. While Stripe cannot tell
        whether it lives, the request is recorded, and a later run finds out.
        """
        payer = await payer_of_stripe_id(self._ledger, subscription_id)
        if payer is None:
            return None
        account = await account_of(self._ledger, payer)
        subscription = account.subscription
        if subscription is None or subscription.subscription_id != subscription_id:
            return None
        try:
            if await self.note_end(payer, author):
                return payer
        except NotFoundError:
            raise
        except LedgerError as error:
            log.warning("subscription %s is to end, and waits: %s", subscription_id, error)
            await self._request_cancel(payer, subscription_id, author)
            return payer
        await self._request_cancel(payer, subscription_id, author)
        try:
            await self.go_on(payer, author)
        except LedgerError as error:
            # It is recorded, and the next run goes on with it.
            log.warning("subscription %s is not cancelled yet: %s", subscription_id, error)
        return payer

    async def _request_cancel(self, payer: bytes, subscription_id: str, author: str) -> None:
        shard = await self._ledger.placing.place_one(payer)
        await shard.command(
            partial(commands.request_cancel, payer=payer, subscription_id=subscription_id), author
        )
        self._ledger.failpoint("cancel-requested")

    async def _cancel(self, payer: bytes, account: BillingAccount, author: str) -> None:
        subscription = account.subscription
        assert subscription is not None
        subscription_id = subscription.subscription_id
        try:
            found = await self._gateway.subscription(subscription_id)
            if not found.is_dead:
                if not await self._flush(payer, author):
                    return  # what is billed at the end would lack something
                found = await self._gateway.cancel_subscription(subscription_id)
        except GatewayError as error:
            raise told(error, f"subscription {subscription_id} is cancelled") from error
        self._ledger.failpoint("subscription-cancelled")
        await self._end(payer, found, author)

    async def _end(self, payer: bytes, found: Subscription, author: str) -> None:
        ended = found.ended_at or found.canceled_at
        shard = await self._ledger.placing.place_one(payer)
        await shard.decide(
            partial(
                commands.end_subscription,
                payer=payer,
                subscription_id=found.subscription_id,
                ended_at=self._ledger.now() if ended is None else ended * 1_000,
                last_period=period_of(found),
                default_limit=self._ledger.settings.default_spending_limit.for_teams,
            ),
            author,
        )
        self._ledger.failpoint("subscription-ended")
