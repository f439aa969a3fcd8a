"""A time cuts the log behind the last event recorded by then, wherever positions are missing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import closing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import commands
from ledger.audit.cuts import Cut, KnownAt, NotFoldedError, cut_at, last_recorded_by
from ledger.errors import InvalidArgumentError
from tests.clocks.test_bounded import as_of, begun, says_the_same, told
from tests.clocks.test_every_moment import KEY, act, publish
from tests.contract.data.scene import OTHER_PAYER, note
from tests.laws.acts import OPENING

NOW = 10**13


class ShortLog:
    """Positions and the beginnings of their events."""

    def __init__(self, recorded: dict[int, int], folded: int | None = None) -> None:
        self._states = {
            position: b"\x01" + msgspec.msgpack.encode((time, "author"))
            for position, time in recorded.items()
        }
        self._folded = folded
        self.asked = 0

    def head(self) -> int:
        return max(self._states, default=0)

    def folded(self) -> int:
        return self.head() if self._folded is None else self._folded

    def states(self, positions: Sequence[int]) -> list[tuple[int, bytes]]:
        self.asked += 1
        return [(p, self._states[p]) for p in positions if p in self._states]

    def next_states(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        self.asked += 1
        found = sorted(p for p in self._states if p > after)[:limit]
        return [(p, self._states[p]) for p in found]

    def last_state(self, position: int) -> tuple[int, bytes] | None:
        self.asked += 1
        found = max((p for p in self._states if p <= position), default=None)
        return None if found is None else (found, self._states[found])


@st.composite
def logs(draw: st.DrawFn) -> dict[int, int]:
    steps = draw(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 3)), max_size=200))
    position, time, recorded = 0, draw(st.integers(-5, 5)), {}
    for gap, later in steps:
        position, time = position + gap, time + later
        recorded[position] = time
    return recorded


class TestByTime:
    @given(logs(), st.integers(-10, 700))
    def test_is_the_last_event_recorded_by_then(self, recorded: dict[int, int], time: int) -> None:
        known = [p for p, at in recorded.items() if at <= time]
        cut = cut_at(ShortLog(recorded), KnownAt(time=time), now=NOW)  # type: ignore[arg-type]
        expected = max(known, default=0)
        assert (expected, recorded.get(expected)) == (cut.position, cut.recorded_at)

    @given(logs(), st.integers(-10, 700), st.integers(0, 199))
    def test_within_a_cut(self, recorded: dict[int, int], time: int, index: int) -> None:
        positions = sorted(recorded)
        position = positions[index % len(positions)] if positions else 0
        cut = Cut(position, recorded.get(position), max(positions, default=0))
        found = last_recorded_by(ShortLog(recorded), time, cut)  # type: ignore[arg-type]
        inside = [p for p in positions if p <= position]
        times = [recorded[p] for p in inside]
        count = bisect_right(times, time)
        assert (inside[count - 1] if count else 0) == found

    def test_is_found_by_a_few_questions(self) -> None:
        log = ShortLog({position: position for position in range(1, 300_001)})
        cut = cut_at(log, KnownAt(time=123_456), now=NOW)  # type: ignore[arg-type]
        assert 123_456 == cut.position
        assert log.asked <= 6


class TestByPosition:
    @given(logs(), st.integers(0, 60_000))
    def test_of_which_nothing_lies_there(self, recorded: dict[int, int], position: int) -> None:
        """It cuts behind the event before, and is as old as that."""
        position = min(position, max(recorded, default=0))
        cut = cut_at(ShortLog(recorded), KnownAt(position=position), now=NOW)  # type: ignore[arg-type]
        newest = max((p for p in recorded if p <= position), default=0)
        assert (position, recorded.get(newest)) == (cut.position, cut.recorded_at)

    def test_answers_as_of_a_time_know_when_terms_were_set(self) -> None:
        with closing(begun()) as ledger:
            told(
                ledger,
                "10-20 13:00",
                act(lambda group: commands.open_cost_center(group, KEY, OPENING)),
            )
            told(
                ledger,
                "10-22 13:00",
                act(
                    lambda group: commands.set_cost_center(
                        group, KEY, spending_limit=7, strategy="other", opening=OPENING
                    )
                ),
            )
            told(ledger, "10-23 13:00", publish(note(1, payer=OTHER_PAYER, time="10-23 10:00")))
            missing = ledger.core.head
            told(ledger, "10-24 13:00", publish(note(1, event_id="newer", time="10-24 10:00")))
            assert missing < ledger.core.head
            ledger.store.connection.execute(
                "DELETE FROM stored_events WHERE position = ?", (missing,)
            )
            says_the_same(ledger, as_of("10-21 13:00", missing))


class TestRefused:
    @pytest.mark.parametrize("position", [-1, 4])
    def test_positions_that_are_not_there(self, position: int) -> None:
        with pytest.raises(InvalidArgumentError, match="positions 1 to 3"):
            cut_at(ShortLog({1: 5, 3: 6}), KnownAt(position=position), now=NOW)  # type: ignore[arg-type]

    def test_a_time_that_is_still_to_come(self) -> None:
        log = ShortLog({1: 5})
        with pytest.raises(InvalidArgumentError, match="future"):
            cut_at(log, KnownAt(time=NOW + 1), now=NOW)  # type: ignore[arg-type]
        assert 1 == cut_at(log, KnownAt(time=NOW), now=NOW).position  # type: ignore[arg-type]

    def test_a_clock_that_went_back_does_not_hide_what_is_recorded(self) -> None:
        cut = cut_at(ShortLog({1: 50}), KnownAt(time=50), now=7)  # type: ignore[arg-type]
        assert 1 == cut.position

    def test_what_is_not_folded_yet(self) -> None:
        log = ShortLog({1: 5, 2: 6}, folded=1)
        with pytest.raises(NotFoldedError, match="up to 1"):
            cut_at(log, KnownAt(position=2), now=NOW)  # type: ignore[arg-type]
        assert 1 == cut_at(log, KnownAt(), now=NOW).position  # type: ignore[arg-type]
