"""The gateway against a test account of Stripe's own, when a key of one is given.

It makes a meter, a price, a customer and a subscription there, ends the subscription and deletes
the customer. What the documents leave open is asked here, each in a test of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import stripe

from billing import Customer, Delivery, GatewaySettings, Secret, Subscription, billed_credits
from billing.gateway import STRIPE_VERSION, Gateway
from tests.oracle.events import named_uuid

KEY_VARIABLE = "USAGE_LEDGER_TEST_STRIPE_KEY"
KEY = os.environ.get(KEY_VARIABLE, "")
CREDITS = 7
SUMMED_SECONDS_MAX = 300
LOOK_SECONDS = 5

pytestmark = [
    pytest.mark.stripe_account,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not KEY.startswith("sk_test_"), reason=f"{KEY_VARIABLE} holds no key of a test account"
    ),
]


@dataclass
class Account:
    """What was made at Stripe for one run."""

    gateway: Gateway
    client: stripe.StripeClient
    payer: str
    meter: str
    event_name: str
    price: str
    customer: Customer
    subscription: Subscription


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    """Sign a payer up as the ledger does, with the card that Stripe keeps for tests."""
    run = uuid.uuid4().hex[:12]
    payer = f"team:{named_uuid(run)}"
    client = stripe.StripeClient(KEY, stripe_version=STRIPE_VERSION, max_network_retries=2)
    event_name = f"usage_ledger_test_{run}"
    meter = client.v1.billing.meters.create(
        {
            "display_name": f"usage-ledger test {run}",
            "event_name": event_name,
            "default_aggregation": {"formula": "sum"},
        }
    )
    params: Any = {
        "currency": "eur",
        "unit_amount": 4,
        "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
        "product_data": {"name": f"usage-ledger test {run}"},
    }
    price = client.v1.prices.create(params)
    async with Gateway(GatewaySettings(secret_key=Secret(KEY))) as gateway:
        customer = await gateway.create_customer(
            key=f"create-customer:{run}",
            attribution_id=payer,
            name="usage-ledger test",
            email="test@example.org",
            currency="eur",
        )
        hold = await gateway.create_hold(
            key=f"create-hold:{run}", customer_id=customer.customer_id, currency="eur", marker=run
        )
        confirm: Any = {"payment_method": "pm_card_visa", "return_url": "https://example.org"}
        client.v1.payment_intents.confirm(hold.hold_id, confirm)
        held = await gateway.hold(hold.hold_id)
        assert held.is_held
        assert held.payment_method_id is not None
        method = await gateway.attach_payment_method(
            payment_method_id=held.payment_method_id, customer_id=customer.customer_id
        )
        await gateway.set_default_payment_method(
            customer_id=customer.customer_id,
            payment_method_id=method.payment_method_id,
            address=method.address,
        )
        assert (await gateway.cancel_hold(hold.hold_id)).is_canceled
        subscription = await gateway.create_subscription(
            key=f"create-subscription:{run}",
            customer_id=customer.customer_id,
            price_id=price.id,
            automatic_tax=False,
            attribution_id=payer,
            marker=run,
        )
        try:
            yield Account(
                gateway, client, payer, meter.id, event_name, price.id, customer, subscription
            )
        finally:
            client.v1.customers.delete(customer.customer_id)
            client.v1.billing.meters.deactivate(meter.id)


async def send(account: Account, *, key: str) -> Delivery:
    return await account.gateway.send_usage(
        event_name=account.event_name,
        customer_id=account.customer.customer_id,
        identifier=f"{account.meter}:{account.subscription.subscription_id}:1",
        credits=CREDITS,
        timestamp=int(time.time()),
        key=key,
    )


async def test_an_identifier_that_stripe_has_counts_as_delivered(account: Account) -> None:
    assert Delivery.DELIVERED is await send(account, key=f"first:{account.meter}")
    assert Delivery.REPEATED is await send(account, key=f"second:{account.meter}")


async def test_what_is_added_up_is_on_the_last_invoice(account: Account) -> None:
    await send(account, key=f"first:{account.meter}")
    start = int(time.time()) // 60 * 60 - 3_600
    deadline = time.monotonic() + SUMMED_SECONDS_MAX
    summed = 0
    while summed != CREDITS:
        assert time.monotonic() < deadline, f"Stripe has added up {summed}"
        await asyncio.sleep(LOOK_SECONDS)
        summary = await account.gateway.summary(
            meter_id=account.meter,
            customer_id=account.customer.customer_id,
            start=start,
            end=start + 2 * 3_600,
        )
        summed = int(summary.credits)
    ended = await account.gateway.cancel_subscription(account.subscription.subscription_id)
    assert ended.is_dead
    invoices = [
        invoice
        async for invoice in account.gateway.invoices_of(
            created_from=start, subscription_id=account.subscription.subscription_id
        )
    ]
    billed = sum(billed_credits(invoice, frozenset({account.price})) for invoice in invoices)
    assert CREDITS == billed
