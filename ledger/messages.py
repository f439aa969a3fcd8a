"""Published events as they come from a message broker: key, headers and value.

A message is one event in binary mode (`ce_*` headers, the value is the event's data), one in
structured mode (the value is a line of JSON), or *packed*: many events of one payer. Headers and
modes are those of the Kafka protocol binding of CloudEvents; packing is ours and saves the broker's
cost of a message for each event.

The key decides the partition and nothing else. An event whose attribution ID differs from its
message's key is taken as it stands: its sender answers for what it says, while a key may be
missing, hashed or prefixed by whatever brought the message here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from ledger.arrivals import (
    EVENT_BYTES_MAX,
    Arrival,
    RejectedError,
    arrival,
    kind_of,
)
from ledger.cloudevents import parse_line, read_json
from ledger.intake import Line
from ledger.proto_binary import milliseconds, read_message
from usage.events.v1.packed_pb2 import PackedEvent

EVENTS_MAX = 10_000  # in one packed message; the contract's limit
# A message that cannot be read is kept whole up to this size, which is a broker's default for the
# largest; of a longer one the beginning is kept.
KEPT_BYTES_MAX = 1_048_576
_SHOWN = 80  # characters of a wrong value that a reason repeats

_LENGTH_DELIMITED = 2  # wire type of strings, bytes and messages
_EVENTS_TAG = 1 << 3 | _LENGTH_DELIMITED  # of PackedEvents.events
_VARINT_BITS_MAX = 63

PACKED = "application/x-usage-events+protobuf"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
PROTOBUF = "application/protobuf"
JSON = "application/json"
_PROTOBUF_TYPES = frozenset({PROTOBUF, "application/x-protobuf"})
_ALLOWED = f"{PROTOBUF} or {JSON} with ce_ headers, {STRUCTURED}, or packed {PACKED} or {BATCH}"

Header = tuple[str, bytes | None]


class StoredMessage(NamedTuple):
    """A message as a dead letter keeps it."""

    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredMessage).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_lines_of_message(
    number: int, key: bytes | None, headers: Sequence[Header], value: bytes | None
) -> list[Line]:
    """Give the events of a message as lines with its number; never raises for what it holds.

    A message that cannot be unpacked is one line with a reason.
    """
    try:
        attributes = _attributes(headers)
        content_type = _content_type(attributes)
        if value is None:
            raise RejectedError("the value is null: events are never deleted, so send an event")
        if content_type == PACKED:
            return _read_packed(number, value)
        if content_type == BATCH:
            return _read_batch(number, value)
        read = _read_one(attributes, content_type, value)
    except RejectedError as error:
        return [_rejected(number, key, headers, value, str(error))]
    return [Line(number, _encode((key, headers, value)), read, kind="message")]


def unpack_stored(original: bytes) -> StoredMessage:
    """Give the message that a dead letter of kind `message` keeps."""
    return _decode(original)


def parser_of(kind: str) -> Callable[[bytes], Arrival]:
    """Give how the original bytes of a dead letter are read again."""
    return _PARSERS[kind]


def _read_again(original: bytes) -> Arrival:
    message = _decode(original)
    attributes = _attributes(message.headers)
    content_type = _content_type(attributes)
    if message.value is None:
        raise RejectedError("the value is null: events are never deleted, so send an event")
    if content_type in {PACKED, BATCH}:
        unpack = _packed_events if content_type == PACKED else _batched_events
        count = len(unpack(message.value))
        # It was counted as one; its events would be many.
        raise RejectedError(f"it can be unpacked now, into {count} events: publish it again")
    return _read_one(attributes, content_type, message.value)


def _rejected(
    number: int, key: bytes | None, headers: Sequence[Header], value: bytes | None, reason: str
) -> Line:
    size = len(value or b"")
    original = _encode((key, headers, value))
    if len(original) <= KEPT_BYTES_MAX:
        return Line(number, original, None, reason, "message", size)
    digest = hashlib.sha256(original).digest()
    head = (value or b"")[:EVENT_BYTES_MAX]
    return Line(number, head, None, reason, "oversized", len(original), digest)


def _attributes(headers: Sequence[Header]) -> dict[str, bytes]:
    """Give the headers by their names in lower case; those without a value are not there."""
    found = {name.lower(): value for name, value in headers if value is not None}
    if len(found) != len(headers):
        _refuse_equal_headers(headers)
    return found


def _refuse_equal_headers(headers: Sequence[Header]) -> None:
    seen: set[str] = set()
    for name, value in headers:
        lower = name.lower()
        # Of other headers, such as those of a trace, several may be there.
        if value is None or not (lower.startswith("ce_") or lower == "content-type"):
            continue
        if lower in seen:
            raise RejectedError(f"header {name[:_SHOWN]!r} is given twice: give it once")
        seen.add(lower)


def _content_type(attributes: dict[str, bytes]) -> str:
    raw = attributes.get("content-type")
    if raw is None:
        raise RejectedError(f"the header content-type is missing: say {_ALLOWED}")
    known = _CONTENT_TYPES.get(raw)
    if known is not None:
        return known
    name, *parameters = _text("content-type", raw).lower().split(";")
    for parameter in parameters:
        word, _, charset = parameter.partition("=")
        if word.strip() == "charset" and charset.strip(' "') not in {"utf-8", "us-ascii"}:
            raise RejectedError(f"content-type {raw[:_SHOWN]!r}: the charset must be utf-8")
    return name.strip()


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise RejectedError(f"the header {name} is not UTF-8 text") from None


def _read_one(attributes: dict[str, bytes], content_type: str, value: bytes) -> Arrival:
    if content_type == STRUCTURED:
        return parse_line(value)
    is_protobuf = content_type in _PROTOBUF_TYPES
    if not is_protobuf and (
        content_type.startswith("application/cloudevents")
        or not (content_type == JSON or content_type.endswith("+json"))
    ):
        raise RejectedError(f"content-type {content_type[:_SHOWN]!r}: must be {_ALLOWED}")
    if len(value) > EVENT_BYTES_MAX:
        raise RejectedError(f"event of {len(value)} bytes: at most {EVENT_BYTES_MAX} are allowed")
    version = _attribute(attributes, "ce_specversion")
    if version != "1.0":
        raise RejectedError(f"the header ce_specversion is {version[:_SHOWN]!r}: must be '1.0'")
    kind = kind_of(_attribute(attributes, "ce_type"))
    event_id, source = _attribute(attributes, "ce_id"), _attribute(attributes, "ce_source")
    raw_time = attributes.get("ce_time")
    time = None if raw_time is None else _text("ce_time", raw_time)
    if is_protobuf:
        return arrival(kind, source, event_id, time, read_message(kind, value))
    if not value:
        raise RejectedError("the value is empty: it must be the event's data in JSON")
    return arrival(kind, source, event_id, time, read_json(kind, value))


def _attribute(attributes: dict[str, bytes], name: str) -> str:
    raw = attributes.get(name)
    if not raw:
        what = "missing" if raw is None else "empty"
        raise RejectedError(f"the header {name} is {what}: binary mode needs it")
    return _text(name, raw)


def _read_packed(number: int, value: bytes) -> list[Line]:
    lines: list[Line] = []
    for original in _packed_events(value):
        try:
            lines.append(Line(number, original, parse_packed(original), kind="packed-event"))
        except RejectedError as error:
            lines.append(Line(number, original, None, str(error), "packed-event"))
    return lines


def parse_packed(encoded: bytes) -> Arrival:
    """Read one event of a packed message; raise RejectedError with what to change."""
    if len(encoded) > EVENT_BYTES_MAX:
        raise RejectedError(f"event of {len(encoded)} bytes: at most {EVENT_BYTES_MAX} are allowed")
    try:
        event = PackedEvent.FromString(encoded)
    except DecodeError as error:
        raise RejectedError(f"not a PackedEvent: {error}") from None
    kind = kind_of(event.type)
    event_id, source = event.id, event.source
    if not event_id or not source:
        raise RejectedError("id and source must not be empty")
    time = milliseconds("time", event.time) if event.HasField("time") else None
    return arrival(kind, source, event_id, time, read_message(kind, event.data))


def _packed_events(value: bytes) -> list[bytes]:
    """Cut a PackedEvents into its events, each with its bytes as they came.

    protobuf's own reader would refuse all of them for one that is damaged.
    """
    events: list[bytes] = []
    position, end = 0, len(value)
    try:
        while position < end:
            tag, position = _varint(value, position)
            if tag & 7 == _LENGTH_DELIMITED:
                size, start = _varint(value, position)
                position = start + size
                if tag == _EVENTS_TAG:
                    events.append(value[start:position])
            else:
                position = _skipped(value, tag, position)
    except IndexError:
        position = end + 1
    if position != end:
        raise RejectedError("not a PackedEvents in protobuf: it is cut off or garbled")
    return _counted(events)


def _varint(value: bytes, position: int) -> tuple[int, int]:
    """Give a number and where it ends; IndexError behind the end of the value."""
    byte = value[position]
    if byte < 0x80:
        return byte, position + 1
    number, shift = byte & 0x7F, 7
    while True:
        position += 1
        byte = value[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position + 1
        shift += 7
        if shift > _VARINT_BITS_MAX:
            raise IndexError


def _skipped(value: bytes, tag: int, position: int) -> int:
    """Give where a field that we do not know ends: such fields are ignored."""
    match tag & 7:
        case 0:
            return _varint(value, position)[1]
        case 1:
            return position + 8
        case 5:
            return position + 4
        case _:
            raise IndexError


def _read_batch(number: int, value: bytes) -> list[Line]:
    lines: list[Line] = []
    for original in _batched_events(value):
        try:
            lines.append(Line(number, original, parse_line(original)))
        except RejectedError as error:
            lines.append(Line(number, original, None, str(error)))
    return lines


def _batched_events(value: bytes) -> list[bytes]:
    try:
        raws = _raws(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedError(f"not a JSON array of CloudEvents: {error}") from None
    return _counted([bytes(raw) for raw in raws])


def _counted(events: list[bytes]) -> list[bytes]:
    if not events:
        raise RejectedError("a packed message without events: pack at least one")
    if len(events) > EVENTS_MAX:
        raise RejectedError(
            f"a packed message of {len(events)} events: at most {EVENTS_MAX} are allowed"
        )
    return events


_CONTENT_TYPES = {one.encode(): one for one in (PROTOBUF, JSON, STRUCTURED, PACKED, BATCH)}
_PARSERS: dict[str, Callable[[bytes], Arrival]] = {
    "event": parse_line,
    "message": _read_again,
    "packed-event": parse_packed,
}
