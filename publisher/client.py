"""The publisher itself: checks and encodes in the caller's thread, sends in one of its own."""

import itertools
import os
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self, Unpack

from publisher import _checks, _messages
from publisher._buffer import Acknowledgement, Buffer, Entry, Flushed, Outcome, Settled
from publisher._messages import Message
from publisher._pump import Pump
from publisher._session import REQUEST_BYTES_MAX, Security, Session
from publisher.errors import BufferFull, Forked, NotAcknowledged, NotDelivered, Unreachable
from publisher.events import Event

TOPIC: Final = "usage.events"

# About as much as a service may lose sight of: an hour at 25 events a second.
BUFFER_EVENTS_MAX: Final = 100_000
BUFFER_BYTES_MAX: Final = 128 << 20
# How long `publish` waits for room, unless told otherwise.
PUBLISH_SECONDS: Final = 30.0
# How long `close` waits for acknowledgements, and `connect` for a broker, unless told otherwise.
CLOSE_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 15.0
# Kafka's own default: a broker that restarts is back long before.
DELIVERY_SECONDS: Final = 120.0
# Events that come within this time go on together, first to Kafka's client and then to the broker:
# waking a thread for each costs more than all the rest.
LINGER_SECONDS: Final = 0.005
# Events of one payer that come within this time go in one packed message.
PACK_LINGER_SECONDS: Final = 0.05
# With so many bytes waiting there is no reason to wait for more.
ENOUGH_BYTES: Final = 256 << 10
PACK_ENOUGH_BYTES: Final = 4 << 20

_numbers = itertools.count(1)
_publishers: "weakref.WeakSet[Publisher]" = weakref.WeakSet()


class Publisher:
    """Publishes usage events to Kafka. Safe for many threads; make one in each process.

        with Publisher("kafka:9092", source="/workspace-manager/eu01") as publisher:
            event = workspace_instance_stopped(...)
            publisher.publish(event)

    It is made without waiting for a broker: events stay in the buffer until one answers. `connect`
    waits for that. An event that is not acknowledged within `delivery_timeout` seconds fails.
    """

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        *,
        source: str,
        topic: str = TOPIC,
        packed: bool = False,
        buffer_events_max: int = BUFFER_EVENTS_MAX,
        buffer_bytes_max: int = BUFFER_BYTES_MAX,
        delivery_timeout: float = DELIVERY_SECONDS,
        **security: Unpack[Security],
    ) -> None:
        """`source` names this service; with the event's ID it names an event for ever.

        `packed` puts events of one payer that come shortly after each other into one message.
        Raises InvalidEvent for a source that no event may have, ValueError for other arguments.
        """
        self.source = _checks.text("source", source, required=True)
        self.topic = topic
        self._servers = _servers(bootstrap_servers)
        if buffer_events_max < 1 or buffer_bytes_max < REQUEST_BYTES_MAX:
            raise ValueError(f"the buffer must hold at least 1 event and {REQUEST_BYTES_MAX} bytes")
        if delivery_timeout < 1:
            raise ValueError(f"delivery_timeout is {delivery_timeout}: must be at least 1 second")
        self._security = security
        self._delivery_timeout = delivery_timeout
        self._is_packed = packed
        self._process_id = os.getpid()
        self._is_closed = False
        self._buffer = Buffer(
            events_max=buffer_events_max,
            bytes_max=buffer_bytes_max,
            enough_bytes=PACK_ENOUGH_BYTES if packed else ENOUGH_BYTES,
        )
        self._pump = Pump(
            self._buffer,
            self._session,
            linger=PACK_LINGER_SECONDS if packed else LINGER_SECONDS,
            grace=delivery_timeout,
        )
        self._pump.start()
        _publishers.add(self)

    def publish(
        self, event: Event, *, timeout: float = PUBLISH_SECONDS
    ) -> "Future[Acknowledgement]":
        """Take the event, waiting up to `timeout` seconds for room in the buffer.

        The future has the Acknowledgement or raises NotDelivered. It cannot be cancelled. Its
        callbacks run on the sending thread: they must not block, and there `publish` does not wait.
        Raises BufferFull, InvalidEvent, Closed or Forked; the event is then not in the buffer.
        """
        future: Future[Acknowledgement] = Future()
        future.set_running_or_notify_cancel()

        def settled(outcome: Outcome) -> None:
            if isinstance(outcome, NotDelivered):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.send(self._message(event), settled=settled, timeout=timeout)
        return future

    def try_publish(self, event: Event) -> "Future[Acknowledgement] | None":
        """Take the event if there is room now; None if there is none."""
        try:
            return self.publish(event, timeout=0)
        except BufferFull:
            return None

    def send(
        self, message: Message, *, settled: Settled | None = None, timeout: float = PUBLISH_SECONDS
    ) -> None:
        """Take a message that is encoded already, as those of `publisher.lines`.

        `settled` gets the Acknowledgement or the NotDelivered, on the sending thread.
        """
        self._refuse_after_fork()
        entry = Entry(message, settled, time.monotonic() + self._delivery_timeout)
        self._buffer.put(entry, timeout)

    def connect(self, timeout: float = CONNECT_SECONDS) -> None:
        """Wait until a broker answers and knows the topic; raise Unreachable with what is wrong.

        Nobody has to: publishing connects by itself. A service may want to hear it at its start.
        """
        self._refuse_after_fork()
        until = time.monotonic() + timeout
        while not self._pump.is_ready():
            if time.monotonic() >= until:
                raise Unreachable(f"{', '.join(self._servers)}: {self.trouble}")

    def flush(self, timeout: float | None = None) -> Flushed:
        """Wait until all that was published before is acknowledged or has failed; tell about it.

        At most `timeout` seconds; what is still under way then is counted as pending, and told by
        a later flush. Each event is told by one flush, so call it from one place.
        """
        self._refuse_after_fork()
        return self._buffer.flush(timeout)

    @property
    def pending(self) -> int:
        """Events in the buffer or on their way."""
        return self._buffer.pending

    @property
    def trouble(self) -> str:
        """Why nothing could be sent since the start, as a sentence; empty otherwise."""
        return self._pump.trouble

    def close(self, timeout: float = CLOSE_SECONDS) -> Flushed:
        """Take nothing more, wait for acknowledgements, end. What is left after `timeout` fails.

        Tells what became of the events since the last flush. A second call does nothing.
        """
        if self._is_closed or os.getpid() != self._process_id:
            return Flushed(0, [], 0)
        self._is_closed = True
        self._buffer.close()
        flushed = self._buffer.flush(timeout)
        if flushed.pending:
            self._pump.give_up()
        if not self._buffer.is_settling_here:
            self._pump.join(CLOSE_SECONDS)
        late = self._buffer.flush(0)
        return Flushed(
            flushed.acknowledged + late.acknowledged,
            flushed.failed + late.failed,
            late.pending,
            flushed.failed_not_kept + late.failed_not_kept,
        )

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close. Raise NotAcknowledged if something was not, unless another error is under way."""
        flushed = self.close()
        if error is None and not flushed.is_complete:
            raise NotAcknowledged(flushed)

    def _message(self, event: Event) -> Message:
        encode = _messages.piece if self._is_packed else _messages.binary
        return encode(event, self.source)

    def _session(self) -> Session:
        return Session(
            self._servers,
            self.topic,
            self._buffer,
            client_id=f"usage-publisher-{self._process_id}-{next(_numbers)}",
            linger_seconds=LINGER_SECONDS,
            delivery_timeout_seconds=self._delivery_timeout,
            security=self._security,
        )

    def _refuse_after_fork(self) -> None:
        if os.getpid() != self._process_id:
            raise Forked(
                "this publisher belongs to the process before the fork: make one in each process"
            )

    def _forget(self) -> None:
        session = self._pump.session
        if session is not None:
            session.forget()


def _servers(given: str | Sequence[str]) -> list[str]:
    named = given.split(",") if isinstance(given, str) else list(given)
    servers = [server.strip() for server in named]
    if not servers or not all(servers):
        raise ValueError(f"bootstrap_servers is {given!r}: must be host:port, or several of them")
    return servers


def _forget_all() -> None:
    for one in list(_publishers):
        one._forget()  # noqa: SLF001


# A child that ends in order would wait for the client of its parent, and complain.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
