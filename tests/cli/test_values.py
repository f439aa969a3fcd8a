"""Credits, times and foreign text as people read them."""

from decimal import Decimal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from cli.exits import USAGE, CommandFailed
from cli.values import (
    cents_of,
    credits_number,
    credits_text,
    parse_time,
    printable,
    time_json,
    time_text,
)

INT64 = st.integers(-(2**63), 2**63 - 1)


class TestCredits:
    @pytest.mark.parametrize(
        ("cents", "text"),
        [
            (0, "0.00"),
            (5, "0.05"),
            (-5, "-0.05"),
            (-100, "-1.00"),
            (123_456_789, "1,234,567.89"),
            (-(2**63), "-92,233,720,368,547,758.08"),
        ],
    )
    def test_cents_are_shown_with_two_places(self, cents: int, text: str) -> None:
        assert text == credits_text(cents)

    @given(INT64)
    def test_text_and_number_hold_exactly_the_cents(self, cents: int) -> None:
        assert cents == int(Decimal(credits_text(cents).replace(",", "")) * 100)
        assert cents == int(credits_number(cents) * 100)

    @given(st.integers(-(10**13), 10**13))
    def test_a_double_of_the_wire_gives_its_cents_back(self, cents: int) -> None:
        assert cents == cents_of(cents / 100)


class TestTimes:
    def test_json_has_milliseconds_cut_not_rounded(self) -> None:
        time = Timestamp(seconds=1_793_520_000, nanos=999_999_999)

        assert "2026-11-01T08:00:00.999Z" == time_json(time)

    def test_a_time_before_1970_is_cut_towards_the_past(self) -> None:
        assert "1969-12-31T23:59:59.001Z" == time_json(Timestamp(seconds=-1, nanos=1_999_999))

    def test_people_see_utc_in_seconds_and_a_dash_for_none(self) -> None:
        assert "2026-11-01 08:00:00" == time_text(Timestamp(seconds=1_793_520_000))
        assert "-" == time_text(None)

    def test_a_zone_is_honoured(self) -> None:
        time = parse_time("2026-11-01T09:00:00+01:00", option="--from")

        assert Timestamp(seconds=1_793_520_000) == time

    def test_nanoseconds_reach_the_service(self) -> None:
        time = parse_time("2026-11-01T08:00:00.000000001Z", option="--from")

        assert Timestamp(seconds=1_793_520_000, nanos=1) == time

    def test_a_day_begins_at_midnight_utc(self) -> None:
        assert Timestamp(seconds=1_793_491_200) == parse_time("2026-11-01", option="--from")

    @pytest.mark.parametrize("text", ["yesterday", "2026-11-01T08:00:00", "2026-13-01", ""])
    def test_anything_else_is_a_usage_error_that_names_the_option(self, text: str) -> None:
        with pytest.raises(CommandFailed, match="--from") as failed:
            parse_time(text, option="--from")

        assert USAGE == failed.value.exit_code


class TestPrintable:
    def test_a_foreign_text_cannot_move_the_cursor(self) -> None:
        assert "a\ufffd[31mb\ufffd" == printable("a\x1b[31mb\n")
