"""What opens the parts of a number that an explanation left closed."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from ledger.errors import InvalidArgumentError

Key = tuple[int | str | bytes, ...]
Place = tuple[int | bytes, ...]

_FORM = 1  # of the text; another one is refused rather than misread
TEXT_CHARS_MAX = 4_096
_INTEGER_MAX = 2**62  # no database keeps more than 64 bits


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Which number, behind which of its parts, and the state of the log that they were read in."""

    form: int
    payer: bytes
    kind: str
    key: tuple[Any, ...]  # what names the number among those of its kind
    after: tuple[Any, ...]  # the last part that was shown; empty: none was
    earlier_count: int
    earlier_cents: int
    position: int
    mark: bytes  # of the payer's numbers


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cursor).decode


def new_cursor(*values: Any) -> Cursor:
    """Make a cursor of the present form."""
    return Cursor(_FORM, *values)


def cursor_text(cursor: Cursor) -> str:
    """Write a cursor."""
    return base64.urlsafe_b64encode(_encode(cursor)).decode("ascii")


def read_cursor(written: str) -> Cursor:
    """Read one that we wrote; InvalidArgumentError for anything else."""
    try:
        if len(written) > TEXT_CHARS_MAX:
            raise ValueError
        cursor = _decode(base64.urlsafe_b64decode(written.encode("ascii")))
        counted = cursor.earlier_count, cursor.earlier_cents, cursor.position
        if cursor.form != _FORM or len(cursor.payer) != 16:
            raise ValueError
        if any(abs(each) > _INTEGER_MAX for each in counted):
            raise ValueError
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise wrong_cursor() from None
    return cursor


def wrong_cursor() -> InvalidArgumentError:
    """Say that a cursor is none of ours; one that has only grown old is told otherwise."""
    return InvalidArgumentError("cursor: use the cursor of a number that was explained")


def integer(values: Key | Place, at: int) -> int:
    """Give a whole number of a cursor."""
    value = values[at] if at < len(values) else None
    if not isinstance(value, int) or abs(value) > _INTEGER_MAX:
        raise wrong_cursor()
    return value


def raw(values: Key | Place, at: int) -> bytes:
    """Give bytes of a cursor."""
    value = values[at] if at < len(values) else None
    if not isinstance(value, bytes):
        raise wrong_cursor()
    return value


def text(values: Key, at: int) -> str:
    """Give a text of a cursor."""
    value = values[at] if at < len(values) else None
    if not isinstance(value, str) or "\0" in value:
        raise wrong_cursor()
    return value
