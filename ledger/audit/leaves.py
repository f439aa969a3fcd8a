"""What stands behind a leaf: a stored event, written so that nothing can move between its fields.

docs/proofs.md has the encoding for those who check. It never changes: other bytes would be other
leaves, and no head that was ever signed would hold any more.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable

from events import recorded_time
from persistence import StreamEvent

ENTRY_VERSION = 1
SIZES_KEPT = 4_096  # of events; a kind of event comes in a few dozen

_begin = struct.Struct(">BI").pack
_number_and_length = struct.Struct(">QI").pack
_time_and_length = struct.Struct(">qI").pack
_sha256 = hashlib.sha256


def leaf_entry(stream: str, version: int, topic: str, recorded_ms: int, state: bytes) -> bytes:
    """Write an event: version of the encoding, then each field; texts and bytes by their length."""
    named, kind = stream.encode(), topic.encode()
    return (
        _begin(ENTRY_VERSION, len(named))
        + named
        + _number_and_length(version, len(kind))
        + kind
        + _time_and_length(recorded_ms, len(state))
        + state
    )


def leaf_of(stored: StreamEvent) -> bytes:
    """Hash a stored event into its leaf; UnreadableEventError if it is damaged."""
    _, stream, version, topic, state = stored
    if state[1:3] not in _USUAL or len(state) < _USUAL_BYTES or state[3] > _SIGN:
        entry = leaf_entry(stream, version, topic, recorded_time(state), state)
        return _sha256(b"\x00" + entry).digest()
    # The stored time is eight bytes already, and all is written at once: this is done for every
    # event that comes.
    named, kind, time = stream.encode(), topic.encode(), state[3:_USUAL_BYTES]
    a, b, c = len(named), len(kind), len(state)
    write = _leaf_of_sizes(a, b, c)
    return _sha256(write(0, ENTRY_VERSION, a, named, version, b, kind, time, c, state)).digest()


# An array of up to fifteen values that begins with a time since 1970, in eight bytes.
_USUAL = frozenset(bytes([0x90 | count, 0xCF]) for count in range(1, 16))
_USUAL_BYTES = 11
_SIGN = 0x7F


@functools.lru_cache(maxsize=SIZES_KEPT)
def _leaf_of_sizes(named: int, kind: int, state: int) -> Callable[..., bytes]:
    return struct.Struct(f">BBI{named}sQI{kind}s8sI{state}s").pack
