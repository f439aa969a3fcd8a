"""Exact arithmetic of credits: what a runtime costs at a rate. No floats anywhere.

Rounding is half away from zero; runtimes are never negative, so half up is the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import gcd

RATE_PLACES_MAX = 10  # decimal places of a rate
RATE_MAX = 1_000  # credits per minute; keeps every sum that a database holds within 64 bits
FALLBACK_RATE = "1/6"  # credits per minute of a class without a rate: exactly 10 an hour

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
