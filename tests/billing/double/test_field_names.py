"""Every field that the double tells exists in the SDK's types, and what the SDK needs is told."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from stripe._object_classes import get_object_class
from stripe._stripe_object import StripeObject

from tests.billing.double.scenario import every_call
from tests.stripe_double import StripeDouble

# Kinds of objects that the scenario must have told.
KINDS = {
    "billing.meter",
    "billing.meter_event",
    "billing.meter_event_adjustment",
    "billing.meter_event_summary",
    "charge",
    "credit_note",
    "credit_note_line_item",
    "customer",
    "dispute",
    "event",
    "invoice",
    "invoice_payment",
    "invoiceitem",
    "line_item",
    "payment_intent",
    "payment_method",
    "price",
    "product",
    "subscription",
    "subscription_item",
    "v2.billing.meter_event",
    "v2.billing.meter_event_adjustment",
    "v2.billing.meter_event_session",
}
# The form of a price before there were prices; who reads it has not moved on.
LEFT_OUT = {"subscription_item.plan"}
# What lists carry, and the SDK reads without naming it in its types.
OF_LISTS = {"list.object", "search_result.object", "search_result.url"}


class Told(typing.NamedTuple):
    """An object in an answer, and the SDK's class of it."""

    where: str
    kind: type[StripeObject]
    fields: dict[str, Any]


@pytest.fixture(scope="module")
def lived() -> StripeDouble:
    """A double that every call was made to."""
    return every_call()


def fields_of(kind: type[StripeObject]) -> dict[str, Any]:
    """Give the annotated fields of a class with those of its bases."""
    found: dict[str, Any] = {}
    for one in reversed(kind.__mro__):
        found |= inspect.get_annotations(one)
    found.pop("OBJECT_NAME", None)
    return {name: value for name, value in found.items() if not name.startswith("_")}


def objects(where: str, kind: type[StripeObject] | None, value: Any) -> Iterator[Told]:
    """Walk an answer; `kind` is the class of a part that has no `object` of its own."""
    if isinstance(value, list):
        for one in value:
            yield from objects(where, kind, one)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("object"), str):
        mode: Any = "V2" if value["object"].startswith("v2.") else "V1"
        kind = get_object_class(mode, value["object"])
        where = value["object"]
    assert kind is not None, f"{where} has no class in the SDK"
    yield Told(where, kind, value)
    below = getattr(kind, "_inner_class_types", {})
    for name, one in value.items():
        annotation = str(fields_of(kind).get(name))
        # Free keys: metadata, payloads; an event's object and an error report are of many kinds.
        if "Untyped" in annotation or "Dict" in annotation:
            continue
        inner = below.get(name)
        if isinstance(one, dict | list) and (inner is not None or _has_objects(one)):
            yield from objects(f"{where}.{name}", inner, one)
        elif isinstance(one, dict) and where != "event":
            assert not one, f"{where}.{name} has fields, and the SDK knows none"


def _has_objects(value: Any) -> bool:
    parts = value if isinstance(value, list) else [value]
    return any(isinstance(one, dict) and isinstance(one.get("object"), str | dict) for one in parts)


def answers(lived: StripeDouble) -> Iterator[tuple[str, Any]]:
    """Give what was told: answers, and the objects in events."""
    for entry in lived.journal:
        told = json.loads(entry.told)
        assert entry.status == 200, (entry.path, told)
        if told.get("object") != "v2.core.event" and told:
            yield entry.path, told
    for event in lived.world.events.records.values():
        if event.content is None:
            yield event.kind, event.told["data"]["object"]


def test_every_field_is_one_of_the_sdks(lived: StripeDouble) -> None:
    unknown = set()
    kinds = set()
    for _, told in answers(lived):
        for part in objects("", None, told):
            kinds.add(part.where)
            unknown |= {
                f"{part.where}.{name}" for name in part.fields if name not in fields_of(part.kind)
            }
    assert OF_LISTS == unknown
    assert set() == KINDS - kinds


def test_what_is_always_there_at_stripe_is_there(lived: StripeDouble) -> None:
    absent = set()
    for _, told in answers(lived):
        for part in objects("", None, told):
            if part.fields.get("deleted") or part.where != part.fields.get("object"):
                continue
            needed = {
                name
                for name, annotation in fields_of(part.kind).items()
                if "None" not in str(annotation) and "Optional" not in str(annotation)
            }
            absent |= {f"{part.where}.{name}" for name in needed - set(part.fields)}
    assert LEFT_OUT == absent


def test_the_walk_finds_a_field_that_does_not_exist() -> None:
    wrong = {"object": "customer", "invoice_settings": {"colour": "red"}}
    found = list(objects("", None, wrong))
    inside = found[1]
    assert "customer.invoice_settings" == inside.where
    assert stripe.Customer.InvoiceSettings is inside.kind
    assert "colour" not in fields_of(inside.kind)
