"""Which spellings of UUIDs, attribution IDs and times are read, and as what."""

from __future__ import annotations

import datetime as dt
import string
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.readable import TIME_MAX, TIME_MIN, attribution_id, time_text, uuid_bytes, uuid_text
from ledger.identifiers import parse_payer, parse_time, parse_uuid

HEX = frozenset(string.hexdigits)
HYPHENS = (8, 13, 18, 23)
MS_PER_DAY = 86_400_000
EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
# Letters and digits that look, fold or count like those of a UUID, and are none.
LOOKALIKES = "\u0660\uff11\uff41\u01c6\u017f\u212ag{}-: \n\0"

mixed_case = st.lists(st.booleans(), min_size=36, max_size=36)


def spelt(text: str, upper: list[bool]) -> str:
    return "".join(
        letter.upper() if big else letter for letter, big in zip(text, upper, strict=False)
    )


def is_uuid(text: str) -> bool:
    """By the contract's section 1, letter by letter."""
    if len(text) == 38 and (text[0], text[-1]) == ("{", "}"):
        return len(text[1:-1]) == 36 and "-" in text and is_uuid(text[1:-1])
    if len(text) == 36:
        return all((c == "-") if i in HYPHENS else (c in HEX) for i, c in enumerate(text))
    return len(text) == 32 and all(c in HEX for c in text)


@st.composite
def nearly_uuids(draw: st.DrawFn) -> str:
    """A spelling with a letter changed, left out or put in."""
    known = str(draw(st.uuids()))
    text: str = draw(
        st.sampled_from(
            (
                known,
                known.replace("-", ""),
                f"{{{known}}}",
                f"urn:uuid:{known}",
                f"{{{known.replace('-', '')}}}",
                f"({known})",
            )
        )
    )
    at = draw(st.integers(0, len(text)))
    put_in: str = draw(st.sampled_from(("", *LOOKALIKES, "a", "F", "0")))
    return text[:at] + put_in + text[at + draw(st.integers(0, 1)) :]


class TestUUIDs:
    @given(st.uuids(), mixed_case)
    def test_have_three_shapes_in_letters_of_any_case(
        self, known: uuid.UUID, upper: list[bool]
    ) -> None:
        hyphenated = spelt(str(known), upper)
        for text in (hyphenated, f"{{{hyphenated}}}", spelt(known.hex, upper)):
            assert str(known) == parse_uuid(text)
            assert known.bytes == parse_payer(f"team:{text}")
            assert f"team:{known}" == attribution_id(known.bytes)
        assert known.bytes == uuid_bytes(str(known))
        assert str(known) == uuid_text(known.bytes)

    @given(nearly_uuids())
    @example("")
    @example("{}")
    @example("0" * 31)
    @example("{" + "0" * 36 + "}")
    @example("{" + "0" * 32 + "}")
    @example("0" * 32 + "\n")
    def test_are_nothing_else(self, text: str) -> None:
        found = parse_uuid(text)
        assert is_uuid(text) == (found is not None)
        if found is not None:
            assert str(uuid.UUID(text)) == found

    @given(
        st.uuids(),
        st.sampled_from(
            ("{}", "user:{}", "Team:{}", "TEAM:{}", "team: {}", "team:{} ", " team:{}", "team::{}",
             "team:{}:", "team:{}:x", "teams:{}", "team;{}", "team:urn:uuid:{}", "team", "team:")
        ),
    )  # fmt: skip
    def test_pay_only_as_a_team(self, known: uuid.UUID, spelling: str) -> None:
        assert parse_payer(spelling.format(known)) is None


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, int]:
    """An RFC 3339 text with any number of digits and any zone, and its milliseconds, cut."""
    days, ms_of_day = divmod(draw(st.integers(TIME_MIN, TIME_MAX)), MS_PER_DAY)
    date = dt.date.fromordinal(EPOCH_DAY + days)
    seconds, millis = divmod(ms_of_day, 1000)
    digits = draw(st.integers(0, 9))
    nanos = millis * 1_000_000 + draw(st.integers(0, 999_999))
    fraction = f"{nanos:09d}"[:digits]
    zone, offset_minutes = draw(zones())
    text = (
        f"{date.isoformat()}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        + (f".{fraction}" if digits else "")
        + zone
    )
    kept = int(fraction[:3].ljust(3, "0")) if digits else 0
    return text, days * MS_PER_DAY + seconds * 1000 + kept - offset_minutes * 60_000


@st.composite
def zones(draw: st.DrawFn) -> tuple[str, int]:
    if draw(st.booleans()):
        return "Z", 0
    minutes = draw(st.integers(0, 23 * 60 + 59))
    sign = draw(st.sampled_from("+-"))
    text = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    return text, minutes if sign == "+" else -minutes


class TestTimes:
    @given(moments())
    @example(("0001-01-01T00:00:00Z", TIME_MIN))
    @example(("9999-12-31T23:59:59.999999999Z", TIME_MAX))
    @example(("1969-12-31T23:59:59.999999Z", -1))
    @example(("0001-01-01T00:00:00+00:01", TIME_MIN - 60_000))
    @example(("9999-12-31T23:59:59-00:01", TIME_MAX - 999 + 60_000))
    def test_are_cut_to_milliseconds_in_years_1_to_9999(self, moment: tuple[str, int]) -> None:
        text, expected = moment
        for _ in ("read", "read again"):
            if TIME_MIN <= expected <= TIME_MAX:
                assert expected == parse_time(text)
            else:
                with pytest.raises(ValueError, match="years 1 to 9999"):
                    parse_time(text)

    @given(st.integers(TIME_MIN, TIME_MAX))
    def test_are_written_as_they_are_read(self, ms: int) -> None:
        assert ms == parse_time(time_text(ms))

    @pytest.mark.parametrize(
        "text",
        [
            "", "2026-11-01", "2026-11-01T08:00:00", "2026-11-01 08:00:00Z", "2026-11-01t08:00:00Z",
            "2026-11-01T08:00:00z", "2026-11-01T08:00Z", "2026-11-01T24:00:00Z",
            "2026-11-01T08:60:00Z", "2026-11-01T08:00:60Z", "2026-02-29T08:00:00Z",
            "2026-13-01T08:00:00Z", "2026-00-01T08:00:00Z", "2026-11-00T08:00:00Z",
            "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z",
            "2026-11-01T08:00:00.Z", "2026-11-01T08:00:00.1234567890Z", "2026-11-01T08:00:00,5Z",
            "2026-11-01T08:00:00+24:00", "2026-11-01T08:00:00+01:60", "2026-11-01T08:00:00+0100",
            "2026-11-01T08:00:00+01", "2026-11-01T08:00:00ZZ", " 2026-11-01T08:00:00Z",
            "2026-11-01T08:00:00Z\n", "2026-11-01T08:00:00 Z", "\uff12026-11-01T08:00:00Z",
            "2026-11-01T08:00:0\u0660Z", "2026-W45-7T08:00:00Z",
        ],
    )  # fmt: skip
    def test_are_nothing_else(self, text: str) -> None:
        parse_time("2026-11-01T08:00:00Z")  # its date and its time of day are known now
        with pytest.raises(ValueError, match=r"write it like|there is no such"):
            parse_time(text)
