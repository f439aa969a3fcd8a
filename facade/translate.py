"""Between wire types and ours."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from ledger.errors import InvalidArgumentError
from ledger.views import is_stripe_id

_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799  # years 1 to 9999
_NANOS_MAX = 999_999_999


def nanoseconds(message: Any, name: str) -> int | None:
    """Read a timestamp field in nanoseconds since 1970; None when it is missing."""
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    if not _SECONDS_MIN <= stamp.seconds <= _SECONDS_MAX:
        raise InvalidArgumentError(f"{name}: {stamp.seconds} s lies outside years 1 to 9999")
    if not 0 <= stamp.nanos <= _NANOS_MAX:
        raise InvalidArgumentError(f"{name}: nanos {stamp.nanos} must be 0 to {_NANOS_MAX}")
    return stamp.seconds * 1_000_000_000 + stamp.nanos


def text_of(ns: int) -> str:
    """Write nanoseconds since 1970 as people read them, to the last one, for a message."""
    seconds, nanos = divmod(ns, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos).ToJsonString()


def fill(stamp: Timestamp, ms: int) -> None:
    """Write milliseconds into a timestamp of a message."""
    seconds, rest = divmod(ms, 1000)
    stamp.seconds = seconds
    stamp.nanos = rest * 1_000_000


def timestamp(ms: int | None) -> Timestamp | None:
    """Give milliseconds as a timestamp."""
    if ms is None:
        return None
    seconds, rest = divmod(ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def must_be_stripe_id(field: str, stripe_id: str, missing: str) -> None:
    """Refuse what cannot be an id of Stripe, before anything is recorded or asked."""
    if not stripe_id.strip():
        raise InvalidArgumentError(missing)
    if not is_stripe_id(stripe_id):
        raise InvalidArgumentError(
            f"{field} {stripe_id[:80]!r}: an id of Stripe is 1 to 255 visible ASCII characters, not"
            " all of them dots"
        )
