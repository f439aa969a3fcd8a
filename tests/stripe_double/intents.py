"""Payment intents, cards and charges: holds that are captured or cancelled."""

from __future__ import annotations

from typing import Literal

from tests.stripe_double.clock import DAY
from tests.stripe_double.errors import StripeError, malformed
from tests.stripe_double.fields import filled, many, metadata, one_of, record, span, text, whole
from tests.stripe_double.paging import PAGING, page_of, within
from tests.stripe_double.records import Address, Charge, PaymentIntent, PaymentMethod
from tests.stripe_double.world import Call, Json, Route, World

# What is held and not captured is given back after so long.
HOLD_SECONDS = 7 * DAY
# The least that Stripe charges, in cents of euro and dollar.
AMOUNT_MIN = 50

CardKind = Literal["good", "declined", "no_address", "declines_later"]
CARD_ADDRESS: Address = {
    "city": "Kiel",
    "country": "DE",
    "line1": "Muhliusstrasse 5",
    "line2": None,
    "postal_code": "24103",
    "state": None,
}

_CANCELLABLE = {"requires_payment_method", "requires_confirmation", "requires_capture"}


def tell_method(card: PaymentMethod) -> Json:
    """Give what the API tells of a card."""
    return {
        "id": card.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": _tell_billing(card.address),
        "card": {
            "brand": "visa",
            "country": "DE",
            "exp_month": 12,
            "exp_year": 2034,
            "funding": "credit",
            "last4": "0002" if card.declines else "4242",
        },
        "created": card.created,
        "customer": card.customer,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def _tell_billing(address: Address | None) -> Json:
    unknown = dict.fromkeys(("email", "name", "phone", "tax_id"))
    return {"address": address or dict.fromkeys(CARD_ADDRESS), **unknown}


def tell_intent(intent: PaymentIntent) -> Json:
    """Give what the API tells of a payment intent."""
    error = {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline"}
    error["message"] = "Your card was declined."
    held = intent.amount if intent.status == "requires_capture" else 0
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": held,
        "amount_received": intent.amount_received,
        "canceled_at": intent.canceled_at,
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": intent.capture_method,
        "client_secret": f"{intent.id}_secret_double",
        "confirmation_method": "automatic",
        "created": intent.created,
        "currency": intent.currency,
        "customer": intent.customer,
        "description": intent.description,
        "last_payment_error": error if intent.declined else None,
        "latest_charge": intent.latest_charge,
        "livemode": False,
        "metadata": dict(intent.metadata),
        "next_action": None,
        "payment_method": intent.payment_method,
        "payment_method_types": ["card"],
        "setup_future_usage": intent.setup_future_usage,
        "status": intent.status,
    }


def tell_charge(charge: Charge) -> Json:
    """Give what the API tells of a charge."""
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount if charge.captured else 0,
        "amount_refunded": 0,
        "billing_details": _tell_billing(None),
        "captured": charge.captured,
        "created": charge.created,
        "currency": charge.currency,
        "customer": charge.customer,
        "disputed": charge.disputed,
        "livemode": False,
        "metadata": {},
        "paid": charge.paid,
        "payment_intent": charge.payment_intent,
        "payment_method": charge.payment_method,
        "refunded": False,
        "status": "succeeded" if charge.paid else "failed",
    }


def new_card(world: World, kind: CardKind) -> PaymentMethod:
    """Make the card that somebody types in."""
    address = None if kind == "no_address" else dict(CARD_ADDRESS)
    card = PaymentMethod(
        world.new_id("pm"),
        world.now,
        address,
        declines=kind == "declined",
        declines_later=kind == "declines_later",
    )
    world.payment_methods[card.id] = card
    return card


def _unexpected(intent: PaymentIntent, act: str) -> StripeError:
    return StripeError(
        400,
        f"You cannot {act} this PaymentIntent because it has a status of {intent.status}.",
        code="payment_intent_unexpected_state",
        more={"payment_intent": tell_intent(intent)},
    )


def confirm(
    world: World, intent: PaymentIntent, card: PaymentMethod, *, is_first: bool = True
) -> PaymentIntent:
    """Try the card, and hold or take the money; `is_first`: somebody typed the card in just now."""
    if intent.status not in {"requires_payment_method", "requires_confirmation"}:
        raise _unexpected(intent, "confirm")
    declines = card.declines or (card.declines_later and not is_first)
    intent.declined = declines
    charge = Charge(
        world.new_id("ch"),
        world.now,
        intent.amount,
        intent.currency,
        intent.customer,
        intent.id,
        card.id,
        captured=not declines and intent.capture_method != "manual",
        paid=not declines,
    )
    world.charges[charge.id] = charge
    intent.latest_charge = charge.id
    if declines:
        world.emit("charge.failed", tell_charge(charge))
        world.emit("payment_intent.payment_failed", tell_intent(intent))
        return intent
    intent.payment_method = card.id
    if intent.setup_future_usage and intent.customer:
        card.customer = intent.customer
    world.emit("charge.succeeded", tell_charge(charge))
    if intent.capture_method == "manual":
        intent.status = "requires_capture"
        world.emit("payment_intent.amount_capturable_updated", tell_intent(intent))
        world.clock.at(world.now + HOLD_SECONDS, lambda: _expire(world, intent))
    else:
        _succeed(world, intent)
    return intent


def _succeed(world: World, intent: PaymentIntent) -> None:
    intent.status = "succeeded"
    intent.amount_received = intent.amount
    world.emit("payment_intent.succeeded", tell_intent(intent))


def _expire(world: World, intent: PaymentIntent) -> None:
    if intent.status == "requires_capture":
        _cancel(world, intent, "automatic")


def _cancel(world: World, intent: PaymentIntent, reason: str | None) -> None:
    intent.status = "canceled"
    intent.canceled_at = world.now
    intent.cancellation_reason = reason
    world.emit("payment_intent.canceled", tell_intent(intent))


def charge_now(world: World, *, amount: int, currency: str, customer: str) -> PaymentIntent:
    """Make an intent that takes money at once, as invoices do."""
    intent = PaymentIntent(
        world.new_id("pi"), world.now, amount, currency, "automatic", customer=customer
    )
    world.payment_intents[intent.id] = intent
    world.emit("payment_intent.created", tell_intent(intent))
    return intent


def create(world: World, call: Call) -> Json:
    """POST /v1/payment_intents."""
    given = call.parameters
    if given["amount"] < AMOUNT_MIN:
        raise malformed(f"Amount must be at least {AMOUNT_MIN}.", "amount", "amount_too_small")
    if given.get("customer"):
        world.customer(given["customer"], param="customer")
    intent = PaymentIntent(
        world.new_id("pi"),
        world.now,
        given["amount"],
        given["currency"].lower(),
        given.get("capture_method", "automatic_async"),
        customer=given.get("customer"),
        description=given.get("description"),
        setup_future_usage=given.get("setup_future_usage"),
        metadata=given.get("metadata", {}),
    )
    world.payment_intents[intent.id] = intent
    told = tell_intent(intent)
    world.emit("payment_intent.created", told)
    return told


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/payment_intents/{}."""
    return tell_intent(world.intent(call.names[0]))


def cancel(world: World, call: Call) -> Json:
    """POST /v1/payment_intents/{}/cancel: refused if it is cancelled or has taken the money."""
    intent = world.intent(call.names[0])
    if intent.status not in _CANCELLABLE:
        raise _unexpected(intent, "cancel")
    _cancel(world, intent, call.parameters.get("cancellation_reason"))
    return tell_intent(intent)


def capture(world: World, call: Call) -> Json:
    """POST /v1/payment_intents/{}/capture, the whole amount."""
    intent = world.intent(call.names[0])
    if intent.status != "requires_capture":
        raise _unexpected(intent, "capture")
    assert intent.latest_charge is not None
    charge = world.charges[intent.latest_charge]
    charge.captured = True
    world.emit("charge.captured", tell_charge(charge))
    _succeed(world, intent)
    return tell_intent(intent)


def list_all(world: World, call: Call) -> Json:
    """GET /v1/payment_intents."""
    given = call.parameters
    found = [
        one
        for one in reversed(world.payment_intents.values())
        if given.get("customer") in {None, one.customer}
        and within(one.created, given.get("created"))
    ]
    size = world.settings.page_size
    return page_of(found, given, page_size=size, url=call.path, tell=tell_intent)


def retrieve_method(world: World, call: Call) -> Json:
    """GET /v1/payment_methods/{}."""
    return tell_method(world.payment_method(call.names[0]))


def attach(world: World, call: Call) -> Json:
    """POST /v1/payment_methods/{}/attach: again to the same customer changes nothing."""
    card = world.payment_method(call.names[0])
    customer = world.customer(call.parameters["customer"], param="customer")
    if card.customer not in {None, customer.id}:
        raise StripeError(
            400, "The payment method you provided has already been attached to a customer."
        )
    if card.declines:
        raise StripeError(402, "Your card was declined.", code="card_declined")
    if card.customer is None:
        card.customer = customer.id
        world.emit("payment_method.attached", tell_method(card))
    return tell_method(card)


def list_methods(world: World, call: Call) -> Json:
    """GET /v1/payment_methods of a customer."""
    given = call.parameters
    world.customer(given["customer"], param="customer")
    found = [
        one for one in reversed(world.payment_methods.values()) if one.customer == given["customer"]
    ]
    size = world.settings.page_size
    return page_of(found, given, page_size=size, url=call.path, tell=tell_method)


def retrieve_charge(world: World, call: Call) -> Json:
    """GET /v1/charges/{}."""
    name = call.names[0]
    if name not in world.charges:
        raise StripeError(404, f"No such charge: '{name}'", code="resource_missing", param="id")
    return tell_charge(world.charges[name])


def _no_longer(_value: object, name: str) -> None:
    raise malformed(
        f"{name} can no longer be set. Use allowed_payment_method_types.",
        name,
        "payment_method_types_no_longer_supported",
    )


_CREATE = record(
    ["amount", "currency"],
    allowed_payment_method_types=many(one_of("card")),
    amount=whole,
    capture_method=one_of("automatic", "automatic_async", "manual"),
    currency=filled,
    customer=filled,
    description=text,
    metadata=metadata,
    payment_method_types=_no_longer,
    setup_future_usage=one_of("off_session", "on_session"),
)
_REASONS = one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer")
ROUTES = (
    Route("POST", "/v1/payment_intents", create, _CREATE),
    Route("GET", "/v1/payment_intents", list_all, record(created=span, customer=filled, **PAGING)),
    Route("GET", "/v1/payment_intents/{}", retrieve, record(client_secret=filled)),
    Route("POST", "/v1/payment_intents/{}/cancel", cancel, record(cancellation_reason=_REASONS)),
    Route("POST", "/v1/payment_intents/{}/capture", capture, record()),
    Route(
        "GET",
        "/v1/payment_methods",
        list_methods,
        record(["customer"], customer=filled, type=one_of("card"), **PAGING),
    ),
    Route("GET", "/v1/payment_methods/{}", retrieve_method, record()),
    Route("POST", "/v1/payment_methods/{}/attach", attach, record(["customer"], customer=filled)),
    Route("GET", "/v1/charges/{}", retrieve_charge, record()),
)
