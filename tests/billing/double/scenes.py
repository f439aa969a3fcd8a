"""Accounts at the double as the tests begin with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import stripe

from tests.stripe_double import StripeDouble

METER = "credits"
# 1000 credits inside a flat 9.00, then 0.036 each.
TIERS: list[dict[str, Any]] = [
    {"up_to": 1000, "unit_amount": 0, "flat_amount": 900},
    {"up_to": "inf", "unit_amount_decimal": "3.6", "flat_amount": 0},
]
GERMANY = {"country": "DE", "city": "Kiel", "line1": "Holstenstrasse 1", "postal_code": "24103"}


@dataclass
class Shop:
    """A double with a meter and the price of a credit in dollars and euros."""

    double: StripeDouble
    client: stripe.StripeClient
    meter: str
    price: str

    def customer(self, **more: Any) -> str:
        """Make a customer."""
        given: dict[str, Any] = {"email": "owner@example.org", "name": "Owner"} | more
        return self.client.v1.customers.create(given).id  # type: ignore[arg-type]  # any field

    def payer(self) -> str:
        """Make a customer with an address and a card that pays."""
        customer = self.customer(address=GERMANY)
        self.double.outside.set_card(customer, "good")
        return customer

    def subscribe(self, customer: str, *more: dict[str, Any]) -> stripe.Subscription:
        """Subscribe to the metered price, and to other items."""
        items: Any = [{"price": self.price}, *more]
        return self.client.v1.subscriptions.create({"customer": customer, "items": items})

    def report(self, customer: str, value: object, identifier: str, **more: Any) -> None:
        """Report usage as of now."""
        payload = {"stripe_customer_id": customer, "value": str(value)}
        event: Any = {"event_name": METER, "payload": payload, "identifier": identifier} | more
        self.client.v1.billing.meter_events.create(event)

    def invoices(self, customer: str) -> list[stripe.Invoice]:
        """Give a customer's invoices, oldest first."""
        found = self.client.v1.invoices.list({"customer": customer})
        return list(found.auto_paging_iter())[::-1]

    def quantities(self, invoice: str) -> list[int]:
        """Give the quantities of an invoice's lines."""
        lines = self.client.v1.invoices.line_items.list(invoice)
        return [int(line.quantity_decimal or 0) for line in lines.auto_paging_iter()]

    def licensed_price(self, unit_amount: int = 500) -> str:
        """Make a price that is billed in advance."""
        return self.client.v1.prices.create(
            {
                "currency": "usd",
                "unit_amount": unit_amount,
                "recurring": {"interval": "month"},
                "product_data": {"name": "Seat"},
            }
        ).id

    def kinds(self) -> list[str]:
        """Give the kinds of all events so far."""
        return [one.kind for one in self.double.world.events.records.values()]


def metered_price(
    client: stripe.StripeClient, meter: str, tiers: list[dict[str, Any]] | None = None
) -> str:
    """Make the price of a credit: by tiers in dollars, and half as dear in euros."""
    given: Any = {
        "currency": "usd",
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers": tiers or TIERS,
        "currency_options": {
            "eur": {"tiers": [{"up_to": "inf", "unit_amount_decimal": "1.8", "flat_amount": 0}]}
        },
        "recurring": {"interval": "month", "usage_type": "metered", "meter": meter},
        "product_data": {"name": "Credits"},
        "metadata": {"human_readable_description": "1000 credits for 9 dollars"},
    }
    return client.v1.prices.create(given).id


def opened(double: StripeDouble) -> Shop:
    """Open an account with a meter and a price."""
    client = double.client()
    meter = client.v1.billing.meters.create(
        {
            "display_name": "Credits",
            "event_name": METER,
            "default_aggregation": {"formula": "sum"},
        }
    ).id
    return Shop(double, client, meter, metered_price(client, meter))


def code_of(error: pytest.ExceptionInfo[stripe.StripeError]) -> tuple[int | None, str | None]:
    """Give the status and the code of a refusal."""
    return error.value.http_status, error.value.code
