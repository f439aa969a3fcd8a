"""The limits of the contract, checked before anything is buffered.

Each check gives the value as it is sent, or raises InvalidEvent with the field, the value and what
is allowed.
"""

import datetime as dt
import functools
import re
import uuid
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from publisher.errors import InvalidEvent

# The contract's own limit on one string, in bytes of UTF-8.
STRING_BYTES_MAX: Final = 4_096
# Credits are an int32 in the message.
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
# Of a wrong value this much is shown.
SHOWN_MAX: Final = 80
# A service has few payers, a file of a year's events has many.
PAYERS_REMEMBERED_MAX: Final = 50_000

_STORED_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}"
    r"|[0-9a-f]{32}",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECONDS_MIN = -62_135_596_800  # 0001-01-01T00:00:00Z
_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z


def text(name: str, value: str, *, required: bool = False) -> str:
    """A text of at most 4,096 bytes without NUL; not empty if it is required."""
    if not isinstance(value, str):
        raise InvalidEvent(f"{name} is a {type(value).__name__}: must be a string")
    if required and not value:
        raise InvalidEvent(f"{name} must not be empty")
    # A character has at most four bytes, so most texts need not be encoded to be measured.
    if len(value) * 4 <= STRING_BYTES_MAX and value.isprintable():
        return value
    if "\0" in value:
        raise InvalidEvent(f"{name} contains a NUL character")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidEvent(f"{name} contains half a surrogate pair") from None
    if size > STRING_BYTES_MAX:
        raise InvalidEvent(f"{name} of {size} bytes: at most {STRING_BYTES_MAX} are allowed")
    return value


def stored_uuid(value: str) -> str | None:
    """The UUID in lower case with hyphens; None for anything that is none."""
    if _STORED_UUID.fullmatch(value):
        return value
    return str(uuid.UUID(value)) if _UUID.fullmatch(value) else None


def uuid_text(name: str, value: str | uuid.UUID) -> str:
    """A UUID in lower case with hyphens."""
    if isinstance(value, uuid.UUID):
        return str(value)
    found = stored_uuid(text(name, value))
    if found is None:
        raise InvalidEvent(f"{name} {value[:SHOWN_MAX]!r}: must be a UUID")
    return found


def optional_uuid(name: str, value: str | uuid.UUID) -> str:
    """A UUID in lower case with hyphens, or nothing."""
    return "" if value == "" else uuid_text(name, value)


@functools.lru_cache(PAYERS_REMEMBERED_MAX)
def stored_attribution_id(value: str) -> str | None:
    """The attribution ID as the ledger stores it, and as it keys messages; None if it is none."""
    if not value.startswith("team:"):
        return None
    team = stored_uuid(value.removeprefix("team:"))
    return None if team is None else f"team:{team}"


def attribution_id(value: str) -> str:
    """An attribution ID as the ledger stores it: `team:` and a UUID in lower case."""
    found = stored_attribution_id(text("attribution_id", value))
    if found is None:
        raise InvalidEvent(f"attribution_id {value[:SHOWN_MAX]!r}: must be team:<uuid>")
    return found


def instant(name: str, value: dt.datetime) -> Timestamp:
    """A time with a zone in years 1 to 9999, to the microsecond."""
    if not isinstance(value, dt.datetime):
        raise InvalidEvent(f"{name} is a {type(value).__name__}: must be a datetime")
    if value.utcoffset() is None:
        raise InvalidEvent(f"{name} {value.isoformat()!r} has no zone: give it one, such as UTC")
    since = value - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    if not _SECONDS_MIN <= seconds <= _SECONDS_MAX:
        raise InvalidEvent(f"{name} {value.isoformat()!r} lies outside years 1 to 9999 in UTC")
    return Timestamp(seconds=seconds, nanos=since.microseconds * 1_000)


def whole_number(name: str, value: int) -> int:
    """A whole number that fits an int32."""
    if type(value) is not int:  # a bool is an int, too
        raise InvalidEvent(f"{name} is a {type(value).__name__}: must be a whole number")
    if not INT32_MIN <= value <= INT32_MAX:
        raise InvalidEvent(f"{name} {value}: must be between {INT32_MIN} and {INT32_MAX}")
    return value
