"""What can go wrong while publishing.

PublisherError
├── InvalidEvent     the event is outside the contract; nothing was buffered
├── BufferFull       no room in time; nothing was buffered
├── Unreachable      no broker answered in time, or the topic is not there
├── NotDelivered     one event was not acknowledged; it may be in the topic all the same
├── NotAcknowledged  a `with` block ended and events of it were not acknowledged
├── Closed           the publisher is closed
└── Forked           the publisher was made by another process
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publisher._buffer import Flushed


class PublisherError(Exception):
    """Anything that this package raises."""


class InvalidEvent(PublisherError, ValueError):
    """The event is outside the contract; the text names field, value and what is allowed."""


class BufferFull(PublisherError):
    """The buffer had no room for the event in time; it was not taken."""


class Unreachable(PublisherError):
    """No broker answered in time, or the topic is not there."""


class NotDelivered(PublisherError):
    """An event was not acknowledged.

    `may_be_there` tells whether it was handed to the broker: then it may be in the topic, for the
    answer alone can be lost. Either way publish it again under the same ID; it counts once.
    """

    def __init__(self, reason: str, *, may_be_there: bool) -> None:
        """`reason` is a sentence for people."""
        super().__init__(reason)
        self.may_be_there = may_be_there


class NotAcknowledged(PublisherError):
    """A `with` block ended, and not every event of it was acknowledged."""

    def __init__(self, flushed: "Flushed") -> None:
        """`flushed` is what closing told."""
        super().__init__(
            f"not acknowledged: {len(flushed.failed) + flushed.failed_not_kept} failed, "
            f"{flushed.pending} still waiting; publish them again under the same IDs"
        )
        self.flushed = flushed


class Closed(PublisherError):
    """The publisher is closed."""


class Forked(PublisherError):
    """The publisher was made before a fork, and its threads stayed with the parent."""
