"""Billing periods: whole months from a start, until Stripe tells of others."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregates import Periods
from aggregates.calendar import add_months

DAY_MS = 86_400_000
YEAR_MS = 366 * DAY_MS
STARTS = st.integers(1_700_000_000, 1_900_000_000).map(lambda second: second * 1_000)


def ms(date: str) -> int:
    return int(dt.datetime.fromisoformat(f"{date}T00:00:00+00:00").timestamp()) * 1_000


def dates(periods: Periods, until: str) -> list[str]:
    """Give the days on which periods begin, until a day."""
    found = periods.until(ms(until))
    return [
        dt.datetime.fromtimestamp(one.start / 1_000, dt.UTC).date().isoformat() for one in found
    ]


@st.composite
def told_periods(draw: st.DrawFn) -> tuple[Periods, int]:
    """Periods of which Stripe told up to five, whatever they are, and an instant after them."""
    start = draw(STARTS)
    periods = Periods.beginning_at(start)
    for _ in range(draw(st.integers(0, 5))):
        begun = start + draw(st.integers(0, YEAR_MS))
        length = draw(st.sampled_from((1, DAY_MS, 30 * DAY_MS)) | st.integers(1, 100 * DAY_MS))
        whole = draw(st.booleans())
        periods = periods.with_told(begun, add_months(begun, 1) if whole else begun + length)
    return periods, start + draw(st.integers(1, 2 * YEAR_MS))


class TestPeriods:
    @given(STARTS, st.integers(0, 60))
    def test_of_which_stripe_told_nothing_are_months(self, start: int, months: int) -> None:
        periods = Periods.beginning_at(start)
        assert periods.has(add_months(start, months), add_months(start, months + 1))

    @given(told_periods())
    def test_follow_each_other_without_a_gap(self, drawn: tuple[Periods, int]) -> None:
        periods, instant = drawn
        found = periods.until(instant)
        assert periods.first_start == found[0].start
        assert all(one.start < one.end for one in found)
        assert [one.end for one in found[:-1]] == [one.start for one in found[1:]]
        assert found[-1].start < instant <= found[-1].end

    @given(told_periods(), st.data())
    def test_hold_each_instant_of_theirs(
        self, drawn: tuple[Periods, int], data: st.DataObject
    ) -> None:
        periods, instant = drawn
        one = data.draw(st.sampled_from(periods.until(instant)))
        inside = data.draw(st.integers(one.start, one.end - 1))
        assert one == periods.at(inside)
        assert periods.has(one.start, one.end)

    @given(told_periods())
    def test_begin_where_stripe_told_it(self, drawn: tuple[Periods, int]) -> None:
        periods, _ = drawn
        assert all(start == periods.at(start).start for start, _ in periods.told)

    @given(told_periods())
    def test_that_were_told_last_are_as_they_were_told(self, drawn: tuple[Periods, int]) -> None:
        """Nothing that was known before comes after them."""
        periods, _ = drawn
        assert periods.has(*periods.told[-1])

    @given(told_periods())
    def test_count_by_their_own_anchor(self, drawn: tuple[Periods, int]) -> None:
        """Which is what a cost center goes on with."""
        periods, instant = drawn
        one = periods.until(instant)[-1]
        assert one == periods.at(one.start)
        if one.number >= 0:
            assert one.start == add_months(one.anchor, one.number)
        following = periods.at(one.end)
        if not periods.is_told(one.end):
            assert (one.anchor, one.number + 1) == (following.anchor, following.number)

    def test_go_on_from_the_day_to_which_an_anchor_was_moved(self) -> None:
        periods = Periods.beginning_at(ms("2027-01-31")).with_told(
            ms("2027-03-10"), ms("2027-04-10")
        )
        days = ["01-31", "02-28", "03-10", "04-10", "05-10"]
        assert [f"2027-{day}" for day in days] == dates(periods, "2027-06-10")

    def test_go_on_from_the_end_of_one_that_is_no_month(self) -> None:
        """Stripe told of one from the last of February to the last of March."""
        periods = Periods.beginning_at(ms("2027-02-10")).with_told(
            ms("2027-02-28"), ms("2027-03-31")
        )
        days = ["02-10", "02-28", "03-31", "04-30", "05-31"]
        assert [f"2027-{day}" for day in days] == dates(periods, "2027-06-30")

    def test_take_what_was_told_last_of_a_start(self) -> None:
        start = ms("2027-01-10")
        periods = Periods.beginning_at(start).with_told(start, ms("2027-01-20"))
        assert ["2027-01-10", "2027-01-20"] == dates(periods, "2027-02-20")

    @pytest.mark.parametrize(
        ("ended", "last"),
        [
            ("2027-02-20", ("2027-02-10", "2027-02-20")),
            ("2027-03-10", ("2027-02-10", "2027-03-10")),
            ("2027-01-10", ("2027-01-10", "2027-01-10")),
        ],
        ids=["within one", "with one", "as it began"],
    )
    def test_are_cut_off_where_the_subscription_ends(
        self, ended: str, last: tuple[str, str]
    ) -> None:
        periods = Periods.beginning_at(ms("2027-01-10"))
        assert (ms(last[0]), ms(last[1])) == periods.ending_at(ms(ended))[-1]

    def test_have_one_of_no_length_only_if_stripe_told_that_it_began(self) -> None:
        ended = ms("2027-02-10")
        periods = Periods.beginning_at(ms("2027-01-10"))
        assert 1 == len(periods.ending_at(ended))
        told = periods.with_told(ended, ms("2027-03-10"))
        assert (ended, ended) == told.ending_at(ended)[-1]
