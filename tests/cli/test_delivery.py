"""Streaming with a few unanswered requests, and adding up the receipts."""

import io
import json
import threading
from collections.abc import Iterable, Iterator

import pytest

from cli.blocks import Block, LongLine, Part
from cli.delivery import SHOWN_REJECTS_MAX, WINDOW, EndedEarly, Tally, deliver
from cli.publishing import publish_requests
from usage_ledger.v1.publishing_pb2 import Position, PublishResponse, Receipt, Reject


def answer(received: int = 1) -> PublishResponse:
    return PublishResponse(receipt=Receipt(received=received, recorded=received))


class Listener:
    """Keeps what was acknowledged."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.sizes: list[int] = []

    def __call__(self, receipt: Receipt, size: int) -> None:
        self.tally.add(receipt)
        self.sizes.append(size)


class TestDeliver:
    requests: tuple[tuple[bytes, int], ...] = ((b"a", 10), (b"b", 20), (b"c", 30))

    def test_every_receipt_comes_with_the_size_of_its_request(self) -> None:
        listener = Listener()

        deliver(lambda sent: (answer() for _ in sent), self.requests, listener)

        assert [10, 20, 30] == listener.sizes
        assert 3 == listener.tally.received

    def test_no_more_than_the_window_is_unanswered(self) -> None:
        sent: list[bytes] = []
        unanswered: list[int] = []

        def call(requests: Iterator[bytes]) -> Iterator[PublishResponse]:
            thread = threading.Thread(target=lambda: sent.extend(requests), daemon=True)
            thread.start()
            for answered in range(20):
                thread.join(timeout=0.05)  # time enough to send all that may be sent
                unanswered.append(len(sent) - answered)
                yield answer()
            thread.join()

        deliver(call, [(b"x", 1)] * 20, Listener())

        assert WINDOW == max(unanswered)

    def test_a_stream_that_ends_before_its_answers_is_not_finished(self) -> None:
        def call(requests: Iterator[bytes]) -> Iterator[PublishResponse]:
            next(requests)
            yield answer()
            next(requests)

        listener = Listener()
        with pytest.raises(EndedEarly):
            deliver(call, self.requests, listener)

        assert 1 == listener.tally.received

    def test_what_breaks_while_reading_is_raised_after_the_last_answer(self) -> None:
        def requests() -> Iterator[tuple[bytes, int]]:
            yield b"a", 1
            raise OSError("the disk went away")

        listener = Listener()
        with pytest.raises(OSError, match="the disk went away"):
            deliver(lambda sent: (answer() for _ in sent), requests(), listener)

        assert 1 == listener.tally.received


class TestTally:
    def test_it_adds_up(self) -> None:
        tally = Tally()

        tally.add(Receipt(received=6, recorded=3, repeated=2, rejected=1))
        tally.add(Receipt(received=1_000, recorded=1_000, position=Position(shard=1, number=7)))

        assert "received 1,006 = recorded 1,003 + repeated 2 + rejected 1" == tally.equation
        assert (1, 7) == tally.position

    def test_the_screen_gets_some_rejects_and_the_file_all(self) -> None:
        file = io.StringIO()
        tally = Tally(rejects_file=file)
        rejects = [Reject(line=n, reason="no", dead_letter_id=n) for n in range(1, 71)]

        tally.add(Receipt(received=70, rejected=70, rejects=rejects))
        tally.add(Receipt(received=70, rejected=70, rejects=rejects))

        assert SHOWN_REJECTS_MAX == len(tally.shown)
        lines = [json.loads(line) for line in file.getvalue().splitlines()]
        assert 140 == len(lines)
        assert {"line": 1, "reason": "no", "dead_letter_id": 1} == lines[0]


class TestPublishRequests:
    def requests(self) -> Iterable[tuple[str, int, bytes, int]]:
        parts: list[Part] = [Block(1, b"{}\n"), LongLine(2, 999, b"hash", b"head"), Block(3, b"[]")]
        for request, size in publish_requests(parts, delivery="file:x"):
            line = request.oversized.line or request.first_line
            yield request.delivery, line, request.lines or request.oversized.head, size

    def test_only_the_first_names_the_delivery(self) -> None:
        assert [
            ("file:x", 1, b"{}\n", 3),
            ("", 2, b"head", 999),
            ("", 3, b"[]", 2),
        ] == list(self.requests())
