"""An event is the same event in every encoding: the same digest, and the same to decide on."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.arrivals import Arrival
from ledger.cloudevents import parse_line
from ledger.messages import read_lines_of_message
from tests.consumers.encodings import SINGLE, Event, batch, line_of, packed

KEY = b"team:0b1f6f6e-6d0c-4a52-9d2b-0d1c6f1f8a11"
# What protobuf can carry at all: no lone surrogate; and no NUL, which is refused in any encoding.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
ids = texts.filter(bool)


@st.composite
def moments(draw: st.DrawFn) -> str:
    """A time in years 1 to 9999, with up to nine digits behind the second."""
    day = draw(st.dates())
    seconds = draw(st.integers(0, 86_399))
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    digits = draw(st.sampled_from(("", ".5", ".123", ".9999", ".123456", ".000000001")))
    return f"{day.isoformat()}T{clock}{digits}Z"


@st.composite
def payers(draw: st.DrawFn) -> str:
    return f"team:{draw(st.uuids())}"


def optional(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Any event that the contract accepts."""
    kind: str = draw(
        st.sampled_from(
            (
                "workspace_instance.started",
                "workspace_instance.stopping",
                "workspace_instance.stopped",
                "credit_note.issued",
            )
        )
    )
    data: dict[str, Any] = {"attributionId": draw(payers())}
    event: Event = {
        "specversion": "1.0",
        "id": draw(st.one_of(ids, st.uuids().map(str))),
        "source": draw(ids),
        "type": f"usage.{kind}.v1",
        "datacontenttype": "application/json",
    }
    if kind == "credit_note.issued":
        event["time"] = draw(moments())
        data |= draw(
            optional(
                {
                    "credits": st.integers(-(2**31), 2**31 - 1),
                    "description": texts,
                    "userId": st.uuids().map(str),
                }
            )
        )
    else:
        if draw(st.booleans()):
            event["time"] = draw(moments())
        word = kind.rpartition(".")[2]
        data["workspaceInstanceId"] = str(draw(st.uuids()))
        data[f"{word}Time"] = draw(moments())
        if word == "started":
            data |= draw(
                optional(
                    {
                        "workspaceId": texts,
                        "workspaceClass": texts,
                        "workspaceType": st.sampled_from(("regular", "prebuild", "imagebuild", "")),
                        "contextUrl": texts,
                        "userId": st.uuids().map(str),
                        "userName": texts,
                        "userAvatarUrl": texts,
                        "projectId": texts,
                        "creationTime": moments(),
                    }
                )
            )
    return event | {"data": data}


class TestEncodings:
    """Binary protobuf, binary JSON, structured, packed protobuf and a JSON batch."""

    @given(events())
    def test_of_one_event_are_one_arrival(self, event: Event) -> None:
        """Digest, stream, payer, times, personal fields: all of it."""
        expected = parse_line(line_of(event))
        for told in (encode(event) for encode in SINGLE):
            (line,) = read_lines_of_message(7, KEY, told.headers, told.value)
            assert (expected, "", 7) == (line.content, line.reason, line.number)

    @given(st.lists(events(), min_size=1, max_size=5))
    def test_keep_the_order_of_packed_events(self, several: list[Event]) -> None:
        """Protobuf and JSON alike."""
        expected = [parse_line(line_of(event)) for event in several]
        for told in (packed(several), batch(several)):
            lines = read_lines_of_message(7, KEY, told.headers, told.value)
            assert expected == [line.content for line in lines]

    @given(st.binary(max_size=200), st.sampled_from(("protobuf", "packed", "batch", "structured")))
    def test_of_garbage_end_in_lines_with_reasons(self, value: bytes, kind: str) -> None:
        """Nothing raises, and nothing vanishes: at least one line comes of any message."""
        content_type = {
            "protobuf": b"application/protobuf",
            "packed": b"application/x-usage-events+protobuf",
            "batch": b"application/cloudevents-batch+json",
            "structured": b"application/cloudevents+json",
        }[kind]
        headers: list[tuple[str, bytes | None]] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"1"),
            ("ce_source", b"s"),
            ("ce_type", b"usage.workspace_instance.stopped.v1"),
            ("content-type", content_type),
        ]
        lines = read_lines_of_message(7, None, headers, value)
        assert lines != []
        for line in lines:
            assert isinstance(line.content, Arrival) != bool(line.reason)
