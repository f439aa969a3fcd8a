"""Recorded events as the messages of `ledger.events`, and back into events for readers in Python.

Both directions are lossless. The fields of an event and of its message have the same names, but
for those in `_NAMES`; how a value changes follows from the message's field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from events import CostCenterTerms, LedgerEvent, Recorded, type_registry
from events.readable import attribution_id, uuid_bytes, uuid_text
from usage_ledger.v1 import ledger_events_pb2 as pb
from usage_ledger.v1.publishing_pb2 import Position

_INSTANCE_PREFIX = "instance:"
_PAYER_PREFIX = "team:"
_NAMES = {"payer": "attribution_id", "user": "user_id", "rate": "credits_per_minute"}
_OF_EVERY_EVENT = 2  # fields that every event begins with: when it was recorded, and by whom


class UnknownEventError(ValueError):
    """The message holds a kind of event that this version does not know: update the reader."""


class _Field(NamedTuple):
    """One field of an event, by its name in the message, and how its value changes."""

    name: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    may_be_missing: bool  # then None is a field that is not set


class _Shape(NamedTuple):
    """How events of one class and their messages become each other."""

    cls: type[Any]
    message: Callable[..., Any]
    fields: tuple[_Field, ...]
    field: str = ""  # of RecordedEvent
    is_of_instance: bool = False


def message_of(recorded: Recorded, shard: int) -> pb.RecordedEvent:
    """Give the message of an event in its place."""
    event = recorded.event
    shape = _BY_TOPIC[event.TOPIC]
    values = _written(shape, event, _OF_EVERY_EVENT)
    if shape.is_of_instance:
        values["workspace_instance_id"] = recorded.originator_id.removeprefix(_INSTANCE_PREFIX)
    told: dict[str, Any] = {shape.field: shape.message(**values)}
    return pb.RecordedEvent(
        position=Position(shard=shard, number=recorded.position),
        stream=recorded.originator_id,
        version=recorded.originator_version,
        topic=event.TOPIC,
        recorded=_timestamp(event.recorded_at),
        author=event.author,
        **told,
    )


def recorded_of(message: pb.RecordedEvent) -> Recorded:
    """Give the event of a message; UnknownEventError for a kind that came later than this code."""
    field = message.WhichOneof("event")
    if field is None:
        raise UnknownEventError(f"an event {message.topic!r} is unknown here: update this reader")
    shape = _BY_FIELD[field]
    values = _read(shape, getattr(message, field))
    event: LedgerEvent = shape.cls(_milliseconds(message.recorded), message.author, *values)
    return Recorded(message.stream, message.version, event, message.position.number)


def _written(shape: _Shape, event: Any, skipped: int) -> dict[str, Any]:
    names = event.__struct_fields__[skipped:]
    values: dict[str, Any] = {}
    for name, field in zip(names, shape.fields, strict=True):
        value = getattr(event, name)
        if value is not None:
            values[field.name] = field.write(value)
    return values


def _read(shape: _Shape, message: Any) -> list[Any]:
    return [
        None
        if field.may_be_missing and not message.HasField(field.name)
        else field.read(getattr(message, field.name))
        for field in shape.fields
    ]


def _timestamp(ms: int) -> Timestamp:
    seconds, rest = divmod(ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def _milliseconds(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def _payer(text: str) -> bytes:
    return uuid_bytes(text.removeprefix(_PAYER_PREFIX))


def _uuid_or_empty(value: bytes) -> str:
    return uuid_text(value) if value else ""


def _same(value: Any) -> Any:
    return value


def _history(terms: tuple[CostCenterTerms, ...]) -> list[pb.CostCenterTerms]:
    return [pb.CostCenterTerms(**_written(_TERMS, one, 0)) for one in terms]


def _history_read(messages: Any) -> tuple[CostCenterTerms, ...]:
    return tuple(CostCenterTerms(*_read(_TERMS, one)) for one in messages)


# By the event's own name of the field.
_BY_NAME: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "payer": (attribution_id, _payer),
    "user": (_uuid_or_empty, uuid_bytes),
    "entry_id": (uuid_text, uuid_bytes),
    "history": (_history, _history_read),
    "user_ids": (list, tuple),
}


def _field(own_name: str, described: FieldDescriptor) -> _Field:
    write, read = _BY_NAME.get(own_name, (_same, _same))
    is_time = described.message_type is not None and described.message_type.name == "Timestamp"
    if is_time:
        write, read = _timestamp, _milliseconds
    elif described.message_type is not None and own_name not in _BY_NAME:
        read = dict  # a map
    return _Field(described.name, write, read, is_time or described.has_presence)


def _shape(cls: type[Any], message: Any, *, skipped: int, field: str = "") -> _Shape:
    described = message.DESCRIPTOR.fields_by_name
    names = cls.__struct_fields__[skipped:]
    return _Shape(
        cls,
        message,
        tuple(_field(name, described[_NAMES.get(name, name)]) for name in names),
        field,
        "workspace_instance_id" in described,
    )


_TERMS = _shape(CostCenterTerms, pb.CostCenterTerms, skipped=0)
# Messages are named as the events' classes are; an event without one fails here, at import.
_BY_TOPIC = {
    topic: _shape(
        cls,
        getattr(pb, cls.__name__),
        skipped=_OF_EVERY_EVENT,
        field=next(
            one.name
            for one in pb.RecordedEvent.DESCRIPTOR.oneofs_by_name["event"].fields
            if one.message_type is not None and one.message_type.name == cls.__name__
        ),
    )
    for topic, cls in type_registry.items()
}
_BY_FIELD = {shape.field: shape for shape in _BY_TOPIC.values()}
