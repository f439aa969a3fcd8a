"""Runtime and price, in exact fractions."""

from fractions import Fraction

FALLBACK_RATE = Fraction(1, 6)
"""Credits a minute of a class without a rate."""

DEFAULT_RATES = {
    "default": "0.1666666667",
    "g1-standard": "0.1666666667",
    "g1-large": "0.3333333333",
    "gitpodio-internal-xl": "0.3333333333",
}


def round_half_away_from_zero(number: Fraction) -> int:
    """The nearest whole number; of two equally near ones the one farther from zero."""
    doubled = abs(number) * 2 + 1
    magnitude = doubled.numerator // doubled.denominator // 2
    return magnitude if number >= 0 else -magnitude


def runtime_seconds(start_ms: int, end_ms: int) -> int:
    """Whole seconds from start to end; an end before the start is no runtime at all."""
    return max(0, round_half_away_from_zero(Fraction(end_ms - start_ms, 1000)))


def price_cents(credits_per_minute: Fraction, seconds: int) -> int:
    """Credit cents of so many seconds."""
    return round_half_away_from_zero(credits_per_minute * seconds / 60 * 100)
