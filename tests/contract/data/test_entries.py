"""Section 3: every row of the table of entries."""

import json
import uuid
from collections.abc import Callable

import pytest

from tests.contract.data.scene import PAYER, USER, Scene, instance, ran, started, stopped, stopping
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded

PERSONAL = {
    "contextUrl": 'https://example.org/ü/\N{SNOWMAN}"\\\n',
    "userName": "Grüße \N{PILE OF POO}",
    "userAvatarUrl": "https://example.org/a.png",
}
WHOLE = {
    "workspaceId": "gitpodio-demo-1",
    "workspaceType": "prebuild",
    "workspaceClass": "g1-large",
    "projectId": "project",
    "creationTime": "2026-11-01T05:59:58.1239Z",
    **PERSONAL,
}
KEYS = [
    "workspaceId",
    "workspaceType",
    "workspaceClass",
    "contextURL",
    "creationTime",
    "startTime",
    "endTime",
    "stoppedTime",
    "userId",
    "userName",
    "userAvatarURL",
]


def metadata(scene: Scene) -> dict[str, str]:
    """Of the only entry."""
    values: dict[str, str] = json.loads(scene.only().metadata)
    return values


class TestId:
    def test_it_is_a_name_based_uuid_of_the_instance_id(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))

        entry_id = uuid.UUID(scene.only().id)
        assert (5, uuid.RFC_4122) == (entry_id.version, entry_id.variant)
        with Scene() as another:
            another.clock.advance(days=40)
            another.record(*ran("a", "06:00", "07:00", payer=PAYER))
            assert str(entry_id) == another.only().id

    def test_there_is_one_for_each_instance(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"), *ran("b", "06:00", "07:00"))

        assert 2 == len({entry.id for entry in scene.usage()})

    def test_it_is_unchanged_from_draft_to_final(self, scene: Scene) -> None:
        seen = set()
        scene.record(started("a", "05:00"))
        steps: list[Callable[[], None]] = [
            scene.reconcile,
            lambda: scene.reconcile("09:00"),
            lambda: scene.record(stopping("a", "07:00")),
            lambda: scene.record(stopped("a", "07:30")),
            lambda: scene.end("a", "06:00"),
        ]
        for step in steps:
            step()
            seen.add(scene.only().id)

        assert 1 == len(seen)


class TestRow:
    def test_attribution_id_and_instance_id_are_the_events(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))

        entry = scene.only()
        assert (PAYER, instance("a")) == (entry.attribution_id, entry.workspace_instance_id)

    def test_the_description_says_where_it_comes_from(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))

        assert "Usage collected by automated system." == scene.only().description

    def test_credits_are_cents_divided_by_100(self, cent_scene: Scene) -> None:
        cent_scene.record(*ran("a", "06:00", "06:29", workspaceClass="cent"))

        assert 0.29 == cent_scene.only().credits

    def test_effective_time_is_stopping_else_stopped_else_the_accrual_instant(
        self, scene: Scene
    ) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("08:00")
        assert "2026-11-01T08:00:00Z" == scene.only().effective_time.ToJsonString()
        scene.record(stopped("a", "07:00"))
        assert "2026-11-01T07:00:00Z" == scene.only().effective_time.ToJsonString()
        scene.record(stopping("a", "06:00"))
        assert "2026-11-01T06:00:00Z" == scene.only().effective_time.ToJsonString()

    def test_the_kind_is_workspace_instance(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))

        assert usage_pb2.Usage.KIND_WORKSPACE_INSTANCE == scene.only().kind
        (entry,) = scene.calls.entries(PAYER)
        assert queries_pb2.ENTRY_KIND_WORKSPACE_INSTANCE == entry.kind

    def test_draft_is_true_until_stopped_is_known(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile()
        assert scene.only().draft
        scene.record(stopping("a", "07:00"))
        assert scene.only().draft
        scene.record(stopped("a", "07:01"))
        assert not scene.only().draft

    @pytest.mark.parametrize("row", ["id", "description", "metadata", "draft", "credits"])
    def test_list_entries_answers_the_same(self, scene: Scene, row: str) -> None:
        scene.record(*ran("a", "06:00", "07:00", **WHOLE), started("b", "07:00", **WHOLE))
        scene.reconcile()

        listed = {entry.id: entry for entry in scene.usage()}
        for entry in scene.calls.entries(PAYER):
            ours = entry.credit_cents / 100 if row == "credits" else getattr(entry, row)
            assert getattr(listed[entry.id], row) == ours
            assert listed[entry.id].effective_time == entry.effective_time


class TestMetadata:
    def test_the_keys_are_these_in_a_json_object(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))

        assert KEYS == list(metadata(scene))
        assert all(isinstance(value, str) for value in metadata(scene).values())

    def test_the_values_are_the_events(self, scene: Scene) -> None:
        scene.record(
            started("a", "06:00", **WHOLE), stopping("a", "07:00"), stopped("a", "07:00:30.5")
        )

        assert {
            "workspaceId": "gitpodio-demo-1",
            "workspaceType": "prebuild",
            "workspaceClass": "g1-large",
            "contextURL": PERSONAL["contextUrl"],
            "creationTime": "2026-11-01T05:59:58.123Z",
            "startTime": "2026-11-01T06:00:00.000Z",
            "endTime": "2026-11-01T07:00:00.000Z",
            "stoppedTime": "2026-11-01T07:00:30.500Z",
            "userId": USER,
            "userName": PERSONAL["userName"],
            "userAvatarURL": PERSONAL["userAvatarUrl"],
        } == metadata(scene)

    def test_what_is_unknown_is_an_empty_string(self, scene: Scene) -> None:
        scene.record(started("a", "06:00", userId=None))
        scene.reconcile()

        known = {"workspaceType", "workspaceClass", "startTime"}
        assert {""} == {value for key, value in metadata(scene).items() if key not in known}

    def test_end_time_is_stopping_else_stopped(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopped("a", "07:00"))
        assert "2026-11-01T07:00:00.000Z" == metadata(scene)["endTime"]
        scene.record(stopping("a", "06:00"))
        assert "2026-11-01T06:00:00.000Z" == metadata(scene)["endTime"]
        assert "2026-11-01T07:00:00.000Z" == metadata(scene)["stoppedTime"]

    @pytest.mark.parametrize("given", [None, ""])
    def test_an_empty_type_is_regular(self, scene: Scene, given: str | None) -> None:
        scene.record(*ran("a", "06:00", "07:00", workspaceType=given))

        assert "regular" == metadata(scene)["workspaceType"]

    def test_years_before_1000_have_four_digits(self, scene: Scene) -> None:
        scene.record(started("a", "0001-01-01T00:00:00Z"))
        scene.reconcile()

        assert "0001-01-01T00:00:00.000Z" == metadata(scene)["startTime"]

    def test_every_character_comes_back(self, scene: Scene) -> None:
        odd = "".join(map(chr, [*range(1, 0x100), 0x2028, 0x2029, 0xFFFF, 0x10FFFF]))
        scene.record(*ran("a", "06:00", "07:00", userName=odd))

        assert odd == metadata(scene)["userName"]
