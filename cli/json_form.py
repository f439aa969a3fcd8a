"""Answers as JSON: the fields of our protos in snake_case, in a form that scripts can rely on.

Times are RFC 3339 in UTC with milliseconds, or null. Durations are `<name>_seconds`. Cents stay
whole numbers and stand beside credits with exactly two places: `credit_cents` and `credits`,
`balance_cents` and `balance_credits`. Enums are their lower-case name without the prefix. Bytes are
`<name>_base64` and, where they are UTF-8, `<name>_text`. Fields that hold JSON are opened.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cli.values import cents_of, credits_number, time_json

_HOLDS_JSON = {"metadata": "metadata", "json": "fields"}
_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(value: object, *, indent: int = 0) -> str:
    """JSON text; with `indent` over several lines."""
    encoded = _encoder.encode(value)
    return (msgspec.json.format(encoded, indent=indent) if indent else encoded).decode()


def plain(message: Message) -> dict[str, Any]:
    """A message as the dictionary that `encode` prints."""
    fields: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            fields[field.name] = [_value(one, field) for one in value]
        elif isinstance(value, Duration):
            name = f"{field.name}_seconds"
            fields[name] = value.ToMilliseconds() / 1000 if message.HasField(field.name) else None
        elif field.message_type is not None and not message.HasField(field.name):
            fields[field.name] = None
        elif field.name.endswith("_cents"):
            fields[_credits_name(field.name)] = credits_number(value)
            fields[field.name] = value
        elif field.type == FieldDescriptor.TYPE_BYTES:
            fields[f"{field.name}_base64"] = base64.b64encode(value).decode()
            fields[f"{field.name}_text"] = _text_or_none(value)
        elif field.name in _HOLDS_JSON:
            fields[_HOLDS_JSON[field.name]] = _opened(value)
        else:
            fields[field.name] = _value(value, field)
    return fields


def print_listing(
    out: TextIO,
    key: str,
    pages: Iterable[tuple[Iterable[Message], str]],
    beside: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """`{"<key>": […], "next_cursor": "…"}`, an element a line, holding one page at a time.

    `beside` gives more that the answers told, once all were seen.
    """
    out.write(f'{{"{key}": [')
    separator, cursor = "\n", ""
    for messages, cursor in pages:  # noqa: B007 - the last page's cursor is printed
        for message in messages:
            out.write(f"{separator}  {encode(plain(message))}")
            separator = ",\n"
    out.write(f'\n], "next_cursor": {encode(cursor)}')
    out.writelines(f',\n"{name}": {encode(value)}' for name, value in beside().items())
    out.write("}\n")


def _value(value: Any, field: Any) -> Any:
    if isinstance(value, Timestamp):
        return time_json(value)
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        return _enum_name(field.enum_type, value)
    if isinstance(value, float):
        return credits_number(cents_of(value))
    return value


def _credits_name(cents_name: str) -> str:
    name = cents_name.removesuffix("_cents")
    return "credits" if name == "credit" else f"{name}_credits"


def _enum_name(enum: Any, number: int) -> str | int | None:
    value = enum.values_by_number.get(number)
    if value is None:
        return number
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    name = value.name.removeprefix(prefix).lower()
    return None if name == "unspecified" else name


def _text_or_none(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _opened(text: str) -> Any:
    """The JSON in a field; a text that is none, as it is; null where there is no text."""
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        return text
