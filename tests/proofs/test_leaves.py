"""What a leaf hashes: an encoding from which nothing can be moved into another field."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events import UnreadableEventError, decode, encode, recorded_time
from ledger.audit.leaves import leaf_entry, leaf_of
from persistence import StreamEvent
from tests.store.facts import note
from tests.stored.samples import recorded

TIMES = st.integers(-(2**63), 2**63 - 1)


class TestTheEntry:
    def test_is_written_as_docs_proofs_says(self) -> None:
        """Byte for byte: whoever writes a verifier has only the page to go by."""
        entry = leaf_entry("a:é", 7, "some-topic", 1_764_000_000_123, b"\x01\x90")
        assert entry == (
            b"\x01"
            b"\x00\x00\x00\x04"
            + "a:é".encode()
            + b"\x00\x00\x00\x00\x00\x00\x00\x07"
            + b"\x00\x00\x00\x0asome-topic"
            + (1_764_000_000_123).to_bytes(8)
            + b"\x00\x00\x00\x02\x01\x90"
        )

    def test_a_time_before_1970_is_negative(self) -> None:
        assert leaf_entry("", 1, "", -1, b"").endswith(b"\xff" * 8 + bytes(4))

    @given(st.data())
    def test_two_events_never_share_one(self, data: st.DataObject) -> None:
        texts, sizes = st.text("ab\0", max_size=3), st.binary(max_size=3)
        events = st.tuples(texts, st.integers(0, 300), texts, st.integers(-3, 300), sizes)
        one, other = data.draw(events), data.draw(events)
        assert (one == other) == (leaf_entry(*one) == leaf_entry(*other))

    def test_a_stored_event_is_hashed_with_its_own_recorded_time(self) -> None:
        event = note(recorded_at=1_764_000_000_123)
        stored = StreamEvent(5, "credit-note:x", 1, event.TOPIC, encode(event))
        entry = leaf_entry("credit-note:x", 1, event.TOPIC, 1_764_000_000_123, stored.state)
        assert hashlib.sha256(b"\x00" + entry).digest() == leaf_of(stored)

    @given(TIMES, st.integers(1, 40), st.text(max_size=9), st.integers(1, 2**40))
    @example(1_764_000_000_123, 15, "a", 1)
    @example(2**62, 3, "a", 1)
    def test_any_stored_event_is_hashed_by_its_entry(
        self, time: int, values: int, name: str, version: int
    ) -> None:
        state = b"\x01" + msgspec.msgpack.encode([time, *["x"] * (values - 1)])
        entry = leaf_entry(name, version, name, time, state)
        stored = StreamEvent(5, name, version, name, state)
        assert hashlib.sha256(b"\x00" + entry).digest() == leaf_of(stored)

    @pytest.mark.parametrize("state", [b"\x01\x91\xcf\x00\x00", b"\x01\x91\xcf" + b"\xff" * 8])
    def test_a_damaged_event_has_no_leaf(self, state: bytes) -> None:
        with pytest.raises(UnreadableEventError):
            leaf_of(StreamEvent(1, "a", 1, "b", state))


class TestTheRecordedTime:
    def test_is_the_first_value_of_every_event_ever_stored(self) -> None:
        for topic, _, _, state, _ in recorded():
            assert decode(topic, state).recorded_at == recorded_time(state)

    @given(TIMES, st.integers(1, 70_000))
    @example(0, 15)
    @example(127, 16)
    @example(128, 65_536)
    @example(-32, 1)
    @example(-33, 1)
    def test_is_read_however_it_is_written(self, time: int, values: int) -> None:
        packed = msgspec.msgpack.encode([time, *[None] * (values - 1)])
        assert time == recorded_time(b"\x01" + packed)

    @pytest.mark.parametrize("state", [b"", b"\x01", b"\x01\x90", b"\x01\x91", b"\x01\x91\xa0",
                                       b"\x01\x91\xcf\x00", b"\x01\xa1a", b"\x01\xdc\x00",
                                       b"\x01\x91\xcf" + b"\xff" * 8])  # fmt: skip
    def test_of_damaged_bytes_is_no_guess(self, state: bytes) -> None:
        with pytest.raises(UnreadableEventError):
            recorded_time(state)
