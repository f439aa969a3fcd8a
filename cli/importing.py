"""`usage-ledger import`: reads the file several times, and sends its lines in the order they need.

A cost center's opening carries over what the payer owed by then, so the entries from before its
current cycle go first, then the cost centers, then the rest. Only the start of each payer's current
cycle is kept in memory. Line numbers stay those of the file: lines that are left out stand as blank
lines between those that are sent.
"""

import datetime as dt
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import msgspec

from cli.blocks import BLOCK_BYTES_MAX, BLOCK_LINES_MAX, LongLine, cut
from cli.connection import connected
from cli.exits import USAGE, CommandFailed
from cli.reading import opened
from cli.receipts import run_delivery
from usage_ledger.v1.admin_pb2 import ImportOpeningStateRequest

# Between two lines that are sent this many are left out as blank lines; beyond, a new block begins.
BLANK_LINES_MAX = 10_000


class Turn(Enum):
    """When a line is sent."""

    # Members, entries from before the current cycle, and whatever the service has to reject.
    FIRST = 1
    COST_CENTERS = 2
    CURRENT_CYCLE = 3


class _Version(msgspec.Struct):
    billing_cycle_start: str


class _Line(msgspec.Struct):
    """What decides a line's turn; the service checks everything else."""

    kind: str
    attribution_id: str = ""
    effective_time: str = ""
    history: list[_Version] = []


_decoder = msgspec.json.Decoder(_Line)
CycleStarts = dict[str, dt.datetime]
Numbered = tuple[int, bytes]


def import_file(
    path: Path, *, source: str | None, target: str, rejects: Path | None, as_json: bool
) -> int:
    """Imports the file; answers the exit code."""
    if path.exists() and not path.is_file():
        raise CommandFailed(
            f"{path} is no regular file; an import reads its file several times.", exit_code=USAGE
        )
    name = source or path.name
    with opened(str(path.absolute())) as file:
        size, stamp = file.size_bytes, file.stamp
    with connected(target) as services:
        return run_delivery(
            services.admin.ImportOpeningState,
            import_requests(path, source=name, stamp=stamp),
            name=name,
            target=target,
            size_bytes=size,
            rejects_path=rejects,
            as_json=as_json,
        )


def import_requests(
    path: Path, *, source: str, stamp: tuple[int, int] | None
) -> Iterator[tuple[ImportOpeningStateRequest, int]]:
    """One request for each block of lines, turn after turn; the first names the source."""
    starts: CycleStarts = {}
    for _, line in _lines(path, stamp):
        note_cycle_start(line, starts)
    for turn in Turn:
        chosen = (
            (number, line) for number, line in _lines(path, stamp) if turn_of(line, starts) is turn
        )
        for first_line, block in blocks(chosen):
            request = ImportOpeningStateRequest(source=source, first_line=first_line, lines=block)
            yield request, len(block)
            source = ""


def note_cycle_start(line: bytes, starts: CycleStarts) -> None:
    """Keeps when the payer's current cycle started, if the line is its cost center."""
    head = _decoded(line)
    if head and head.kind == "cost_center" and head.history:
        start = _time(head.history[-1].billing_cycle_start)
        if start is not None:
            # A second cost center of one payer is the service's to refuse; the first counts.
            starts.setdefault(_payer(head), start)


def turn_of(line: bytes, starts: CycleStarts) -> Turn | None:
    """When the line is sent; None for a blank line."""
    if not line.strip():
        return None
    head = _decoded(line)
    if head and head.kind == "cost_center":
        return Turn.COST_CENTERS
    if head and head.kind == "entry":
        time, start = _time(head.effective_time), starts.get(_payer(head))
        if time is not None and (start is None or time >= start):
            return Turn.CURRENT_CYCLE
    return Turn.FIRST


def blocks(lines: Iterator[Numbered]) -> Iterator[tuple[int, bytes]]:
    """Lines gathered into blocks, each with the number of its first line."""
    first_line, block, count = 0, bytearray(), 0
    next_line = 0
    for number, line in lines:
        gap = number - next_line
        is_full = len(block) + gap + len(line) > BLOCK_BYTES_MAX or count >= BLOCK_LINES_MAX
        if block and (is_full or gap > BLANK_LINES_MAX):
            yield first_line, bytes(block)
            block.clear()
        if not block:
            first_line, gap, count = number, 0, 0
        block += b"\n" * gap + line + b"\n"
        count += 1
        next_line = number + 1
    if block:
        yield first_line, bytes(block)


def _lines(path: Path, stamp: tuple[int, int] | None) -> Iterator[Numbered]:
    """Every line without its line feed, with its number."""
    with opened(str(path.absolute())) as source:
        if source.stamp != stamp:
            raise CommandFailed("The file changed while it was being imported.")
        for part in cut(source.read):
            if isinstance(part, LongLine):
                # Too long for a line of an import; with this end the service is sure to reject it.
                cut_off = f" … cut off: the line has {part.line_bytes} bytes".encode()
                yield part.line, part.head + cut_off
            else:
                lines = part.lines.split(b"\n")
                if not lines[-1]:
                    lines.pop()
                yield from enumerate(lines, part.first_line)


def _decoded(line: bytes) -> _Line | None:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _payer(head: _Line) -> str:
    """The attribution ID so that its legal spellings are one."""
    return head.attribution_id.lower().translate({ord(sign): None for sign in "-{}"})


def _time(text: str) -> dt.datetime | None:
    """The time as the service keeps it, cut to the millisecond; None for what is no time."""
    try:
        time = dt.datetime.fromisoformat(text)
        if time.tzinfo is None:
            return None
        utc = time.astimezone(dt.UTC)
        return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
    except (ValueError, OverflowError):
        return None
