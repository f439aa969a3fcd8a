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
        if state[0] == known[0]:
            event: LedgerEvent = known[1].decode(state[1:])
            return event
        return _upcast(topic, state, known[0])
    except (msgspec.MsgspecError, IndexError) as error:
        raise UnreadableEventError(
            f"an event {topic!r} is damaged ({error}): restore a backup"
        ) from error


def recorded_time(state: bytes) -> int:
    """Give when a stored event was recorded, in ms, without decoding the rest of it.

    It is the first value of every event, in every version. UnreadableEventError if it is not there.
    """
    try:
        values = state[1]
        at = 2 if values & 0xF0 == _FIX_ARRAY else _ARRAYS[values]
        if state[at] == _UINT64:  # of every time since 1970
            time = int.from_bytes(state[at + 1 : at + 9], "big")
            if len(state) < at + 9:
                raise IndexError
        else:
            time = _small_integer(state, at)
    except (IndexError, KeyError) as error:
        raise UnreadableEventError("a stored event is damaged: restore a backup") from error
    if time > _INT64_MAX:
        raise UnreadableEventError("a stored event has no time: restore a backup")
    return time


def _small_integer(state: bytes, at: int) -> int:
    mark = state[at]
    if mark <= 0x7F:
        return mark
    if mark >= 0xE0:
        return mark - 0x100
    size, is_signed = _INTEGERS[mark]
    digits = state[at + 1 : at + 1 + size]
    if len(digits) < size:
        raise IndexError
    return int.from_bytes(digits, "big", signed=is_signed)


# As msgpack marks them: arrays by where their first value lies, integers by size and sign.
_FIX_ARRAY, _UINT64 = 0x90, 0xCF
_ARRAYS = {0xDC: 4, 0xDD: 6}
_INTEGERS = {
    0xCC: (1, False),
    0xCD: (2, False),
    0xCE: (4, False),
    0xD0: (1, True),
    0xD1: (2, True),
    0xD2: (4, True),
    0xD3: (8, True),
}
_INT64_MAX = 2**63 - 1


def _upcast(topic: str, state: bytes, current: int) -> LedgerEvent:
    stored = state[0]
    if stored > current:
        raise UnreadableEventError(
            f"{topic!r} is stored in version {stored}, this is {current}: use a newer version"
        )
    values = msgspec.msgpack.decode(memoryview(state)[1:])
    for version in range(stored, current):
        upcaster = _upcasters.get((topic, version))
        if upcaster is None:
            raise UnreadableEventError(f"no upcaster for {topic!r} from version {version}")
        values = upcaster(values)
    return msgspec.convert(values, type_registry[topic])
