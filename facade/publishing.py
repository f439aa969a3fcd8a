"""PublishingService and the import stream: batches in, receipts out, a few in flight."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from facade.boundary import Calls, Context, author_of, streaming
from ledger.application import CALL_PREFIX, Ledger
from ledger.commands import read_import_lines
from ledger.dead_letters import IMPORT_PREFIX
from ledger.errors import InvalidArgumentError
from ledger.intake import Batch, Receipt, oversized_line, read_lines
from usage_ledger.v1 import admin_pb2
from usage_ledger.v1 import publishing_pb2 as pb

IN_FLIGHT = 10  # requests read ahead of the writer; beyond it the stream is not read on
LINES_BYTES_MAX = 3 * 1024 * 1024
NAME_CHARS_MAX = 255
BUS_PREFIX = "kafka:"  # of the delivery names of partitions
NUMBER_MAX = 2**53  # of a line, or of its bytes; what lies beyond is a slip, and sums overflow

# Lines are read by the writer, right before it decides on them: on a thread of their own the two
# threads wait for each other's interpreter lock, which costs an eighth of the throughput.
Read = Callable[[], Batch]
Take = Callable[[Read], Coroutine[Any, Any, Receipt]]


def translate(receipt: Receipt) -> pb.Receipt:
    """Translate a receipt."""
    return pb.Receipt(
        **receipt.counts._asdict(),
        rejects=[
            pb.Reject(line=r.line, reason=r.reason, dead_letter_id=r.dead_letter_id)
            for r in receipt.rejects
        ],
        position=pb.Position(shard=min(receipt.positions), number=receipt.position),
        positions=[
            pb.Position(shard=shard, number=number)
            for shard, number in sorted(receipt.positions.items())
        ],
    )


class _Numbering:
    """Counts lines on where a request does not say its first line."""

    def __init__(self) -> None:
        self._next = 1

    def first(self, said: int, lines: bytes) -> int:
        """Give the number of the first line of a block."""
        _checked_number("first_line", said)
        first = said or self._next
        self._next = first + lines.count(b"\n") + (not lines.endswith(b"\n") if lines else 0)
        return first


class PublishingServicer:
    """Publishing, and taking over another ledger's state: both are streams of lines."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    async def publish(
        self, requests: AsyncIterator[pb.PublishRequest], context: Context
    ) -> AsyncIterator[pb.PublishResponse]:
        """Take published events in."""
        author = author_of(context, self._ledger.operator)
        numbering = _Numbering()
        delivery = ""

        async def batches() -> AsyncIterator[Read]:
            nonlocal delivery
            async for request in requests:
                delivery = (
                    delivery or checked_name(request.delivery) or f"{CALL_PREFIX}{uuid.uuid4()}"
                )
                if request.HasField("oversized"):
                    line = request.oversized
                    _checked_number("oversized.line", line.line)
                    _checked_number("oversized.size_bytes", line.size_bytes)
                    yield partial(
                        oversized_line,
                        delivery,
                        number=line.line,
                        head=line.head[:_HEAD_BYTES_MAX],
                        size=line.size_bytes,
                        digest=_digest(line.sha256),
                    )
                    continue
                first = numbering.first(request.first_line, request.lines)
                yield partial(read_lines, delivery, _checked_lines(request.lines), first)

        async for receipt in _pipeline(batches(), lambda r: self._ledger.publish(r, author)):
            yield pb.PublishResponse(receipt=translate(receipt))

    async def import_opening_state(
        self, requests: AsyncIterator[admin_pb2.ImportOpeningStateRequest], context: Context
    ) -> AsyncIterator[admin_pb2.ImportOpeningStateResponse]:
        """Take over the state of another ledger."""
        author = author_of(context, self._ledger.operator)
        numbering = _Numbering()
        source = ""

        async def batches() -> AsyncIterator[Read]:
            nonlocal source
            async for request in requests:
                source = source or checked_name(request.source)
                if not source:
                    raise InvalidArgumentError("source is missing: name where the state comes from")
                first = numbering.first(request.first_line, request.lines)
                delivery = IMPORT_PREFIX + source
                yield partial(read_import_lines, delivery, _checked_lines(request.lines), first)

        def take(read: Read) -> Coroutine[Any, Any, Receipt]:
            return self._ledger.import_lines(read, source, author)

        async for receipt in _pipeline(batches(), take):
            yield admin_pb2.ImportOpeningStateResponse(receipt=translate(receipt))


_HEAD_BYTES_MAX = 262_144


def checked_name(name: str) -> str:
    """Check the name of a source of delivery."""
    if len(name) > NAME_CHARS_MAX or "\0" in name:
        raise InvalidArgumentError(
            f"name of {len(name)} characters: at most {NAME_CHARS_MAX}, no NUL"
        )
    if name.startswith(BUS_PREFIX):
        # Counts under these names are compared with what a partition holds.
        raise InvalidArgumentError(f"name {name[:80]!r}: those with {BUS_PREFIX!r} are partitions")
    return name


def _checked_lines(lines: bytes) -> bytes:
    if len(lines) > LINES_BYTES_MAX:
        raise InvalidArgumentError(
            f"lines of {len(lines)} bytes: at most {LINES_BYTES_MAX} in one request"
        )
    return lines


def _checked_number(name: str, number: int) -> None:
    if number > NUMBER_MAX:
        raise InvalidArgumentError(f"{name} {number}: at most {NUMBER_MAX}")


def _digest(sha256: bytes) -> bytes:
    if len(sha256) != 32:
        raise InvalidArgumentError(f"oversized.sha256 has {len(sha256)} bytes: must have 32")
    return sha256


async def _pipeline(batches: AsyncIterator[Read], take: Take) -> AsyncIterator[Receipt]:
    """Hand batches to the writer as they come, a few ahead, and give receipts in their order."""
    queue: asyncio.Queue[asyncio.Task[Receipt] | None] = asyncio.Queue(IN_FLIGHT)

    async def feed() -> None:
        try:
            async for batch in batches:
                await queue.put(asyncio.create_task(take(batch)))
        finally:
            await queue.put(None)

    feeding = asyncio.create_task(feed())
    try:
        while (taking := await queue.get()) is not None:
            yield await taking
        await feeding
    finally:
        feeding.cancel()
        while not queue.empty():
            left = queue.get_nowait()
            if left is not None:
                left.cancel()


def handler(servicer: PublishingServicer) -> Calls:
    """Give the service's calls."""
    return Calls(
        "usage_ledger.v1.PublishingService",
        {"Publish": streaming(pb.PublishRequest, servicer.publish)},
    )
