"""The typed constructors: what they make, and what they refuse before anything is buffered."""

import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.arrivals import Arrival
from ledger.cloudevents import parse_line
from ledger.identifiers import parse_payer, parse_uuid
from ledger.messages import parse_packed, read_lines_of_message
from publisher import (
    Event,
    InvalidEvent,
    credit_note_issued,
    workspace_instance_started,
    workspace_instance_stopped,
    workspace_instance_stopping,
)
from publisher._checks import stored_attribution_id, stored_uuid
from publisher._messages import binary, piece
from tests.publisher.samples import (
    INSTANCE,
    NOON,
    PAYER,
    SOURCE,
    USER,
    lines_of_each,
    one_of_each,
)
from usage.events.v1.packed_pb2 import PackedEvents

KINDS = ("started", "stopping", "stopped", "note")


def read_by_ledger(event: Event) -> object:
    message = binary(event, SOURCE)
    (line,) = read_lines_of_message(0, message.key, message.headers, message.value)
    return line.content or line.reason


class TestWhatTheyMake:
    @pytest.mark.parametrize("kind", KINDS)
    def test_in_binary_mode_the_ledger_reads_what_the_line_says(self, kind: str) -> None:
        line = json.dumps(lines_of_each()[kind]).encode()
        assert parse_line(line) == read_by_ledger(one_of_each()[kind])

    @pytest.mark.parametrize("kind", KINDS)
    def test_as_a_piece_of_a_packed_message_too(self, kind: str) -> None:
        line = json.dumps(lines_of_each()[kind]).encode()
        message = piece(one_of_each()[kind], SOURCE)
        (event,) = PackedEvents.FromString(message.value).events
        assert parse_line(line) == parse_packed(event.SerializeToString())

    def test_the_attributes_are_those_of_the_binding(self) -> None:
        message = binary(one_of_each()["stopped"], SOURCE)
        assert {
            "ce_specversion": b"1.0",
            "ce_id": b"stopped",
            "ce_source": SOURCE.encode(),
            "ce_type": b"usage.workspace_instance.stopped.v1",
            "ce_subject": INSTANCE.encode(),
            "ce_time": b"2026-11-01T13:30:00.123456Z",
            "content-type": b"application/protobuf",
        } == dict(message.headers)
        assert PAYER.encode() == message.key

    def test_an_event_keeps_the_source_it_was_given(self) -> None:
        event = stopped(source="/somebody/else")
        assert b"/somebody/else" == dict(binary(event, SOURCE).headers)["ce_source"]

    def test_an_event_without_an_id_gets_one_that_no_other_has(self) -> None:
        ids = {stopped().id for _ in range(100)}
        assert 100 == len(ids)
        assert ids == {str(uuid.UUID(one)) for one in ids}

    def test_uuids_are_sent_as_the_ledger_stores_them(self) -> None:
        event = stopped(
            workspace_instance_id=f"{{{INSTANCE.upper()}}}",
            attribution_id=f"team:{PAYER.removeprefix('team:').replace('-', '').upper()}",
        )
        assert (stopped(event_id="x").data, PAYER) == (event.data, event.attribution_id)
        assert stopped(workspace_instance_id=uuid.UUID(INSTANCE)).data == event.data

    def test_a_time_in_another_zone_is_the_same_time(self) -> None:
        elsewhere = NOON.astimezone(dt.timezone(dt.timedelta(hours=-7)))
        assert stopped().data == stopped(stopped_time=elsewhere).data


def stopped(**changed: Any) -> Event:
    given: dict[str, Any] = {
        "workspace_instance_id": INSTANCE,
        "attribution_id": PAYER,
        "stopped_time": NOON,
    }
    return workspace_instance_stopped(**{**given, **changed})


def started(**changed: Any) -> Event:
    given: dict[str, Any] = {
        "workspace_instance_id": INSTANCE,
        "attribution_id": PAYER,
        "started_time": NOON,
    }
    return workspace_instance_started(**{**given, **changed})


def note(**changed: Any) -> Event:
    given: dict[str, Any] = {"attribution_id": PAYER, "credits": 1, "effective_time": NOON}
    return credit_note_issued(**{**given, **changed})


NAIVE = NOON.replace(tzinfo=None)
LONG = "x" * 4_097


class TestWhatTheyRefuse:
    @pytest.mark.parametrize(
        ("make", "wrong", "told"),
        [
            (stopped, {"stopped_time": NAIVE}, "stopped_time '2026-11-01T12:00:00' has no zone"),
            (stopped, {"stopped_time": "noon"}, "stopped_time is a str: must be a datetime"),
            (stopped, {"workspace_instance_id": "x"}, "workspace_instance_id 'x': must be a UUID"),
            (stopped, {"workspace_instance_id": ""}, "workspace_instance_id '': must be a UUID"),
            (stopped, {"attribution_id": "user:x"}, "attribution_id 'user:x': must be team:<uuid>"),
            (stopped, {"attribution_id": USER}, "must be team:<uuid>"),
            (stopped, {"attribution_id": f" {PAYER}"}, "must be team:<uuid>"),
            (stopped, {"attribution_id": 7}, "attribution_id is a int: must be a string"),
            (stopped, {"event_id": ""}, "event_id must not be empty"),
            (stopped, {"event_id": LONG}, "event_id of 4097 bytes: at most 4096 are allowed"),
            (stopped, {"source": "a\0b"}, "source contains a NUL character"),
            (started, {"creation_time": NAIVE}, "creation_time '2026-11-01T12:00:00' has no zone"),
            (started, {"workspace_type": "big"}, "one of regular, prebuild, imagebuild, or empty"),
            (started, {"workspace_type": "\0"}, "workspace_type contains a NUL character"),
            (started, {"user_id": "ada"}, "user_id 'ada': must be a UUID"),
            (started, {"user_name": "ü" * 2_049}, "user_name of 4098 bytes: at most 4096"),
            (started, {"user_name": "\ud800"}, "user_name contains half a surrogate pair"),
            (started, {"context_url": None}, "context_url is a NoneType: must be a string"),
            (note, {"credits": 2**31}, "credits 2147483648: must be between -2147483648 and"),
            (note, {"credits": True}, "credits is a bool: must be a whole number"),
            (note, {"credits": 1.5}, "credits is a float: must be a whole number"),
            (note, {"effective_time": NAIVE}, "effective_time '2026-11-01T12:00:00' has no zone"),
            (note, {"user_id": "0"}, "user_id '0': must be a UUID"),
        ],
    )
    def test_it_says_the_field_the_value_and_what_is_allowed(
        self, make: Callable[..., Event], wrong: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(InvalidEvent) as refused:
            make(**wrong)
        assert told in str(refused.value)

    def test_a_time_that_is_outside_the_years_in_utc(self) -> None:
        first = dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))
        with pytest.raises(InvalidEvent, match="outside years 1 to 9999"):
            stopped(stopped_time=first)
        last = dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.timezone(-dt.timedelta(hours=1)))
        with pytest.raises(InvalidEvent, match="outside years 1 to 9999"):
            stopped(stopped_time=last)

    def test_positions_are_not_taken(self) -> None:
        with pytest.raises(TypeError):
            workspace_instance_stopping(INSTANCE, PAYER, NOON)  # type: ignore[call-arg]


HEX = st.text("0123456789abcdefABCDEF-{}: \n", max_size=40)
UUIDS = st.uuids().map(str)
SPELLINGS = st.one_of(
    UUIDS,
    UUIDS.map(str.upper),
    UUIDS.map(lambda one: one.replace("-", "")),
    UUIDS.map(lambda one: f"{{{one}}}"),
    UUIDS.map(lambda one: f"{{{one.replace('-', '')}}}"),
    UUIDS.map(lambda one: f"{one}\n"),
    HEX,
)


class TestAgreementWithTheLedger:
    """The room imports nothing of the ledger, so the rules are told twice and must be the same."""

    @given(SPELLINGS)
    def test_on_what_a_uuid_is(self, text: str) -> None:
        assert parse_uuid(text) == stored_uuid(text)

    @given(st.sampled_from(["team:", "Team:", "user:", "", " team:"]), SPELLINGS)
    def test_on_what_an_attribution_id_is(self, kind: str, text: str) -> None:
        stored = stored_attribution_id(kind + text)
        payer = parse_payer(kind + text)
        assert (payer is None) == (stored is None)
        assert stored is None or f"team:{uuid.UUID(bytes=payer)}" == stored

    @given(
        st.datetimes(timezones=st.timezones()),
        st.text(max_size=5_000),
        st.text(max_size=20),
        st.integers(-(2**31), 2**31 - 1),
    )
    def test_whatever_is_not_refused_is_taken_in(
        self, time: dt.datetime, description: str, event_id: str, credits: int
    ) -> None:
        try:
            event = note(
                effective_time=time, description=description, event_id=event_id, credits=credits
            )
        except InvalidEvent:
            return
        read = read_by_ledger(event)
        assert isinstance(read, Arrival), read
        assert credits == read.credits
