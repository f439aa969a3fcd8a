"""Requests with texts that nobody expects: each text field of a call in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.contract.calls.asking import PAYER

# What a status says goes into trailers, which have little room; and PostgreSQL takes no NUL.
ODD_TEXTS: Final = {
    "long": "x" * 300_000,
    "wide": "\U0001f4b3" * 60_000,
    "nul": "\0",
    "nul inside": "a\0b",
}
# What a caller can do something about. A stream that broke is none of it.
ANSWERS: Final = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


def requests_with(method: MethodDescriptor, text: str) -> Iterator[tuple[str, bytes]]:
    """Give the name of each text field of a call, and a request that has this text there.

    The payer is a good one, so that more is looked at than it.
    """
    yield from _fill(GetMessageClass(method.input_type), text)


def _fill(kind: type[Message], text: str) -> Iterator[tuple[str, bytes]]:
    fields: Any = kind.DESCRIPTOR.fields
    for field in fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield field.name, _message(kind, field, text).SerializeToString()
        elif field.message_type is not None and not field.is_repeated:
            for name, inner in _fill(GetMessageClass(field.message_type), text):
                outer: Any = kind()
                getattr(outer, field.name).ParseFromString(inner)
                yield f"{field.name}.{name}", outer.SerializeToString()


def _message(kind: type[Message], field: Any, text: str) -> Any:
    message: Any = kind()
    if "attribution_id" in kind.DESCRIPTOR.fields_by_name:
        message.attribution_id = PAYER
    if field.is_repeated:
        getattr(message, field.name).append(text)
    else:
        setattr(message, field.name, text)
    return message


def code_of(channel: grpc.Channel, path: str, request: bytes) -> grpc.StatusCode:
    """Ask, and give the status that comes back."""
    call = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    try:
        call(request, timeout=60)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK
