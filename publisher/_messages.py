"""How an event looks on the topic: CloudEvents' binary mode, or a piece of a packed message.

In binary mode the attributes are headers (`ce_…`) and the value is the event's data. A packed
message has many events of one payer; its value is their pieces, one behind the other, which is how
protobuf writes a repeated field.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from publisher import _checks
from publisher.errors import InvalidEvent
from publisher.events import Event
from usage.events.v1.packed_pb2 import PackedEvent, PackedEvents

PROTOBUF: Final = b"application/protobuf"
STRUCTURED: Final = b"application/cloudevents+json"
PACKED: Final = b"application/x-usage-events+protobuf"
CONTENT_TYPE: Final = "content-type"

# The contract's own limit on one event.
EVENT_BYTES_MAX: Final = 256 * 1024
# The contract allows 10,000 events. Fewer keep what one message holds up small, and gain the same.
PACK_EVENTS_MAX: Final = 1_000
# A broker takes a mebibyte unless told otherwise; an event that comes last may be a large one.
PACK_BYTES_MAX: Final = 512 * 1024

Headers = list[tuple[str, bytes]]


class Message(NamedTuple):
    """One event on its way: a message of its own, or a piece of a packed one."""

    event_id: str
    key: bytes  # the attribution ID; empty where nobody could tell it
    value: bytes
    headers: Headers  # none for a piece
    is_piece: bool

    @property
    def size_bytes(self) -> int:
        """What an event's limit is about: key, value and attributes."""
        return len(self.key) + len(self.value) + sum([len(value) for _, value in self.headers])


def binary(event: Event, source: str) -> Message:
    """The event as a message of its own."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", (event.source or source).encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", _instant(event).ToJsonString().encode()),
        (CONTENT_TYPE, PROTOBUF),
    ]
    if event.subject:
        headers.append(("ce_subject", event.subject.encode()))
    return _checked(
        Message(event.id, event.attribution_id.encode(), event.data, headers, is_piece=False)
    )


def piece(event: Event, source: str) -> Message:
    """The event as a piece of a packed message."""
    packed = PackedEvent(
        id=event.id,
        source=event.source or source,
        type=event.type,
        time=_instant(event),
        data=event.data,
    )
    return _checked(piece_of(packed, event.attribution_id.encode()))


def piece_of(event: PackedEvent, key: bytes) -> Message:
    """A piece of a packed message, from the event that it holds."""
    value = PackedEvents(events=(event,)).SerializeToString()
    return Message(event.id, key, value, [], is_piece=True)


def packed(pieces: Sequence[Message]) -> Message:
    """One message of the pieces, which all have one key."""
    value = b"".join(piece.value for piece in pieces)
    return Message("", pieces[0].key, value, [(CONTENT_TYPE, PACKED)], is_piece=False)


def _instant(event: Event) -> Timestamp:
    return _checks.instant("time", event.time)


def _checked(message: Message) -> Message:
    size = message.size_bytes
    if size > EVENT_BYTES_MAX:
        raise InvalidEvent(f"event of {size} bytes: at most {EVENT_BYTES_MAX} are allowed")
    return message
