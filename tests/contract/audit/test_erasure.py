"""Personal data of a user are erased on request, and no number changes."""

from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import pytest

from persistence import BillingRun, Transaction
from tests.contract.audit.erasing import (
    REASON,
    broken_laws,
    descriptions,
    erase,
    erased,
    erasures,
    laws,
    log,
    metadata,
    steps,
)
from tests.contract.data.scene import (
    PAYER,
    USER,
    Event,
    Line,
    Scene,
    note,
    ran,
    started,
    stopped,
)
from tests.importing.lines import entry, member, taken, times
from tests.importing.lines import refused as refused_line
from tests.oracle.events import line_of, named_uuid, payer_of
from usage.events.v1 import events_pb2
from usage.v1 import usage_pb2
from usage_ledger.v1 import audit_erasure_pb2 as pb
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded

OTHER_USER = named_uuid("other user")
ADA = {"userName": "Ada Lovelace", "userAvatarUrl": "https://a/ada", "contextUrl": "https://c/ada"}
KEPT = ("Ada Lovelace", "https://a/ada", "https://c/ada")
GONE = ("", "", "")
PAYERS = [payer_of(f"payer {n}") for n in range(6)]


class TestPersonalFields:
    def test_of_every_instance_are_gone_whoever_paid(self, scene: Scene) -> None:
        """With three shards the payers live in all of them."""
        for n, payer in enumerate(PAYERS):
            scene.record(*ran(f"i{n}", "06:00", "07:00", payer=payer, **ADA))
        scene.record(started("runs", "07:30", payer=PAYERS[0], **ADA))
        scene.reconcile()
        before = {payer: (scene.cents(payer), scene.draft_lines(payer)) for payer in PAYERS}

        assert (7, 0) == erased(scene)

        assert before == {payer: (scene.cents(payer), scene.draft_lines(payer)) for payer in PAYERS}
        assert [GONE] * 7 == [each for payer in PAYERS for each in metadata(scene, payer)]
        assert [USER] == [json.loads(scene.usage(PAYERS[1])[0].metadata)["userId"]]
        assert [] == broken_laws(scene)

    def test_of_others_stay(self, scene: Scene) -> None:
        scene.record(
            *ran("a", "06:00", "07:00", **ADA),
            *ran("b", "06:00", "07:01", **{**ADA, "userId": OTHER_USER}),
            *ran("c", "06:00", "07:02", **{**ADA, "userId": None}),
        )

        assert (1, 0) == erased(scene)

        assert [GONE, KEPT, KEPT] == metadata(scene, PAYER)

    def test_of_notes_that_the_user_issued_are_gone(self, scene: Scene) -> None:
        scene.record(
            note(3, event_id="1", description="from Ada", userId=USER),
            note(4, event_id="2", description="from Bob", userId=OTHER_USER),
            note(5, event_id="3", description="from nobody"),
        )
        scene.calls.usage.AddUsageCreditNote(
            _note_request(PAYER, 7, "by call from Ada", user_id=USER)
        )

        assert (2, 0) == erased(scene)

        assert ["", "", "from Bob", "from nobody"] == sorted(descriptions(scene, PAYER))
        assert -1900 == scene.cents()

    def test_why_an_operator_ended_an_instance_of_the_user_is_gone(self, scene: Scene) -> None:
        """The event names nobody; who it is about stands in the start before it."""
        scene.record(started("a", "06:00"), started("b", "06:00", userId=OTHER_USER))
        scene.end("a", "07:00")
        scene.end("b", "07:00")

        assert (1, 0) == erased(scene)

        assert {"instance-ended": ["2026-11-01T08:00:00Z"]} == _erased_at(scene, "a")
        assert {} == _erased_at(scene, "b")

    def test_why_an_operator_voided_what_is_of_the_user_is_gone(self, scene: Scene) -> None:
        issued = note(3, description="from Ada", userId=USER)
        scene.record(started("a", "06:00"), started("b", "06:00", userId=OTHER_USER), issued)
        for name in "ab":
            scene.void(name, reason="Ada tried it out")
        (entry,) = [
            each
            for each in scene.calls.entries(PAYER)
            if each.kind == queries_pb2.ENTRY_KIND_CREDIT_NOTE
        ]
        scene.void_note(entry.id, reason="Ada had it twice")

        assert (3, 0) == erased(scene)

        assert ["", "Ada tried it out", ""] == [void.reason for void in scene.voids()]
        assert {"instance-voided": ["2026-11-01T08:00:00Z"]} == _erased_at(scene, "a")
        assert [("", True), ("Ada tried it out", True)] == [
            (void.reason, known.is_void) for known in map(scene.known, "ab") for void in known.voids
        ]
        assert [] == broken_laws(scene)

    def test_what_something_failed_of_is_found_by_the_text(self, scene: Scene) -> None:
        ledger, payer = scene.service.ledger, bytes(16)

        def keep(transaction: Transaction) -> None:
            transaction.add_trouble(payer, "ada@example.org is no address", now=1)
            transaction.add_trouble(bytes([1] * 16), "Stripe cannot be asked now", now=1)
            transaction.put_billing_run(BillingRun(1, 2, 3, 4, "of ADA@example.org", 0))

        shard = ledger.shards[0]
        scene.service.wait(shard.beside(keep))

        erased(scene, texts=["ada@example.org"])

        reader = shard.new_queries().reader
        try:
            assert ["erased", "Stripe cannot be asked now"] == [
                trouble.reason.strip()
                for trouble in reader.troubles(after=b"", upto=bytes([255] * 16))
            ]
            run = reader.billing_run()
            assert run is not None
            assert "erased" == run.error.strip()
        finally:
            reader.close()

    def test_are_not_brought_back_by_a_repeat(self, scene: Scene) -> None:
        start, stop = started("a", "06:00", **ADA), stopped("a", "07:00")
        issued = note(3, description="from Ada", userId=USER)
        scene.record(start, stop, issued)
        erase(scene)

        scene.repeat(start, stop, issued, {**start, "id": "under another id"})

        assert [GONE] == metadata(scene, PAYER)
        assert [""] == descriptions(scene, PAYER)
        assert [] == broken_laws(scene)

    def test_a_note_is_the_same_by_its_key_once_its_text_is_gone(self, scene: Scene) -> None:
        request = _note_request(PAYER, 7, "from Ada", user_id=USER)
        keyed = (("idempotency-key", "k"),)
        scene.calls.usage.AddUsageCreditNote(request, metadata=keyed)
        erase(scene)

        scene.calls.usage.AddUsageCreditNote(request, metadata=keyed)

        assert -700 == scene.cents()
        assert [""] == descriptions(scene, PAYER)

    def test_recorded_later_stay_until_the_next_erasure(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", **ADA))
        erase(scene)
        scene.record(*ran("b", "06:00", "07:01", **ADA))

        assert [GONE, KEPT] == metadata(scene, PAYER)
        erasure = erase(scene)

        assert (2, 1) == (erasure.number, erasure.personal_rows)
        assert [GONE, GONE] == metadata(scene, PAYER)
        assert [] == broken_laws(scene)

    def test_of_a_start_that_comes_after_its_stop(self, scene: Scene) -> None:
        scene.record(stopped("a", "07:00"))
        assert (0, 0) == erased(scene)

        scene.record(started("a", "06:00", **ADA))

        assert [KEPT] == metadata(scene, PAYER)
        assert (1, 0) == erased(scene)


class TestTexts:
    def test_are_looked_for_in_everybodys_personal_fields(self, scene: Scene) -> None:
        scene.record(
            *ran("a", "06:00", "07:00", **{**ADA, "userId": None, "userName": "ADA LOVELACE"}),
            *ran("b", "06:00", "07:01", userId=OTHER_USER, userName="Bob"),
            note(3, event_id="1", description="for Ada Lovelace, sorry", userId=OTHER_USER),
            note(4, event_id="2", description="for Bob", userId=OTHER_USER),
        )

        assert (2, 0) == erased(scene, texts=["ada lovelace"])

        assert [GONE, ("Bob", "", "")] == metadata(scene, PAYER)
        assert ["", "for Bob"] == sorted(descriptions(scene, PAYER))
        assert [] == broken_laws(scene)

    def test_are_found_in_a_second_request_after_the_user_is_erased(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", **ADA), note(3, description="for Ada"))
        assert (1, 0) == erased(scene)

        assert (1, 0) == erased(scene, texts=["for Ada"])

    def test_are_forgotten(self, scene: Scene) -> None:
        erase(scene, texts=["Ada Lovelace"])

        assert [] == [row for shard in scene.service.ledger.shards for row in _work(shard)]


SPELLINGS: dict[str, Line] = {
    "as it is": {**started("a", "25:00"), "data": {"userId": USER}},
    "upper case": line_of({"userId": USER.upper()}),
    "in braces": line_of({"user_id": "{" + USER + "}"}),
    "32 digits": line_of({"userId": USER.replace("-", "")}),
    "escaped": line_of({"userId": USER}).replace(b"-", b"\\u002d"),
    "cut off": line_of(started("a", "06:00"))[:-3],
    "no text at all": b"\xff\xfe" + USER.encode() + b"\xff",
    "in a URL": line_of({"contextUrl": "https://x/?user=" + USER.replace("-", "%2D")}),
    "in Base64": line_of({
        "specversion": "1.0",
        "datacontenttype": "application/protobuf",
        "data_base64": base64.b64encode(
            events_pb2.WorkspaceInstanceStarted(user_id=USER, user_name="Ada").SerializeToString()
        ).decode(),
    }),
}  # fmt: skip


class TestDeadLetters:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_that_name_the_user_lose_their_bytes(self, scene: Scene, spelling: str) -> None:
        scene.reject(SPELLINGS[spelling])
        scene.reject(line_of({"userId": OTHER_USER}))
        counts = scene.counts()

        assert (0, 1) == erased(scene)

        kept, letter = scene.dead_letters()
        assert ("event", "erased") == (kept.kind, letter.kind)
        assert b"" == _original(scene, letter.id)
        assert counts == scene.counts() == (2, 0, 0, 2)
        assert letter.reason.startswith("erased at 2026-11-01T08:00:00.000Z by local:")
        assert [] == broken_laws(scene)

    def test_are_not_tried_again(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.reject(started("a", "06:30", **ADA))
        erase(scene)
        (letter,) = scene.dead_letters()

        answer = scene.retry(letter.id)

        assert (1, 0, 0) == (answer.retried, answer.recorded, answer.repeated)
        assert "its bytes are gone, so it cannot be tried again" in answer.rejects[0].reason
        assert ["erased"] == [each.kind for each in scene.dead_letters()]

    def test_repeat_without_being_kept(self, scene: Scene) -> None:
        """Kafka may deliver it again."""
        line = line_of({"userId": USER, "userName": "Ada"})
        scene.reject(line)
        erase(scene)

        scene.repeat(line)

        (letter,) = scene.dead_letters()
        assert (2, "erased", b"") == (letter.times, letter.kind, _original(scene, letter.id))
        assert (2, 0, 1, 1) == scene.counts()

    def test_are_forgotten_with_the_others(self, scene: Scene) -> None:
        scene.reject(line_of({"userId": USER}))
        erase(scene)
        scene.clock.advance(days=91)
        # More than a month of silence may be a clock that leapt.
        scene.reconcile()
        scene.clock.advance(hours=2)
        scene.reconcile()

        scene.service.run_job("reset")

        assert [] == scene.dead_letters()

    def test_that_hold_a_text_lose_their_bytes(self, scene: Scene) -> None:
        scene.reject(line_of({"userName": "Zoë"}).replace("ë".encode(), b"\\u00eb"))
        scene.reject(line_of({"mail": "zoe%40example.org"}))
        scene.reject(line_of({"userName": "Bob"}))

        assert (0, 2) == erased(scene, texts=["ZOË", "zoe@example.org"])

    def test_of_an_import_lose_their_bytes(self, scene: Scene) -> None:
        refused_line(scene, member(USER, joined="yesterday", email="ada@example.org"))

        assert (0, 1) == erased(scene)

        (letter,) = scene.dead_letters()
        answer = scene.retry(letter.id)
        assert "its bytes are gone" in answer.rejects[0].reason


class TestWhatWasTakenOver:
    def test_loses_its_personal_fields(self, scene: Scene) -> None:
        named = {"userId": USER, "userName": "Ada", "contextURL": "https://c/ada"}
        taken(
            scene,
            entry(1667, metadata=named),
            entry(3, name="runs", draft=True, metadata=times("10-20 11:00", **named)),
            entry(-300, kind="credit_note", description="from Ada", metadata={"userId": USER}),
            entry(-500, kind="invoice", description="for Ada", metadata={"userId": USER}),
            entry(-100, kind="credit_note", name="b", description="from Bob"),
            member(USER, email="ada@example.org"),
        )
        scene.reconcile()
        cents = scene.cents()

        assert (4, 0) == erased(scene)

        assert [GONE, GONE] == metadata(scene, PAYER)
        assert ["", "from Bob"] == sorted(descriptions(scene, PAYER))
        invoices = [each for each in scene.calls.entries(PAYER) if each.credit_cents == -500]
        assert [""] == [each.description for each in invoices]
        assert cents == scene.cents()
        assert [] == broken_laws(scene)


class TestTheRequest:
    def test_is_an_event_with_its_author_and_what_came_of_it(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", **ADA))
        scene.reject(line_of({"userId": USER}))
        author = scene.service.ledger.operator

        erasure = erase(scene)

        assert (USER, 1, author, REASON, 1, 1, pb.ERASURE_STATE_DONE, False) == (
            erasure.user_id,
            erasure.number,
            erasure.author,
            erasure.reason,
            erasure.personal_rows,
            erasure.dead_letters,
            erasure.state,
            erasure.repeated,
        )
        assert [erasure] == erasures(scene)
        for position in erasure.positions:
            events = log(scene, position.shard)
            requested = next(e for e in events if e.position.number == position.number)
            done = next(e for e in events if e.topic == "user-erased")
            assert (f"erasure:user:{USER}", author) == (requested.stream, requested.author)
            assert {"user": USER, "number": 1} == _without_commitment(requested)
            assert (2, author, USER) == (done.version, done.author, json.loads(done.json)["user"])
        shards = len(scene.service.ledger.shards)
        assert list(range(shards)) == [position.shard for position in erasure.positions]

    def test_of_what_is_erased_already_changes_nothing(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", **ADA))
        first = erase(scene)
        scene.clock.advance(hours=1)
        before = [len(log(scene, shard.number)) for shard in scene.service.ledger.shards]

        again = erase(scene, reason="asked again")

        assert again.repeated
        again.repeated = False
        assert first == again
        assert before == [len(log(scene, shard.number)) for shard in scene.service.ledger.shards]

    def test_of_a_user_that_nobody_knows_is_recorded_all_the_same(self, scene: Scene) -> None:
        assert (0, 0) == erased(scene, OTHER_USER)
        assert [OTHER_USER] == [each.user_id for each in erasures(scene)]

    def test_only_counts_when_it_is_a_dry_run(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", **ADA))
        scene.reject(line_of({"userId": USER}))

        counted = erase(scene, reason="", dry_run=True)

        assert (1, 1, 0, pb.ERASURE_STATE_COUNTED) == (
            counted.personal_rows,
            counted.dead_letters,
            counted.number,
            counted.state,
        )
        assert [KEPT] == metadata(scene, PAYER)
        assert [] == erasures(scene)

    def test_tells_how_far_it_is(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", **ADA))

        told = steps(scene)

        looked = [(step.shard, step.looked_at, step.events) for step in told[:-1]]
        assert looked
        assert all(looked_at == events for _, looked_at, events in looked)

    @pytest.mark.parametrize(
        ("asked", "what"),
        [
            ({"user_id": "ada"}, "user_id 'ada': must be a UUID"),
            ({"user_id": ""}, "user_id '': must be a UUID"),
            ({"reason": " "}, "reason: say why, in 1 to 255 characters"),
            ({"reason": "x" * 256}, "reason: say why, in 1 to 255 characters"),
            ({"texts": ["ab"]}, "texts: one of 2 characters, but they must have 3 to 255"),
            ({"texts": ["x" * 256]}, "texts: one of 256 characters"),
            ({"texts": ["long enough"] * 21}, "21 texts: at most 20"),
        ],
    )
    def test_is_checked_before_anything_is_touched(
        self, scene: Scene, asked: dict[str, Any], what: str
    ) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            steps(scene, **asked)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
        assert what in (refused.value.details() or "")
        assert [] == erasures(scene)

    def test_pages_go_by_user(self, scene: Scene) -> None:
        users = sorted(named_uuid("user", n) for n in range(3))
        for user in users:
            erase(scene, user)

        request = pb.ListErasuresRequest(page_size=2)
        first = scene.calls.audit.ListErasures(request)
        rest = scene.calls.audit.ListErasures(
            pb.ListErasuresRequest(page_size=2, cursor=first.next_cursor)
        )

        assert users == [each.user_id for each in [*first.erasures, *rest.erasures]]
        assert "" == rest.next_cursor


class TestWhatIsShown:
    def test_an_instance_says_when_and_by_whom(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", **ADA))
        assert {} == _erased_at(scene, "a")
        erase(scene)

        assert {"instance-started": ["2026-11-01T08:00:00Z"]} == _erased_at(scene, "a")

    def test_the_log_says_when_and_by_whom(self, scene: Scene) -> None:
        scene.record(note(3, description="from Ada", userId=USER), note(4, event_id="2"))
        author = scene.service.ledger.operator
        erase(scene)

        told = [
            (event.erased_by, event.HasField("erased"))
            for shard in scene.service.ledger.shards
            for event in log(scene, shard.number)
            if event.topic == "credit-note-issued"
        ]
        assert [(author, True), ("", False)] == told

    def test_check_says_when_and_by_whom(self, scene: Scene) -> None:
        before = len(laws(scene))
        author = scene.service.ledger.operator
        erase(scene)

        name = f"user {USER}: personal data erased at 2026-11-01T08:00:00.000Z by {author}"
        shards = len(scene.service.ledger.shards)
        assert shards == sum(law.startswith(name) for law in laws(scene))
        assert before + shards == len(laws(scene))


def _note_request(
    payer: str, credits_given: int, description: str, *, user_id: str
) -> usage_pb2.AddUsageCreditNoteRequest:
    return usage_pb2.AddUsageCreditNoteRequest(
        attribution_id=payer, credits=credits_given, description=description, user_id=user_id
    )


def _original(scene: Scene, number: int) -> bytes:
    request = queries_pb2.GetDeadLetterRequest(id=number)
    return scene.calls.queries.GetDeadLetter(request).original


def _erased_at(scene: Scene, name: str) -> dict[str, list[str]]:
    """When the personal fields of an instance's events were erased, by topic."""
    told: dict[str, list[str]] = {}
    for event in scene.known(name).events:
        if event.HasField("erased"):
            assert scene.service.ledger.operator == event.erased_by
            told.setdefault(event.topic, []).append(event.erased.ToJsonString())
    return told


def _without_commitment(event: queries_pb2.LogEvent) -> Event:
    fields: Event = json.loads(event.json)
    assert 64 == len(fields.pop("commitment"))
    return fields


def _work(shard: Any) -> list[Any]:
    queries = shard.new_queries()
    try:
        return list(queries.reader.erasures())
    finally:
        queries.reader.close()
