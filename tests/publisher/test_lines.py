"""Lines of CloudEvents as messages: the ledger decides on the message as on the line."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.arrivals import EVENT_BYTES_MAX, Arrival, RejectedError
from ledger.cloudevents import parse_line
from ledger.messages import parse_packed, read_lines_of_message
from publisher import lines
from publisher._messages import Message
from tests.consumers.encodings import data_message
from tests.laws.test_encodings import events
from tests.oracle.respelling import respelled
from tests.oracle.strategies import invalid_lines
from tests.publisher.samples import PAYER, lines_of_each
from usage.events.v1.packed_pb2 import PackedEvents

REJECTED = "rejected"
Event = dict[str, Any]


def of_line(line: bytes) -> Arrival | str:
    try:
        return parse_line(line)
    except RejectedError:
        return REJECTED


def of_message(message: Message) -> Arrival | str:
    """What the ledger makes of it, whether it goes alone or packed."""
    if message.is_piece:
        (event,) = PackedEvents.FromString(message.value).events
        try:
            return parse_packed(event.SerializeToString())
        except RejectedError:
            return REJECTED
    (line,) = read_lines_of_message(0, message.key, message.headers, message.value)
    return line.content if isinstance(line.content, Arrival) else REJECTED


def message_of(line: bytes, *, packed: bool = False) -> Message:
    try:
        return lines.message_of(line, packed=packed)
    except lines.Unreadable:
        return lines.keyless(line)


def as_line(event: Event, **options: Any) -> bytes:
    return json.dumps(event, **options).encode()


def with_data(event: Event, **changed: object) -> Event:
    return {**event, "data": {**event["data"], **changed}}


def in_base64(event: Event) -> Event:
    encoded = base64.b64encode(data_message(event).SerializeToString()).decode()
    kept = {name: value for name, value in event.items() if name != "data"}
    return {**kept, "datacontenttype": "application/protobuf", "data_base64": encoded}


def twice(event: Event, name: str) -> bytes:
    """The line with an attribute given a second time, as something else."""
    return as_line(event)[:-1] + f',"{name}":"other"}}'.encode()


UNUSUAL: tuple[Callable[[Event], bytes], ...] = (
    lambda event: as_line(event, ensure_ascii=False),
    lambda event: as_line(event, indent=1).replace(b"\n", b" "),
    lambda event: as_line({**event, "subject": None}),
    lambda event: as_line({**event, "traceparent": "00-1-2-3", "ours": 7}),
    lambda event: as_line({**event, "datacontenttype": "Application/JSON; charset=latin1"}),
    lambda event: as_line({**event, "datacontenttype": "application/cloudevents+json"}),
    lambda event: as_line({**event, "datacontenttype": "text/plain"}),
    lambda event: as_line({**event, "specversion": "0.3"}),
    lambda event: as_line({**event, "id": ""}),
    lambda event: as_line({**event, "source": 'a "quoted" one'}),
    lambda event: as_line({**event, "type": "usage.other.v1"}),
    lambda event: as_line({**event, "time": ""}),
    lambda event: as_line({**event, "time": "2026-11-01T08:00:60Z"}),
    lambda event: as_line({**event, "data": None}),
    lambda event: as_line(with_data(event, creationTime="")),
    lambda event: as_line(with_data(event, unknown='{"nested": 1}')),
    lambda event: as_line(with_data(event, credits="7")),
    lambda event: as_line(with_data(event, credits=2**31)),
    lambda event: as_line(with_data(event, startedTime="2026-11-01T08:00:00")),
    lambda event: as_line(with_data(event, attribution_id=PAYER)),
    lambda event: as_line(with_data(event, attributionId=PAYER.upper())),
    lambda event: as_line(in_base64(event)),
    lambda event: as_line({**in_base64(event), "data": event["data"]}),
    lambda event: as_line({**in_base64(event), "data_base64": "no base64"}),
    lambda event: as_line(event).replace(b'"data": {', b'"data": {"attributionId": "team:0",'),
    lambda event: as_line(with_data(event, startedTime="0001-01-01T00:00:00+00:01")),
    lambda event: twice(event, "id"),
    lambda event: twice(event, "source"),
    lambda event: twice(event, "ours") + b" ",
    lambda event: as_line(event)[:-9],
    lambda event: as_line(event) + b" trailing",
    lambda event: b"\xef\xbb\xbf" + as_line(event),
    lambda event: as_line(event).replace(b'"data"', b'"d\\u0061ta"'),
    lambda event: as_line(event).replace(b'"attributionId"', b'"attribution\\u0049d"'),
)

packing = pytest.mark.parametrize("packed", [False, True], ids=["alone", "packed"])


class TestTheLedgerDecidesTheSame:
    @packing
    @given(event=events())
    def test_on_any_event_that_it_accepts(self, packed: bool, event: Event) -> None:
        line = as_line(event)
        found = of_message(message_of(line, packed=packed))
        assert of_line(line) == found
        assert isinstance(found, Arrival)

    @packing
    @given(event=events(), unusual=st.sampled_from(UNUSUAL))
    def test_on_a_line_written_in_another_way(
        self, packed: bool, event: Event, unusual: Callable[[Event], bytes]
    ) -> None:
        line = unusual(event)
        assert of_line(line) == of_message(message_of(line, packed=packed))

    @packing
    @given(
        event=st.sampled_from(sorted(lines_of_each().values(), key=str)),
        seed=st.integers(0, 2**32),
    )
    def test_on_other_words_for_the_same_event(self, packed: bool, event: Event, seed: int) -> None:
        line = respelled(as_line(event), seed)
        found = of_message(message_of(line, packed=packed))
        assert of_line(line) == found
        assert isinstance(found, Arrival)

    @packing
    @given(line=st.one_of(invalid_lines(), st.binary(max_size=200)))
    def test_on_what_is_no_event(self, packed: bool, line: bytes) -> None:
        assert of_line(line) == REJECTED == of_message(message_of(line, packed=packed))


class TestBinaryMode:
    def test_the_data_are_those_of_the_line_byte_for_byte(self) -> None:
        data = b'{ "attributionId":"%s",\t"stoppedTime" : "x" }' % PAYER.encode()
        line = (
            b'{"specversion":"1.0","id":"1","source":"/s","time":"t","subject":"a",'
            b'"type":"usage.x.v1","datacontenttype":"application/json","data":%s}' % data
        )
        message = lines.message_of(line)
        assert (PAYER.encode(), data) == (message.key, message.value)
        assert {
            "ce_specversion": b"1.0",
            "ce_id": b"1",
            "ce_source": b"/s",
            "ce_time": b"t",
            "ce_subject": b"a",
            "ce_type": b"usage.x.v1",
            "content-type": b"application/json",
        } == dict(message.headers)

    def test_the_key_is_the_payer_as_the_ledger_stores_it(self) -> None:
        event = lines_of_each()["stopped"]
        shouted = with_data(event, attributionId=f"team:{{{PAYER[5:].upper()}}}")
        assert PAYER.encode() == lines.message_of(as_line(shouted)).key


class TestStructuredMode:
    def test_a_line_with_extensions_goes_whole_under_its_payer(self) -> None:
        line = as_line({**lines_of_each()["stopped"], "traceparent": "00-1-2-3"})
        message = lines.message_of(line)
        assert (PAYER.encode(), line) == (message.key, message.value)
        assert [("content-type", b"application/cloudevents+json")] == message.headers

    def test_protobuf_in_base64_goes_under_its_payer_too(self) -> None:
        line = as_line(in_base64(lines_of_each()["started"]))
        assert PAYER.encode() == lines.message_of(line).key

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (b"{", "not a CloudEvent in JSON"),
            (b"[]", "not a CloudEvent in JSON"),
            (b"{}", "no attribution ID in its data"),
            (b'{"data":{}}', "attribution ID '': must be team:<uuid>"),
            (b'{"data":{"attributionId":"user:1"}}', "attribution ID 'user:1': must be"),
            (b'{"data":{"attributionId":5}}', "no attribution ID in its data"),
            (b'{"data_base64":"AAAA"}', "no attribution ID: its type is unknown"),
        ],
    )
    def test_without_a_payer_it_is_said_why(self, line: bytes, told: str) -> None:
        with pytest.raises(lines.Unreadable, match=re.escape(told)):
            lines.message_of(line)
        message = lines.keyless(line)
        assert (b"", line) == (message.key, message.value)

    def test_of_a_line_that_is_too_long_the_beginning_is_a_dead_letter_with_its_size(self) -> None:
        # Cut exactly where a valid event ends, which must not become one.
        event = as_line(lines_of_each()["stopped"])
        line = event.ljust(EVENT_BYTES_MAX) + b" and more"
        message = lines.cut_short(
            line[:EVENT_BYTES_MAX], size_bytes=len(line), sha256=sha256(line).digest()
        )
        assert REJECTED == of_message(message)
        assert event in message.value
        assert f"{len(line)} bytes, SHA-256 {sha256(line).hexdigest()}".encode() in message.value


class TestPieces:
    def test_an_event_in_the_usual_spelling_is_a_piece(self) -> None:
        for event in lines_of_each().values():
            assert lines.message_of(as_line(event), packed=True).is_piece

    def test_what_protobuf_would_change_goes_alone_as_it_stands(self) -> None:
        event = with_data(lines_of_each()["stopped"], unknown="kept for the dead letter")
        message = lines.message_of(as_line(event), packed=True)
        assert not message.is_piece
        assert event["data"] == json.loads(message.value)
