"""Published events, from a line of JSON to what an aggregate decides on.

The fast path decodes the common spelling with typed decoders. What it refuses goes through
`ledger.proto_json`, which knows every legal spelling (snake_case names, null, numbers as strings)
and costs several times as much. Both end in the same checks.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from typing import Any

import msgspec
from google.protobuf.message import DecodeError, Message

from aggregates import Started
from events.readable import uuid_bytes
from ledger import proto_json
from ledger._event_shapes import (
    Envelope,
    NoteData,
    StartedData,
    StoppedData,
    StoppingData,
    Usual,
    UsualStarted,
    UsualStopped,
    UsualStopping,
)
from ledger.identifiers import parse_payer, parse_time, parse_uuid
from usage.events.v1 import events_pb2

EVENT_BYTES_MAX = 262_144  # one event; the contract's limit
STRING_BYTES_MAX = 4_096  # one string; the contract's limit
DIGEST_BYTES = 8  # tells two contents under one id apart; every recorded event keeps one
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

STARTED, STOPPING, STOPPED, CREDIT_NOTE = range(4)

_KINDS = {
    "usage.workspace_instance.started.v1": STARTED,
    "usage.workspace_instance.stopping.v1": STOPPING,
    "usage.workspace_instance.stopped.v1": STOPPED,
    "usage.credit_note.issued.v1": CREDIT_NOTE,
}
_MESSAGES: dict[int, type[Message]] = {
    STARTED: events_pb2.WorkspaceInstanceStarted,
    STOPPING: events_pb2.WorkspaceInstanceStopping,
    STOPPED: events_pb2.WorkspaceInstanceStopped,
    CREDIT_NOTE: events_pb2.CreditNoteIssued,
}
_TYPES_OF_INSTANCES = ("regular", "prebuild", "imagebuild")
_CREDIT_NOTE_NAMESPACE = uuid.UUID("3e1c7a44-5d0b-5c86-8a53-0a9b6f0f2d11")


class RejectedError(ValueError):
    """The event cannot be taken in; the text names the field, the value and what is allowed."""


class Arrival(msgspec.Struct, gc=False):
    """A published event, decoded and checked."""

    kind: int
    source: str
    key: bytes  # the event id, as the inbox keeps it
    digest: bytes  # of the content without personal fields
    stream: str
    payer: bytes
    time: int  # stopping, stopped or effective time; 0 for a start
    said: Started | None
    credits: int
    user: bytes
    personal: bytes  # msgpack of the personal fields; empty when all of them are


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
_canonical = msgspec.msgpack.Encoder().encode
_blake2b = hashlib.blake2b
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
    kind = _KINDS.get(envelope.type)
    if kind is None:
        _checked_text("type", envelope.type)
        raise RejectedError(f"type {envelope.type!r} is unknown: one of {', '.join(_KINDS)}")
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
    return _arrival(kind, envelope, data)


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
        _KINDS.get(envelope.type) != kind
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
    return _arrival(kind, envelope, data)


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
    raw = bytes(envelope.data)
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
        name = _MESSAGES[kind].DESCRIPTOR.name
        raise RejectedError(f"data is not a {name}: {error}") from None
    message: _Data = fields(**read)
    return message


def _from_protobuf(kind: int, encoded: str) -> _Data:
    message = _MESSAGES[kind]()
    try:
        message.ParseFromString(base64.b64decode(encoded, validate=True))
    except (ValueError, DecodeError) as error:
        raise RejectedError(f"data is not a {message.DESCRIPTOR.name}: {error}") from None
    return _from_message(kind, message)


def _from_message(kind: int, message: Any) -> _Data:
    values: dict[str, Any] = {}
    for name in _STRUCTS[kind].__struct_fields__:
        if name.endswith("_time"):
            if message.HasField(name):
                values[name] = _timestamp_text(name, getattr(message, name))
        else:
            values[name] = getattr(message, name)
    data: _Data = _STRUCTS[kind](**values)
    return data


def _timestamp_text(name: str, timestamp: Any) -> str:
    try:
        text: str = timestamp.ToJsonString()
    except ValueError as error:
        raise RejectedError(f"{name}: {error}") from None
    return text


def _text(name: str, value: str | None) -> str:
    if not value:
        return ""
    return _checked_text(name, value)


def _checked_text(name: str, value: str) -> str:
    # A character has at most four bytes, so a short string needs no encoding to be measured.
    if len(value) * 4 > STRING_BYTES_MAX:
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > STRING_BYTES_MAX:
            raise RejectedError(f"{name} of {size} bytes: at most {STRING_BYTES_MAX} are allowed")
    if not value.isprintable():
        if "\0" in value:
            raise RejectedError(f"{name} contains a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RejectedError(f"{name} contains half a surrogate pair") from None
    return value


def _time(name: str, value: str | None) -> int:
    if not value:
        raise RejectedError(f"{name} is missing")
    try:
        return parse_time(value)
    except ValueError as error:
        raise RejectedError(f"{name} {value[:40]!r}: {error}") from None


def _payer(value: str | None) -> bytes:
    payer = parse_payer(value or "")
    if payer is None:
        raise RejectedError(f"attribution_id {(value or '')[:80]!r}: must be team:<uuid>")
    return payer


def _user(value: str | None) -> bytes:
    if not value:
        return b""
    user = parse_uuid(value)
    if user is None:
        raise RejectedError(f"user_id {value[:80]!r}: must be a UUID or empty")
    return uuid_bytes(user)


def _instance(value: str | None) -> str:
    instance = parse_uuid(value or "")
    if instance is None:
        raise RejectedError(f"workspace_instance_id {(value or '')[:80]!r}: must be a UUID")
    return "instance:" + instance


def event_key(event_id: str) -> bytes:
    """Give an event id as the inbox keeps it: UUIDs in their usual spelling as 16 bytes."""
    if len(event_id) == 36 and parse_uuid(event_id) == event_id:
        return b"u" + bytes.fromhex(event_id.replace("-", ""))
    return b"t" + event_id.encode()


def _arrival(kind: int, envelope: Envelope | Usual, data: Any) -> Arrival:
    source = _checked_text("source", envelope.source)
    event_id = _checked_text("id", envelope.id)
    payer = _payer(data.attribution_id)
    said, personal, user, credits = None, b"", b"", 0
    if kind == CREDIT_NOTE:
        if envelope.time is None:
            raise RejectedError("time is missing: it is when a credit note takes effect")
        time = _time("time", envelope.time)
        user, credits = _user(data.user_id), _credits(data.credits)
        description = _text("description", data.description)
        if description:
            personal = _canonical((description,))
        key = uuid.uuid5(_CREDIT_NOTE_NAMESPACE, f"{source}\0{event_id}")
        stream = f"credit-note:{_team(payer)}:event:{key}"
        content: tuple[Any, ...] = (kind, payer, time, credits, user)
    else:
        if envelope.time is not None:
            _time("time", envelope.time)
        stream = _instance(data.workspace_instance_id)
        if kind == STARTED:
            said, personal = _started(payer, data)
            user, time = said.user, 0
            content = (kind, stream, said)
        else:
            name = "stopping_time" if kind == STOPPING else "stopped_time"
            time = _time(name, getattr(data, name))
            content = (kind, stream, payer, time)
    digest = _blake2b(_canonical(content), digest_size=DIGEST_BYTES).digest()
    return Arrival(
        kind,
        source,
        event_key(event_id),
        digest,
        stream,
        payer,
        time,
        said,
        credits,
        user,
        personal,
    )


def _team(payer: bytes) -> str:
    return f"team:{uuid.UUID(bytes=payer)}"


def _credits(value: int | None) -> int:
    credits = value or 0
    if not INT32_MIN <= credits <= INT32_MAX:
        raise RejectedError(f"credits {credits}: must be between {INT32_MIN} and {INT32_MAX}")
    return credits


def _started(payer: bytes, data: StartedData) -> tuple[Started, bytes]:
    workspace_type = data.workspace_type or "regular"
    if workspace_type not in _TYPES_OF_INSTANCES:
        raise RejectedError(
            f"workspace_type {workspace_type[:80]!r}: one of {', '.join(_TYPES_OF_INSTANCES)}"
        )
    user_name = _text("user_name", data.user_name)
    avatar = _text("user_avatar_url", data.user_avatar_url)
    context_url = _text("context_url", data.context_url)
    said = Started(
        payer,
        _text("workspace_id", data.workspace_id),
        _text("workspace_class", data.workspace_class) or "default",
        workspace_type,
        _user(data.user_id),
        _text("project_id", data.project_id),
        None if data.creation_time is None else _time("creation_time", data.creation_time),
        _time("started_time", data.started_time),
    )
    if user_name or avatar or context_url:
        return said, _canonical((user_name, avatar, context_url))
    return said, b""
