"""Lines of CloudEvents in structured JSON as messages: their IDs, sources and data stay theirs.

A line of the usual spelling goes in binary mode: its attributes become headers, and its data the
value, byte for byte. With extensions, escapes and the like it goes in structured mode, the whole
line as the value. Right or wrong, the ledger judges; the key is the payer, if one can be told.

Packed, an event of the usual spelling becomes a piece with its data in protobuf.
"""

import base64
import binascii
import functools
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError

from publisher._checks import stored_attribution_id
from publisher._messages import (
    CONTENT_TYPE,
    EVENT_BYTES_MAX,
    STRUCTURED,
    Headers,
    Message,
)
from publisher._typed_lines import Envelope, is_plain, piece_of_line
from publisher.events import CREDIT_NOTE, STARTED, STOPPED, STOPPING
from usage.events.v1 import events_pb2

__all__ = ["Message", "Unreadable", "cut_short", "keyless", "message_of"]

_JSON: Final = (CONTENT_TYPE, b"application/json")
# Attributes that are the same in many lines; most files have one source.
REPEATED_MAX: Final = 10_000
_MESSAGES: Final[dict[str, Any]] = {
    STARTED: events_pb2.WorkspaceInstanceStarted,
    STOPPING: events_pb2.WorkspaceInstanceStopping,
    STOPPED: events_pb2.WorkspaceInstanceStopped,
    CREDIT_NOTE: events_pb2.CreditNoteIssued,
}


class Unreadable(ValueError):
    """No payer can be told; the text says why, for people."""


class _Any(msgspec.Struct, gc=False):
    """Of any other envelope only what leads to the payer, and its name."""

    id: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


class _Payer(msgspec.Struct, gc=False):
    """Of the data only the payer, in both spellings that proto3 JSON allows."""

    camel: str | None = msgspec.field(default=None, name="attributionId")
    snake: str | None = msgspec.field(default=None, name="attribution_id")


_decode_usual = msgspec.json.Decoder(Envelope).decode
_decode_any = msgspec.json.Decoder(_Any).decode
_decode_payer = msgspec.json.Decoder(_Payer).decode
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def message_of(line: bytes, *, packed: bool = False) -> Message:
    """The message of a line without its line end; raise Unreadable if no payer can be told."""
    if packed:
        piece = piece_of_line(line)
        if piece is not None:
            return piece
    try:
        usual = _decode_usual(line)
    except _NOT_JSON:
        return _unusual(line)
    if usual.datacontenttype not in {None, "application/json"} or not is_plain(line, usual):
        return _unusual(line)
    key = _payer_in_json(usual.data).encode()
    headers: Headers = [
        _repeated("ce_specversion", usual.specversion),
        ("ce_id", usual.id.encode()),
        _repeated("ce_source", usual.source),
        _repeated("ce_type", usual.type),
        _JSON,
    ]
    if usual.time is not None:
        headers.append(("ce_time", usual.time.encode()))
    if usual.subject is not None:
        headers.append(("ce_subject", usual.subject.encode()))
    return Message(usual.id, key, bytes(usual.data), headers, is_piece=False)


@functools.lru_cache(REPEATED_MAX)
def _repeated(name: str, value: str) -> tuple[str, bytes]:
    return name, value.encode()


def keyless(line: bytes) -> Message:
    """A line whose payer cannot be told: as it stands, for the dead letters."""
    return _structured(line, b"")


def cut_short(head: bytes, *, size_bytes: int, sha256: bytes) -> Message:
    """A line longer than an event may be: its beginning, and what it was, for the dead letters.

    What is added makes it too long for an event, whatever the beginning is by itself.
    """
    note = f"\n[cut here: the line has {size_bytes} bytes, SHA-256 {sha256.hex()}]"
    return _structured(head[:EVENT_BYTES_MAX] + note.encode(), b"")


def _unusual(line: bytes) -> Message:
    try:
        envelope = _decode_any(line)
    except _NOT_JSON as error:
        raise Unreadable(f"not a CloudEvent in JSON: {error}") from None
    if envelope.data_base64 is None:
        return _structured(line, _payer_in_json(envelope.data).encode(), envelope.id)
    payer = _payer_in_protobuf(envelope.type, envelope.data_base64)
    return _structured(line, payer.encode(), envelope.id)


def _structured(line: bytes, key: bytes, event_id: str = "") -> Message:
    return Message(event_id, key, line, [(CONTENT_TYPE, STRUCTURED)], is_piece=False)


def _payer_in_json(data: msgspec.Raw) -> str:
    try:
        given = _decode_payer(data)
    except _NOT_JSON as error:
        raise Unreadable(f"no attribution ID in its data: {error}") from None
    return _stored(given.camel or given.snake or "")


def _payer_in_protobuf(kind: str, encoded: str) -> str:
    if kind not in _MESSAGES:
        raise Unreadable("no attribution ID: its type is unknown")
    try:
        message = _MESSAGES[kind].FromString(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, DecodeError) as error:
        raise Unreadable(f"no attribution ID in its data: {error}") from None
    return _stored(message.attribution_id)


def _stored(given: str) -> str:
    payer = stored_attribution_id(given)
    if payer is None:
        raise Unreadable(f"attribution ID {given[:80]!r}: must be team:<uuid>")
    return payer
