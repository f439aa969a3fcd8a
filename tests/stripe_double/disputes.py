"""Disputes that a customer's bank opens, and the list of events."""

from __future__ import annotations

from tests.stripe_double.clock import DAY
from tests.stripe_double.errors import missing
from tests.stripe_double.events import KEPT_SECONDS
from tests.stripe_double.fields import filled, flag, many, record, span
from tests.stripe_double.paging import PAGING, page_of, within
from tests.stripe_double.records import Charge, Dispute
from tests.stripe_double.world import Call, Json, Route, World


def tell_dispute(dispute: Dispute) -> Json:
    """Give what the API tells of a dispute."""
    return {
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": [],
        "charge": dispute.charge,
        "created": dispute.created,
        "currency": dispute.currency,
        "enhanced_eligibility_types": [],
        "evidence": {"customer_email_address": None, "uncategorized_text": None},
        "evidence_details": {
            "due_by": dispute.created + 7 * DAY,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": dispute.payment_intent,
        "reason": dispute.reason,
        "status": dispute.status,
    }


def open_dispute(
    world: World, charge: Charge, *, with_intent: bool, reason: str = "fraudulent"
) -> Dispute:
    """Open one; old charges were made without a payment intent."""
    charge.disputed = True
    dispute = Dispute(
        world.new_id("du"),
        world.now,
        charge.id,
        charge.payment_intent if with_intent else None,
        charge.amount,
        charge.currency,
        reason,
    )
    world.disputes[dispute.id] = dispute
    world.emit("charge.dispute.created", tell_dispute(dispute))
    return dispute


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/disputes/{}."""
    found = world.disputes.get(call.names[0])
    if found is None:
        raise missing("dispute", call.names[0])
    return tell_dispute(found)


def list_all(world: World, call: Call) -> Json:
    """GET /v1/disputes."""
    given = call.parameters
    found = [
        one
        for one in reversed(world.disputes.values())
        if given.get("charge") in {None, one.charge}
        and given.get("payment_intent") in {None, one.payment_intent}
        and within(one.created, given.get("created"))
    ]
    size = world.settings.page_size
    return page_of(found, given, page_size=size, url=call.path, tell=tell_dispute)


def retrieve_event(world: World, call: Call) -> Json:
    """GET /v1/events/{}: snapshot events of the last 30 days."""
    found = world.events.records.get(call.names[0])
    if found is None or found.content is not None or world.now - found.created >= KEPT_SECONDS:
        raise missing("event", call.names[0])
    return found.told | {"pending_webhooks": found.undelivered}


def list_events(world: World, call: Call) -> Json:
    """GET /v1/events: snapshot events of the last 30 days, delivered or not."""
    given = call.parameters
    kinds = given.get("types") or ([given["type"]] if "type" in given else None)
    delivered = given.get("delivery_success")
    found = [
        one
        for one in reversed(world.events.records.values())
        if one.content is None
        and world.now - one.created < KEPT_SECONDS
        and (kinds is None or one.kind in kinds)
        and delivered in {None, one.undelivered == 0}
        and within(one.created, given.get("created"))
    ]
    return page_of(
        found,
        given,
        page_size=world.settings.page_size,
        url=call.path,
        tell=lambda one: one.told | {"pending_webhooks": one.undelivered},
    )


_LIST = record(charge=filled, created=span, payment_intent=filled, **PAGING)
_EVENTS = record(
    created=span, delivery_success=flag, type=filled, types=many(filled, most=20), **PAGING
)
ROUTES = (
    Route("GET", "/v1/disputes", list_all, _LIST),
    Route("GET", "/v1/disputes/{}", retrieve, record()),
    Route("GET", "/v1/events", list_events, _EVENTS),
    Route("GET", "/v1/events/{}", retrieve_event, record()),
)
