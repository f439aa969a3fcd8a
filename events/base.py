"""What every event is: an immutable fact with a lasting topic, a version and a compact encoding.

An event says neither its stream nor its version in the stream; `Recorded` adds where it stands in
the log. Units: times are integer milliseconds since 1970-01-01T00:00:00Z (negative before), money
is integer credit cents, UUIDs are their 16 bytes.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import msgspec
from eventsourcing.utils import register_topic

type_registry: dict[str, type[LedgerEvent]] = {}


class LedgerEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A fact. Subclasses set `TOPIC`, kept for ever, and `VERSION`, the version of their fields."""

    TOPIC: ClassVar[str]
    VERSION: ClassVar[int] = 1

    recorded_at: int  # when the ledger recorded it; never goes back along the log
    author: str  # the authenticated name, `local:<user>` or `unauthenticated`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        topic = cls.__dict__.get("TOPIC")
        if topic is None:
            return  # a shared base of several events is no event itself
        if topic in type_registry:
            raise TypeError(f"two event classes claim the topic {topic!r}")
        type_registry[topic] = cls
        register_topic(topic, cls)


class Recorded(NamedTuple):
    """An event in its place. `position` is 0 until the log has given it one."""

    originator_id: str
    originator_version: int
    event: LedgerEvent
    position: int = 0
