"""Prices: which one a payer pays, or would pay, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing import GatewayError, StripeMissingError
from ledger.errors import NotFoundError
from ledger.invoicing.accounts import account_of
from ledger.invoicing.customers import DEFAULT_CURRENCY, Customers
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

UNDESCRIBED = "No information available"  # the original's


class Prices:
    """The use case of prices."""

    def __init__(self, ledger: Ledger, gateway: Gateway, customers: Customers) -> None:
        """Describe the prices of a ledger's customers."""
        self._ledger = ledger
        self._gateway = gateway
        self._customers = customers

    async def description(self, payer: bytes) -> str:
        """Give the description that the price has at Stripe.

        An error of Stripe's is told: a wrong price would be believed.
        """
        price_id = await self._price_of(payer)
        try:
            price = await self._gateway.price(price_id)
        except StripeMissingError as error:
            raise NotFoundError(f"price {price_id} does not exist in stripe") from error
        except GatewayError as error:
            raise told(error, f"failed to get price by price ID {price_id}") from error
        return price.description or UNDESCRIBED

    async def _price_of(self, payer: bytes) -> str:
        """Give the price of the subscription, ours or one at Stripe; else that of the currency."""
        account = await account_of(self._ledger, payer)
        if account.subscription is not None:
            return account.subscription.price_id
        currency = "" if account.customer is None else account.customer.currency
        try:
            customer = await self._customers.at_stripe(payer)
        except NotFoundError:
            pass  # nobody's customer yet, or one that was deleted
        else:
            for subscription in customer.subscriptions or ():
                if subscription.items:
                    return subscription.items[0].price_id
            currency = currency or (customer.preferred_currency or "").lower()
        settings = self._ledger.settings.stripe
        return price_for(settings.price_eur, settings.price_usd, currency or DEFAULT_CURRENCY)


def price_for(price_eur: str, price_usd: str, currency: str) -> str:
    """Give the price of a new subscription in a currency."""
    return price_eur if currency == "eur" else price_usd
