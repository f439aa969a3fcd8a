"""Customers: one for each payer, made once whoever asks, and found again after trouble."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aggregates import STORED_FAILURE, BoundCustomer
from billing import (
    Customer,
    GatewayError,
    GatewayMisuseError,
    StripeIdempotencyError,
    StripeMissingError,
    StripeRefusedError,
    intent_key,
)
from events.readable import attribution_id
from ledger.commands import billing_accounts as commands
from ledger.commands.billing_accounts import CustomerWanted
from ledger.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    LedgerError,
    NotFoundError,
    TroubleError,
    UnavailableError,
)
from ledger.identifiers import parse_payer
from ledger.invoicing.accounts import account_of, claim, payer_of_stripe_id
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

CURRENCIES = ("eur", "usd")
DEFAULT_CURRENCY = "usd"
# Stripe forgets an idempotency key after a day at the earliest; then the same key makes another.
KEY_SECONDS = 23 * 3_600
KEY_LASTS_SECONDS = 2 * 86_400  # nothing is asked under a key that is older than KEY_SECONDS
CLOCKS_APART_SECONDS = 300  # ours and Stripe's
# So long whoever asked may still be waiting for Stripe, with what was erased since in its hands.
IN_FLIGHT_SECONDS = 600

Request = Callable[..., BoundCustomer | CustomerWanted]  # a command

log = logging.getLogger(__name__)


class FoundCustomer(NamedTuple):
    """A payer's customer."""

    payer: bytes
    customer: BoundCustomer


class Customers:
    """The use cases of customers."""

    def __init__(self, ledger: Ledger, gateway: Gateway) -> None:
        """Look after the customers of a ledger."""
        self._ledger = ledger
        self._gateway = gateway

    # Finding -----------------------------------------------------------------------------------

    async def of_payer(self, payer: bytes, author: str) -> FoundCustomer:
        """Give a payer's customer: ours, else the one that a search at Stripe finds.

        NotFoundError, FailedPreconditionError when there are several.
        """
        account = await account_of(self._ledger, payer)
        if account.customer is not None:
            return FoundCustomer(payer, await self._with_tax_state(payer, account.customer, author))
        found = await self._searched(payer)
        return FoundCustomer(payer, await self._bind(payer, found, author))

    async def _searched(self, payer: bytes) -> Customer:
        name = attribution_id(payer)
        try:
            found = await self._gateway.search_customers(name)
        except GatewayError as error:
            raise told(error, "failed to find customers") from error
        alive = [one for one in found if not one.is_deleted]
        if not alive:
            raise NotFoundError(f"no customer found for attribution_id: {name}")
        if len(alive) > 1:
            raise FailedPreconditionError(f"found multiple customers for {name}")
        # The search lags: it may tell of one that was deleted since, or given to another payer.
        customer = await self._fetched(alive[0].customer_id)
        if parse_payer(customer.attribution_id or "") != payer:
            raise NotFoundError(f"no customer found for attribution_id: {name}")
        return customer

    async def at_stripe(self, payer: bytes) -> Customer:
        """Give a payer's customer as it is there, ours or the one that a search finds; bind none.

        NotFoundError, FailedPreconditionError when there are several.
        """
        account = await account_of(self._ledger, payer)
        if account.customer is None:
            return await self._searched(payer)
        return await self._fetched(account.customer.customer_id)

    async def by_id(self, customer_id: str, author: str) -> FoundCustomer:
        """Give the customer of an id of Stripe, and bind it if its payer has none."""
        payer = await payer_of_stripe_id(self._ledger, customer_id)
        if payer is not None:
            account = await account_of(self._ledger, payer)
            if account.customer is not None and account.customer.customer_id == customer_id:
                bound = await self._with_tax_state(payer, account.customer, author)
                return FoundCustomer(payer, bound)
        customer = await self._fetched(customer_id)
        payer = parse_payer(customer.attribution_id or "")
        if payer is None:
            raise TroubleError(f"Failed to parse attribution ID from Stripe customer {customer_id}")
        account = await account_of(self._ledger, payer)
        if account.customer is None:
            return FoundCustomer(payer, await self._bind(payer, customer, author))
        return FoundCustomer(payer, _as_bound(customer))

    async def _fetched(self, customer_id: str) -> Customer:
        try:
            customer = await self._gateway.customer(customer_id)
        except StripeMissingError as error:
            raise NotFoundError(f"customer {customer_id} does not exist in stripe") from error
        except GatewayError as error:
            raise told(error, f"failed to get customer by customer ID {customer_id}") from error
        if customer.is_deleted:
            raise NotFoundError(f"customer {customer_id} was deleted in stripe")
        return customer

    async def _with_tax_state(
        self, payer: bytes, customer: BoundCustomer, author: str
    ) -> BoundCustomer:
        """Ask Stripe for what it has not told yet; what is stored is the answer if it cannot."""
        if customer.tax_state:
            return customer
        try:
            fetched = await self._gateway.customer(customer.customer_id)
        except GatewayError as error:
            log.warning("the tax state of %s is not known: %s", customer.customer_id, error)
            return customer
        if fetched.is_deleted:
            await self._gone(payer, customer.customer_id, author)
            raise NotFoundError(f"customer {customer.customer_id} was deleted in stripe")
        if fetched.tax_state:
            await self.keep_tax_state(payer, customer.customer_id, fetched.tax_state, author)
        return (await account_of(self._ledger, payer)).customer or customer

    async def keep_tax_state(
        self, payer: bytes, customer_id: str, tax_state: str, author: str
    ) -> None:
        """Keep where Stripe can tax a customer."""
        shard = await self._ledger.placing.place_one(payer)
        await shard.command(
            partial(
                commands.tell_tax_state,
                payer=payer,
                customer_id=customer_id,
                tax_state=tax_state,
            ),
            author,
        )

    async def _bind(
        self, payer: bytes, customer: Customer, author: str, *, generation: int = 0
    ) -> BoundCustomer:
        currency = (customer.preferred_currency or "").lower()
        shard = await self._ledger.placing.place_one(payer)
        await claim(self._ledger, payer, customer.customer_id, author)
        bound: BoundCustomer = await shard.command(
            partial(
                commands.bind_customer,
                payer=payer,
                generation=generation,
                customer_id=customer.customer_id,
                currency=currency if currency in CURRENCIES else DEFAULT_CURRENCY,
                creation_time=(customer.created or 0) * 1_000,
                tax_state=customer.tax_state or "",
            ),
            author,
        )
        return bound

    # Making ------------------------------------------------------------------------------------

    async def create(
        self, payer: bytes, *, name: str, email: str, currency: str, creator: str, author: str
    ) -> BoundCustomer:
        """Give the payer's customer, made if there is none; any number of calls make one.

        AlreadyExistsError when it is of another currency.
        """
        request = partial(
            commands.request_customer,
            payer=payer,
            name=name,
            email=email,
            currency=currency,
            creator=creator,
        )
        bound = await self._made_once(payer, request, author)
        if bound.currency != currency:
            raise AlreadyExistsError(
                f"{attribution_id(payer)} has a customer with currency {bound.currency},"
                f" not {currency}"
            )
        return bound

    async def _made_once(self, payer: bytes, request: Request, author: str) -> BoundCustomer:
        failed: LedgerError | None = None
        while True:
            shard = await self._ledger.placing.place_one(payer)
            began = self._ledger.now()
            wanted = await shard.command(request, author)
            if isinstance(wanted, BoundCustomer):
                if not await self._is_deleted(payer, wanted.customer_id, author):
                    return wanted
                continue
            self._ledger.failpoint("customer-requested")
            # Whether somebody asked before, and how that ended is not known.
            is_resumed = wanted.asked_at < began or wanted.is_erased
            made = await self._generation(payer, wanted, author, is_resumed=is_resumed)
            if isinstance(made, BoundCustomer):
                return made
            if made is not None and failed is not None:
                raise made  # of a second key, too: Stripe is broken
            failed = failed or made

    async def _generation(
        self, payer: bytes, wanted: CustomerWanted, author: str, *, is_resumed: bool
    ) -> BoundCustomer | LedgerError | None:
        """Give the customer of one request; an error or None where another one is to be begun."""
        if is_resumed:
            found = await self._made_before(payer, wanted)
            if found is not None:
                return await self._bind(payer, found, author, generation=wanted.generation)
            outlived = _outlived(wanted, self._ledger.now())
            if outlived:
                await self._give_up(payer, wanted, outlived, author)
                return None
        made = await self._make(payer, wanted, author)
        if isinstance(made, LedgerError):
            return made
        self._ledger.failpoint("customer-made")
        if is_resumed and (await self._current(made.customer_id)).is_deleted:
            # Stripe repeats what it answered when it was made.
            await self._give_up(payer, wanted, commands.CUSTOMER_DELETED, author)
            return None
        return await self._bind(payer, made, author, generation=wanted.generation)

    async def _made_before(self, payer: bytes, wanted: CustomerWanted) -> Customer | None:
        """Find what an earlier request made. By a list, which does not lag as a search does."""
        start = wanted.asked_at // 1_000 - CLOCKS_APART_SECONDS
        # Later nothing can have been made under its key, and a year's customers are many.
        end = min(self._ledger.now() // 1_000, wanted.asked_at // 1_000 + KEY_LASTS_SECONDS)
        end += CLOCKS_APART_SECONDS
        name = attribution_id(payer)
        found = None
        try:
            async for customer in self._gateway.customers_created_between(start, end):
                if customer.attribution_id == name:
                    found = customer  # the oldest comes last
        except GatewayError as error:
            raise told(error, f"the customer of {name} is looked for") from error
        return found

    async def _make(
        self, payer: bytes, wanted: CustomerWanted, author: str
    ) -> Customer | LedgerError:
        """Ask Stripe for it; an error is given, not raised, where the key was given up."""
        name = attribution_id(payer)
        doing = "Failed to create stripe customer"
        try:
            return await self._gateway.create_customer(
                key=intent_key("create-customer", name, generation=wanted.generation),
                attribution_id=name,
                name=wanted.name,
                email=wanted.email,
                currency=wanted.currency,
                creator_user_id=wanted.creator or None,
            )
        except (StripeRefusedError, StripeIdempotencyError) as error:
            await self._give_up(payer, wanted, error.code or "refused", author)
            raise told(error, doing) from error
        except GatewayMisuseError as error:
            await self._give_up(payer, wanted, "refused", author)
            raise FailedPreconditionError(f"{doing}: {error}") from error
        except GatewayError as error:
            failure = told(error, doing)
            if not error.is_stored_failure:
                raise failure from error
        # The key gives nothing else for a day. What was made under it before it failed is listed;
        # if nothing was, another key is next.
        try:
            made = await self._made_before(payer, wanted)
        except LedgerError as error:
            raise failure from error
        if made is None:
            await self._give_up(payer, wanted, STORED_FAILURE, author)
            return failure
        return made

    async def _current(self, customer_id: str) -> Customer:
        """Fetch a customer as it is now, a deleted one too."""
        try:
            return await self._gateway.customer(customer_id)
        except GatewayError as error:
            raise told(error, f"customer {customer_id} is fetched") from error

    async def _give_up(
        self, payer: bytes, wanted: CustomerWanted, reason: str, author: str
    ) -> None:
        shard = await self._ledger.placing.place_one(payer)
        await shard.command(
            partial(
                commands.refuse_customer,
                payer=payer,
                generation=wanted.generation,
                reason=reason,
            ),
            author,
        )

    # Deleted ones ------------------------------------------------------------------------------

    async def deleted(self, customer_id: str, author: str) -> bytes | None:
        """Note that a customer was deleted at Stripe, if it was; give whose it is."""
        payer = await payer_of_stripe_id(self._ledger, customer_id)
        if payer is None:
            return None
        if (await self._current(customer_id)).is_deleted:
            await self._gone(payer, customer_id, author)
        return payer

    async def note_deleted(self, customer_id: str, author: str) -> None:
        """Do so where a call has found it missing, which has its own trouble to tell."""
        with contextlib.suppress(LedgerError):
            await self.deleted(customer_id, author)

    async def _is_deleted(self, payer: bytes, customer_id: str, author: str) -> bool:
        """Say whether a bound customer was deleted; what is stored is the answer if none comes."""
        try:
            customer = await self._gateway.customer(customer_id)
        except GatewayError as error:
            log.warning("whether %s is still there is not known: %s", customer_id, error)
            return False
        if customer.is_deleted:
            await self._gone(payer, customer_id, author)
        return customer.is_deleted

    async def _gone(self, payer: bytes, customer_id: str, author: str) -> None:
        shard = await self._ledger.placing.place_one(payer)
        await shard.command(
            partial(commands.customer_gone, payer=payer, customer_id=customer_id), author
        )

    # Taxes -------------------------------------------------------------------------------------

    async def update_tax_state(self, customer_id: str, author: str) -> None:
        """Let the customer's subscriptions be taxed as its address allows; failures are logged."""
        try:
            customer = await self._gateway.customer(customer_id)
        except StripeMissingError as error:
            raise NotFoundError(f"Failed to get customer with ID {customer_id}") from error
        except GatewayError as error:
            raise told(error, f"Failed to get customer with ID {customer_id}") from error
        payer = await payer_of_stripe_id(self._ledger, customer_id)
        if payer is not None and customer.is_deleted:
            await self._gone(payer, customer_id, author)
        if payer is not None and customer.tax_state:
            await self.keep_tax_state(payer, customer_id, customer.tax_state, author)
        for subscription in customer.subscriptions or ():
            if subscription.is_dead or (
                subscription.automatic_tax_enabled == customer.is_tax_supported
            ):
                continue
            try:
                await self._gateway.set_automatic_tax(
                    subscription.subscription_id, enabled=customer.is_tax_supported
                )
            except GatewayError as error:
                log.warning(
                    "automatic tax of %s was not changed: %s", subscription.subscription_id, error
                )


def _outlived(wanted: CustomerWanted, now: int) -> str:
    """Say why a request is given up for a new one, of which Stripe has made nothing."""
    age = now - wanted.asked_at
    if age > KEY_SECONDS * 1_000:
        return "expired"
    if not wanted.is_erased:
        return ""
    if age <= IN_FLIGHT_SECONDS * 1_000:
        raise UnavailableError(
            "a customer was asked for just now, and name and address were erased since: try again"
            f" in {IN_FLIGHT_SECONDS // 60} minutes"
        )
    return "erased"


def _as_bound(customer: Customer) -> BoundCustomer:
    currency = (customer.preferred_currency or DEFAULT_CURRENCY).lower()
    return BoundCustomer(customer.customer_id, currency, customer.tax_state or "")
