"""Prices, runtimes and months against exact fractions and a calendar counted by days."""

from __future__ import annotations

import calendar
import datetime as dt
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aggregates import PriceBook
from aggregates.calendar import add_months, periods_until
from events import PriceListPublished
from events.money import (
    FALLBACK_RATE,
    RATE_MAX,
    RATE_PLACES_MAX,
    RateError,
    cents_per_second,
    runtime_cents,
    runtime_seconds,
)
from events.readable import TIME_MAX, TIME_MIN
from ledger.commands.ledger import rate_text

TEN_YEARS_S = 10 * 366 * 86_400
MS_PER_DAY = 86_400_000
EPOCH_DAY = dt.date(1970, 1, 1).toordinal()

times_ms = st.integers(TIME_MIN, TIME_MAX)


@st.composite
def rates(draw: st.DrawFn) -> str:
    """Every decimal that a rate may be, with zeros before and behind it."""
    places = draw(st.integers(0, RATE_PLACES_MAX))
    digits = draw(st.integers(0, RATE_MAX * 10**places))
    whole, fraction = divmod(digits, 10**places)
    text = str(whole).zfill(draw(st.integers(1, 4)))
    return f"{text}.{fraction:0{places}d}" if places else text


def half_away_from_zero(number: Fraction) -> int:
    """Of the two nearest whole numbers, the farther one on a tie. The number is not negative."""
    below = number.numerator // number.denominator
    return below + (number - below >= Fraction(1, 2))


def exact(rate: str) -> Fraction:
    return Fraction(1, 6) if rate == FALLBACK_RATE else Fraction(rate)


class TestPrices:
    @given(rates() | st.just(FALLBACK_RATE), st.integers(0, TEN_YEARS_S))
    @example(FALLBACK_RATE, 9)
    @example(FALLBACK_RATE, 99)
    @example("0.0000000001", TEN_YEARS_S)
    @example("1000", TEN_YEARS_S)
    def test_are_exact(self, rate: str, seconds: int) -> None:
        assert half_away_from_zero(exact(rate) * 100 * seconds / 60) == runtime_cents(rate, seconds)

    @given(rates(), st.integers(0, 10_000))
    def test_round_a_half_cent_up(self, rate: str, number: int) -> None:
        """At every odd multiple of the runtime that costs a whole number of cents and a half."""
        per_second = exact(rate) * 100 / 60
        assume(per_second.denominator % 2 == 0)
        odd = 2 * number + 1
        seconds = per_second.denominator // 2 * odd
        assert (per_second.numerator * odd + 1) // 2 == runtime_cents(rate, seconds)

    @given(st.integers(0, 200_000))
    def test_round_a_half_cent_up_at_the_rate_of_classes_without_one(self, number: int) -> None:
        """9 s cost 2.5 cents, and every 18 s more cost 5."""
        assert 5 * number + 3 == runtime_cents(FALLBACK_RATE, 9 + 18 * number)

    @given(rates() | st.just(FALLBACK_RATE))
    def test_are_cents_per_second_in_lowest_terms(self, rate: str) -> None:
        per_second = exact(rate) * 100 / 60
        assert (per_second.numerator, per_second.denominator) == cents_per_second(rate)

    @given(rates())
    def test_do_not_depend_on_how_a_rate_is_written(self, rate: str) -> None:
        written = rate_text(Decimal(rate))
        assert exact(rate) == Fraction(written)
        assert cents_per_second(rate) == cents_per_second(written)
        assert written == rate_text(Decimal(written))

    @pytest.mark.parametrize(
        "rate",
        ["", "-1", "+1", "1e3", "1.", ".5", " 1", "1 ", "NaN", "1/7", "0.00000000001", "1000.1",
         "10000", "1_0", "\u0661"],
    )  # fmt: skip
    def test_of_anything_else_are_refused(self, rate: str) -> None:
        with pytest.raises(RateError):
            cents_per_second(rate)


@st.composite
def price_lists(draw: st.DrawFn) -> list[PriceListPublished]:
    """Some lists in the order they were recorded; instants may go back, as clocks do."""
    since = draw(st.lists(st.integers(0, 5), max_size=4))
    return [
        PriceListPublished(
            0, "test", revision, instant, {"a": str(revision)} if revision % 3 else {}, "1/6"
        )
        for revision, instant in enumerate([None, *since], start=1)
    ]


class TestPriceLists:
    @given(price_lists(), st.integers(-1, 6))
    def test_are_in_force_from_their_instant_on(
        self, lists: list[PriceListPublished], started: int
    ) -> None:
        """Of those whose time had come at the start, the last recorded."""
        had_come = [
            each for each in lists if each.in_force_from is None or each.in_force_from <= started
        ]
        rate = had_come[-1].credits_per_minute.get("a")
        expected = had_come[-1].revision, rate or FALLBACK_RATE, rate is not None
        assert expected == PriceBook(lists).price("a", started)


class TestRuntimes:
    @given(times_ms, times_ms)
    def test_are_whole_seconds_and_never_negative(self, start: int, end: int) -> None:
        expected = max(0, half_away_from_zero(Fraction(max(0, end - start), 1000)))
        assert expected == runtime_seconds(start, end)

    @given(times_ms, st.integers(0, TEN_YEARS_S))
    def test_round_half_a_second_up(self, start: int, seconds: int) -> None:
        whole = seconds * 1000
        near = [runtime_seconds(start, start + whole + ms) for ms in (-501, -500, 499, 500)]
        assert [max(0, seconds - 1), seconds, seconds, seconds + 1] == (
            near if seconds else [0, 0, *near[2:]]
        )


def day_of(ms: int) -> tuple[dt.date, int]:
    days, rest = divmod(ms, MS_PER_DAY)
    return dt.date.fromordinal(EPOCH_DAY + days), rest


class TestMonths:
    @given(times_ms, st.integers(0, 1200))
    @example(1_769_860_800_000, 1)  # 31 January 2026: to 28 February
    @example(1_769_860_800_000, 2)  # and to 31 March
    @example(1_706_659_200_000, 1)  # 31 January 2024: to 29 February
    def test_later_is_the_same_day_or_the_last_of_its_month(self, anchor: int, months: int) -> None:
        day, rest = day_of(anchor)
        years, month0 = divmod(day.month - 1 + months, 12)
        assume(day.year + years <= 9999)
        later, later_rest = day_of(add_months(anchor, months))
        last = calendar.monthrange(day.year + years, month0 + 1)[1]
        assert (day.year + years, month0 + 1) == (later.year, later.month)
        assert (min(day.day, last), rest) == (later.day, later_rest)

    @given(times_ms, st.integers(0, 400))
    def test_never_drift_from_the_anchor(self, anchor: int, months: int) -> None:
        """Boundaries in order, each at most 31 days after the one before."""
        assume(day_of(anchor)[0].year < 9950)
        step = add_months(anchor, months + 1) - add_months(anchor, months)
        assert 28 * MS_PER_DAY <= step <= 31 * MS_PER_DAY

    @given(times_ms, st.integers(-MS_PER_DAY, 40 * 366 * MS_PER_DAY))
    @example(1_769_860_800_000, 28 * MS_PER_DAY)
    @example(1_769_860_800_000, 28 * MS_PER_DAY - 1)
    def test_counted_are_those_that_have_begun(self, anchor: int, after: int) -> None:
        now = anchor + after
        assume(TIME_MIN <= now and day_of(anchor)[0].year < 9900)
        periods = periods_until(anchor, now)
        assert periods >= 0
        assert now < add_months(anchor, periods + 1)
        assert add_months(anchor, periods) <= now or (periods == 0 and after < 0)

    @given(times_ms, st.integers(0, 10**6))
    def test_end_with_the_last_that_has_a_date(self, anchor: int, months: int) -> None:
        assert add_months(anchor, months) <= TIME_MAX
