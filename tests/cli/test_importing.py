"""The order in which the lines of an import are sent."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.blocks import BLOCK_BYTES_MAX, LINE_BYTES_MAX
from cli.exits import CommandFailed
from cli.importing import (
    BLANK_LINES_MAX,
    CycleStarts,
    Turn,
    blocks,
    import_requests,
    note_cycle_start,
    turn_of,
)

PAYER = "team:7f7e0b2c-93a4-4d0a-9d5e-0c7f3f5b1a11"


def line(kind: str, **fields: object) -> bytes:
    return json.dumps({"kind": kind, "id": "x", **fields}).encode()


def cost_center(*starts: str, payer: str = PAYER) -> bytes:
    history = [{"billing_cycle_start": start} for start in starts]
    return line("cost_center", attribution_id=payer, history=history)


def entry(time: str, payer: str = PAYER) -> bytes:
    return line("entry", attribution_id=payer, effective_time=time)


@pytest.fixture
def starts() -> CycleStarts:
    starts: CycleStarts = {}
    note_cycle_start(cost_center("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"), starts)
    return starts


class TestTurn:
    def test_an_entry_before_the_current_cycle_goes_first(self, starts: CycleStarts) -> None:
        assert Turn.FIRST is turn_of(entry("2026-10-31T23:59:59.999Z"), starts)

    def test_an_entry_at_its_start_goes_last(self, starts: CycleStarts) -> None:
        assert Turn.CURRENT_CYCLE is turn_of(entry("2026-11-01T01:00:00+01:00"), starts)

    def test_times_are_compared_as_they_are_kept(self) -> None:
        starts: CycleStarts = {}
        note_cycle_start(cost_center("2026-11-01T00:00:00.000900Z"), starts)

        assert Turn.CURRENT_CYCLE is turn_of(entry("2026-11-01T00:00:00.000100Z"), starts)

    def test_an_entry_of_a_payer_without_cost_center_goes_last(self, starts: CycleStarts) -> None:
        assert Turn.CURRENT_CYCLE is turn_of(entry("2020-01-01T00:00:00Z", "team:other"), starts)

    def test_two_spellings_of_a_payer_are_one(self, starts: CycleStarts) -> None:
        spelling = "team:{" + PAYER.removeprefix("team:").upper() + "}"

        assert Turn.FIRST is turn_of(entry("2026-10-31T00:00:00Z", spelling), starts)

    def test_members_go_first_and_cost_centers_in_between(self, starts: CycleStarts) -> None:
        assert Turn.FIRST is turn_of(line("member"), starts)
        assert Turn.COST_CENTERS is turn_of(cost_center("2026-11-01T00:00:00Z"), starts)

    @pytest.mark.parametrize(
        "malformed",
        [
            b"garbage",
            b"\xff\xfe",
            b"[1]",
            b'{"kind": 7}',
            b'{"kind": "entry", "effective_time": "2026-11-01T00:00:00"}',
            b'{"kind": "entry", "effective_time": 5}',
            b'{"kind": "cost_center", "history": 5}',
            b'{"kind": "nobody knows"}',
            b"[" * 100_000,
        ],
    )
    def test_what_the_service_has_to_reject_goes_first(self, malformed: bytes) -> None:
        assert Turn.FIRST is turn_of(malformed, {})

    def test_a_blank_line_is_not_sent(self) -> None:
        assert None is turn_of(b" \r", {})


class TestBlocks:
    @given(st.lists(st.integers(1, 50_000), unique=True, max_size=50).map(sorted))
    def test_every_line_keeps_its_number(self, numbers: list[int]) -> None:
        lines = [(number, f"line {number}".encode()) for number in numbers]

        sent = [
            (number, text)
            for first, block in blocks(iter(lines))
            for number, text in enumerate(block.split(b"\n"), first)
            if text
        ]

        assert lines == sent

    def test_lines_far_apart_do_not_fill_a_block_with_blanks(self) -> None:
        lines = iter([(1, b"a"), (BLANK_LINES_MAX + 3, b"b")])

        assert [(1, b"a\n"), (BLANK_LINES_MAX + 3, b"b\n")] == list(blocks(lines))

    def test_a_block_stays_within_its_size(self) -> None:
        lines = ((number, b"x" * 1_000) for number in range(1, 2_000, 2))

        assert all(len(block) <= BLOCK_BYTES_MAX for _, block in blocks(lines))


class TestRequests:
    def sent(self, path: Path) -> Iterator[tuple[str, int, bytes]]:
        stamp = (path.stat().st_size, path.stat().st_mtime_ns)
        for request, _ in import_requests(path, source="old", stamp=stamp):
            yield request.source, request.first_line, request.lines

    def test_three_turns_and_the_source_once(self, tmp_path: Path) -> None:
        path = tmp_path / "opening.ndjson"
        late, early = entry("2026-11-02T00:00:00Z"), entry("2026-10-02T00:00:00Z")
        center = cost_center("2026-11-01T00:00:00Z")
        path.write_bytes(b"\r\n".join([late, early, b"", center, b"garbage"]))

        assert [
            ("old", 2, early + b"\r\n\n\ngarbage\n"),
            ("", 4, center + b"\r\n"),
            ("", 1, late + b"\r\n"),
        ] == list(self.sent(path))

    def test_a_line_that_is_too_long_is_sent_so_that_it_is_rejected(self, tmp_path: Path) -> None:
        path = tmp_path / "opening.ndjson"
        path.write_bytes(b'{"kind": "member"' + b" " * LINE_BYTES_MAX + b"}\n")

        ((_, number, lines),) = self.sent(path)

        assert 1 == number
        assert len(lines) < LINE_BYTES_MAX + 100
        with pytest.raises(ValueError, match="delimiter"):
            json.loads(lines)

    def test_a_file_that_changes_meanwhile_is_not_imported(self, tmp_path: Path) -> None:
        path = tmp_path / "opening.ndjson"
        path.write_bytes(line("member") + b"\n" + entry("2026-11-02T00:00:00Z"))
        sent = self.sent(path)
        next(sent)
        path.write_bytes(b"")

        with pytest.raises(CommandFailed, match="changed"):
            list(sent)
