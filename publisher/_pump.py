"""The thread that moves events from the buffer to Kafka, packing them if wanted."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from publisher._buffer import Buffer, Entry
from publisher._messages import PACK_BYTES_MAX, PACK_EVENTS_MAX, Message, packed
from publisher._session import BLOCK_SECONDS, CLOSED_EARLY, Session, sentence
from publisher.errors import NotDelivered

# How often a log says that nothing can be sent, while that lasts.
TROUBLE_EVERY_SECONDS: Final = 30.0

log = logging.getLogger(__name__)


class Pump(threading.Thread):
    """Runs until the buffer is closed and empty, or until it is told to give up."""

    def __init__(
        self, buffer: Buffer, open_session: Callable[[], Session], *, linger: float, grace: float
    ) -> None:
        """Events linger for others of their key, a session has a grace to end in, in seconds."""
        super().__init__(name="usage-publisher", daemon=True)
        # Made here, so that whoever makes the publisher hears what is wrong with its options.
        self.session: Session | None = open_session()
        self._buffer = buffer
        self._open_session = open_session
        self._linger = linger
        self._grace = grace
        self._gives_up = threading.Event()
        self._told_at = float("-inf")

    def give_up(self) -> None:
        """Send nothing more: what is not settled fails."""
        self._gives_up.set()

    @property
    def trouble(self) -> str:
        """Why nothing can be sent, as a sentence; empty while it can."""
        session = self.session  # the pump's thread may put another in its place
        return "" if session is None else session.trouble

    def is_ready(self) -> bool:
        """Whether messages can be sent; waits a moment for that."""
        session = self.session
        if session is None:  # between two of them
            self._gives_up.wait(BLOCK_SECONDS)
            return False
        return session.is_ready()

    def run(self) -> None:
        """Move what comes."""
        while entries := self._buffer.take(linger=self._linger):
            for message, members in messages_of(entries):
                try:
                    self._deliver(message, members)
                except Exception as error:
                    log.exception("a message could not be sent")
                    self._fail(members, sentence(error), may_be_there=True)
        self._end_session()

    def _deliver(self, message: Message, entries: Sequence[Entry]) -> None:
        """Hand one message to Kafka; fail its events if that is not possible in time."""
        while True:
            session = self._ready_session(entries[0].deadline)
            if session is None:
                reason = CLOSED_EARLY if self._gives_up.is_set() else self.trouble
                self._fail(entries, f"it was not sent: {reason}", may_be_there=False)
                return
            if session.send(message, entries):
                return

    def _ready_session(self, deadline: float) -> Session | None:
        """The session, once its topic is known; None if that takes too long."""
        if self.session is not None and self.session.is_suspect:
            self._end_session()
        if self.session is None:
            self.session = self._open_session()
        while not self._gives_up.is_set():
            if self.session.is_ready():
                return self.session
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= self._told_at + TROUBLE_EVERY_SECONDS:
                self._told_at = now
                log.warning("%s events wait: %s", self._buffer.pending, self.trouble)
        return None

    def _end_session(self) -> None:
        """Let what is on its way arrive, then close."""
        if self.session is None:
            return
        session, self.session = self.session, None
        until = time.monotonic() + self._grace
        while not session.settle(BLOCK_SECONDS):
            if self._gives_up.is_set() or time.monotonic() > until:
                break
        session.end()

    def _fail(self, entries: Sequence[Entry], reason: str, *, may_be_there: bool) -> None:
        self._buffer.fail(entries, NotDelivered(reason, may_be_there=may_be_there))


class _Pack:
    """Pieces of one key that become one message."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.size_bytes = 0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.size_bytes += len(entry.message.value)

    @property
    def is_full(self) -> bool:
        return len(self.entries) >= PACK_EVENTS_MAX or self.size_bytes >= PACK_BYTES_MAX

    def message(self) -> tuple[Message, list[Entry]]:
        return packed([entry.message for entry in self.entries]), self.entries


def messages_of(entries: Iterable[Entry]) -> Iterator[tuple[Message, list[Entry]]]:
    """The messages to send, each with its events; the events of one key stay in their order."""
    packs: dict[bytes, _Pack] = {}
    for entry in entries:
        key = entry.message.key
        if not entry.message.is_piece:
            if before := packs.pop(key, None):
                yield before.message()
            yield entry.message, [entry]
            continue
        pack = packs.setdefault(key, _Pack())
        pack.add(entry)
        if pack.is_full:
            yield packs.pop(key).message()
    for pack in packs.values():
        yield pack.message()
