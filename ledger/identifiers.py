"""Reading what callers send: UUIDs, attribution IDs, times."""

from __future__ import annotations

import datetime as dt
import re
import uuid

from events.readable import TIME_MAX, TIME_MIN

_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)
_LOWER_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{32}", re.ASCII | re.IGNORECASE)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_DAY_MS = 86_400_000
_CACHED_MAX = 50_000  # attribution IDs and dates kept parsed; then the cache starts anew

_CLOCKS_CACHED_MAX = 100_000  # times of day, to the second all 86,400 of them

_payers: dict[str, bytes] = {}
_clocks: dict[str, int] = {}
_dates: dict[str, int] = {}


def parse_uuid(text: str) -> str | None:
    """Give a UUID in lower case with hyphens; None for anything that is none."""
    if len(text) == 38 and text[0] == "{" and text[-1] == "}":
        text = text[1:-1]
        if len(text) != 36:
            return None
    if _LOWER_UUID.fullmatch(text):
        return text
    if _UUID.fullmatch(text):
        return text.lower()
    if _HEX.fullmatch(text):
        return str(uuid.UUID(text))
    return None


def parse_payer(attribution_id: str) -> bytes | None:
    """Give the payer of an attribution ID `team:<uuid>` as 16 bytes.

    None for anything that is none.
    """
    payer = _payers.get(attribution_id)
    if payer is not None:
        return payer
    if not attribution_id.startswith("team:"):
        return None
    found = parse_uuid(attribution_id[5:])
    if found is None:
        return None
    if len(_payers) >= _CACHED_MAX:
        _payers.clear()
    payer = _payers[attribution_id] = uuid.UUID(found).bytes
    return payer


def parse_time(text: str) -> int:
    """Read an RFC 3339 time with a zone as milliseconds, cut.

    Raise ValueError with what is wrong.
    """
    # The usual spelling, `YYYY-MM-DDTHH:MM:SSZ` or with three more digits, is put together from a
    # date and a time of day that were parsed before; both caches hold nothing that is not valid.
    if text[10:11] == "T" and text[-1:] == "Z":
        day = _dates.get(text[:10])
        clock = _clocks.get(text[11:-1])
        if day is not None and clock is not None:
            return day + clock
    ms = _parse_time(text)
    if text[-1:] == "Z":
        if len(_clocks) >= _CLOCKS_CACHED_MAX:
            _clocks.clear()
        _clocks[text[11:-1]] = ms % _DAY_MS
    return ms


def _parse_time(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("write it like 2026-11-01T08:00:00Z, with a zone")
    date, hours, minutes, seconds, fraction, sign, zone_hours, zone_minutes = match.groups()
    day = _dates.get(date)
    if day is None:
        try:
            day = (dt.date.fromisoformat(date).toordinal() - _EPOCH_DAY) * _DAY_MS
        except ValueError:
            raise ValueError("there is no such date in years 1 to 9999") from None
        if len(_dates) >= _CACHED_MAX:
            _dates.clear()
        _dates[date] = day
    h, m, s = int(hours), int(minutes), int(seconds)
    if h > 23 or m > 59 or s > 59:
        raise ValueError("there is no such time of day")
    ms = day + h * 3_600_000 + m * 60_000 + s * 1000
    if fraction:
        ms += int(fraction[:3].ljust(3, "0"))
    if sign:
        zh, zm = int(zone_hours), int(zone_minutes)
        if zh > 23 or zm > 59:
            raise ValueError("there is no such zone")
        offset = zh * 3_600_000 + zm * 60_000
        ms += offset if sign == "-" else -offset
        if not TIME_MIN <= ms <= TIME_MAX:
            raise ValueError("it lies outside years 1 to 9999")
    return ms
