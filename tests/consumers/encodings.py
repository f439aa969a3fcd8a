"""One published event in each of its encodings, as messages of a broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from usage.events.v1 import events_pb2, packed_pb2

PACKED = b"application/x-usage-events+protobuf"
BATCH = b"application/cloudevents-batch+json"
STRUCTURED = b"application/cloudevents+json"
PROTOBUF = b"application/protobuf"
JSON = b"application/json"

MESSAGES: dict[str, type[Message]] = {
    "usage.workspace_instance.started.v1": events_pb2.WorkspaceInstanceStarted,
    "usage.workspace_instance.stopping.v1": events_pb2.WorkspaceInstanceStopping,
    "usage.workspace_instance.stopped.v1": events_pb2.WorkspaceInstanceStopped,
    "usage.credit_note.issued.v1": events_pb2.CreditNoteIssued,
}

Event = dict[str, Any]


class Told(NamedTuple):
    """A message without its key."""

    headers: list[tuple[str, bytes | None]]
    value: bytes | None


def data_message(event: Event) -> Message:
    """Give the event's data as its protobuf message."""
    return json_format.ParseDict(event["data"], MESSAGES[event["type"]]())


def binary_headers(event: Event, content_type: bytes) -> list[tuple[str, bytes | None]]:
    """Give the headers of the binary mode."""
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", str(event[name]).encode())
        for name in ("specversion", "id", "source", "type", "time")
        if name in event
    ]
    return [*headers, ("content-type", content_type)]


def binary_protobuf(event: Event) -> Told:
    return Told(binary_headers(event, PROTOBUF), data_message(event).SerializeToString())


def binary_json(event: Event) -> Told:
    return Told(binary_headers(event, JSON), json.dumps(event["data"]).encode())


def structured(event: Event) -> Told:
    return Told([("content-type", STRUCTURED)], line_of(event))


def line_of(event: Event) -> bytes:
    return json.dumps(event).encode()


def packed_event(event: Event) -> packed_pb2.PackedEvent:
    packed = packed_pb2.PackedEvent(
        id=event["id"],
        source=event["source"],
        type=event["type"],
        data=data_message(event).SerializeToString(),
    )
    if "time" in event:
        time = Timestamp()
        time.FromJsonString(event["time"])
        packed.time.CopyFrom(time)
    return packed


def packed(events: Sequence[Event]) -> Told:
    value = packed_pb2.PackedEvents(events=[packed_event(event) for event in events])
    return Told([("content-type", PACKED)], value.SerializeToString())


def batch(events: Sequence[Event]) -> Told:
    return Told([("content-type", BATCH)], json.dumps(list(events)).encode())


SINGLE: tuple[Callable[[Event], Told], ...] = (
    binary_protobuf,
    binary_json,
    structured,
    lambda event: packed([event]),
    lambda event: batch([event]),
)
