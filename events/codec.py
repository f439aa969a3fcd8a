"""How events are stored: one byte for the fields' version, then msgpack of their values.

A stored event must load for ever. To change an event's fields raise its `VERSION` and register an
upcaster from the version before; `tests/stored/` keeps samples of every version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from events.base import LedgerEvent, type_registry

Upcaster = Callable[[list[Any]], list[Any]]

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[str, tuple[int, msgspec.msgpack.Decoder[Any]]] = {}
_upcasters: dict[tuple[str, int], Upcaster] = {}


class UnreadableEventError(ValueError):
    """A stored event that this version of the product cannot read."""


def upcasts(topic: str, *, version: int) -> Callable[[Upcaster], Upcaster]:
    """Register how the values of `version` become those of the next one."""

    def register(upcaster: Upcaster) -> Upcaster:
        _upcasters[topic, version] = upcaster
        return upcaster

    return register


def encode(event: LedgerEvent) -> bytes:
    """Give the bytes that the log keeps."""
    return _PREFIXES[event.VERSION] + _encoder.encode(event)


_PREFIXES = [bytes([version]) for version in range(256)]


def _decoder(topic: str) -> tuple[int, msgspec.msgpack.Decoder[Any]]:
    cls = type_registry.get(topic)
    if cls is None:
        raise UnreadableEventError(f"no event class has the topic {topic!r}: use a newer version")
    found = _decoders[topic] = cls.VERSION, msgspec.msgpack.Decoder(cls)
    return found


def decode(topic: str, state: bytes) -> LedgerEvent:
    """Load a stored event of any version up to today's; UnreadableEventError if it cannot be."""
    known = _decoders.get(topic) or _decoder(topic)
    try:
        return _decode(topic, state, known)
    except (msgspec.MsgspecError, IndexError) as error:
        raise UnreadableEventError(
            f"an event {topic!r} is damaged ({error}): restore a backup"
        ) from error


def _decode(
    topic: str, state: bytes, known: tuple[int, msgspec.msgpack.Decoder[Any]]
) -> LedgerEvent:
    stored = state[0]
    if stored == known[0]:
        event: LedgerEvent = known[1].decode(memoryview(state)[1:])
        return event
    if stored > known[0]:
        raise UnreadableEventError(
            f"{topic!r} is stored in version {stored}, this is {known[0]}: use a newer version"
        )
    values = msgspec.msgpack.decode(memoryview(state)[1:])
    for version in range(stored, known[0]):
        upcaster = _upcasters.get((topic, version))
        if upcaster is None:
            raise UnreadableEventError(f"no upcaster for {topic!r} from version {version}")
        values = upcaster(values)
    return msgspec.convert(values, type_registry[topic])
