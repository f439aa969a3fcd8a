"""Events in the body of an HTTP request, in every mode that CloudEvents have for it.

Each event's bytes stay as they came, so that a dead letter shows what was sent; of an event in
binary mode that is its headers and its body.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.parse import unquote_to_bytes

import msgspec

from ledger.arrivals import EVENT_BYTES_MAX, RejectedError
from ledger.cloudevents import parse_line
from ledger.errors import LedgerError
from ledger.intake import LINES_MAX, Batch, Line, read_lines
from ledger.messages import PACKED, Header, read_lines_of_message

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_PREFIX = "ce-"
# The body says these, or its content type does.
_NOT_IN_HEADERS = {"data", "data_base64", "datacontenttype"}
_ATTRIBUTE = re.compile(r"[a-z0-9_]+", re.ASCII)

_cut = msgspec.json.Decoder(list[msgspec.Raw]).decode

Read = Callable[[], Batch]


class NotUnderstoodError(LedgerError):
    """The body is not what its content type says, so no event of it can be told from another."""


class UnknownContentTypeError(LedgerError):
    """Nothing is known of this content type."""


class TooManyEventsError(LedgerError):
    """More events than are decided together."""


def reader_of(content_type: str, headers: Mapping[str, str], body: bytes, delivery: str) -> Read:
    """Give what reads a body's events; it is called on the writer's thread.

    `headers` have lower-case names. Raises NotUnderstoodError, UnknownContentTypeError,
    TooManyEventsError.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    charset = parameters.lower().partition("charset=")[2].partition(";")[0].strip(' "')
    if charset not in ("", "utf-8", "us-ascii"):
        raise UnknownContentTypeError(f"charset {charset[:40]}: must be utf-8")
    if kind == STRUCTURED:
        if not body or body.isspace():
            raise NotUnderstoodError("the body is empty: it must be an event")
        return partial(read_events, delivery, [body])
    if kind == BATCHED:
        return partial(read_events, delivery, _events_of(body))
    if kind in LINES:
        return partial(read_lines, delivery, body, 1)
    is_packed = kind == PACKED or kind.startswith("application/cloudevents")
    if f"{_PREFIX}specversion" in headers and not is_packed:
        return partial(_read_binary, delivery, _event_headers(kind, headers), body)
    raise UnknownContentTypeError(
        f"content type {kind[:80] or 'missing'!r}: must be {STRUCTURED} (one event), {BATCHED} (a "
        f"JSON array of them), {LINES[0]} (one a line), or that of the data with the event's "
        "attributes in ce- headers, ce-specversion among them"
    )


def read_events(delivery: str, events: Sequence[bytes | msgspec.Raw]) -> Batch:
    """Read events; what cannot be read has a reason. They are numbered from 1."""
    return Batch(delivery, [_line(number, bytes(one)) for number, one in enumerate(events, 1)])


def _line(number: int, original: bytes) -> Line:
    try:
        return Line(number, original, parse_line(original))
    except RejectedError as error:
        if len(original) <= EVENT_BYTES_MAX:
            return Line(number, original, None, str(error))
        # Of what is too long to be an event only the beginning is kept, as with lines of a file.
        digest = hashlib.sha256(original).digest()
        head = original[:EVENT_BYTES_MAX]
        return Line(number, head, None, str(error), "oversized", len(original), digest)


def _events_of(body: bytes) -> list[msgspec.Raw]:
    try:
        events = _cut(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotUnderstoodError(f"the body is not a JSON array of events: {error}") from None
    if len(events) > LINES_MAX:
        raise TooManyEventsError(
            f"{len(events):,} events: at most {LINES_MAX:,} in one request; send several"
        )
    return events


def _event_headers(content_type: str, headers: Mapping[str, str]) -> list[Header]:
    """Give an event's attributes under the names that they have in a broker's message."""
    found: list[Header] = [("content-type", (content_type or "application/json").encode())]
    for header, value in headers.items():
        name = header.removeprefix(_PREFIX)
        if name == header:
            continue
        if not _ATTRIBUTE.fullmatch(name) or name in _NOT_IN_HEADERS:
            raise NotUnderstoodError(f"header {header[:80]}: not an attribute of an event")
        found.append((f"ce_{name}", unquote_to_bytes(value.strip())))
    return found


def _read_binary(delivery: str, headers: Sequence[Header], body: bytes) -> Batch:
    """Read an event in binary mode as one that came over a broker, where it has the same parts."""
    lines = read_lines_of_message(1, None, headers, body)
    for line in lines:
        line.reason = line.reason.replace("header ce_", "header ce-")
    return Batch(delivery, lines)
