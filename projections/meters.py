"""Meters of one payer by workspace class: what runs now, what it costs an hour, rates by window.

Windows are stretches of event time: an instance is counted where it started, and with its credits
where its entry is dated. Only the newest are kept, as seen from the payer's newest event.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from events.money import cents_per_second

NANO = 1_000_000_000
# Lengths of the windows in ms, and how many of each are kept: an hour in fives of minutes, and a
# day in hours. A payer's class takes about 430 bytes with all of them filled.
WINDOWS = ((300_000, 12), (3_600_000, 24))
# An event dated further past its recording is not placed: a service's clock that is years ahead
# would push everything else out of the windows for years.
AHEAD_MS = 300_000


class Window(msgspec.Struct, array_like=True, gc=False):
    """What lies in one stretch of time."""

    started: int = 0
    ended: int = 0
    credit_cents: int = 0  # of the entries dated in it


class ClassMeter(msgspec.Struct, array_like=True):
    """The meter of one workspace class."""

    running: int = 0
    # Exact: a rate has ten places and an hour 60 minutes, so nine places hold every sum of them.
    nanocredits_per_hour: int = 0
    # By length, as in WINDOWS, and number (time // length).
    windows: tuple[dict[int, Window], ...] = msgspec.field(
        default_factory=lambda: tuple({} for _ in WINDOWS)
    )


class Meters(msgspec.Struct, array_like=True):
    """A payer's meters."""

    classes: dict[str, ClassMeter] = {}
    newest: list[int | None] = msgspec.field(default_factory=lambda: [None for _ in WINDOWS])
    # Events that found their window no longer kept, by length.
    late: list[int] = msgspec.field(default_factory=lambda: [0 for _ in WINDOWS])
    early: int = 0  # events that were not placed for AHEAD_MS


class WindowRow(NamedTuple):
    """A window as it is shown."""

    start: int  # ms
    length_ms: int
    started: int
    ended: int
    credit_cents: int


@lru_cache(maxsize=4096)
def nanocredits_per_hour(rate: str) -> int:
    """Give a rate (credits per minute) as billionths of a credit per hour, exactly."""
    numerator, denominator = cents_per_second(rate)
    amount, rest = divmod(numerator * 36 * NANO, denominator)
    assert not rest, "a rate has at most ten places"
    return amount


def credits_text(nanocredits: int) -> str:
    """Write billionths of a credit as a decimal number of credits, without zeros at its end."""
    whole, rest = divmod(nanocredits, NANO)
    return f"{whole}.{rest:09d}".rstrip("0") if rest else str(whole)


def nanocredits_of(text: str) -> int:
    """Read what `credits_text` wrote."""
    whole, _, rest = text.partition(".")
    return int(whole) * NANO + int(rest.ljust(9, "0") or "0")


def run(meters: Meters, workspace_class: str, rate: str, count: int) -> None:
    """Add instances of a class that run (or, with a negative count, no longer do)."""
    meter = _meter(meters, workspace_class)
    meter.running += count
    meter.nanocredits_per_hour += count * nanocredits_per_hour(rate)
    _drop_if_empty(meters, workspace_class, meter)


def place(
    meters: Meters,
    workspace_class: str,
    time: int,
    recorded_at: int,
    *,
    started: int = 0,
    ended: int = 0,
    cents: int = 0,
) -> None:
    """Count something in the windows of its time, or as late or early."""
    if time - recorded_at > AHEAD_MS:
        meters.early += 1
        return
    meter = _meter(meters, workspace_class)
    for index, (length_ms, kept) in enumerate(WINDOWS):
        number = time // length_ms
        newest = meters.newest[index]
        if newest is None or number > newest:
            meters.newest[index] = number
            if newest is not None:
                _forget(meters, index, newest - kept, number - kept)
            newest = number
        if number <= newest - kept:
            meters.late[index] += 1
            continue
        windows = meter.windows[index]
        window = windows.get(number)
        if window is None:
            window = windows[number] = Window()
        window.started += started
        window.ended += ended
        window.credit_cents += cents
    meters.classes[workspace_class] = meter  # forgetting may just have dropped it
    _drop_if_empty(meters, workspace_class, meter)


def take_back(
    meters: Meters,
    workspace_class: str,
    time: int,
    recorded_at: int,
    *,
    started: int = 0,
    ended: int = 0,
    cents: int = 0,
) -> None:
    """Undo that something was placed, where its window is still kept."""
    meter = meters.classes.get(workspace_class)
    if meter is None or time - recorded_at > AHEAD_MS:
        return
    for index, (length_ms, _) in enumerate(WINDOWS):
        windows = meter.windows[index]
        number = time // length_ms
        window = windows.get(number)
        if window is None:
            continue
        window.started -= started
        window.ended -= ended
        window.credit_cents -= cents
        if not (window.started or window.ended or window.credit_cents):
            del windows[number]
    _drop_if_empty(meters, workspace_class, meter)


def rows(meter: ClassMeter) -> Iterator[WindowRow]:
    """Give the windows of a class, short ones first, oldest first."""
    for (length_ms, _), windows in zip(WINDOWS, meter.windows, strict=True):
        for number in sorted(windows):
            window = windows[number]
            yield WindowRow(
                number * length_ms, length_ms, window.started, window.ended, window.credit_cents
            )


def _meter(meters: Meters, workspace_class: str) -> ClassMeter:
    meter = meters.classes.get(workspace_class)
    if meter is None:
        meter = meters.classes[workspace_class] = ClassMeter()
    return meter


def _forget(meters: Meters, index: int, gone: int, last: int) -> None:
    """Drop windows of one length up to a number; those up to `gone` were dropped before."""
    for workspace_class, meter in list(meters.classes.items()):
        windows = meter.windows[index]
        if last - gone >= WINDOWS[index][1]:
            windows.clear()
        else:
            for number in range(gone + 1, last + 1):
                windows.pop(number, None)
        _drop_if_empty(meters, workspace_class, meter)


def _drop_if_empty(meters: Meters, workspace_class: str, meter: ClassMeter) -> None:
    """A class that neither runs nor has a window takes no room."""
    if not meter.running and not any(meter.windows):
        meters.classes.pop(workspace_class, None)
