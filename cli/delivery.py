"""Sends requests over one stream, a few unanswered at a time, and adds up what became of them."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TextIO, TypeVar

from usage_ledger.v1.publishing_pb2 import Receipt, Reject

# Enough that the service never waits for us; more would only wait in its memory.
WINDOW = 10
# This many rejects are shown; all of them go where --rejects says.
SHOWN_REJECTS_MAX = 100

Request = TypeVar("Request")


class Answer(Protocol):
    """What both streams answer: one receipt for one request, in their order."""

    @property
    def receipt(self) -> Receipt: ...


class EndedEarly(Exception):
    """The service ended the stream before it had answered every request."""


@dataclass
class Tally:
    """What became of the events so far: received = recorded + repeated + rejected."""

    received: int = 0
    recorded: int = 0
    repeated: int = 0
    rejected: int = 0
    position: tuple[int, int] | None = None
    shown: list[Reject] = field(default_factory=list)
    rejects_file: TextIO | None = None

    def add(self, receipt: Receipt) -> None:
        """Adds the answer to one request; writes its rejects to the file, if there is one."""
        self.received += receipt.received
        self.recorded += receipt.recorded
        self.repeated += receipt.repeated
        self.rejected += receipt.rejected
        if receipt.HasField("position"):
            self.position = (receipt.position.shard, receipt.position.number)
        self.shown += receipt.rejects[: SHOWN_REJECTS_MAX - len(self.shown)]
        if self.rejects_file is not None:
            for reject in receipt.rejects:
                self.rejects_file.write(f"{json.dumps(reject_json(reject), ensure_ascii=False)}\n")

    @property
    def equation(self) -> str:
        """As people read it: received 10 = recorded 8 + repeated 1 + rejected 1."""
        return (
            f"received {self.received:,} = recorded {self.recorded:,} + "
            f"repeated {self.repeated:,} + rejected {self.rejected:,}"
        )


def reject_json(reject: Reject) -> dict[str, int | str]:
    """A reject as one JSON object."""
    return {
        "line": reject.line,
        "reason": reject.reason,
        "dead_letter_id": reject.dead_letter_id,
    }


def deliver(
    call: Callable[[Iterator[Request]], Iterable[Answer]],
    requests: Iterable[tuple[Request, int]],
    acknowledge: Callable[[Receipt, int], None],
) -> None:
    """Streams the requests, each with its size in bytes; `acknowledge` gets receipt and size.

    At most WINDOW requests are unanswered, so memory stays flat and the service sets the pace.
    Raises what reading the requests raised, gRPC's errors, and EndedEarly.
    """
    window = _Window(requests)
    try:
        for answer in call(iter(window)):
            acknowledge(answer.receipt, window.answered())
    finally:
        window.close()
    if window.failure is not None:
        raise window.failure
    if not window.is_done:
        raise EndedEarly


class _Window(Generic[Request]):
    """Hands the requests to gRPC's thread, and stops it while too many are unanswered."""

    def __init__(self, requests: Iterable[tuple[Request, int]]) -> None:
        self.failure: Exception | None = None
        self._requests = requests
        self._room = threading.Semaphore(WINDOW)
        self._sizes: deque[int] = deque()
        self._all_sent = False
        self._closed = False

    def __iter__(self) -> Iterator[Request]:
        try:
            for request, size in self._requests:
                self._room.acquire()
                if self._closed:
                    return
                self._sizes.append(size)
                yield request
            self._all_sent = True
        except Exception as error:  # noqa: BLE001 - gRPC would hide it; `deliver` raises it again
            self.failure = error

    def answered(self) -> int:
        """Makes room after an answer; the size of the request it answers."""
        self._room.release()
        return self._sizes.popleft()

    @property
    def is_done(self) -> bool:
        return self._all_sent and not self._sizes

    def close(self) -> None:
        self._closed = True
        self._room.release()
