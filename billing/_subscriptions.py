"""Calls about subscriptions and prices."""

from __future__ import annotations

from billing import _answers
from billing._arguments import must_be_key, must_name
from billing._session import PAGE_OBJECTS_MAX, Session
from billing.errors import StripeMissingError
from billing.records import ATTRIBUTION_ID, MARKER, Price, Subscription


class SubscriptionCalls:
    """Subscriptions and prices."""

    _session: Session

    async def create_subscription(
        self,
        *,
        key: str,
        customer_id: str,
        price_id: str,
        automatic_tax: bool,
        attribution_id: str,
        marker: str,
    ) -> Subscription:
        """Subscribe a customer to one price; `marker` names the attempt of ours."""
        must_be_key(key)
        must_name(
            customer_id=customer_id,
            price_id=price_id,
            attribution_id=attribution_id,
            marker=marker,
        )
        call = self._session.api.subscriptions.create_async(
            {
                "customer": customer_id,
                "items": [{"price": price_id}],
                "automatic_tax": {"enabled": automatic_tax},
                "metadata": {ATTRIBUTION_ID: attribution_id, MARKER: marker},
            },
            {"idempotency_key": key},
        )
        return await self._session.write("subscriptions.create", call, _answers.subscription)

    async def subscription(self, subscription_id: str) -> Subscription:
        """Fetch a subscription; one that has ended is there, too."""
        must_name(subscription_id=subscription_id)
        call = self._session.api.subscriptions.retrieve_async(subscription_id)
        return await self._session.read("subscriptions.retrieve", call, _answers.subscription)

    async def subscriptions_of(self, customer_id: str) -> tuple[Subscription, ...]:
        """List all subscriptions of a customer, dead ones too, newest first."""
        must_name(customer_id=customer_id)
        call = self._session.api.subscriptions.list_async(
            {"customer": customer_id, "status": "all", "limit": PAGE_OBJECTS_MAX}
        )
        return await self._session.all("subscriptions.list", call, _answers.subscription)

    async def cancel_subscription(
        self, subscription_id: str, *, bills_open_usage: bool = True
    ) -> Subscription:
        """End a subscription now, and have its open usage billed; one that has ended is fine.

        It has no idempotency key: Stripe takes none of a DELETE, of which a second one does nothing
        more than the first.
        """
        must_name(subscription_id=subscription_id)
        call = self._session.api.subscriptions.cancel_async(
            subscription_id,
            # Without `invoice_now` Stripe forgets usage that no invoice has yet.
            {"invoice_now": bills_open_usage, "prorate": False},
        )
        try:
            return await self._session.write("subscriptions.cancel", call, _answers.subscription)
        except StripeMissingError:
            # Stripe says so of one that has ended, after which it can still be fetched.
            found = await self.subscription(subscription_id)
            if not found.is_dead:
                raise
            return found

    async def set_automatic_tax(self, subscription_id: str, *, enabled: bool) -> Subscription:
        """Switch automatic tax of a subscription on or off."""
        must_name(subscription_id=subscription_id)
        call = self._session.api.subscriptions.update_async(
            subscription_id, {"automatic_tax": {"enabled": enabled}}
        )
        return await self._session.write("subscriptions.update", call, _answers.subscription)

    async def price(self, price_id: str) -> Price:
        """Fetch a price."""
        must_name(price_id=price_id)
        call = self._session.api.prices.retrieve_async(price_id)
        return await self._session.read("prices.retrieve", call, _answers.price)
