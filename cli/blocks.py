"""Cuts a stream of bytes into blocks of whole lines, in bounded memory whatever it holds.

Law: however the bytes are split into reads, the same lines come out under the same numbers.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# One request. Larger blocks are no faster and make a call that waits behind one wait longer.
BLOCK_BYTES_MAX = 400_000
# If every line of a block is rejected, the receipt still fits into one answer.
BLOCK_LINES_MAX = 10_000
# The longest event, without its line end.
LINE_BYTES_MAX = 256 * 1024


@dataclass(frozen=True)
class Block:
    """Whole lines with their line ends; only the last line of all may lack it."""

    first_line: int
    lines: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.lines)


@dataclass(frozen=True)
class LongLine:
    """A line longer than an event may be: its size and hash without the line end, its beginning."""

    line: int
    line_bytes: int
    sha256: bytes
    head: bytes

    @property
    def size_bytes(self) -> int:
        return self.line_bytes


Part = Block | LongLine


@dataclass(frozen=True)
class Limits:
    block_bytes: int = BLOCK_BYTES_MAX
    block_lines: int = BLOCK_LINES_MAX
    line_bytes: int = LINE_BYTES_MAX

    def __post_init__(self) -> None:
        assert self.line_bytes + len("\r\n") <= self.block_bytes, "the longest line fits a block"
        assert self.block_lines > 0


def cut(read: Callable[[int], bytes], limits: Limits = Limits()) -> Iterator[Part]:
    """Reads to the end and yields blocks and long lines in order.

    `read(n)` answers 1 to n bytes, or none at the end; whole lines are handed on as they come.
    """
    rest = bytearray()
    line = 1
    at_end = False
    while not at_end:
        more = read(limits.block_bytes - len(rest))
        at_end = not more
        rest += more
        while rest:
            end = _end_of_block(rest, limits, at_end=at_end)
            if end:
                block = Block(line, bytes(rest[:end]))
                del rest[:end]
                line += block.lines.count(b"\n")
                yield block
            elif _begins_long_line(rest, limits, at_end=at_end):
                long_line, rest = _read_long_line(line, rest, read, limits)
                line += 1
                yield long_line
            else:
                break


def _end_of_block(rest: bytearray, limits: Limits, *, at_end: bool) -> int:
    """Where a block of whole, allowed lines from the start of `rest` ends; 0 if there is none."""
    end = 0
    longest = limits.line_bytes + len("\r\n")
    while True:
        # The last line end that keeps even a single line within its limit: a few steps a block.
        found = rest.rfind(b"\n", end, end + longest)
        if found < 0 or not _is_allowed(found - end, rest[found - 1 : found], limits):
            found = rest.rfind(b"\n", end, end + limits.line_bytes + 1)
        if found < 0:
            break
        end = found + 1
    if at_end and end < len(rest) and _is_allowed(len(rest) - end, rest[-1:], limits):
        end = len(rest)
    if rest.count(b"\n", 0, end) >= limits.block_lines:
        end = 0
        for _ in range(limits.block_lines):
            end = rest.index(b"\n", end) + 1
    return end


def _is_allowed(length: int, last: bytes | bytearray, limits: Limits) -> bool:
    """Whether a line of `length` bytes before its line feed is short enough, without a CR."""
    return length - (last == b"\r") <= limits.line_bytes


def _begins_long_line(rest: bytearray, limits: Limits, *, at_end: bool) -> bool:
    return at_end or len(rest) >= limits.line_bytes + len("\r\n")


def _read_long_line(
    line: int, rest: bytearray, read: Callable[[int], bytes], limits: Limits
) -> tuple[LongLine, bytearray]:
    """Streams one line through the hash, keeping its beginning; answers what follows it too."""
    head = bytes(rest[: limits.line_bytes])
    digest = hashlib.sha256()
    size = 0
    held_back = b""  # a CR belongs to the line unless the line ends after it
    while True:
        end = rest.find(b"\n")
        piece = held_back + bytes(rest if end < 0 else rest[:end])
        held_back = b"\r" if piece.endswith(b"\r") else b""
        piece = piece[: len(piece) - len(held_back)]
        digest.update(piece)
        size += len(piece)
        if end >= 0:
            return LongLine(line, size, digest.digest(), head), rest[end + 1 :]
        rest = bytearray(read(limits.block_bytes))
        if not rest:
            return LongLine(line, size, digest.digest(), head), rest
