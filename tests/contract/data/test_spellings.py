"""Section 6: proto3 JSON in all its legal spellings, and protobuf."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.contract.data.scene import PAYER, USER, Event, Scene, instance, note, started, stopped
from usage.events.v1 import events_pb2

START = started(
    "a",
    "05:00",
    event_id="start",
    workspaceId="w",
    workspaceClass="g1-large",
    workspaceType="prebuild",
    contextUrl="c",
    userName="n",
    userAvatarUrl="a",
    projectId="p",
    creationTime="2026-11-01T04:59:00Z",
)
SNAKE = {
    "workspace_instance_id": instance("a"),
    "attribution_id": PAYER,
    "workspace_id": "w",
    "workspace_class": "g1-large",
    "workspace_type": "prebuild",
    "context_url": "c",
    "user_id": USER,
    "user_name": "n",
    "user_avatar_url": "a",
    "project_id": "p",
    "creation_time": "2026-11-01T04:59:00Z",
    "started_time": "2026-11-01T05:00:00Z",
}


def with_data(event: Event, text: str) -> bytes:
    """The event with this text in the place of its data."""
    return json.dumps({**event, "data": "@"}).replace('"@"', text).encode()


def binary(event: Event, message: Message | bytes, **attributes: Any) -> Event:
    """The event with protobuf instead of JSON."""
    encoded = message if isinstance(message, bytes) else message.SerializeToString()
    rest = {name: value for name, value in event.items() if name != "data"}
    return {
        **rest,
        "datacontenttype": "application/protobuf",
        "data_base64": base64.b64encode(encoded).decode(),
        **attributes,
    }


def start_message(**fields: Any) -> events_pb2.WorkspaceInstanceStarted:
    message = events_pb2.WorkspaceInstanceStarted()
    json_format.ParseDict({**START["data"], **fields}, message)
    return message


class TestNames:
    def test_snake_case_names_are_the_same_names(self, scene: Scene) -> None:
        scene.record({**START, "data": SNAKE})
        scene.repeat(START)

        known = scene.known("a")
        assert ("w", "g1-large", "prebuild", USER, "p") == (
            known.workspace_id,
            known.workspace_class,
            known.workspace_type,
            known.user_id,
            known.project_id,
        )
        scene.record(stopped("a", "06:00"))
        metadata = json.loads(scene.only().metadata)
        assert ["c", "n", "a"] == [
            metadata[name] for name in ("contextURL", "userName", "userAvatarURL")
        ]

    def test_the_two_spellings_may_be_mixed(self, scene: Scene) -> None:
        mixed = dict([*list(SNAKE.items())[:6], *list(START["data"].items())])
        for name in list(SNAKE)[:6]:
            del mixed["".join([name.split("_")[0], *map(str.title, name.split("_")[1:])])]
        scene.record({**START, "data": mixed})

        scene.repeat(START)

    def test_both_spellings_of_a_field_at_once_are_none(self, scene: Scene) -> None:
        both = {**START["data"], "attribution_id": PAYER}

        assert "attribution_id" in scene.reject({**START, "data": both})

    @pytest.mark.parametrize("repeated", ["userName", "attributionId", "later"])
    def test_a_name_twice_in_one_object_is_none(self, scene: Scene, repeated: str) -> None:
        text = json.dumps(START["data"])[:-1] + f', "{repeated}": "x", "{repeated}": "x"}}'

        assert "twice" in scene.reject(with_data(START, text))

    @pytest.mark.parametrize("attribute", ["id", "source", "type", "data", "extension"])
    def test_an_attribute_twice_is_none(self, scene: Scene, attribute: str) -> None:
        value = json.dumps(START.get(attribute, "x"))
        twice = f'{{"{attribute}": {value}, "extension": "x", ' + json.dumps(START)[1:]

        assert "twice" in scene.reject(twice.encode())

    @pytest.mark.parametrize(
        "name", ["UserName", "username", "USER_NAME", "user-name", "contextURL"]
    )
    def test_any_other_spelling_is_an_unknown_field(self, scene: Scene, name: str) -> None:
        scene.record({**START, "data": {**START["data"], name: 7}})


class TestValues:
    @pytest.mark.parametrize(
        "field",
        [
            name
            for name in START["data"]
            if name not in {"workspaceInstanceId", "attributionId", "startedTime"}
        ],
    )
    def test_null_is_the_same_as_not_there(self, scene: Scene, field: str) -> None:
        fields = {name: value for name, value in START["data"].items() if name != field}
        scene.record({**START, "data": fields})

        scene.repeat({**START, "data": {**fields, field: None}})

    @pytest.mark.parametrize("text", ["null", '"0"', "0", "0.0", "-0", "0e5", '""'])
    def test_a_note_without_credits_gives_none(self, scene: Scene, text: str) -> None:
        line = with_data(note(0), f'{{"attributionId": "{PAYER}", "credits": {text}}}')
        if text == '""':
            scene.reject(line)  # an empty string is no number
        else:
            scene.record(line)
        assert 0 == scene.cents()

    @pytest.mark.parametrize(
        "text",
        ["1200", '"1200"', "1200.0", '"1200.0"', "1.2e3", '"1.2E+3"', "12000e-1", '"\\u0031200"'],
    )
    def test_numbers_may_be_strings_fractions_and_powers(self, scene: Scene, text: str) -> None:
        line = with_data(note(0), f'{{"attributionId": "{PAYER}", "credits": {text}}}')
        scene.record(line)

        assert -120000 == scene.cents()

    @pytest.mark.parametrize(
        "text",
        [
            *["true", "[]", "{}", "1.5", '"1.5"', '"x"', '" 1"', '"1 "', '"0x10"', '"1_000"'],
            *['"+1"', '"NaN"', '"Infinity"', "1e400", "1e-400", "1e99999999999999999999"],
            *['"\u0661"', "2147483648"],
        ],
    )
    def test_what_is_no_whole_number_of_32_bits_is_rejected(self, scene: Scene, text: str) -> None:
        line = with_data(note(0), f'{{"attributionId": "{PAYER}", "credits": {text}}}')

        assert "credits" in scene.reject(line)

    @pytest.mark.parametrize("field", sorted(START["data"]))
    @pytest.mark.parametrize("wrong", [7, 1.5, True, [], {}, ["x"]])
    def test_a_number_where_a_string_belongs_is_rejected(
        self, scene: Scene, field: str, wrong: object
    ) -> None:
        reason = scene.reject({**START, "data": {**START["data"], field: wrong}})

        assert "string" in reason

    def test_letters_may_be_escaped(self, scene: Scene) -> None:
        scene.record(START)
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in PAYER)

        scene.repeat(with_data(START, json.dumps(START["data"]).replace(PAYER, escaped)))

    @pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "\\ud800x", "\\udc00\\ud800"])
    @pytest.mark.parametrize("field", ["userName", "workspaceId", "later"])
    def test_half_a_surrogate_pair_is_no_text(self, scene: Scene, field: str, half: str) -> None:
        text = json.dumps({**START["data"], field: "@"}).replace("@", half)

        scene.reject(with_data(START, text))

    @pytest.mark.parametrize(
        "text", ["NaN", "Infinity", "01", "1.", ".5", "'x'", "undefined", "[1,]"]
    )
    def test_what_is_not_json_is_rejected(self, scene: Scene, text: str) -> None:
        scene.reject(with_data(START, json.dumps(START["data"])[:-1] + f', "later": {text}}}'))


class TestProtobuf:
    def test_data_base64_is_the_message_in_protobuf(self, scene: Scene) -> None:
        scene.record(binary(START, start_message()))

        known = scene.known("a")
        assert ("g1-large", "2026-11-01T05:00:00Z", USER) == (
            known.workspace_class,
            known.started_time.ToJsonString(),
            known.user_id,
        )

    def test_the_same_is_the_same_whatever_the_encoding_it_came_in(self, scene: Scene) -> None:
        scene.record(
            START,
            binary(
                note(3),
                events_pb2.CreditNoteIssued(attribution_id=PAYER, credits=3, description="sorry"),
            ),
        )

        scene.repeat(binary(START, start_message()), note(3))
        scene.repeat(binary({**START, "id": "other"}, start_message()))

    @pytest.mark.parametrize("content_type", ["application/protobuf", "application/x-protobuf"])
    def test_its_content_type_says_so(self, scene: Scene, content_type: str) -> None:
        scene.record(binary(START, start_message(), datacontenttype=content_type))

    @pytest.mark.parametrize("content_type", [None, "application/json", "text/plain"])
    def test_any_other_content_type_is_rejected(
        self, scene: Scene, content_type: str | None
    ) -> None:
        reason = scene.reject(binary(START, start_message(), datacontenttype=content_type))

        assert "datacontenttype" in reason

    def test_unknown_fields_are_ignored(self, scene: Scene) -> None:
        # Fields 1000 (a text) and 1001 (a number).
        unknown = start_message().SerializeToString() + b"\xc2\x3e\x01x\xc8\x3e\x07"
        scene.record(binary(START, unknown))

        scene.repeat(START)

    def test_nanoseconds_are_cut(self, scene: Scene) -> None:
        message = start_message()
        message.started_time.nanos = 999_999
        scene.record(binary(START, message))

        scene.repeat(START)

    @pytest.mark.parametrize(
        ("seconds", "nanos"),
        [(253402300800, 0), (-62135596801, 0), (0, -1), (0, 10**9), (2**62, 0), (-(2**62), 0)],
    )
    @pytest.mark.parametrize("field", ["started_time", "creation_time"])
    def test_times_outside_years_1_to_9999_are_rejected(
        self, scene: Scene, field: str, seconds: int, nanos: int
    ) -> None:
        message = start_message()
        getattr(message, field).seconds = seconds
        getattr(message, field).nanos = nanos

        assert field in scene.reject(binary(START, message))

    @pytest.mark.parametrize(
        "break_it",
        [
            lambda text: text[:-1],
            lambda text: "!" + text[1:],
            lambda text: "ü" + text[1:],
            lambda text: text + "\n",
            lambda _text: base64.b64encode(b"\x0a\xff").decode(),
            lambda _text: base64.b64encode(b"\x0a\x01\xff").decode(),  # no UTF-8
            lambda _text: 7,
        ],
    )
    def test_what_cannot_be_decoded_is_rejected(
        self, scene: Scene, break_it: Callable[[str], object]
    ) -> None:
        event = binary(START, start_message())
        event["data_base64"] = break_it(event["data_base64"])

        scene.reject(event)

    def test_no_data_is_a_message_without_fields(self, scene: Scene) -> None:
        assert "attribution_id" in scene.reject(binary(START, b""))

    def test_data_in_both_encodings_is_rejected(self, scene: Scene) -> None:
        assert "both" in scene.reject({**binary(START, start_message()), "data": START["data"]})

    @pytest.mark.parametrize("field", ["workspace_class", "user_name"])
    def test_strings_have_the_same_limit(self, scene: Scene, field: str) -> None:
        message = start_message()
        setattr(message, field, "x" * 4097)

        assert "4096" in scene.reject(binary(START, message))
