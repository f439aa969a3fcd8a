"""Section 6: what is a repeat, what contradicts, and that order does not matter."""

import itertools
from typing import Any

import pytest

from tests.contract.data.scene import (
    OTHER_PAYER,
    PAYER,
    USER,
    Event,
    Scene,
    instance,
    note,
    ran,
    started,
    stopped,
    stopping,
)
from tests.oracle.events import named_uuid

WHOLE: dict[str, Any] = {
    "workspaceId": "workspace",
    "workspaceClass": "g1-large",
    "workspaceType": "prebuild",
    "projectId": "project",
    "creationTime": "2026-11-01T05:59:00Z",
    "contextUrl": "https://example.org",
    "userName": "user",
    "userAvatarUrl": "https://example.org/a.png",
}
PERSONAL = {"contextUrl": "other", "userName": "other", "userAvatarUrl": "other"}
NOT_COMPARED = {
    "workspaceId": "other",
    "projectId": "other",
    "creationTime": "2020-01-01T00:00:00Z",
}
EVENTS = {
    "started": started("a", "05:00", event_id="start", **WHOLE),
    "stopping": stopping("a", "06:00", event_id="stopping"),
    "stopped": stopped("a", "07:00", event_id="stopped"),
    "note": note(3),
}
EVERY_KIND = pytest.mark.parametrize("kind", EVENTS)
INSTANCE_KINDS = pytest.mark.parametrize("kind", ["started", "stopping", "stopped"])


def saying(event: Event, **fields: object) -> Event:
    return {**event, "data": {**event["data"], **fields}}


def under(event_id: str, event: Event, *, source: str | None = None) -> Event:
    return {**event, "id": event_id, "source": source or event["source"]}


CONTRADICTING: dict[str, dict[str, Any]] = {
    "payer": {"attributionId": OTHER_PAYER},
    "class": {"workspaceClass": "g1-standard"},
    "no class": {"workspaceClass": None},
    "type": {"workspaceType": "regular"},
    "user": {"userId": named_uuid("other user")},
    "no user": {"userId": ""},
    "start": {"startedTime": "2026-11-01T05:00:00.001Z"},
}


class TestIdentity:
    @EVERY_KIND
    def test_delivered_twice_it_counts_once(self, scene: Scene, kind: str) -> None:
        scene.record(EVENTS[kind])
        before = scene.cents(), scene.status().head.number

        scene.repeat(EVENTS[kind])
        scene.repeat(EVENTS[kind], EVENTS[kind])
        assert before == (scene.cents(), scene.status().head.number)

    @EVERY_KIND
    def test_twice_in_one_batch_too(self, scene: Scene, kind: str) -> None:
        receipt = scene.publish(EVENTS[kind], EVENTS[kind])

        assert (2, 1, 1) == (receipt.received, receipt.recorded, receipt.repeated)

    def test_for_ever(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"), note(3))
        for year in range(2027, 2037):
            scene.reconcile(f"{year}-01-01T00:00:00Z")
        scene.open_cost_center()

        scene.repeat(*ran("a", "06:00", "07:00"), note(3))

    def test_id_and_source_identify_an_event(self, scene: Scene) -> None:
        scene.record(
            note(3, event_id="1"),
            note(3, event_id="2"),
            under("1", note(3), source="/elsewhere"),
            under("1 ", note(3)),
            under("01", note(3)),
        )

        assert -1500 == scene.cents()

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("0f9e0e5a-0f43-4b66-8d7e-0f6f3a1f6f10", "0F9E0E5A-0F43-4B66-8D7E-0F6F3A1F6F10"),
            ("0f9e0e5a-0f43-4b66-8d7e-0f6f3a1f6f10", "0f9e0e5a0f434b668d7e0f6f3a1f6f10"),
            ("a", "A"),
            ("\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"),
        ],
    )
    def test_ids_are_compared_letter_by_letter(self, scene: Scene, one: str, other: str) -> None:
        scene.record(note(3, event_id=one), note(3, event_id=other))

    def test_an_id_may_be_used_by_another_source_for_another_kind(self, scene: Scene) -> None:
        scene.record(under("1", EVENTS["started"]), under("1", note(3), source="/elsewhere"))


class TestTheSame:
    @EVERY_KIND
    def test_is_the_decoded_content_whatever_the_spelling(self, scene: Scene, kind: str) -> None:
        event = EVENTS[kind]
        scene.record(event)

        digits = PAYER.removeprefix("team:")
        scene.repeat(saying(event, attributionId=f"team:{{{digits.upper()}}}"))
        scene.repeat(saying(event, unknown=[1, 2]))
        scene.repeat({**event, "subject": "other", "datacontenttype": None, "extension": "x"})

    @pytest.mark.parametrize("text", ["2026-11-01T06:00:00.0009Z", "2026-11-01T07:00:00.000+01:00"])
    @INSTANCE_KINDS
    def test_times_are_cut_to_the_millisecond(self, scene: Scene, kind: str, text: str) -> None:
        event = saying(EVENTS[kind], **{f"{kind}Time": "2026-11-01T06:00:00Z"})
        scene.record(event)

        scene.repeat(saying(event, **{f"{kind}Time": text}))
        scene.repeat(under("other", saying(event, **{f"{kind}Time": text})))

    def test_the_time_of_a_note_too(self, scene: Scene) -> None:
        scene.record(note(3, time="07:00"))

        scene.repeat(note(3, time="2026-11-01T09:00:00.000999+02:00"))

    def test_the_time_of_an_instance_events_envelope_is_not_its_content(self, scene: Scene) -> None:
        scene.record(EVENTS["started"])

        scene.repeat({**EVENTS["started"], "time": "2020-01-01T00:00:00Z"})

    @pytest.mark.parametrize("field", PERSONAL)
    def test_personal_fields_are_not_compared(self, scene: Scene, field: str) -> None:
        scene.record(EVENTS["started"])

        scene.repeat(saying(EVENTS["started"], **{field: PERSONAL[field]}))
        scene.repeat(under("other", saying(EVENTS["started"], **{field: ""})))

    def test_a_notes_description_is_personal(self, scene: Scene) -> None:
        scene.record(note(3, description="for you"))

        scene.repeat(note(3, description="other words"))
        (entry,) = scene.calls.entries(PAYER)
        assert "for you" == entry.description  # the first recorded stays

    def test_empty_class_and_type_say_default_and_regular(self, scene: Scene) -> None:
        scene.record(started("a", "05:00", event_id="start"))

        scene.repeat(
            started("a", "05:00", event_id="start", workspaceClass="default"),
            started("a", "05:00", event_id="start", workspaceType="regular"),
        )

    @INSTANCE_KINDS
    def test_an_instance_event_repeats_under_another_id_too(self, scene: Scene, kind: str) -> None:
        scene.record(EVENTS[kind])

        scene.repeat(under("other", EVENTS[kind]))
        scene.repeat(under("start", EVENTS[kind], source="/elsewhere"))

    @pytest.mark.parametrize("field", NOT_COMPARED)
    def test_then_workspace_project_and_creation_time_are_not_compared(
        self, scene: Scene, field: str
    ) -> None:
        scene.record(EVENTS["started"])

        scene.repeat(under("other", saying(EVENTS["started"], **{field: NOT_COMPARED[field]})))
        assert ("workspace", "project") == (
            scene.known("a").workspace_id,
            scene.known("a").project_id,
        )

    def test_a_repeat_does_not_claim_its_other_id(self, scene: Scene) -> None:
        scene.record(EVENTS["started"])
        scene.repeat(under("other", EVENTS["started"]))

        scene.record(started("b", "05:00", event_id="other"))

    def test_a_credit_note_under_another_id_is_another_note(self, scene: Scene) -> None:
        scene.record(note(3, event_id="1"), note(3, event_id="2"))

        assert -600 == scene.cents()


class TestContradictions:
    @pytest.mark.parametrize("field", NOT_COMPARED)
    def test_other_content_under_the_same_id_contradicts(self, scene: Scene, field: str) -> None:
        scene.record(EVENTS["started"])

        reason = scene.reject(saying(EVENTS["started"], **{field: NOT_COMPARED[field]}))
        assert "source and id" in reason

    @pytest.mark.parametrize(
        "other",
        [
            note(4),
            note(-3),
            note(3, payer=OTHER_PAYER),
            note(3, userId=USER),
            note(3, time="07:00:00.001"),
            under("note", EVENTS["started"]),
        ],
    )
    def test_other_content_under_a_notes_id_contradicts(self, scene: Scene, other: Event) -> None:
        scene.record(note(3))

        scene.reject(other)
        assert -300 == scene.cents()

    @pytest.mark.parametrize("what", CONTRADICTING)
    @pytest.mark.parametrize("event_id", ["start", "other"])
    def test_another_payer_class_type_user_or_start_contradicts(
        self, scene: Scene, what: str, event_id: str
    ) -> None:
        scene.record(EVENTS["started"])

        scene.reject(under(event_id, saying(EVENTS["started"], **CONTRADICTING[what])))
        scene.record(EVENTS["stopped"])
        assert (4000, 0) == (scene.cents(), scene.cents(OTHER_PAYER))

    @pytest.mark.parametrize("kind", ["stopping", "stopped"])
    @pytest.mark.parametrize("event_id", ["stopping", "stopped", "other"])
    def test_another_stopping_or_stopped_time_contradicts(
        self, scene: Scene, kind: str, event_id: str
    ) -> None:
        scene.record(EVENTS["started"], EVENTS[kind])
        time = {f"{kind}Time": "2026-11-01T05:30:00Z"}

        scene.reject(under(event_id, saying(EVENTS[kind], **time)))

    @pytest.mark.parametrize(
        ("first", "second"), [*itertools.permutations(["started", "stopping", "stopped"], 2)]
    )
    def test_another_payer_contradicts_whichever_event_was_first(
        self, scene: Scene, first: str, second: str
    ) -> None:
        scene.record(EVENTS[first])

        reason = scene.reject(saying(EVENTS[second], attributionId=OTHER_PAYER))
        assert OTHER_PAYER in reason
        assert PAYER in reason

    def test_the_first_recorded_wins_within_a_batch_too(self, scene: Scene) -> None:
        receipt = scene.publish(
            EVENTS["started"],
            stopped("a", "06:00", event_id="1"),
            stopped("a", "07:00", event_id="2"),
            stopped("a", "06:00", event_id="3"),
        )

        assert (2, 1, 1) == (receipt.recorded, receipt.repeated, receipt.rejected)
        assert [3] == [reject.line for reject in receipt.rejects]
        assert 2000 == scene.cents()

    def test_a_contradiction_blocks_nothing_that_follows(self, scene: Scene) -> None:
        scene.record(EVENTS["started"])
        receipt = scene.publish(
            saying(under("x", EVENTS["started"]), attributionId=OTHER_PAYER),
            EVENTS["stopped"],
            *ran("b", "06:00", "07:00"),
        )

        assert (4, 1) == (receipt.recorded, receipt.rejected)

    def test_a_reject_does_not_claim_its_id(self, scene: Scene) -> None:
        scene.record(EVENTS["started"])
        scene.reject(stopped("a", "06:00", payer=OTHER_PAYER, event_id="1"))
        scene.reject(note(2**31, event_id="2"))

        scene.record(stopped("a", "06:00", event_id="1"), note(3, event_id="2"))


class TestOrder:
    STORY = (
        started("a", "05:00", **WHOLE),
        stopping("a", "06:00"),
        stopped("a", "07:00"),
    )

    @pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
    @pytest.mark.parametrize("batches", [False, True])
    def test_any_order_leads_to_the_same_final_entry(
        self, scene: Scene, order: tuple[int, ...], batches: bool
    ) -> None:
        told = [self.STORY[index] for index in order]
        if batches:
            for event in told:
                scene.record(event)
                scene.reconcile()
        else:
            scene.record(*told)

        assert (2000, "2026-11-01T06:00:00Z", False) == scene.only_dated()
        with Scene() as orderly:
            orderly.record(*self.STORY)
            assert orderly.only() == scene.only()
            assert orderly.calls.draft(PAYER).lines == scene.calls.draft(PAYER).lines

    def test_days_late_and_twice_too(self, scene: Scene) -> None:
        scene.record(self.STORY[2])
        scene.reconcile("11-05 00:00")
        scene.record(self.STORY[0])
        scene.reconcile("11-10 00:00")
        scene.repeat(self.STORY[0], self.STORY[2])
        scene.record(self.STORY[1])
        scene.repeat(*self.STORY)

        assert (2000, "2026-11-01T06:00:00Z", False) == scene.only_dated()
        assert instance("a") == scene.only().workspace_instance_id
