"""Meters, and what is refused when usage is reported."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.stripe_double.clock import DAY, MINUTE
from tests.stripe_double.errors import StripeError, malformed, missing
from tests.stripe_double.fields import Check, filled, one_of, record, table, text, whole
from tests.stripe_double.paging import PAGING, page_of
from tests.stripe_double.records import Meter, MeterEvent
from tests.stripe_double.usage import ADJUSTABLE_SECONDS
from tests.stripe_double.world import Call, Json, Route, World

BEHIND_SECONDS = 35 * DAY
AHEAD_SECONDS = 5 * MINUTE
IDENTIFIER_CHARACTERS_MAX = 100
DIGITS_MAX = 15
SUMMARIES_MAX = 10_000

_WHOLE_NUMBER = re.compile(r"-?[0-9]+")


class Report(NamedTuple):
    """An event as it was sent; `timestamp` in seconds."""

    event_name: str
    payload: dict[str, str]
    identifier: str | None
    timestamp: int | None


def tell_meter(meter: Meter) -> Json:
    """Give what the API tells of a meter."""
    return {
        "id": meter.id,
        "object": "billing.meter",
        "created": meter.created,
        "customer_mapping": {"event_payload_key": meter.customer_key, "type": "by_id"},
        "default_aggregation": {"formula": meter.formula},
        "display_name": meter.display_name,
        "event_name": meter.event_name,
        "event_time_window": meter.event_time_window,
        "livemode": False,
        "status": "active" if meter.deactivated_at is None else "inactive",
        "status_transitions": {"deactivated_at": meter.deactivated_at},
        "updated": meter.updated,
        "value_settings": {"event_payload_key": meter.value_key},
    }


def create(world: World, call: Call) -> Json:
    """POST /v1/billing/meters: an event name belongs to one active meter."""
    given = call.parameters
    name = given["event_name"]
    if any(one.event_name == name and one.deactivated_at is None for one in world.meters.values()):
        raise StripeError(
            400,
            f"An active meter with the event name '{name}' exists.",
            code="resource_already_exists",
            param="event_name",
        )
    meter = Meter(
        world.new_id("mtr"),
        world.now,
        world.now,
        given["display_name"],
        name,
        given["default_aggregation"]["formula"],
        given.get("customer_mapping", {}).get("event_payload_key", "stripe_customer_id"),
        given.get("value_settings", {}).get("event_payload_key", "value"),
        given.get("event_time_window"),
    )
    world.meters[meter.id] = meter
    told = tell_meter(meter)
    world.emit("billing.meter.created", told)
    return told


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/billing/meters/{}."""
    return tell_meter(world.meter(call.names[0]))


def update(world: World, call: Call) -> Json:
    """POST /v1/billing/meters/{}: nothing but the name that is shown can be changed."""
    meter = world.meter(call.names[0])
    meter.display_name = call.parameters.get("display_name", meter.display_name)
    meter.updated = world.now
    world.emit("billing.meter.updated", tell_meter(meter))
    return tell_meter(meter)


def deactivate(world: World, call: Call) -> Json:
    """POST /v1/billing/meters/{}/deactivate."""
    return _switch(world, world.meter(call.names[0]), world.now)


def reactivate(world: World, call: Call) -> Json:
    """POST /v1/billing/meters/{}/reactivate."""
    return _switch(world, world.meter(call.names[0]), None)


def _switch(world: World, meter: Meter, deactivated_at: int | None) -> Json:
    if (meter.deactivated_at is None) == (deactivated_at is None):
        state = "active" if deactivated_at is None else "inactive"
        raise StripeError(400, f"The meter is {state} already.")
    meter.deactivated_at = deactivated_at
    meter.updated = world.now
    word = "reactivated" if deactivated_at is None else "deactivated"
    world.emit(f"billing.meter.{word}", tell_meter(meter))
    return tell_meter(meter)


def list_all(world: World, call: Call) -> Json:
    """GET /v1/billing/meters."""
    status = call.parameters.get("status")
    found = [
        one
        for one in reversed(world.meters.values())
        if status is None or (status == "active") == (one.deactivated_at is None)
    ]
    size = world.settings.page_size
    return page_of(found, call.parameters, page_size=size, url=call.path, tell=tell_meter)


def _refuse(code: str, message: str, param: str) -> StripeError:
    return StripeError(400, message, code=code, param=param)


def meter_of(world: World, event_name: str) -> Meter:
    """Give the active meter of an event name, else refuse."""
    named = [one for one in world.meters.values() if one.event_name == event_name]
    for one in named:
        if one.deactivated_at is None:
            return one
    code = "archived_meter" if named else "no_meter"
    raise _refuse(code, f"No active meter found for event name '{event_name}'.", "event_name")


def check_report(world: World, report: Report) -> tuple[Meter, str, int]:
    """Give the meter, the customer and the value of a report that can be counted, else refuse."""
    meter = meter_of(world, report.event_name)
    customer = report.payload.get(meter.customer_key, "")
    if not customer:
        raise _refuse(
            "meter_event_no_customer_defined",
            f"The payload lacks the customer mapping key '{meter.customer_key}'.",
            f"payload[{meter.customer_key}]",
        )
    value = report.payload.get(meter.value_key, "1" if meter.formula == "count" else "")
    if not _WHOLE_NUMBER.fullmatch(value):
        raise _refuse(
            "meter_event_invalid_value",
            f"'{value}' is not a whole number.",
            f"payload[{meter.value_key}]",
        )
    if len(value.lstrip("-").lstrip("0")) > DIGITS_MAX:
        raise _refuse(
            "meter_event_value_too_many_digits",
            f"Values have at most {DIGITS_MAX} digits.",
            f"payload[{meter.value_key}]",
        )
    at = world.now if report.timestamp is None else report.timestamp
    if at > world.now + AHEAD_SECONDS:
        raise _refuse("timestamp_in_future", "More than 5 minutes in the future.", "timestamp")
    if at < world.now - BEHIND_SECONDS:
        raise _refuse("timestamp_too_far_in_past", "More than 35 days in the past.", "timestamp")
    return meter, customer, int(value)


def take_report(world: World, report: Report) -> MeterEvent:
    """Accept a report of usage, which counts after the aggregation's delay; else refuse it."""
    identifier = report.identifier
    if identifier is not None and len(identifier) > IDENTIFIER_CHARACTERS_MAX:
        raise malformed(f"At most {IDENTIFIER_CHARACTERS_MAX} characters.", "identifier")
    meter, customer, value = check_report(world, report)
    if identifier is not None and world.usage.knows(identifier, world.now):
        raise StripeError(
            400,
            f"An event already exists with identifier {identifier}.",
            code=world.settings.duplicate_identifier_code,
            param="identifier",
            headers={"Stripe-Should-Retry": "false"},
        )
    counts_from = world.now + world.settings.aggregation_delay_seconds
    event = MeterEvent(
        identifier or world.new_id("mevt"),
        meter.id,
        customer,
        value,
        world.now if report.timestamp is None else report.timestamp,
        world.now,
        counts_from,
        world.usage.count,
    )
    world.usage.add(event)
    code = _late_refusal(world, event)
    if code is not None:
        event.refused = code
        world.clock.at(counts_from, lambda: say_refused(world, meter, code, event.identifier))
    return event


def _late_refusal(world: World, event: MeterEvent) -> str | None:
    """Tell why an accepted event will not count: an unknown customer is found out only later."""
    customer = world.customers.get(event.customer)
    if customer is None or customer.deleted:
        return "meter_event_customer_not_found"
    for rule in world.late_refusals:
        if rule.times_left and event.identifier.startswith(rule.identifier_prefix):
            rule.times_left -= 1
            return rule.code
    return None


def say_refused(world: World, meter: Meter | None, code: str, identifier: str) -> None:
    """Report by a thin event that accepted usage is not counted."""
    sample = {"error_message": code, "request": {"identifier": identifier}}
    content = {
        "developer_message_summary": "There is 1 invalid event",
        "reason": {
            "error_count": 1,
            "error_types": [{"code": code, "error_count": 1, "sample_errors": [sample]}],
        },
        "validation_end": world.now,
        "validation_start": world.now,
    }
    if meter is None:
        world.events.add_thin("v1.billing.meter.no_meter_found", None, content)
        return
    url = f"/v1/billing/meters/{meter.id}"
    related = {"id": meter.id, "type": "billing.meter", "url": url}
    world.events.add_thin("v1.billing.meter.error_report_triggered", related, content)


def create_event(world: World, call: Call) -> Json:
    """POST /v1/billing/meter_events."""
    given = call.parameters
    report = Report(
        given["event_name"], given["payload"], given.get("identifier"), given.get("timestamp")
    )
    event = take_report(world, report)
    return {
        "object": "billing.meter_event",
        "created": world.now,
        "event_name": report.event_name,
        "identifier": event.identifier,
        "livemode": False,
        "payload": dict(report.payload),
        "timestamp": event.timestamp,
    }


def cancel_event(world: World, event_name: str, identifier: str) -> None:
    """Take an event back; within 24 h of its receipt, and never out of a finalized invoice."""
    meter = meter_of(world, event_name)
    event = world.usage.by_identifier.get(identifier)
    if event is None or event.meter != meter.id or event.cancelled_from is not None:
        raise missing("meter event", identifier, param="cancel[identifier]")
    if world.now - event.received > ADJUSTABLE_SECONDS:
        raise malformed("The event was received more than 24 hours ago.", "cancel[identifier]")
    event.cancelled_from = world.now + world.settings.aggregation_delay_seconds


def create_adjustment(world: World, call: Call) -> Json:
    """POST /v1/billing/meter_event_adjustments."""
    given = call.parameters
    identifier = given["cancel"]["identifier"]
    cancel_event(world, given["event_name"], identifier)
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": given["event_name"],
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def list_summaries(world: World, call: Call) -> Json:
    """GET /v1/billing/meters/{}/event_summaries: one for the whole span, or for each window."""
    given = call.parameters
    meter = world.meter(call.names[0])
    world.customer(given["customer"], param="customer")
    start, end = given["start_time"], given["end_time"]
    window = {"hour": 3600, "day": DAY}.get(given.get("value_grouping_window", ""))
    step = window or MINUTE
    for name, second in (("start_time", start), ("end_time", end)):
        if second % step:
            raise malformed(f"{name} must be aligned with {step} seconds.", name)
    if end <= start or (window is not None and (end - start) // window > SUMMARIES_MAX):
        raise malformed("end_time must be later than start_time.", "end_time")
    spans = [(start, end)]
    if window is not None:
        spans = [(at, at + window) for at in range(start, end, window)]
    summaries = [
        _Summary(f"mtrusg_{meter.id[4:]}_{given['customer'][4:]}_{one[0]}_{one[1]}", one, total)
        for one in spans
        if (total := world.usage.total(meter, given["customer"], one, world.now)) or window is None
    ]

    def tell(summary: _Summary) -> Json:
        return {
            "id": summary.id,
            "object": "billing.meter_event_summary",
            "aggregated_value": float(summary.total),
            "end_time": summary.span[1],
            "livemode": False,
            "meter": meter.id,
            "start_time": summary.span[0],
        }

    size = world.settings.page_size
    return page_of(summaries[::-1], given, page_size=size, url=call.path, tell=tell)


class _Summary:
    def __init__(self, name: str, span: tuple[int, int], total: int) -> None:
        self.id = name
        self.span = span
        self.total = total


_CREATE = record(
    ["default_aggregation", "display_name", "event_name"],
    customer_mapping=record(
        ["event_payload_key", "type"], event_payload_key=filled, type=one_of("by_id")
    ),
    default_aggregation=record(["formula"], formula=one_of("count", "last", "sum")),
    display_name=filled,
    event_name=filled,
    event_time_window=one_of("day", "hour"),
    value_settings=record(["event_payload_key"], event_payload_key=filled),
)
_EVENT = record(
    ["event_name", "payload"],
    event_name=filled,
    identifier=filled,
    payload=table(text),
    timestamp=whole,
)
_ADJUSTMENT = record(
    ["event_name", "type", "cancel"],
    cancel=record(["identifier"], identifier=filled),
    event_name=filled,
    type=one_of("cancel"),
)
_SUMMARIES: dict[str, Check] = {
    "customer": filled,
    "end_time": whole,
    "start_time": whole,
    "value_grouping_window": one_of("day", "hour"),
    **PAGING,
}
ROUTES = (
    Route("POST", "/v1/billing/meters", create, _CREATE),
    Route(
        "GET", "/v1/billing/meters", list_all, record(status=one_of("active", "inactive"), **PAGING)
    ),
    Route("GET", "/v1/billing/meters/{}", retrieve, record()),
    Route("POST", "/v1/billing/meters/{}", update, record(display_name=filled)),
    Route("POST", "/v1/billing/meters/{}/deactivate", deactivate, record()),
    Route("POST", "/v1/billing/meters/{}/reactivate", reactivate, record()),
    Route(
        "GET",
        "/v1/billing/meters/{}/event_summaries",
        list_summaries,
        record(["customer", "start_time", "end_time"], **_SUMMARIES),
    ),
    Route("POST", "/v1/billing/meter_events", create_event, _EVENT),
    Route("POST", "/v1/billing/meter_event_adjustments", create_adjustment, _ADJUSTMENT),
)
