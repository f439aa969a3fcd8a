"""Every event of the log as a message, and back."""

from __future__ import annotations

import types
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.recorded_events import UnknownEventError, message_of, recorded_of
from events import CostCenterTerms, LedgerEvent, Recorded, type_registry
from events.readable import TIME_MAX, TIME_MIN, attribution_id, uuid_text
from usage_ledger.v1.ledger_events_pb2 import RecordedEvent

INT32_MAX = 2**31 - 1
times = st.integers(TIME_MIN, TIME_MAX)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
uuids = st.uuids().map(lambda uuid: uuid.bytes)
# What a field may hold, by its name where its type does not say it.
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "payer": uuids,
    "user": st.one_of(uuids, st.just(b"")),
    "entry_id": uuids,
    "commitment": st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
    "credits_per_minute": st.dictionaries(texts, texts, max_size=3),
}
NUMBERS = frozenset({
    "price_revision", "revision", "credit_cents", "spending_limit", "cycle_number", "balance_cents",
    "write_off_cents", "periods", "ledger_interval_ms",
})  # fmt: skip


def values(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    """What a field of an event may hold."""
    if name in BY_NAME:
        return BY_NAME[name]
    if isinstance(annotation, types.UnionType):
        (kind,) = (one for one in annotation.__args__ if one is not types.NoneType)
        return st.one_of(st.none(), values(name, kind))
    if annotation is int:
        return st.integers(-INT32_MAX, INT32_MAX) if name in NUMBERS else times
    if annotation is str:
        return texts
    if annotation == tuple[str, ...]:
        return st.lists(texts, max_size=3).map(tuple)
    assert annotation == tuple[CostCenterTerms, ...]
    return st.lists(instances(CostCenterTerms), max_size=3).map(tuple)


def instances(cls: type[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    fields = {name: values(name, hints[name]) for name in cls.__struct_fields__}
    return st.builds(cls, **fields)


@st.composite
def recorded_events(draw: st.DrawFn, cls: type[LedgerEvent]) -> Recorded:
    """Any event of a class, somewhere in a log."""
    event: LedgerEvent = draw(instances(cls))
    return Recorded(
        draw(st.sampled_from(("instance:", "cycle:"))) + str(draw(st.uuids())),
        draw(st.integers(1, INT32_MAX)),
        event,
        draw(st.integers(1, 2**60)),
    )


class TestMessages:
    """`message_of` and `recorded_of`."""

    @pytest.mark.parametrize("topic", sorted(type_registry))
    @settings(max_examples=20)
    @given(data=st.data(), shard=st.integers(0, 1000))
    def test_are_lossless(self, topic: str, data: st.DataObject, shard: int) -> None:
        """Through the bytes, so that it is what a reader elsewhere gets."""
        recorded = data.draw(recorded_events(type_registry[topic]))
        message = RecordedEvent.FromString(message_of(recorded, shard).SerializeToString())
        assert (recorded, shard) == (recorded_of(message), message.position.shard)

    @pytest.mark.parametrize("topic", sorted(type_registry))
    def test_say_topic_stream_version_author_and_time(self, topic: str) -> None:
        cls = type_registry[topic]
        event = _plain(cls)
        message = message_of(Recorded("instance:x", 3, event, 17), 2)
        assert (topic, "instance:x", 3, "ada", 1_000_000, 17, 2) == (
            message.topic,
            message.stream,
            message.version,
            message.author,
            message.recorded.ToMilliseconds(),
            message.position.number,
            message.position.shard,
        )

    def test_write_identifiers_as_people_do(self) -> None:
        cls = type_registry["instance-started"]
        event = _plain(cls)
        told = message_of(Recorded("instance:0d5a", 1, event, 1), 0).workspace_instance_started
        assert ("0d5a", attribution_id(b"p" * 16), uuid_text(b"u" * 16)) == (
            told.workspace_instance_id,
            told.attribution_id,
            told.user_id,
        )

    def test_of_a_kind_that_came_later_are_told_from_known_ones(self) -> None:
        message = RecordedEvent(topic="instance-moved")
        with pytest.raises(UnknownEventError, match="'instance-moved' is unknown here"):
            recorded_of(message)


def _plain(cls: type[LedgerEvent]) -> LedgerEvent:
    """An event with the same values in every test."""
    hints = typing.get_type_hints(cls)
    by_type: dict[Any, Any] = {int: 1, str: "x", bytes: b"", dict[str, str]: {}}
    known: dict[str, Any] = {
        "recorded_at": 1_000_000,
        "author": "ada",
        "payer": b"p" * 16,
        "user": b"u" * 16,
        "entry_id": b"e" * 16,
        "history": (),
    }
    fields: dict[str, Any] = {
        name: known.get(name, by_type.get(hints[name])) for name in cls.__struct_fields__
    }
    return cls(**fields)
