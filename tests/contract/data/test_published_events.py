"""Section 6: what a published event must be."""

import json

import pytest

from tests.contract.data.scene import (
    PAYER,
    USER,
    Event,
    Scene,
    bytes_of,
    note,
    ran,
    started,
    stopped,
    stopping,
)
from tests.oracle.events import line_of

EVENTS = {
    "started": started("a", "06:00"),
    "stopping": stopping("a", "07:00"),
    "stopped": stopped("a", "07:01"),
    "note": note(3),
}
EVERY_KIND = pytest.mark.parametrize("kind", EVENTS)
STRING_BYTES_MAX = 4_096
EVENT_BYTES_MAX = 262_144


def changed(event: Event, **attributes: object) -> Event:
    return {**event, **attributes}


def without(event: Event, attribute: str) -> Event:
    return {name: value for name, value in event.items() if name != attribute}


def saying(event: Event, **fields: object) -> Event:
    return {**event, "data": {**event["data"], **fields}}


def silent(event: Event, field: str) -> Event:
    return {**event, "data": without(event["data"], field)}


def padded(event: Event, size: int) -> bytes:
    """The event's line with an unknown field that makes it so many bytes long."""
    bare = len(line_of(saying(event, padding="")))
    return line_of(saying(event, padding="x" * (size - bare)))


class TestEnvelope:
    @EVERY_KIND
    def test_every_type_of_the_table_is_taken(self, scene: Scene, kind: str) -> None:
        scene.record(EVENTS[kind])

    def test_the_example_line_is_taken(self, scene: Scene) -> None:
        scene.record(
            b'{"specversion":"1.0","id":"6f0c-1","source":"/workspace-manager/eu01",'
            b'"type":"usage.workspace_instance.started.v1","subject":"x",'
            b'"time":"2026-11-01T08:00:00Z","datacontenttype":"application/json","data":'
            b'{"workspaceInstanceId":"0f9e0e5a-0f43-4b66-8d7e-0f6f3a1f6f10",'
            b'"attributionId":"team:0f9e0e5a-0f43-4b66-8d7e-0f6f3a1f6f11",'
            b'"workspaceId":"gitpodio-demo-1","workspaceClass":"g1-large",'
            b'"workspaceType":"regular","userId":"0f9e0e5a-0f43-4b66-8d7e-0f6f3a1f6f12",'
            b'"userName":"user42","startedTime":"2026-11-01T08:00:00Z"}}'
        )

    @pytest.mark.parametrize(
        "unknown",
        [
            "usage.workspace_instance.paused.v1",
            "usage.workspace_instance.started.v2",
            "Usage.workspace_instance.started.v1",
            "usage.workspace_instance.started.v1 ",
            "started",
            "",
            "x" * 10_000,
        ],
    )
    def test_unknown_types_are_rejected(self, scene: Scene, unknown: str) -> None:
        assert "type" in scene.reject(changed(EVENTS["started"], type=unknown))

    @pytest.mark.parametrize("version", ["0.3", "1", "1.1", "", "1.0 "])
    def test_only_cloudevents_1_0_are_taken(self, scene: Scene, version: str) -> None:
        assert "specversion" in scene.reject(changed(EVENTS["started"], specversion=version))

    @pytest.mark.parametrize("attribute", ["specversion", "id", "source", "type", "data"])
    def test_required_attributes_must_be_there(self, scene: Scene, attribute: str) -> None:
        assert attribute in scene.reject(without(EVENTS["started"], attribute))

    @pytest.mark.parametrize("attribute", ["id", "source"])
    def test_id_and_source_must_not_be_empty(self, scene: Scene, attribute: str) -> None:
        assert attribute in scene.reject(changed(EVENTS["started"], **{attribute: ""}))

    @pytest.mark.parametrize(
        "attribute", ["specversion", "id", "source", "type", "time", "datacontenttype"]
    )
    @pytest.mark.parametrize("wrong", [7, True, [], {}, 1.5])
    def test_a_number_where_a_string_belongs_is_rejected(
        self, scene: Scene, attribute: str, wrong: object
    ) -> None:
        scene.reject(changed(EVENTS["note"], **{attribute: wrong}))

    @pytest.mark.parametrize("attribute", ["subject", "time", "datacontenttype"])
    def test_optional_attributes_may_be_null_or_missing(self, scene: Scene, attribute: str) -> None:
        scene.record(changed(EVENTS["started"], **{attribute: None}))
        scene.record(without(EVENTS["stopped"], attribute))

    def test_extension_attributes_are_ignored(self, scene: Scene) -> None:
        more = {"traceparent": "00-x", "partitionkey": PAYER, "sequence": 10**30, "odd": [{"a": 1}]}
        scene.record(changed(EVENTS["started"], **more))

    @pytest.mark.parametrize(
        "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
    )
    def test_json_may_be_said_in_other_words(self, scene: Scene, content_type: str) -> None:
        scene.record(changed(EVENTS["started"], datacontenttype=content_type))

    @pytest.mark.parametrize("content_type", ["text/xml", "application/protobuf", "", "json"])
    def test_data_of_another_type_is_rejected(self, scene: Scene, content_type: str) -> None:
        if content_type == "":  # as if it were not there
            scene.record(changed(EVENTS["started"], datacontenttype=""))
            return
        reason = scene.reject(changed(EVENTS["started"], datacontenttype=content_type))
        assert "datacontenttype" in reason

    @pytest.mark.parametrize(
        "line", [b"[]", b'"text"', b"7", b"null", b"{}", b"\0", b"\xef\xbb\xbf{}"]
    )
    def test_a_line_that_is_no_event_is_rejected(self, scene: Scene, line: bytes) -> None:
        scene.reject(line)

    @pytest.mark.parametrize("data", [None, [], "text", 7, True])
    @EVERY_KIND
    def test_data_that_is_no_object_is_rejected(
        self, scene: Scene, kind: str, data: object
    ) -> None:
        scene.reject(changed(EVENTS[kind], data=data))


class TestRequired:
    @EVERY_KIND
    def test_the_attribution_id_is_required(self, scene: Scene, kind: str) -> None:
        assert "attribution_id" in scene.reject(silent(EVENTS[kind], "attributionId"))

    @pytest.mark.parametrize("kind", ["started", "stopping", "stopped"])
    def test_the_instance_id_is_required(self, scene: Scene, kind: str) -> None:
        reason = scene.reject(silent(EVENTS[kind], "workspaceInstanceId"))

        assert "workspace_instance_id" in reason

    @pytest.mark.parametrize("kind", ["started", "stopping", "stopped"])
    @pytest.mark.parametrize("given", [None, ""])
    def test_an_instance_events_own_time_is_required(
        self, scene: Scene, kind: str, given: str | None
    ) -> None:
        reason = scene.reject(saying(EVENTS[kind], **{f"{kind}Time": given}))

        assert f"{kind}_time" in reason

    def test_a_credit_notes_own_time_is_the_cloudevents(self, scene: Scene) -> None:
        assert "time" in scene.reject(note(3, time=None))
        scene.record(note(3, time="2020-02-29T12:00:00.1239+01:00"))

        (entry,) = scene.calls.entries(PAYER)
        assert "2020-02-29T11:00:00.123Z" == entry.effective_time.ToJsonString()

    @pytest.mark.parametrize(
        "text",
        [
            "2026-11-01T06:00:00",  # no zone
            "2026-11-01",
            "2026-11-01 06:00:00Z",
            "2026-11-01t06:00:00z",
            "2026-11-01T06:00Z",
            "2026-13-01T06:00:00Z",
            "2026-02-29T06:00:00Z",
            "2026-11-01T24:00:00Z",
            "2026-11-01T06:60:00Z",
            "2026-11-01T06:00:60Z",
            "2026-11-01T06:00:00.Z",
            "2026-11-01T06:00:00.1234567890Z",
            "2026-11-01T06:00:00+25:00",
            "2026-11-01T06:00:00+0100",
            "2026-11-01T06:00:00+01",
            "2026-1-1T6:0:0Z",
            "0000-01-01T00:00:00Z",  # year 0
            "10000-01-01T00:00:00Z",  # year 10000
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "-001-01-01T00:00:00Z",
            "tomorrow",
            "1793512800",
            "\u0662\u0660\u0662\u0666-11-01T06:00:00Z",
        ],
    )
    @pytest.mark.parametrize("spelling", ["fast", "slow"])
    @pytest.mark.parametrize("where", ["startedTime", "creationTime", "time"])
    def test_times_carry_a_zone_and_lie_in_years_1_to_9999(
        self, scene: Scene, text: str, spelling: str, where: str
    ) -> None:
        # Whatever else the event says: an unknown field takes another way through the decoder.
        more = {"unknown": 1} if spelling == "slow" else {}
        event = saying(started("a", "06:00"), **more)
        event = changed(event, time=text) if where == "time" else saying(event, **{where: text})

        assert "time" in scene.reject(event)

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("2026-11-01T06:00:00Z", "2026-11-01T06:00:00Z"),
            ("2026-11-01T08:00:00+02:00", "2026-11-01T06:00:00Z"),
            ("2026-10-31T23:00:00-07:00", "2026-11-01T06:00:00Z"),
            ("2026-11-01T06:00:00-00:00", "2026-11-01T06:00:00Z"),
            ("2026-11-01T06:00:00.1Z", "2026-11-01T06:00:00.100Z"),
            ("2026-11-01T06:00:00.123456789Z", "2026-11-01T06:00:00.123Z"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999Z"),
            ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
        ],
    )
    def test_event_times_are_cut_to_the_millisecond(
        self, scene: Scene, text: str, kept: str
    ) -> None:
        scene.record(started("a", text))

        assert kept == scene.known("a").started_time.ToJsonString()


class TestFields:
    def test_an_empty_class_is_default(self, scene: Scene) -> None:
        scene.record(started("a", "06:00", workspaceClass=""), started("b", "06:00"))

        assert {"default"} == {scene.known(name).workspace_class for name in "ab"}

    @pytest.mark.parametrize("workspace_type", ["regular", "prebuild", "imagebuild"])
    def test_a_type_is_one_of_three(self, scene: Scene, workspace_type: str) -> None:
        scene.record(started("a", "06:00", workspaceType=workspace_type))

        assert workspace_type == scene.known("a").workspace_type

    @pytest.mark.parametrize("workspace_type", ["Regular", "ghost", "probe", " regular", "1"])
    def test_any_other_type_is_rejected(self, scene: Scene, workspace_type: str) -> None:
        reason = scene.reject(started("a", "06:00", workspaceType=workspace_type))

        assert "workspace_type" in reason

    @pytest.mark.parametrize("user_id", [None, ""])
    def test_user_id_may_be_empty(self, scene: Scene, user_id: str | None) -> None:
        scene.record(started("a", "06:00", userId=user_id), note(3, userId=user_id))

        assert "" == scene.known("a").user_id

    def test_workspace_and_project_id_are_any_text(self, scene: Scene) -> None:
        scene.record(started("a", "06:00", workspaceId="any thing", projectId="ü"))

        known = scene.known("a")
        assert ("any thing", "ü") == (known.workspace_id, known.project_id)

    @pytest.mark.parametrize(
        ("credits_given", "cents"),
        [(3, -300), (-3, 300), (0, 0), (2**31 - 1, -214748364700), (-(2**31), 214748364800)],
    )
    def test_credits_are_given_back_as_far_as_int32_goes(
        self, scene: Scene, credits_given: int, cents: int
    ) -> None:
        scene.record(note(credits_given))

        assert cents == scene.cents()

    @pytest.mark.parametrize("credits_given", [2**31, -(2**31) - 1, 2**63, 10**40, 1.5, "1.5"])
    def test_2_to_the_31_credits_are_rejected(self, scene: Scene, credits_given: object) -> None:
        assert "credits" in scene.reject(note(credits_given))

    def test_a_credit_note_is_an_entry_with_its_user_and_description(self, scene: Scene) -> None:
        scene.record(note(3, userId=USER.upper(), description="sorry for the outage"))

        (entry,) = scene.calls.entries(PAYER)
        assert ("sorry for the outage", -300, False) == (
            entry.description,
            entry.credit_cents,
            entry.draft,
        )
        assert f'{{"userId": "{USER}"}}' == entry.metadata

    @EVERY_KIND
    def test_unknown_fields_are_ignored(self, scene: Scene, kind: str) -> None:
        unknown = {"later": {"a": [1, None, "x" * 5_000]}, "large": 10**30, "off": False}
        scene.record(saying(EVENTS[kind], **unknown))
        scene.repeat(EVENTS[kind])


TEXTS = ("workspaceId", "workspaceClass", "contextUrl", "userName", "userAvatarUrl", "projectId")


class TestLimits:
    @pytest.mark.parametrize("field", TEXTS)
    @pytest.mark.parametrize("letter", ["x", "ü", "\N{SNOWMAN}", "\N{PILE OF POO}"])
    def test_no_string_is_longer_than_4096_bytes(
        self, scene: Scene, field: str, letter: str
    ) -> None:
        longest = letter * (STRING_BYTES_MAX // len(letter.encode()))
        filled = longest + "x" * (STRING_BYTES_MAX - len(longest.encode()))

        assert "4096" in scene.reject(started("a", "06:00", **{field: filled + "x"}))
        scene.record(started("a", "06:00", **{field: filled}))

    @pytest.mark.parametrize("attribute", ["id", "source"])
    def test_no_attribute_either(self, scene: Scene, attribute: str) -> None:
        text = "ü" * (STRING_BYTES_MAX // 2)

        assert "4096" in scene.reject(changed(EVENTS["started"], **{attribute: text + "x"}))
        scene.record(changed(EVENTS["started"], **{attribute: text}))

    def test_a_notes_description_may_have_4096_bytes(self, scene: Scene) -> None:
        assert "4096" in scene.reject(note(3, description="x" * 4097))
        scene.record(note(3, description="x" * 4096))

    def test_no_event_is_longer_than_256_kib(self, scene: Scene) -> None:
        assert "262144" in scene.reject(padded(EVENTS["started"], EVENT_BYTES_MAX + 1))
        scene.record(padded(EVENTS["started"], EVENT_BYTES_MAX))
        # Its line end is not part of it.
        scene.record(padded(EVENTS["stopped"], EVENT_BYTES_MAX) + b"\r\n")

    def test_an_event_has_no_other_limit(self, scene: Scene) -> None:
        texts = dict.fromkeys(TEXTS, "x" * STRING_BYTES_MAX)
        scene.record(started("a", "06:00", **texts))

    def test_blank_lines_are_no_events(self, scene: Scene) -> None:
        receipt = scene.publish(b"", b"   ", *bytes_of(ran("a", "06:00", "07:00")), b"\t\r")

        assert 3 == receipt.received

    def test_a_whole_envelope_may_come_in_any_order_and_spacing(self, scene: Scene) -> None:
        event = dict(reversed(EVENTS["started"].items()))

        spaced = json.dumps(event, separators=(" ,  ", " :\t"))
        scene.record(f" \t{spaced}  ".encode())
