"""Cutting a stream into blocks of whole lines."""

import hashlib
import io
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.blocks import Block, Limits, LongLine, Part, cut

SMALL = Limits(block_bytes=16, block_lines=3, line_bytes=6)

# What a line is known by: its bytes, or for a long one size, hash and beginning.
Known = bytes | tuple[int, bytes, bytes]


def reader(text: bytes, sizes: Iterable[int]) -> Callable[[int], bytes]:
    stream = io.BytesIO(text)
    pace = cycle(sizes)
    return lambda limit: stream.read(min(limit, next(pace)))


def numbered(parts: Iterable[Part]) -> Iterator[tuple[int, Known]]:
    """Every line with its number, as the service would count it."""
    for part in parts:
        if isinstance(part, LongLine):
            yield part.line, (part.line_bytes, part.sha256, part.head)
        else:
            lines = part.lines.split(b"\n")
            yield from enumerate(lines if lines[-1] else lines[:-1], part.first_line)


def expected_lines(text: bytes, limits: Limits) -> list[tuple[int, Known]]:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    expected: list[tuple[int, Known]] = []
    for number, line in enumerate(lines, 1):
        bare = line.removesuffix(b"\r")
        if len(bare) > limits.line_bytes:
            digest = hashlib.sha256(bare).digest()
            expected.append((number, (len(bare), digest, bare[: limits.line_bytes])))
        else:
            expected.append((number, line))
    return expected


texts = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r", b"\r\n", b"abcdef", b"abcdefg"]), st.binary(max_size=9)
    )
).map(b"".join)


@st.composite
def some_limits(draw: st.DrawFn) -> Limits:
    line_bytes = draw(st.integers(1, 9))
    return Limits(
        block_bytes=draw(st.integers(line_bytes + 2, line_bytes + 20)),
        block_lines=draw(st.integers(1, 4)),
        line_bytes=line_bytes,
    )


class TestCut:
    @given(texts, st.lists(st.integers(1, 30), min_size=1), some_limits())
    def test_any_bytes_in_any_reads_give_the_same_lines_under_the_same_numbers(
        self, text: bytes, sizes: list[int], limits: Limits
    ) -> None:
        parts = list(cut(reader(text, sizes), limits))

        assert expected_lines(text, limits) == list(numbered(parts))

    @given(texts, st.lists(st.integers(1, 30), min_size=1), some_limits())
    def test_no_block_is_larger_or_has_more_lines_than_allowed(
        self, text: bytes, sizes: list[int], limits: Limits
    ) -> None:
        blocks = [p for p in cut(reader(text, sizes), limits) if isinstance(p, Block)]

        assert all(0 < len(block.lines) <= limits.block_bytes for block in blocks)
        assert all(block.lines.count(b"\n") <= limits.block_lines for block in blocks)

    def test_nothing_gives_no_block(self) -> None:
        assert [] == list(cut(reader(b"", [5])))

    def test_a_missing_last_line_end_is_fine(self) -> None:
        assert [Block(1, b"a\n"), Block(2, b"b")] == list(cut(reader(b"a\nb", [100])))

    def test_lines_come_as_they_are_read_and_not_only_when_a_block_is_full(self) -> None:
        assert [Block(1, b"a\n"), Block(2, b"b\n")] == list(cut(reader(b"a\nb\n", [2])))

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    def test_a_line_of_exactly_the_limit_is_no_long_line(self, end: bytes) -> None:
        line = b"x" * SMALL.line_bytes + end

        assert [Block(1, line)] == list(cut(reader(line, [100]), SMALL))

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_a_long_line_is_told_by_size_hash_and_beginning(self, end: bytes, size: int) -> None:
        line = b"0123456789" * 10
        expected = LongLine(2, 100, hashlib.sha256(line).digest(), b"012345")

        parts = list(cut(reader(b"a\n" + line + end, [size]), SMALL))

        assert [Block(1, b"a\n"), expected] == parts

    def test_what_follows_a_long_line_keeps_its_number(self) -> None:
        parts = list(cut(reader(b"x" * 50 + b"\n\nb\n", [100]), SMALL))

        assert Block(2, b"\nb\n") == parts[-1]

    def test_a_line_of_a_hundred_megabytes_is_never_held(self) -> None:
        piece = b"x" * 65_536
        left = 1_600

        def read(limit: int) -> bytes:
            nonlocal left
            left -= 1
            return piece[:limit] if left >= 0 else b""

        tracemalloc.start()
        try:
            (line,) = cut(read)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert isinstance(line, LongLine)
        assert 1_600 * 65_536 == line.line_bytes
        assert peak < 4 << 20
