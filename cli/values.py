"""Numbers, times and texts as people read them. Credits come from whole cents, not from floats."""

import datetime as dt
import re
from decimal import ROUND_HALF_UP, Decimal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from cli.exits import USAGE, CommandFailed

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def credits_text(cents: int) -> str:
    """-123456 cents are `-1,234.56` credits."""
    whole, hundredths = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole:,}.{hundredths:02d}"


def credits_number(cents: int) -> Decimal:
    """-123456 cents are the number -1234.56, with two places."""
    return Decimal(cents).scaleb(-2)


def cents_of(credits_on_the_wire: float) -> int:
    """The whole cents that a `double` of credits carries."""
    cents = Decimal(repr(credits_on_the_wire)) * 100
    return int(cents.to_integral_value(rounding=ROUND_HALF_UP))


def time_number(time: Timestamp) -> dt.datetime:
    """The time in UTC, cut to the millisecond."""
    return _EPOCH + dt.timedelta(seconds=time.seconds, milliseconds=time.nanos // 1_000_000)


def time_json(time: Timestamp) -> str:
    """`2026-11-01T08:00:00.000Z`."""
    return f"{time_number(time).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def time_text(time: Timestamp | None) -> str:
    """`2026-11-01 08:00:00`, in UTC; a dash where there is none."""
    if time is None:
        return "-"
    return time_number(time).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def duration_text(duration: Duration) -> str:
    """`1:00:00` for an hour."""
    return str(dt.timedelta(milliseconds=duration.ToMilliseconds()))


def parse_time(text: str | None, *, option: str) -> Timestamp | None:
    """A time of the command line: RFC 3339 with its zone, or a day, which begins at 00:00 UTC."""
    if text is None:
        return None
    time = Timestamp()
    try:
        time.FromJsonString(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError:
        raise CommandFailed(
            f'{option} is "{printable(text)}", but it must be a time with its zone, such as '
            "2026-11-01T08:00:00Z, or a day in UTC, such as 2026-11-01.",
            exit_code=USAGE,
        ) from None
    return time


def printable(text: str) -> str:
    """The text without what could move a terminal's cursor or colour it."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
