"""Live states of the keys of some partitions, over a table of bytes that somebody else keeps.

What follows `ledger.events` folds here, whatever reads the topic: messages in, changed keys and
alerts out. Nothing is written; the caller publishes first what must not be lost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from consumers.live_messages import correction_in, key_of
from consumers.recorded_events import recorded_of
from projections.alerts import Alert
from projections.live import (
    LiveState,
    decode_state,
    encode_state,
    fold,
    is_for_everybody,
    payer_of,
)
from usage_ledger.v1.ledger_events_pb2 import RecordedEvents

DECODED_MAX = 20_000  # states kept decoded between batches; one takes about 2 KiB

# Partition, whether something runs, shard, position: what is asked of a value without decoding it.
_HEADER = struct.Struct(">HBIq")


_OFFSET_KEY = struct.Struct(">cH")


class Header(NamedTuple):
    """What stands before the state in a table's value; all there is of an offset's."""

    partition: int
    has_running: bool
    shard: int
    position: int


class WrongShardError(Exception):
    """A payer's events come from two shards; they would be counted against each other."""


class Changes(NamedTuple):
    """What a batch did: states by key, with their partition, and the alerts it raised."""

    states: dict[bytes, tuple[int, LiveState]]
    alerts: list[Alert]


def pack(state: LiveState, partition: int) -> bytes:
    """Give the value that a table keeps of a state."""
    head = _HEADER.pack(partition, bool(state.lots), state.shard, state.position)
    return head + encode_state(state)


def header_of(value: bytes) -> Header:
    """Look at a value without decoding it."""
    partition, has_running, shard, position = _HEADER.unpack_from(value)
    return Header(partition, bool(has_running), shard, position)


def offset_key(partition: int) -> bytes:
    """Give the key under which the next offset of a partition lies beside the states."""
    return _OFFSET_KEY.pack(b"\0", partition)


def pack_offset(partition: int, offset: int) -> bytes:
    """Give the value that a table keeps of a partition's next offset."""
    return _HEADER.pack(partition, False, 0, offset)  # noqa: FBT003  # a struct's own order


def unpack(value: bytes) -> LiveState:
    """Give the state of a value."""
    return decode_state(value[_HEADER.size :])


class LiveStates:
    """Folds messages into the states of a table's keys."""

    def __init__(self, table: Mapping[bytes, bytes]) -> None:
        """Look at the table; nothing else may change it."""
        self._table = table
        self._decoded: dict[bytes, LiveState] = {}
        # Keys with something running, by partition and shard: those that a reconcile changes.
        self._running: dict[tuple[int, int], set[bytes]] = {}
        for key, value in table.items():
            head = header_of(value)
            if head.has_running:  # never of an offset
                self._running.setdefault((head.partition, head.shard), set()).add(key)

    def take(self, batch: Iterable[tuple[int, bytes]]) -> Changes:
        """Fold messages (partition, value) in the order of their partition.

        Every key that a message is about counts as changed, also by a repeat: what was written of
        it before may have been lost. An error leaves the states as of no use.
        """
        changes = Changes({}, [])
        for partition, value in batch:
            for message in RecordedEvents.FromString(value).events:
                recorded = recorded_of(message)
                shard = message.position.shard
                if is_for_everybody(recorded.event):
                    for key in sorted(self._running.get((partition, shard), ())):
                        state = self._state(key, partition, changes)
                        changes.alerts.extend(fold(state, recorded))
                    continue
                payer = payer_of(recorded.event)
                if payer is None:
                    continue
                key = key_of(payer)
                if key not in changes.states and key not in self._table:
                    self._decoded[key] = LiveState(payer, shard)
                state = self._state(key, partition, changes)
                if state.shard != shard:
                    raise WrongShardError(
                        f"{key.decode()}: an event of shard {shard}, but it lives in {state.shard}"
                    )
                changes.alerts.extend(fold(state, recorded, correction_in(message)))
                self._note_running(key, state, partition)
        self._trim()
        return changes

    def _state(self, key: bytes, partition: int, changes: Changes) -> LiveState:
        changed = changes.states.get(key)
        if changed is not None:
            return changed[1]
        state = self._decoded.get(key)
        if state is None:
            state = self._decoded[key] = unpack(self._table[key])
        changes.states[key] = partition, state
        return state

    def _note_running(self, key: bytes, state: LiveState, partition: int) -> None:
        keys = self._running.setdefault((partition, state.shard), set())
        if state.lots:
            keys.add(key)
        else:
            keys.discard(key)

    def _trim(self) -> None:
        """Forget what was decoded first, beyond the limit."""
        excess = len(self._decoded) - DECODED_MAX
        if excess > 0:
            for key in list(self._decoded)[:excess]:
                del self._decoded[key]
