"""Exact arithmetic of credits: what a runtime costs at a rate. No floats anywhere.

Rounding is half away from zero; runtimes are never negative, so half up is the same. Other ways of
rounding are for questions of what would be: nothing that is recorded was rounded so.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import gcd
from typing import Literal, NamedTuple

RATE_PLACES_MAX = 10  # decimal places of a rate
RATE_MAX = 1_000  # credits per minute; keeps every sum that a database holds within 64 bits
FALLBACK_RATE = "1/6"  # credits per minute of a class without a rate: exactly 10 an hour

Mode = Literal["half-up", "half-even", "up", "down"]

_DECIMAL = re.compile(r"([0-9]{1,4})(?:\.([0-9]{1,10}))?")


class RateError(ValueError):
    """A rate that is no exact decimal of at most ten places between 0 and 1,000."""


@lru_cache(maxsize=4096)
def cents_per_second(rate: str) -> tuple[int, int]:
    """Give `rate` (credits per minute) as cents per second.

    Numerator and denominator in lowest terms.
    """
    if rate == FALLBACK_RATE:
        return 5, 18
    match = _DECIMAL.fullmatch(rate)
    if match is None:
        raise RateError(f"rate {rate!r}: write a decimal with at most {RATE_PLACES_MAX} places")
    whole, places = match[1], match[2] or ""
    numerator = int(whole + places) * 100
    denominator = 10 ** len(places) * 60
    if numerator > RATE_MAX * 100 * 10 ** len(places):
        raise RateError(f"rate {rate!r}: at most {RATE_MAX} credits per minute")
    divisor = gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor


def runtime_seconds(start: int, end: int) -> int:
    """Round the time between two instants (ms) to whole seconds; an end before the start is 0 s."""
    return (end - start + 500) // 1000 if end > start else 0


def runtime_cents(rate: str, seconds: int) -> int:
    """Price whole seconds at a rate, in cents."""
    numerator, denominator = cents_per_second(rate)
    return (2 * seconds * numerator + denominator) // (2 * denominator)


class Rounding(NamedTuple):
    """How a runtime becomes whole units of time, and their price whole cents."""

    unit_seconds: int = 1
    runtime: Mode = "half-up"
    cents: Mode = "half-up"


AS_RECORDED = Rounding()  # the contract's: how every number of the ledger is rounded


def rounded(numerator: int, denominator: int, mode: Mode) -> int:
    """Round a fraction that is not negative to a whole number."""
    if mode == "half-up":
        return (2 * numerator + denominator) // (2 * denominator)
    whole, rest = divmod(numerator, denominator)
    if mode == "up":
        return whole + (rest > 0)
    if mode == "half-even":
        return whole + (2 * rest > denominator - (whole & 1))
    return whole


def charge(rate: str, start: int, end: int, rounding: Rounding = AS_RECORDED) -> tuple[int, int]:
    """Price the time between two instants (ms); give (seconds, cents)."""
    if rounding == AS_RECORDED:
        seconds = runtime_seconds(start, end)
        return seconds, runtime_cents(rate, seconds)
    unit = rounding.unit_seconds
    seconds = rounded(end - start, unit * 1_000, rounding.runtime) * unit if end > start else 0
    numerator, denominator = cents_per_second(rate)
    return seconds, rounded(seconds * numerator, denominator, rounding.cents)
