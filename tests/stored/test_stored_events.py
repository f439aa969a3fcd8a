"""Every event that any version ever stored loads, as what it always meant."""

from __future__ import annotations

from typing import Any

import pytest

from events import decode, encode, type_registry
from tests.stored.samples import FOLDER, paths_of, plain, recorded, samples_of

SAMPLES = [
    pytest.param(topic, version, state, expected, id=f"{topic}.v{version}.{number}")
    for topic, version, number, state, expected in recorded()
]


class TestSamples:
    def test_are_there_for_every_version_of_every_event(self) -> None:
        wanted = {
            path.name
            for topic, event_class in type_registry.items()
            for version in range(1, event_class.VERSION + 1)
            for path in paths_of(topic, version)
        }
        there = {path.name for ending in ("hex", "json") for path in FOLDER.glob(f"*.{ending}")}
        assert wanted == there

    @pytest.mark.parametrize(("topic", "version", "state", "expected"), SAMPLES)
    def test_load_as_what_they_meant(
        self, topic: str, version: int, state: bytes, expected: dict[str, Any]
    ) -> None:
        event = decode(topic, state)
        assert version == state[0]
        assert type_registry[topic] is type(event)
        assert expected == plain(event)

    @pytest.mark.parametrize(("topic", "version", "state", "expected"), SAMPLES)
    def test_of_today_are_stored_as_the_same_bytes(
        self, topic: str, version: int, state: bytes, expected: dict[str, Any]
    ) -> None:
        event = decode(topic, state)
        if version == event.VERSION:
            assert state == encode(event)
        assert event == decode(topic, encode(event))

    @pytest.mark.parametrize("topic", sorted(type_registry))
    def test_can_be_made_of_every_event(self, topic: str) -> None:
        for event in samples_of(type_registry[topic]):
            assert event == decode(topic, encode(event))


class TestTopics:
    @pytest.mark.parametrize("topic", sorted(type_registry))
    def test_are_lasting_names_and_no_class_paths(self, topic: str) -> None:
        assert set("abcdefghijklmnopqrstuvwxyz-") >= set(topic)
        assert topic == type_registry[topic].TOPIC
