"""Lines of the usual spelling, decoded and put into protobuf: pieces of packed messages.

Anything else is left to the message that carries the line as it stands, so that the ledger reads
what was written and judges it.
"""

import datetime as dt
import re
from typing import Any, Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from publisher._checks import (
    INT32_MAX,
    INT32_MIN,
    stored_attribution_id,
)
from publisher._messages import Message, piece_of
from publisher.events import CREDIT_NOTE, STARTED, STOPPED, STOPPING
from usage.events.v1 import events_pb2
from usage.events.v1.packed_pb2 import PackedEvent

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NANOS_DIGITS: Final = 9


class _Data(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    attribution_id: str | None = None


class _Instance(_Data, gc=False, rename="camel", forbid_unknown_fields=True):
    workspace_instance_id: str | None = None


class _Started(_Instance, gc=False, rename="camel", forbid_unknown_fields=True):
    workspace_id: str | None = None
    workspace_class: str | None = None
    workspace_type: str | None = None
    context_url: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    user_avatar_url: str | None = None
    project_id: str | None = None
    creation_time: str | None = None
    started_time: str | None = None


class _Stopping(_Instance, gc=False, rename="camel", forbid_unknown_fields=True):
    stopping_time: str | None = None


class _Stopped(_Instance, gc=False, rename="camel", forbid_unknown_fields=True):
    stopped_time: str | None = None


class _Note(_Data, gc=False, rename="camel", forbid_unknown_fields=True):
    credits: int | None = None
    description: str | None = None
    user_id: str | None = None


class Envelope(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A CloudEvent without extensions; its data are not looked at yet."""

    specversion: str
    id: str
    source: str
    type: str
    data: msgspec.Raw
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None


_decode = msgspec.json.Decoder(Envelope).decode
_KINDS: Final[dict[str, tuple[Any, Any]]] = {
    STARTED: (msgspec.json.Decoder(_Started).decode, events_pb2.WorkspaceInstanceStarted),
    STOPPING: (msgspec.json.Decoder(_Stopping).decode, events_pb2.WorkspaceInstanceStopping),
    STOPPED: (msgspec.json.Decoder(_Stopped).decode, events_pb2.WorkspaceInstanceStopped),
    CREDIT_NOTE: (msgspec.json.Decoder(_Note).decode, events_pb2.CreditNoteIssued),
}


def piece_of_line(line: bytes) -> Message | None:
    """The event of a line as a piece of a packed message; None unless its spelling is usual."""
    try:
        envelope = _decode(line)
        decode, message = _KINDS[envelope.type]
        data = decode(envelope.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    if (
        envelope.specversion != "1.0"
        or envelope.datacontenttype not in {None, "application/json"}
        or not is_plain(line, envelope)
        or not _is_plain_data(bytes(envelope.data), data)
    ):
        return None
    payer = stored_attribution_id(data.attribution_id or "")
    if payer is None:
        return None
    try:
        encoded = message(**_fields(data)).SerializeToString()
        time = None if envelope.time is None else timestamp(envelope.time)
    except ValueError:
        return None
    event = PackedEvent(
        id=envelope.id, source=envelope.source, type=envelope.type, time=time, data=encoded
    )
    return piece_of(event, payer.encode())


def is_plain(line: bytes, envelope: Envelope) -> bool:
    """Whether no attribute is null, escaped or given twice.

    A decoder keeps the last of two equal names; a count of the quotes tells that there are two.
    """
    values = msgspec.structs.astuple(envelope)
    texts = len(values) - values.count(None) - 1
    return line.count(b'"') == 4 * texts + 2 + bytes(envelope.data).count(b'"')


def _is_plain_data(raw: bytes, data: Any) -> bool:
    values = msgspec.structs.astuple(data)
    given = len(values) - values.count(None)
    numbers = isinstance(getattr(data, "credits", None), int)
    return raw.count(b'"') == 4 * given - 2 * numbers


def _fields(data: Any) -> dict[str, Any]:
    """What the message is made of; ValueError for what it cannot hold as it was written."""
    fields: dict[str, Any] = {}
    for name in data.__struct_fields__:
        value = getattr(data, name)
        if value is None:
            continue
        if name.endswith("_time"):
            value = timestamp(value)
        elif name == "credits" and not INT32_MIN <= value <= INT32_MAX:
            raise ValueError(name)
        fields[name] = value
    return fields


def timestamp(text: str) -> Timestamp:
    """An RFC 3339 time with its zone; ValueError for anything else."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    clock, fraction, zone = found.groups()
    seconds = int(dt.datetime.fromisoformat(clock + zone).timestamp())
    return Timestamp(seconds=seconds, nanos=int((fraction or "0").ljust(_NANOS_DIGITS, "0")))
