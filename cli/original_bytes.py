"""What was rejected as a person reads it: text as it is, protobuf as JSON, other bytes in hex."""

import json

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from usage.events.v1 import events_pb2, packed_pb2
from usage_ledger.v1 import queries_pb2 as queries

# Bytes of hexadecimal in one line.
_HEX_A_LINE = 32

_MESSAGES: dict[str, type[Message]] = {
    "usage.workspace_instance.started.v1": events_pb2.WorkspaceInstanceStarted,
    "usage.workspace_instance.stopping.v1": events_pb2.WorkspaceInstanceStopping,
    "usage.workspace_instance.stopped.v1": events_pb2.WorkspaceInstanceStopped,
    "usage.credit_note.issued.v1": events_pb2.CreditNoteIssued,
}


def readable(answer: queries.GetDeadLetterResponse) -> str:
    """What was rejected, in as many lines as it takes."""
    original = answer.original
    if answer.dead_letter.kind == "packed-event":
        return _packed_event(original) or text_or_hex(original)
    if answer.dead_letter.kind == "message":
        if answer.message.value_is_null:
            return "(no value)"
        headers = {one.name.lower(): one.value for one in answer.message.headers}
        if b"json" not in headers.get("content-type", b""):
            event_type = headers.get("ce_type", b"").decode(errors="replace")
            return _event_data(event_type, original) or text_or_hex(original)
    return text_or_hex(original)


def headers_and_key(answer: queries.GetDeadLetterResponse) -> list[tuple[str, str]]:
    """Names and values of what came with a message's value."""
    if not answer.HasField("message"):
        return []
    message = answer.message
    pairs = [("key", text_or_hex(message.key) if message.HasField("key") else "(none)")]
    for one in message.headers:
        value = text_or_hex(one.value) if one.HasField("value") else "(null)"
        pairs.append((f"header {one.name}", value))
    return pairs


def text_or_hex(value: bytes) -> str:
    """Text if it is text; else its bytes in hexadecimal."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        pass
    else:
        if all(sign.isprintable() or sign in "\n\r\t" for sign in text):
            return text
    lines = (value[at : at + _HEX_A_LINE] for at in range(0, len(value), _HEX_A_LINE))
    return "\n".join(line.hex(" ") for line in lines)


def _packed_event(encoded: bytes) -> str:
    try:
        event = packed_pb2.PackedEvent.FromString(encoded)
        shown = json_format.MessageToDict(event)
    except (DecodeError, ValueError):
        return ""
    data = _event_data(event.type, event.data)
    if data:
        shown["data"] = json.loads(data)
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _event_data(event_type: str, encoded: bytes) -> str:
    message = _MESSAGES.get(event_type)
    if message is None:
        return ""
    try:
        return json_format.MessageToJson(message.FromString(encoded), indent=2, ensure_ascii=False)
    except (DecodeError, ValueError):
        return ""
