"""Published events, from a line of JSON to what an aggregate decides on.

The fast path decodes the common spelling with typed decoders. What it refuses goes through
`ledger.proto_json`, which knows every legal spelling (snake_case names, null, numbers as strings)
and costs several times as much. Both end in the same checks.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from ledger import proto_json
from ledger._event_shapes import (
    Envelope,
    NoteData,
    StartedData,
    StoppedData,
    StoppingData,
    UsualStarted,
    UsualStopped,
    UsualStopping,
)
from ledger.arrivals import (
    CREDIT_NOTE,
    EVENT_BYTES_MAX,
    KINDS,
    STARTED,
    STOPPED,
    STOPPING,
    Arrival,
    RejectedError,
    arrival,
    kind_of,
)
from ledger.proto_binary import MESSAGES, read_message

_Data = StartedData | StoppingData | StoppedData | NoteData
_STRUCTS: dict[int, type[Any]] = {
    STARTED: StartedData,
    STOPPING: StoppingData,
    STOPPED: StoppedData,
    CREDIT_NOTE: NoteData,
}
_INTEGERS = frozenset({"credits"})
_USUAL = (
    (b'.started.v1"', STARTED, msgspec.json.Decoder(UsualStarted).decode),
    (b'.stopping.v1"', STOPPING, msgspec.json.Decoder(UsualStopping).decode),
    (b'.stopped.v1"', STOPPED, msgspec.json.Decoder(UsualStopped).decode),
)
_ENVELOPE_TEXTS = len(Envelope.__struct_fields__) - 1  # all but data
_envelope = msgspec.json.Decoder(Envelope)
_decode_data = {kind: msgspec.json.Decoder(cls).decode for kind, cls in _STRUCTS.items()}
_values = msgspec.structs.astuple


def parse_line(line: bytes) -> Arrival:
    """Read one CloudEvent in structured JSON; raise RejectedError with what to change."""
    if len(line) > EVENT_BYTES_MAX:
        raise RejectedError(f"event of {len(line)} bytes: at most {EVENT_BYTES_MAX} are allowed")
    usual = _usual(line)
    if usual is not None:
        return usual
    try:
        envelope = _envelope.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedError(f"not a CloudEvent in JSON: {error}") from None
    kind = kind_of(envelope.type)
    if envelope.specversion != "1.0":
        raise RejectedError(f"specversion {envelope.specversion[:40]!r}: must be '1.0'")
    if not envelope.id or not envelope.source:
        raise RejectedError("id and source must not be empty")
    # Typed decoders keep the last of two equal names; a count of the quotes tells that there may be
    # two.
    quotes = envelope.data and bytes(envelope.data).count(b'"')
    texts = _ENVELOPE_TEXTS - msgspec.structs.astuple(envelope).count(None)
    if line.count(b'"') - (quotes or 0) != 4 * texts + (2 if envelope.data else 0):
        _refuse_equal_names(line)
    data = _data(kind, envelope)
    return arrival(kind, envelope.source, envelope.id, envelope.time, data)


def _usual(line: bytes) -> Arrival | None:
    """Read an event of an instance in its usual spelling with one decoder; None for any other.

    Whatever is unusual is read again by the long way, which also words what is wrong with it.
    """
    for found in _USUAL:
        if found[0] in line:
            break
    else:
        return None
    _, kind, decode = found
    try:
        envelope = decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    data = envelope.data
    if (
        KINDS.get(envelope.type) != kind
        or envelope.specversion != "1.0"
        or envelope.datacontenttype != "application/json"
        or not envelope.id
        or not envelope.source
    ):
        return None
    outer, inner = _values(envelope), _values(data)
    # Of two equal names the decoder keeps the last; a count of the quotes tells that there are two.
    texts = len(outer) - outer.count(None) - 1 + len(inner) - inner.count(None)
    if line.count(b'"') != 4 * texts + 2:
        return None
    return arrival(kind, envelope.source, envelope.id, envelope.time, data)


def _data(kind: int, envelope: Envelope) -> _Data:
    content_type = (envelope.datacontenttype or "application/json").split(";")[0].strip().lower()
    if envelope.data_base64 is not None:
        if envelope.data and bytes(envelope.data) != b"null":
            raise RejectedError("data and data_base64 are both given: give one of them")
        if content_type not in ("application/protobuf", "application/x-protobuf"):
            raise RejectedError(
                f"datacontenttype {content_type!r}: data_base64 must be application/protobuf"
            )
        return _from_protobuf(kind, envelope.data_base64)
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise RejectedError(f"datacontenttype {content_type!r}: data must be application/json")
    if not envelope.data:
        raise RejectedError("data is missing")
    return read_json(kind, bytes(envelope.data))


def read_json(kind: int, raw: bytes) -> _Data:
    """Read the data of an event's kind in proto3 JSON; raise RejectedError with what to change."""
    try:
        data: _Data = _decode_data[kind](raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _from_json(kind, raw)
    fields = msgspec.structs.astuple(data)
    named = len(fields) - fields.count(None)
    numbers = 1 if kind == CREDIT_NOTE and data.credits is not None else 0  # type: ignore[union-attr]
    if raw.count(b'"') != 4 * named - 2 * numbers:
        return _from_json(kind, raw)
    return data


def _refuse_equal_names(line: bytes) -> None:
    try:
        proto_json.load(line)
    except proto_json.SpellingError as error:
        raise RejectedError(f"not a CloudEvent in JSON: {error}") from None


def _from_json(kind: int, data: bytes) -> _Data:
    """Read proto3 JSON in any legal spelling."""
    fields = _STRUCTS[kind]
    try:
        read = proto_json.read_fields(data, fields.__struct_fields__, _INTEGERS)
    except proto_json.SpellingError as error:
        name = MESSAGES[kind].DESCRIPTOR.name
        raise RejectedError(f"data is not a {name}: {error}") from None
    message: _Data = fields(**read)
    return message


def _from_protobuf(kind: int, encoded: str) -> _Data:
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise RejectedError(f"data_base64 is not in Base64: {error}") from None
    message: _Data = read_message(kind, decoded)
    return message
