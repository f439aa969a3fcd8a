"""Taking over an existing ledger: once, before use, with its own times."""

import json

import grpc
import pytest

from tests.contract.data.scene import (
    OTHER_PAYER,
    PAYER,
    USER,
    Scene,
    at,
    instance,
    note,
    ran,
    started,
    stopped,
)
from tests.importing.lines import (
    bytes_of,
    cost_center,
    entry,
    member,
    refused,
    take_over,
    taken,
    terms,
    times,
)
from usage_ledger.v1 import admin_pb2, queries_pb2

EVERY_KIND = {
    "cost center": cost_center(),
    "member": member(),
    "instance": entry(1667),
    "note": entry(-300, kind="credit_note"),
    "invoice": entry(-500, kind="invoice"),
}


class TestOnce:
    @pytest.mark.parametrize("kind", EVERY_KIND)
    def test_a_line_again_is_a_repeat(self, scene: Scene, kind: str) -> None:
        taken(scene, EVERY_KIND[kind])
        head = scene.status().head

        receipt = take_over(scene, EVERY_KIND[kind], EVERY_KIND[kind])
        assert (2, 0, 2, 0) == (
            receipt.received,
            receipt.recorded,
            receipt.repeated,
            receipt.rejected,
        )
        assert head == scene.status().head

    def test_also_after_the_payer_began_to_live(self, scene: Scene) -> None:
        taken(scene, *EVERY_KIND.values())
        scene.record(*ran("new", "06:00", "07:00"))

        assert len(EVERY_KIND) == take_over(scene, *EVERY_KIND.values()).repeated

    def test_in_one_file_too(self, scene: Scene) -> None:
        receipt = take_over(scene, entry(100), entry(100))

        assert (1, 1) == (receipt.recorded, receipt.repeated)

    def test_other_content_under_the_same_source_and_id_is_rejected(self, scene: Scene) -> None:
        taken(scene, entry(100))

        assert "other content" in refused(scene, entry(101))
        assert 100 == scene.cents()

    @pytest.mark.parametrize("kind", ["instance", "note", "cost center"])
    def test_from_another_source_it_is_rejected(self, scene: Scene, kind: str) -> None:
        taken(scene, EVERY_KIND[kind])

        refused(scene, EVERY_KIND[kind], source="another")

    def test_ids_of_different_kinds_of_line_do_not_meet(self, scene: Scene) -> None:
        taken(
            scene, {**entry(100), "id": "1"}, {**cost_center(), "id": "1"}, {**member(), "id": "1"}
        )

    def test_counts_are_kept_for_the_source(self, scene: Scene) -> None:
        take_over(scene, entry(100), entry(100), b"garbage")

        assert (3, 1, 1, 1) == scene.counts("import:old")


class TestBeforeUse:
    @pytest.mark.parametrize("kind", EVERY_KIND)
    @pytest.mark.parametrize("event", ["note", "start", "stop without start", "cost center"])
    def test_a_payer_that_has_events_of_its_own_is_refused(
        self, scene: Scene, kind: str, event: str
    ) -> None:
        match event:
            case "note":
                scene.record(note(3))
            case "start":
                scene.record(started("live", "06:00"))
            case "stop without start":
                scene.record(stopped("live", "06:00"))
            case _:
                scene.open_cost_center()

        assert "import before it is used" in refused(scene, EVERY_KIND[kind])

    def test_the_events_of_other_payers_do_not_matter(self, scene: Scene) -> None:
        scene.record(note(3, payer=OTHER_PAYER))
        scene.reconcile()

        taken(scene, *EVERY_KIND.values())

    def test_spellings_of_a_payer_are_one_payer(self, scene: Scene) -> None:
        scene.record(note(3))

        refused(scene, entry(100, payer=f"team:{{{PAYER[5:].upper()}}}"))

    def test_one_payer_refused_leaves_the_others(self, scene: Scene) -> None:
        scene.record(note(3))
        receipt = take_over(scene, entry(100), entry(200, name="b", payer=OTHER_PAYER))

        assert (1, 1) == (receipt.recorded, receipt.rejected)
        assert 200 == scene.cents(OTHER_PAYER)


class TestTimes:
    def test_entries_keep_their_own_times_and_cents(self, scene: Scene) -> None:
        lines = [
            entry(1667, metadata=times("10-20 10:00", "10-20 12:00", "10-20 12:01")),
            entry(
                -300,
                kind="credit_note",
                time="10-21 00:00",
                description="sorry",
                metadata={"userId": USER},
            ),
            entry(-500, kind="invoice", time="10-22 00:00", description="Credits"),
        ]
        taken(scene, *lines)

        assert [
            ("2026-10-20T12:00:00Z", 1667),
            ("2026-10-21T00:00:00Z", -300),
            ("2026-10-22T00:00:00Z", -500),
        ] == sorted(
            (each.effective_time.ToJsonString(), each.credit_cents)
            for each in scene.calls.entries(PAYER)
        )
        assert 867 == scene.cents()
        note_entry = next(each for each in scene.calls.entries(PAYER) if each.kind == 3)
        assert (lines[1]["id"], "sorry", f'{{"userId": "{USER}"}}') == (
            note_entry.id,
            note_entry.description,
            note_entry.metadata,
        )

    def test_an_instance_keeps_its_metadata(self, scene: Scene) -> None:
        known = times(
            "10-20 10:00",
            "10-20 12:00",
            "10-20 12:01",
            workspaceId="w",
            workspaceClass="g1-large",
            workspaceType="prebuild",
            contextURL="c",
            userId=USER,
            userName="Ada",
            userAvatarURL="pic",
            creationTime=at("10-20 09:59"),
        )
        taken(scene, entry(1667, metadata=known))

        kept = json.loads(scene.only().metadata)
        stamps = {"creationTime", "startTime", "endTime", "stoppedTime"}
        assert {**known, **{name: known[name][:-1] + ".000Z" for name in stamps}} == kept

    def test_events_are_marked_imported_and_recorded_now(self, scene: Scene) -> None:
        taken(scene, *EVERY_KIND.values())
        request = queries_pb2.TailLogRequest(from_position=2)
        events = [e for page in scene.calls.queries.TailLog(request) for e in page.events]

        assert len(EVERY_KIND) == len(events)
        assert all("imported" in event.topic for event in events)
        assert {"2026-11-01T08:00:00Z"} == {event.recorded.ToJsonString() for event in events}

    @pytest.mark.parametrize(
        "text", ["2026-10-20T12:00:00", "yesterday", "0000-01-01T00:00:00Z", ""]
    )
    def test_a_time_without_a_zone_is_rejected(self, scene: Scene, text: str) -> None:
        assert "effective_time" in refused(scene, {**entry(1), "effective_time": text})
        assert "created" in refused(scene, cost_center({**terms(), "created": text}))
        assert "joined" in refused(scene, member(joined=text))


class TestFinalInstance:
    FINAL = times("10-20 10:00", "10-20 12:00", "10-20 12:01")

    def test_what_the_entry_says_counts_whatever_todays_prices_are(self, scene: Scene) -> None:
        taken(scene, entry(1, metadata=self.FINAL))
        scene.reconcile()

        assert (1, "2026-10-20T12:00:00Z", False) == scene.only_dated()

    def test_its_events_again_are_repeats(self, scene: Scene) -> None:
        taken(scene, entry(1, metadata={**self.FINAL, "userId": USER}))

        scene.repeat(started("a", "10-20 10:00"), stopped("a", "10-20 12:01"))
        scene.reject(stopped("a", "10-20 12:02", event_id="x"))
        scene.reject(started("a", "10-20 10:01", event_id="y"))
        assert 1 == scene.cents()

    @pytest.mark.parametrize("metadata", [{}, times("", "10-20 12:00", "10-20 12:01")])
    def test_without_a_start_no_start_prices_it_again(
        self, scene: Scene, metadata: dict[str, str]
    ) -> None:
        taken(scene, entry(100, metadata=metadata))

        assert "imported" in scene.reject(started("a", "10-20 10:00"))
        scene.reconcile()
        assert 100 == scene.cents() == sum(each.credit_cents for each in scene.calls.entries(PAYER))

    def test_an_operator_can_correct_it_at_its_price(self, scene: Scene) -> None:
        taken(scene, entry(1, metadata=self.FINAL))
        scene.end("a", "10-20 11:00")

        assert (1000, "2026-10-20T11:00:00Z", False) == scene.only_dated()

    def test_an_instance_that_is_known_already_is_rejected(self, scene: Scene) -> None:
        scene.record(started("a", "06:00", payer=OTHER_PAYER))

        assert "known already" in refused(scene, entry(1, metadata=self.FINAL))

    def test_one_that_was_voided_for_another_payer_is_taken(self, scene: Scene) -> None:
        scene.record(started("a", "06:00", payer=OTHER_PAYER))
        refused(scene, entry(1, metadata=self.FINAL))
        scene.void("a")

        assert 1 == scene.retry().recorded
        assert 1 == scene.cents()


class TestDraft:
    def test_one_that_runs_goes_on_running_at_todays_price(self, scene: Scene) -> None:
        taken(scene, entry(77, draft=True, time="10-31 08:00", metadata=times("10-31 08:00")))
        taken(scene, entry(0, name="booked", kind="credit_note"))
        assert 0 == scene.cents()  # until the next reconcile

        scene.reconcile("08:00")
        assert (24_000, "2026-11-01T08:00:00Z", True) == scene.only_dated()
        scene.reconcile("09:00")
        assert 25_000 == scene.cents()
        scene.clock.advance(hours=1)
        scene.record(stopped("a", "10:00"))
        assert (26_000, "2026-11-01T10:00:00Z", False) == scene.only_dated()
        assert 26_000 == scene.cents()

    def test_its_start_must_be_known(self, scene: Scene) -> None:
        assert "startTime" in refused(scene, entry(77, draft=True))

    def test_one_that_is_stopping_waits_for_its_stop_and_keeps_its_cents(
        self, scene: Scene
    ) -> None:
        stopping = times("10-20 10:00", "10-20 12:00")
        taken(scene, entry(77, draft=True, metadata=stopping))
        scene.reconcile()
        assert (77, "2026-10-20T12:00:00Z", True) == scene.only_dated()

        scene.record(stopped("a", "10-20 12:01"))
        assert (77, "2026-10-20T12:00:00Z", False) == scene.only_dated()

    def test_its_price_is_of_its_class(self, scene: Scene) -> None:
        metadata = {**times("06:00"), "workspaceClass": "g1-large"}
        taken(scene, entry(0, draft=True, metadata=metadata))
        taken(scene, entry(0, name="booked", kind="credit_note"))
        scene.reconcile("08:00")

        assert 4000 == scene.cents()
        assert instance("a") == scene.only().workspace_instance_id


class TestRejected:
    @pytest.mark.parametrize(
        "line",
        [
            b"garbage",
            b"[]",
            b"{}",
            b'{"kind": "nobody"}',
            b"\xff\xfe",
            bytes_of(entry(1))[:-9],
            {**entry(1), "unknown": 1},
            {**entry(1), "credit_cents": "1"},
            {**entry(1), "credit_cents": 1.5},
            {**entry(1), "credit_cents": 2**60},
            {**entry(1), "credit_cents": 10**30},
            {**entry(1), "entry_kind": "nothing"},
            {**entry(1), "attribution_id": "user:" + PAYER[5:]},
            {**entry(1), "workspace_instance_id": None},
            {**entry(1), "workspace_instance_id": "x"},
            {**entry(1), "metadata": []},
            {**entry(1), "metadata": {"userId": "x"}},
            {**entry(1), "metadata": {"userName": 7}},
            {**entry(1), "metadata": {"startTime": "yesterday"}},
            {**entry(1), "metadata": {"later": 10**30}},
            {**entry(1), "id": ""},
            {**entry(1), "description": "x" * 300_000},
            {**entry(1, kind="credit_note"), "metadata": {"userId": "x"}},
            {**member(), "user_id": "x"},
            {**member(), "organization_id": PAYER},
            {**cost_center(), "history": []},
            cost_center(terms(-1)),
            cost_center(terms(2**31)),
            cost_center(terms(strategy="paypal")),
            json.dumps(entry(1))
            .replace('"metadata": {}', '"metadata": {"x": ' + "[" * 90_000 + "]" * 90_000 + "}")
            .encode(),
            json.dumps(entry(1))[:-1].encode() + b', "credit_cents": 2}',
        ],
    )
    def test_a_line_that_is_none_is_a_dead_letter_and_the_rest_is_taken(
        self, scene: Scene, line: bytes | dict[str, object]
    ) -> None:
        receipt = take_over(scene, line, entry(100, name="b"))

        assert (2, 1, 1) == (receipt.received, receipt.recorded, receipt.rejected)
        (letter,) = scene.dead_letters()
        assert (1, "import:old") == (letter.line, letter.delivery)
        assert 100 == scene.cents()

    def test_a_second_cost_center_of_a_payer_is_rejected(self, scene: Scene) -> None:
        taken(scene, cost_center())

        assert "already" in refused(scene, cost_center(name="2"))

    def test_a_dead_letter_can_be_retried(self, scene: Scene) -> None:
        scene.record(started("a", "06:00", payer=OTHER_PAYER))
        refused(scene, entry(100))

        answer = scene.retry()
        assert (1, 1) == (answer.retried, len(answer.rejects))
        assert "known already" in answer.rejects[0].reason

    @pytest.mark.parametrize(
        "request_",
        [
            admin_pb2.ImportOpeningStateRequest(lines=b"x\n"),
            admin_pb2.ImportOpeningStateRequest(source="x" * 256),
            admin_pb2.ImportOpeningStateRequest(source="x", lines=b"x\n" * 10_001),
            admin_pb2.ImportOpeningStateRequest(source="x", lines=b"x" * (3 * 2**20 + 1)),
            admin_pb2.ImportOpeningStateRequest(source="x", lines=b"x", first_line=2**64 - 1),
        ],
    )
    def test_a_request_beyond_its_limits_is_refused(
        self, scene: Scene, request_: admin_pb2.ImportOpeningStateRequest
    ) -> None:
        with pytest.raises(grpc.RpcError) as error:
            list(scene.calls.admin.ImportOpeningState(iter([request_])))
        assert grpc.StatusCode.INVALID_ARGUMENT == error.value.code()
        assert (0, 0, 0, 0) == scene.counts()
