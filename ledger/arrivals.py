"""A published event as an aggregate decides on it, whatever encoding it came in.

Every reader ends in `arrival`, so there is one set of checks and one digest. A time is text where
JSON has said it, and whole milliseconds where protobuf has.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import msgspec

from aggregates import Started
from events.readable import uuid_bytes, uuid_text
from ledger._event_shapes import StartedData
from ledger.identifiers import parse_payer, parse_time, parse_uuid

EVENT_BYTES_MAX = 262_144  # one event; the contract's limit
STRING_BYTES_MAX = 4_096  # one string; the contract's limit
DIGEST_BYTES = 8  # tells two contents under one id apart; every recorded event keeps one
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

STARTED, STOPPING, STOPPED, CREDIT_NOTE = range(4)

KINDS = {
    "usage.workspace_instance.started.v1": STARTED,
    "usage.workspace_instance.stopping.v1": STOPPING,
    "usage.workspace_instance.stopped.v1": STOPPED,
    "usage.credit_note.issued.v1": CREDIT_NOTE,
}
_TYPES_OF_INSTANCES = ("regular", "prebuild", "imagebuild")
_CREDIT_NOTE_NAMESPACE = uuid.UUID("3e1c7a44-5d0b-5c86-8a53-0a9b6f0f2d11")

_canonical = msgspec.msgpack.Encoder().encode
_blake2b = hashlib.blake2b


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


def kind_of(event_type: str) -> int:
    """Give the kind of an event by its type; raise RejectedError for an unknown one."""
    kind = KINDS.get(event_type)
    if kind is None:
        checked_text("type", event_type)
        raise RejectedError(f"type {event_type!r} is unknown: one of {', '.join(KINDS)}")
    return kind


def _text(name: str, value: str | None) -> str:
    if not value:
        return ""
    return checked_text(name, value)


def checked_text(name: str, value: str) -> str:
    """Refuse a string that is too long or that no database keeps."""
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


def _time(name: str, value: str | int | None) -> int:
    if isinstance(value, int):
        return value
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


def event_id_of(key: bytes) -> str:
    """Give an event id as it was published, from how the inbox keeps it."""
    return uuid_text(key[1:]) if key[:1] == b"u" else key[1:].decode()


def arrival(kind: int, source: str, event_id: str, time: str | int | None, data: Any) -> Arrival:
    """Check an event and make its digest; raise RejectedError with what to change.

    `data` has the fields of the event's message.
    """
    source = checked_text("source", source)
    event_id = checked_text("id", event_id)
    payer = _payer(data.attribution_id)
    said, personal, user, credits = None, b"", b"", 0
    if kind == CREDIT_NOTE:
        if time is None:
            raise RejectedError("time is missing: it is when a credit note takes effect")
        instant = _time("time", time)
        user, credits = _user(data.user_id), _credits(data.credits)
        description = _text("description", data.description)
        if description:
            personal = _canonical((description,))
        key = uuid.uuid5(_CREDIT_NOTE_NAMESPACE, f"{source}\0{event_id}")
        stream = f"credit-note:{_team(payer)}:event:{key}"
        content: tuple[Any, ...] = (kind, payer, instant, credits, user)
    else:
        if time is not None:
            _time("time", time)
        stream = _instance(data.workspace_instance_id)
        if kind == STARTED:
            said, personal = _started(payer, data)
            user, instant = said.user, 0
            content = (kind, stream, said)
        else:
            name = "stopping_time" if kind == STOPPING else "stopped_time"
            instant = _time(name, getattr(data, name))
            content = (kind, stream, payer, instant)
    digest = _blake2b(_canonical(content), digest_size=DIGEST_BYTES).digest()
    return Arrival(
        kind,
        source,
        event_key(event_id),
        digest,
        stream,
        payer,
        instant,
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
