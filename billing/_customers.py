"""Calls about customers, their cards and holds."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from billing import _answers
from billing._arguments import must_be_key, must_be_seconds, must_name, must_say
from billing._failures import INTENT_STATE
from billing._session import PAGE_OBJECTS_MAX, Session
from billing._subscriptions import SubscriptionCalls
from billing.errors import (
    GatewayMisuseError,
    StripeCardError,
    StripeMissingError,
    StripeRefusedError,
    StripeUnavailableError,
)
from billing.records import (
    ATTRIBUTION_ID,
    CREATOR_USER_ID,
    MARKER,
    PREFERRED_CURRENCY,
    Customer,
    Hold,
    PaymentMethod,
)

if TYPE_CHECKING:
    from stripe.params import CustomerUpdateParams, CustomerUpdateParamsAddress

HOLD_CENTS: Final = 100  # the original's: enough to find out whether a card works
EXPANDED: Final = ("tax", "subscriptions")
# What stands between quotes in a search; anything else could change its meaning.
_SEARCHABLE: Final = re.compile(r"[A-Za-z0-9:_-]+")


class CustomerCalls(SubscriptionCalls):
    """Customers, payment methods, holds."""

    _session: Session

    async def create_customer(
        self,
        *,
        key: str,
        attribution_id: str,
        name: str,
        email: str,
        currency: str,
        creator_user_id: str | None = None,
    ) -> Customer:
        """Create a customer; `creator_user_id` may be left out."""
        must_be_key(key)
        must_name(attribution_id=attribution_id, currency=currency)
        must_say(name=name, email=email)
        metadata = {ATTRIBUTION_ID: attribution_id, PREFERRED_CURRENCY: currency}
        if creator_user_id:
            metadata[CREATOR_USER_ID] = creator_user_id
        call = self._session.api.customers.create_async(
            {"name": name, "email": email, "metadata": metadata, "expand": list(EXPANDED)},
            {"idempotency_key": key},
        )
        fields = await self._session.write("customers.create", call, dict, personal=True)
        return await self._customer(fields)

    async def customer(self, customer_id: str) -> Customer:
        """Fetch a customer; a deleted one is an answer, too."""
        must_name(customer_id=customer_id)
        call = self._session.api.customers.retrieve_async(customer_id, {"expand": list(EXPANDED)})
        return await self._customer(await self._session.read("customers.retrieve", call, dict))

    async def search_customers(self, attribution_id: str) -> tuple[Customer, ...]:
        """Search the customers of an attribution ID: for repair only.

        The search lags, by a minute or by an hour, so a customer it does not find may exist.
        StripeUnavailableError also where Stripe refuses to search.
        """
        must_name(attribution_id=attribution_id)
        if not _SEARCHABLE.fullmatch(attribution_id):
            raise GatewayMisuseError(f"attribution_id {attribution_id!r} cannot be searched for")
        call = self._session.api.customers.search_async(
            {
                "query": f"metadata['{ATTRIBUTION_ID}']:'{attribution_id}'",
                "limit": PAGE_OBJECTS_MAX,
                "expand": [f"data.{name}" for name in EXPANDED],
            }
        )
        try:
            found = await self._session.all("customers.search", call, dict)
        except (StripeRefusedError, StripeMissingError, StripeCardError) as refused:
            # Whatever it is told to be: nothing was named that could be missing, and nothing paid.
            raise StripeUnavailableError(
                str(refused),
                status=refused.status,
                code=refused.code,
                request_id=refused.request_id,
            ) from None
        return tuple([await self._customer(fields) for fields in found])

    async def customers_created_between(self, start: int, end: int) -> AsyncIterator[Customer]:
        """List customers created from `start` to before `end`, newest first. Never lags."""
        must_be_seconds(start=start, end=end)
        call = self._session.api.customers.list_async(
            {
                "created": {"gte": start, "lt": end},
                "limit": PAGE_OBJECTS_MAX,
                "expand": [f"data.{name}" for name in EXPANDED],
            }
        )
        async for fields in self._session.pages("customers.list", call, dict):
            yield await self._customer(fields)

    async def set_default_payment_method(
        self, *, customer_id: str, payment_method_id: str, address: Mapping[str, str]
    ) -> Customer:
        """Let invoices be paid by this card; an address without any part changes none."""
        must_name(customer_id=customer_id, payment_method_id=payment_method_id)
        params: CustomerUpdateParams = {
            "invoice_settings": {"default_payment_method": payment_method_id},
            "expand": list(EXPANDED),
        }
        if filled := {part: text for part, text in address.items() if text}:
            params["address"] = cast("CustomerUpdateParamsAddress", filled)
        call = self._session.api.customers.update_async(customer_id, params)
        return await self._customer(
            await self._session.write("customers.update", call, dict, personal=True)
        )

    async def attach_payment_method(
        self, *, payment_method_id: str, customer_id: str
    ) -> PaymentMethod:
        """Make a card the customer's own; one that is already stays it."""
        must_name(payment_method_id=payment_method_id, customer_id=customer_id)
        call = self._session.api.payment_methods.attach_async(
            payment_method_id, {"customer": customer_id}
        )
        return await self._session.write("payment_methods.attach", call, _answers.payment_method)

    async def create_hold(self, *, key: str, customer_id: str, currency: str, marker: str) -> Hold:
        """Ask for an amount to be blocked on a card, which the payer's browser then confirms.

        `marker` names our intent and comes back in `Hold.marker`.
        """
        must_be_key(key)
        must_name(customer_id=customer_id, currency=currency, marker=marker)
        call = self._session.api.payment_intents.create_async(
            {
                "amount": HOLD_CENTS,
                "currency": currency,
                "customer": customer_id,
                # Not `payment_method_types`, which this version of the API refuses.
                "allowed_payment_method_types": ["card"],
                "capture_method": "manual",
                "setup_future_usage": "off_session",
                "metadata": {MARKER: marker},
            },
            {"idempotency_key": key},
        )
        return await self._session.write("payment_intents.create", call, _answers.hold)

    async def hold(self, hold_id: str) -> Hold:
        """Fetch a hold."""
        must_name(hold_id=hold_id)
        call = self._session.api.payment_intents.retrieve_async(hold_id)
        return await self._session.read("payment_intents.retrieve", call, _answers.hold)

    async def holds_of(self, customer_id: str, *, created_from: int) -> tuple[Hold, ...]:
        """List a customer's holds and other payments since a time, newest first. Never lags."""
        must_name(customer_id=customer_id)
        must_be_seconds(created_from=created_from)
        call = self._session.api.payment_intents.list_async(
            {
                "customer": customer_id,
                "created": {"gte": created_from},
                "limit": PAGE_OBJECTS_MAX,
            }
        )
        return await self._session.all("payment_intents.list", call, _answers.hold)

    async def cancel_hold(self, hold_id: str) -> Hold:
        """Release a hold; one that was released before is fine."""
        must_name(hold_id=hold_id)
        call = self._session.api.payment_intents.cancel_async(hold_id)
        try:
            return await self._session.write("payment_intents.cancel", call, _answers.hold)
        except StripeRefusedError as refused:
            if refused.code != INTENT_STATE:
                raise
            found = await self.hold(hold_id)
            if not found.is_canceled:
                raise
            return found

    async def _customer(self, fields: _answers.Fields) -> Customer:
        """Complete a customer whose subscriptions do not fit on the page that came with it."""
        customer = _answers.customer(fields)
        if not _answers.has_more(fields, "subscriptions"):
            return customer
        every = await self.subscriptions_of(customer.customer_id)
        return replace(customer, subscriptions=tuple(one for one in every if not one.is_dead))
