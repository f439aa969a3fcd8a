"""With a field it did not know, an event was read by protobuf's reader, which takes more than JSON.

Whether `2026-1-1T8:0:0Z` was a time thus depended on what else the event said.
"""

import json

import pytest

from tests.contract.data.scene import PAYER, Scene, note, started
from tests.oracle.events import line_of


@pytest.mark.parametrize("text", ["2026-1-1T8:0:0Z", "2026-11-01T06:00:00+25:00"])
def test_a_time_is_no_time_whatever_else_the_event_says(text: str) -> None:
    with Scene() as scene:
        assert "started_time" in scene.reject(started("a", "06:00", startedTime=text, unknown=1))


def test_an_empty_creation_time_is_no_time() -> None:
    with Scene() as scene:
        assert "creation_time" in scene.reject(started("a", "06:00", creationTime=""))


def test_a_field_in_both_its_spellings_is_named_twice() -> None:
    with Scene() as scene:
        assert "attribution_id" in scene.reject(started("a", "06:00", attribution_id=PAYER))


@pytest.mark.parametrize("digits", ["1_000", "+5", "\u0665"])
def test_digits_are_those_of_json(digits: str) -> None:
    with Scene() as scene:
        assert "credits" in scene.reject(note(digits))


def test_data_in_both_encodings_is_rejected() -> None:
    event = {**note(3), "data_base64": "", "datacontenttype": "application/protobuf"}
    with Scene() as scene:
        assert "both" in scene.reject(line_of(json.loads(json.dumps(event))))
