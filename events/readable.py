"""Events and identifiers as people and JSON write them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec

from events.base import LedgerEvent

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_MS = 86_400_000
TIME_MIN = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
TIME_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

_days: dict[int, str] = {}
_DAYS_KEPT = 20_000  # about 55 years of dates; beyond it the cache starts anew


def uuid_text(uuid: bytes) -> str:
    """Write 16 bytes as a UUID in lower case with hyphens."""
    h = uuid.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def uuid_bytes(text: str) -> bytes:
    """Read a UUID in its stored spelling (lower case, hyphens)."""
    return bytes.fromhex(text.replace("-", ""))


def attribution_id(payer: bytes) -> str:
    """Write a payer as an attribution ID."""
    return "team:" + uuid_text(payer)


def time_text(ms: int) -> str:
    """Write a time as `YYYY-MM-DDTHH:MM:SS.mmmZ`.

    By integers: strftime costs a third of a listing.
    """
    day, rest = divmod(ms, _DAY_MS)
    date = _days.get(day)
    if date is None:
        if len(_days) >= _DAYS_KEPT:
            _days.clear()
        date = _days[day] = (_EPOCH + dt.timedelta(days=day)).date().isoformat()
    seconds, millis = divmod(rest, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{date}T{hours:02d}:{minutes:02d}:{seconds:02d}.{millis:03d}Z"


_TIMES = {
    "recorded_at", "creation_time", "started_time", "stopping_time", "stopped_time", "ended_time",
    "effective_time", "corrects", "cycle_start", "next_billing", "closed_at", "anchor", "instant",
    "from_time", "to_time", "in_force_from", "created", "joined", "ended_at", "timestamp",
    "period_start", "period_end",
}  # fmt: skip


def _readable(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        if name == "payer":
            return attribution_id(value)
        return uuid_text(value) if len(value) == 16 else value.hex()
    if name in _TIMES and value is not None:
        return time_text(value)
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else _fields(item) for item in value]
    return value


def _fields(event: msgspec.Struct) -> dict[str, Any]:
    names = event.__struct_fields__
    return {
        ("attribution_id" if name == "payer" else name): _readable(name, getattr(event, name))
        for name in names
    }


def event_json(event: LedgerEvent) -> str:
    """Write an event's own fields as a JSON object.

    When and by whom it was recorded stand beside it.
    """
    fields = _fields(event)
    del fields["recorded_at"], fields["author"]
    return json.dumps(msgspec.to_builtins(fields), ensure_ascii=False)
