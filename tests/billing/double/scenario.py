"""Every call to Stripe that the ledger needs, once at least, against one double."""

from __future__ import annotations

from typing import Any

from tests.billing.double.scenes import GERMANY, METER, Shop, opened
from tests.stripe_double import Settings, StripeDouble


def every_call() -> StripeDouble:
    """Live through sign-up, usage, bills, trouble and repair; answers are kept in the journal."""
    shop = opened(StripeDouble(settings=Settings(keeps_answers=True)))
    customer, subscription = sign_up(shop)
    report(shop, customer)
    shop.client.v1.invoices.create_preview({"subscription": subscription, "expand": ["customer"]})
    shop.double.settings.collects_payments = False
    shop.double.advance(days=30)
    bills(shop, customer)
    trouble(shop, customer)
    shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": True, "prorate": False})
    repair(shop, customer)
    shop.client.v1.customers.delete(customer)
    shop.client.v1.customers.retrieve(customer)
    return shop.double


def sign_up(shop: Shop) -> tuple[str, str]:
    """Make a customer, a hold and a subscription as the ledger does."""
    v1 = shop.client.v1
    customer = shop.customer(metadata={"attributionId": "team:1", "preferredCurrency": "USD"})
    intent = v1.payment_intents.create(
        {
            "amount": 100,
            "currency": "usd",
            "customer": customer,
            "allowed_payment_method_types": ["card"],
            "capture_method": "manual",
            "setup_future_usage": "off_session",
            "metadata": {"purpose": "hold"},
        }
    ).id
    shop.double.outside.confirm_payment(intent, "declined")
    v1.payment_intents.retrieve(intent)
    shop.double.outside.confirm_payment(intent)
    found = v1.payment_intents.retrieve(intent, {"expand": ["payment_method", "latest_charge"]})
    card = str(found.to_dict()["payment_method"]["id"])
    v1.payment_intents.cancel(intent)
    v1.payment_intents.list({"customer": customer})
    v1.payment_methods.attach(card, {"customer": customer})
    v1.payment_methods.retrieve(card)
    v1.payment_methods.list({"customer": customer, "type": "card"})
    change: Any = {"invoice_settings": {"default_payment_method": card}, "address": GERMANY}
    v1.customers.update(customer, change)
    v1.customers.retrieve(customer, {"expand": ["tax", "subscriptions"]})
    given: Any = {
        "customer": customer,
        "items": [{"price": shop.price}, {"price": shop.licensed_price(), "quantity": 2}],
        "automatic_tax": {"enabled": True},
        "metadata": {"attributionId": "team:1"},
    }
    subscription = v1.subscriptions.create(given, {"idempotency_key": "subscribe"}).id
    v1.subscriptions.update(subscription, {"automatic_tax": {"enabled": False}})
    v1.subscriptions.retrieve(
        subscription, {"expand": ["latest_invoice.payments", "customer", "default_payment_method"]}
    )
    v1.subscriptions.list({"customer": customer, "status": "all", "expand": ["data.customer"]})
    v1.subscription_items.list({"subscription": subscription})
    v1.prices.retrieve(shop.price, {"expand": ["currency_options", "tiers", "product"]})
    v1.prices.list({"active": True})
    return customer, subscription


def report(shop: Shop, customer: str) -> None:
    """Report usage, take some of it back, and read what was counted."""
    billing = shop.client.v1.billing
    now = shop.double.clock.now
    for identifier in ("one", "two"):
        shop.report(customer, 1031, identifier, timestamp=now)
    billing.meter_event_adjustments.create(
        {"event_name": METER, "type": "cancel", "cancel": {"identifier": "two"}}
    )
    shop.client.v2.billing.meter_events.create(
        {
            "event_name": METER,
            "payload": {"stripe_customer_id": customer, "value": "1"},
            "identifier": "three",
        }
    )
    shop.client.v2.billing.meter_event_adjustments.create(
        {"event_name": METER, "type": "cancel", "cancel": {"identifier": "three"}}
    )
    token = shop.client.v2.billing.meter_event_session.create().authentication_token
    shop.double.client(key=token).v2.billing.meter_event_stream.create(
        {
            "events": [
                {"event_name": METER, "payload": {"stripe_customer_id": customer, "value": "x"}}
            ]
        }
    )
    shop.double.advance(minutes=2)
    billing.meters.event_summaries.list(
        shop.meter, {"customer": customer, "start_time": now - 60, "end_time": now + 60}
    )
    billing.meters.retrieve(shop.meter)
    billing.meters.list({"status": "active"})
    billing.meters.update(shop.meter, {"display_name": "Credits used"})
    (thin,) = [one for one in shop.double.world.events.records.values() if one.content]
    shop.client.v2.core.events.retrieve(thin.id)


def bills(shop: Shop, customer: str) -> None:
    """Read and settle invoices."""
    v1 = shop.client.v1
    v1.invoice_items.create({"customer": customer, "amount": 700, "currency": "usd"})
    draft = v1.invoices.list({"customer": customer, "status": "draft"}).data[0].id
    v1.invoices.finalize_invoice(draft, {"auto_advance": True})
    v1.invoices.retrieve(
        draft, {"expand": ["customer", "payments", "parent.subscription_details.subscription"]}
    )
    v1.invoices.line_items.list(
        draft, {"limit": 100, "expand": ["data.pricing.price_details.price"]}
    )
    line = {"type": "custom_line_item", "description": "sorry", "quantity": 1, "unit_amount": 112}
    given: Any = {"invoice": draft, "memo": "sorry", "lines": [line]}
    note = v1.credit_notes.create(given).id
    v1.credit_notes.void_credit_note(note)
    v1.invoices.mark_uncollectible(draft)
    v1.invoices.pay(draft)
    payment = v1.invoice_payments.list({"invoice": draft, "status": "paid"}).data[0].id
    v1.invoice_payments.retrieve(payment, {"expand": ["payment.payment_intent"]})
    note = v1.credit_notes.create(
        {"invoice": draft, "amount": 100, "credit_amount": 100, "reason": "duplicate"}
    ).id
    v1.credit_notes.retrieve(note, {"expand": ["invoice", "customer"]})
    v1.credit_notes.list({"invoice": draft})
    shop.report(customer, 7, "four")
    shop.double.advance(days=32)
    following = v1.invoices.list({"customer": customer, "status": "open"}).data[0].id
    v1.invoices.void_invoice(following)


def trouble(shop: Shop, customer: str) -> None:
    """Have a payment disputed."""
    v1 = shop.client.v1
    intent = v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "customer": customer, "capture_method": "manual"}
    ).id
    shop.double.outside.confirm_payment(intent)
    charge = str(v1.payment_intents.capture(intent).latest_charge)
    dispute = shop.double.outside.open_dispute(payment_intent=intent)["id"]
    v1.disputes.retrieve(dispute, {"expand": ["payment_intent.customer", "charge"]})
    v1.disputes.list({"payment_intent": intent})
    v1.charges.retrieve(charge, {"expand": ["customer"]})


def repair(shop: Shop, customer: str) -> None:
    """Look for what webhooks did not tell."""
    v1 = shop.client.v1
    shop.report(customer, 1, "five")
    shop.double.advance(minutes=5)
    found = v1.customers.search(
        {
            "query": "metadata['attributionId']:'team:1'",
            "expand": ["data.tax", "data.subscriptions"],
        }
    )
    assert [customer] == [one.id for one in found.data]
    v1.customers.list({"created": {"gte": 1}, "limit": 100, "expand": ["data.tax"]})
    events = v1.events.list({"types": ["invoice.finalized", "customer.subscription.deleted"]})
    v1.events.retrieve(events.data[0].id)
    v1.events.list({"delivery_success": False, "created": {"gte": 1}})
    v1.billing.meters.deactivate(shop.meter)
    v1.billing.meters.reactivate(shop.meter)
