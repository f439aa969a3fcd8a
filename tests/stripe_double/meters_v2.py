"""Meter events by API v2: single ones, adjustments, and the stream with its session."""

from __future__ import annotations

from tests.stripe_double.clock import DAY, MINUTE, milliseconds, rfc3339
from tests.stripe_double.errors import StripeError, malformed
from tests.stripe_double.fields import filled, many, one_of, record, table, text
from tests.stripe_double.meters import Report, cancel_event, say_refused, take_report
from tests.stripe_double.world import Call, Json, Route, World

SESSION_SECONDS = 15 * MINUTE
STREAM_EVENTS_MAX = 100
# The session is asked for by the account's key; its token opens nothing but the stream.
STREAM_PATH = "/v2/billing/meter_event_stream"
EVENTS_KEPT_SECONDS = 30 * DAY


def _report(given: Json) -> Report:
    timestamp = None
    if "timestamp" in given:
        try:
            timestamp = milliseconds(given["timestamp"]) // 1000
        except ValueError:
            raise malformed("Not an RFC 3339 time.", "timestamp") from None
    return Report(given["event_name"], given["payload"], given.get("identifier"), timestamp)


def create_event(world: World, call: Call) -> Json:
    """POST /v2/billing/meter_events."""
    report = _report(call.parameters)
    event = take_report(world, report)
    return {
        "object": "v2.billing.meter_event",
        "created": rfc3339(world.now),
        "event_name": report.event_name,
        "identifier": event.identifier,
        "livemode": False,
        "payload": dict(report.payload),
        "timestamp": rfc3339(event.timestamp),
    }


def create_adjustment(world: World, call: Call) -> Json:
    """POST /v2/billing/meter_event_adjustments."""
    given = call.parameters
    identifier = given["cancel"]["identifier"]
    cancel_event(world, given["event_name"], identifier)
    return {
        "id": world.new_id("mtr_evt_adj"),
        "object": "v2.billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "created": rfc3339(world.now),
        "event_name": given["event_name"],
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def create_session(world: World, _call: Call) -> Json:
    """POST /v2/billing/meter_event_session."""
    name = world.new_id("mes")
    token = f"token_{name}"
    world.sessions[token] = world.now + SESSION_SECONDS
    return {
        "id": name,
        "object": "v2.billing.meter_event_session",
        "authentication_token": token,
        "created": rfc3339(world.now),
        "expires_at": rfc3339(world.now + SESSION_SECONDS),
        "livemode": False,
    }


def stream(world: World, call: Call) -> Json:
    """POST /v2/billing/meter_event_stream: what is wrong with an event is told later."""
    expires = world.sessions.get(call.token or "")
    if expires is None:
        raise StripeError(401, "Invalid session token.", stored=False)
    if world.now >= expires:
        raise StripeError(
            400,
            "The session token has expired.",
            kind="temporary_session_expired",
            code="billing_meter_event_session_expired",
            stored=False,
        )
    for given in call.parameters["events"]:
        _take_later(world, _report(given))
    return {}


def _take_later(world: World, report: Report) -> None:
    try:
        take_report(world, report)
    except StripeError as refusal:
        code = refusal.code or "duplicate_meter_event"
        named = [one for one in world.meters.values() if one.event_name == report.event_name]
        meter = named[0] if named else None
        at = world.now + world.settings.aggregation_delay_seconds
        identifier = report.identifier or ""
        world.clock.at(at, lambda: say_refused(world, meter, code, identifier))


def retrieve_thin(world: World, call: Call) -> Json:
    """GET /v2/core/events/{}: the content that a thin event does not carry."""
    event = world.events.records.get(call.names[0])
    is_known = event is not None and world.now - event.created < EVENTS_KEPT_SECONDS
    if event is None or event.content is None or not is_known:
        raise StripeError(404, "Object not found.", kind="not_found", code="not_found")
    return event.told | {"data": event.content}


_EVENT = record(
    ["event_name", "payload"],
    event_name=filled,
    identifier=filled,
    payload=table(text),
    timestamp=filled,
)
_ADJUSTMENT = record(
    ["event_name", "type", "cancel"],
    cancel=record(["identifier"], identifier=filled),
    event_name=filled,
    type=one_of("cancel"),
)
_STREAM = record(["events"], events=many(_EVENT, most=STREAM_EVENTS_MAX))
ROUTES = (
    Route("POST", "/v2/billing/meter_events", create_event, _EVENT),
    Route("POST", "/v2/billing/meter_event_adjustments", create_adjustment, _ADJUSTMENT),
    Route("POST", "/v2/billing/meter_event_session", create_session, record()),
    Route("POST", STREAM_PATH, stream, _STREAM),
    Route("GET", "/v2/core/events/{}", retrieve_thin, record()),
)
