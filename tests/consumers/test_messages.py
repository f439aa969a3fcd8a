"""What is read from a broker's message, and what is said of one that cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ledger.arrivals import Arrival, RejectedError
from ledger.cloudevents import parse_line
from ledger.intake import Line
from ledger.messages import StoredMessage, parser_of, read_lines_of_message, unpack_stored
from tests.consumers.encodings import (
    JSON,
    PACKED,
    PROTOBUF,
    STRUCTURED,
    Event,
    Told,
    batch,
    binary_headers,
    binary_json,
    binary_protobuf,
    data_message,
    line_of,
    packed,
    packed_event,
    structured,
)
from tests.contract.data.scene import PAYER, note, started, stopped
from usage.events.v1.packed_pb2 import PackedEvents

START = started("a", "05:00", event_id="start")
STOP = stopped("a", "06:00", event_id="stop")
KEY = PAYER.encode()
MANY = 10_000


def read(told: Told, key: bytes | None = KEY) -> list[Line]:
    return read_lines_of_message(42, key, told.headers, told.value)


def with_headers(told: Told, **changed: bytes | None) -> Told:
    """The message with headers replaced by others, or left out for None."""
    kept = [(name, value) for name, value in told.headers if name.replace("-", "_") not in changed]
    put = [(name.replace("content_type", "content-type"), v) for name, v in changed.items()]
    return Told([*kept, *((name, value) for name, value in put if value is not None)], told.value)


def reason(told: Told) -> str:
    """Why the message was rejected, as one line."""
    (line,) = read(told)
    assert line.content is None
    return line.reason


class TestBinaryMode:
    """Headers `ce_*`, the data as the value."""

    def test_takes_header_names_in_letters_of_any_case(self) -> None:
        told = binary_protobuf(START)
        shouted = Told([(name.upper(), value) for name, value in told.headers], told.value)
        assert [line.content for line in read(told)] == [line.content for line in read(shouted)]

    @pytest.mark.parametrize(
        "content_type",
        [
            b"application/protobuf",
            b"application/x-protobuf",
            b"Application/Protobuf; message=WorkspaceInstanceStarted",
        ],
    )
    def test_takes_protobuf_by_its_names(self, content_type: bytes) -> None:
        told = with_headers(binary_protobuf(START), content_type=content_type)
        assert [parse_line(line_of(START))] == [line.content for line in read(told)]

    @pytest.mark.parametrize(
        "content_type",
        [
            b"application/json",
            b"application/json; charset=UTF-8",
            b'application/json;charset="utf-8"',
            b"application/vnd.usage+json",
        ],
    )
    def test_takes_json_with_parameters(self, content_type: bytes) -> None:
        told = with_headers(binary_json(START), content_type=content_type)
        assert [parse_line(line_of(START))] == [line.content for line in read(told)]

    def test_ignores_headers_of_others(self) -> None:
        told = binary_protobuf(START)
        more = Told(
            [
                *told.headers,
                ("traceparent", b"\xff"),
                ("traceparent", b"2"),
                ("ce_traceparent", b"x"),
            ],
            told.value,
        )
        assert [parse_line(line_of(START))] == [line.content for line in read(more)]

    def test_takes_an_event_whose_key_says_another_payer(self) -> None:
        """The event decides; the key only chose the partition."""
        for key in (b"team:00000000-0000-0000-0000-000000000000", b"\xff", b"", None):
            assert [parse_line(line_of(START))] == [
                line.content for line in read(binary_protobuf(START), key)
            ]

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"content_type": None}, "the header content-type is missing: say application/"),
            ({"content_type": b"text/plain"}, "content-type 'text/plain': must be application/"),
            ({"content_type": b"application/json; charset=latin-1"}, "the charset must be utf-8"),
            ({"content_type": b"\xff"}, "the header content-type is not UTF-8 text"),
            ({"content_type": b"application/cloudevents+avro"}, "must be application/protobuf"),
            ({"ce_id": None}, "the header ce_id is missing: binary mode needs it"),
            ({"ce_id": b""}, "the header ce_id is empty: binary mode needs it"),
            ({"ce_id": b"\xff"}, "the header ce_id is not UTF-8 text"),
            ({"ce_source": None}, "the header ce_source is missing: binary mode needs it"),
            ({"ce_type": None}, "the header ce_type is missing: binary mode needs it"),
            ({"ce_type": b"usage.other.v1"}, "type 'usage.other.v1' is unknown: one of usage."),
            ({"ce_specversion": None}, "the header ce_specversion is missing: binary mode"),
            ({"ce_specversion": b"0.3"}, "the header ce_specversion is '0.3': must be '1.0'"),
            ({"ce_time": b"yesterday"}, "time 'yesterday': write it like 2026-11-01T08:00:00Z"),
            ({"ce_id": b"a\0"}, "id contains a NUL character"),
            ({"ce_source": b"s" * 4097}, "source of 4097 bytes: at most 4096 are allowed"),
        ],
    )  # fmt: skip
    def test_says_which_header_to_change(
        self, headers: dict[str, bytes | None], expected: str
    ) -> None:
        assert expected in reason(with_headers(binary_protobuf(START), **headers))

    def test_refuses_a_header_given_twice(self) -> None:
        told = binary_protobuf(START)
        assert "header 'CE_ID' is given twice: give it once" == reason(
            Told([*told.headers, ("CE_ID", b"other")], told.value)
        )

    def test_refuses_data_of_another_message(self) -> None:
        told = Told(binary_headers(START, PROTOBUF), b"\xff\xff\xff")
        assert "data is not a WorkspaceInstanceStarted in protobuf" in reason(told)

    def test_refuses_an_empty_value(self) -> None:
        assert "the value is empty" in reason(Told(binary_headers(START, JSON), b""))
        # In protobuf it is a message with nothing in it.
        assert "must be team:<uuid>" in reason(Told(binary_headers(START, PROTOBUF), b""))

    def test_refuses_a_tombstone(self) -> None:
        expected = "the value is null: events are never deleted, so send an event"
        assert expected == reason(Told(binary_headers(START, PROTOBUF), None))

    @pytest.mark.parametrize(
        ("seconds", "nanos"), [(253_402_300_800, 0), (-62_135_596_801, 0), (0, -1), (0, 10**9)]
    )
    def test_refuses_times_that_are_not_of_this_world(self, seconds: int, nanos: int) -> None:
        message: Any = data_message(START)
        message.started_time.seconds, message.started_time.nanos = seconds, nanos
        told = Told(binary_headers(START, PROTOBUF), message.SerializeToString())
        assert "must lie in years 1 to 9999" in reason(told)

    def test_needs_the_time_of_a_credit_note(self) -> None:
        assert "time is missing" in reason(binary_protobuf(note(5, time=None)))

    def test_refuses_an_event_that_is_too_long(self) -> None:
        long = data_message(START).SerializeToString() + b"\x0a\x80\x80\x10" + b"x" * 262_144
        assert "at most 262144 are allowed" in reason(Told(binary_headers(START, PROTOBUF), long))


class TestStructuredMode:
    """The value is a CloudEvent in JSON."""

    def test_takes_parameters_and_needs_no_other_header(self) -> None:
        content_type = b"application/cloudevents+json; charset=utf-8"
        told = with_headers(structured(START), content_type=content_type)
        assert [parse_line(line_of(START))] == [line.content for line in read(told)]

    def test_says_what_the_reader_of_lines_says(self) -> None:
        told = Told([("content-type", STRUCTURED)], b"{")
        assert "not a CloudEvent in JSON" in reason(told)


class TestPackedMessages:
    """Many events in one message."""

    def test_reject_one_event_and_keep_its_neighbours(self) -> None:
        bad: Event = {**STOP, "type": "usage.workspace_instance.started.v1", "id": "bad"}
        bad = {**bad, "data": {"attributionId": "nobody"}}
        for told in (packed([START, bad, STOP]), batch([START, bad, STOP])):
            lines = read(told)
            assert [True, False, True] == [isinstance(line.content, Arrival) for line in lines]
            assert "attribution_id 'nobody': must be team:<uuid>" == lines[1].reason

    def test_keep_the_neighbours_of_a_garbled_event(self) -> None:
        good = packed_event(START).SerializeToString()
        pieces = (good, b"\xff\xff\xff", good)
        value = b"".join(b"\x0a" + _varint(len(piece)) + piece for piece in pieces)
        lines = read(Told([("content-type", PACKED)], value))
        assert [True, False, True] == [isinstance(line.content, Arrival) for line in lines]
        assert "not a PackedEvent:" in lines[1].reason
        assert list(pieces) == [line.original for line in lines]

    def test_ignore_fields_that_a_newer_version_added(self) -> None:
        told = packed([START])
        assert told.value is not None
        later = (
            told.value + b"\x10\x96\x01" + b"\x1a\x02ab" + b"\x21" + b"8" * 8 + b"\x2d" + b"4" * 4
        )
        assert [parse_line(line_of(START))] == [
            line.content for line in read(Told(told.headers, later))
        ]

    @pytest.mark.parametrize(
        "value",
        [b"\x0a\x05abc", b"\x0a", b"\x0a\xff", b"\x0b\x0c", b"\x0a" + b"\xff" * 12, b"\x21123"],
    )
    def test_that_are_cut_off_or_garbled_are_one_reject(self, value: bytes) -> None:
        told = Told([("content-type", PACKED)], value)
        assert "not a PackedEvents in protobuf: it is cut off or garbled" == reason(told)

    @pytest.mark.parametrize("value", [b"{", b'{"id": 1}', b"[{]", b"\xff"])
    def test_in_json_that_are_no_array_are_one_reject(self, value: bytes) -> None:
        told = Told([("content-type", b"application/cloudevents-batch+json")], value)
        assert "not a JSON array of CloudEvents" in reason(told)

    def test_without_events_are_one_reject(self) -> None:
        expected = "a packed message without events: pack at least one"
        assert [expected, expected] == [reason(packed([])), reason(batch([]))]

    def test_of_ten_thousand_events_are_taken_and_of_one_more_are_one_reject(self) -> None:
        event = packed_event(START)
        full = PackedEvents(events=[event] * MANY).SerializeToString()
        assert MANY == len(read(Told([("content-type", PACKED)], full)))
        over = PackedEvents(events=[event] * (MANY + 1)).SerializeToString()
        expected = "a packed message of 10001 events: at most 10000 are allowed"
        assert expected == reason(Told([("content-type", PACKED)], over))
        in_json = b"[" + b",".join([b"{}"] * (MANY + 1)) + b"]"
        assert expected == reason(
            Told([("content-type", b"application/cloudevents-batch+json")], in_json)
        )

    def test_refuse_one_event_that_is_too_long(self) -> None:
        event = packed_event(START)
        event.data += b"\x0a\x80\x80\x10" + b"x" * 262_144
        value = PackedEvents(events=[event, packed_event(STOP)]).SerializeToString()
        lines = read(Told([("content-type", PACKED)], value))
        assert [False, True] == [isinstance(line.content, Arrival) for line in lines]
        assert "at most 262144 are allowed" in lines[0].reason


class TestWhatADeadLetterKeeps:
    """Kind and original bytes of a line, and how they are read again."""

    def test_is_the_whole_message(self) -> None:
        told = with_headers(binary_protobuf(START), ce_type=b"usage.later.v1")
        told = Told([*told.headers, ("empty", b""), ("none", None)], told.value)
        (line,) = read(told)
        kept = StoredMessage(KEY, tuple(told.headers), told.value)
        assert ("message", kept) == (line.kind, unpack_stored(line.original))

    def test_can_be_read_again_for_each_kind(self) -> None:
        expected = parse_line(line_of(START))
        for told in (binary_protobuf(START), binary_json(START), structured(START), packed([START]),
                     batch([START])):  # fmt: skip
            (line,) = read(told)
            assert expected == parser_of(line.kind)(line.original)

    def test_of_a_message_that_is_still_wrong_gives_its_reason_again(self) -> None:
        for told in (
            Told([], b"x"),
            Told(binary_headers(START, PROTOBUF), None),
            Told([("content-type", PACKED)], b"\x0b"),
        ):
            (line,) = read(told)
            with pytest.raises(RejectedError) as caught:
                parser_of(line.kind)(line.original)
            assert line.reason == str(caught.value)

    def test_of_a_packed_message_that_can_be_unpacked_now_asks_to_publish_it(self) -> None:
        """It was counted as one; taken in, it would be many."""
        told = packed([START, STOP])
        original = msgspec.msgpack.encode((KEY, told.headers, told.value))
        with pytest.raises(RejectedError, match="into 2 events: publish it again"):
            parser_of("message")(original)

    def test_is_the_beginning_of_a_very_long_message(self) -> None:
        value = b"x" * 1_100_000
        (line,) = read(Told([("content-type", b"text/plain")], value))
        assert ("oversized", value[:262_144], True) == (
            line.kind,
            line.original,
            line.size_bytes > len(value),
        )


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])
