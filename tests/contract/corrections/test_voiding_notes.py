"""Voiding a credit note: it counts no more, whoever brought it.

| case | test |
| --- | --- |
| one that was added by a call, published or imported | `TestWhatIsVoided` |
| one of a closed cycle, or that the cycle's write-off has used up | `TestClosedCycles` |
| the same one twice, one after the other and at once | `TestTwice` |
| one that nobody knows, another payer's, an invoice | `TestRefused` |
| its event or its call comes again | `TestAgain` |
| Stripe has been told of it | `billing/calls/test_voids.py` |
| the process is killed at any point | `faults/test_killed.py` |
"""

from __future__ import annotations

import json

import grpc
import pytest

from tests.contract.calls.asking import BAD_UUIDS, INVALID, add_note, log_of, refused, together
from tests.contract.data.scene import OTHER_PAYER, PAYER, USER, Scene, note, ran
from tests.importing.lines import entry, take_over
from tests.oracle.events import named_uuid
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DECEMBER = "12-01 08:00"


def notes(scene: Scene, payer: str = PAYER) -> list[queries_pb2.Entry]:
    found = scene.calls.entries(payer)
    return [each for each in found if each.kind == queries_pb2.ENTRY_KIND_CREDIT_NOTE]


def the_note(scene: Scene) -> str:
    (found,) = notes(scene)
    return found.id


def notes_of_draft(scene: Scene) -> tuple[int, int, list[tuple[int | None, int, int]]]:
    """Count and cents of the open cycle's notes, and of voided ones among them by period."""
    draft = scene.calls.draft(PAYER)
    voided = [
        (
            each.late_for.cycle_number if each.HasField("late_for") else None,
            each.credit_notes,
            each.credit_cents,
        )
        for each in draft.voided_credit_notes
    ]
    return draft.credit_note_count, draft.credit_note_cents, voided


class TestWhatIsVoided:
    def counts_for_nothing(self, scene: Scene) -> None:
        scene.void_note(the_note(scene))
        assert 0 == scene.cents()
        assert [] == scene.calls.entries(PAYER)
        assert (0, 0, []) == notes_of_draft(scene)

    def test_one_that_was_added_by_a_call(self, scene: Scene) -> None:
        add_note(scene.calls, 3, payer=PAYER)
        self.counts_for_nothing(scene)

    def test_one_that_was_added_with_a_key(self, scene: Scene) -> None:
        add_note(scene.calls, 3, payer=PAYER, key="once")
        self.counts_for_nothing(scene)

    def test_a_debit(self, scene: Scene) -> None:
        add_note(scene.calls, -3, payer=PAYER)
        self.counts_for_nothing(scene)

    def test_one_that_was_published(self, scene: Scene) -> None:
        scene.record(note(3))
        self.counts_for_nothing(scene)

    def test_one_that_was_imported(self, scene: Scene) -> None:
        take_over(scene, entry(-300, kind="credit_note"))
        self.counts_for_nothing(scene)

    def test_and_nothing_beside_it(self, scene: Scene) -> None:
        scene.record(note(3, event_id="one"), note(4, event_id="two"), *ran("a", "06:00", "07:00"))
        add_note(scene.calls, 1, payer=OTHER_PAYER)
        (one,) = [each.id for each in notes(scene) if each.credit_cents == -300]
        scene.void_note(one)
        assert 600 == scene.cents()
        assert -100 == scene.cents(OTHER_PAYER)
        assert (1, -400, []) == notes_of_draft(scene)

    def test_in_any_spelling_of_its_id(self, scene: Scene) -> None:
        scene.record(note(3))
        scene.void_note("{" + the_note(scene).upper() + "}")
        assert 0 == scene.cents()


class TestRefused:
    def test_one_that_nobody_knows(self, scene: Scene) -> None:
        with refused(NOT_FOUND, "there is no such credit note"):
            scene.void_note(named_uuid("nothing"))

    def test_another_payers(self, scene: Scene) -> None:
        scene.record(note(3))
        with refused(NOT_FOUND, OTHER_PAYER):
            scene.void_note(the_note(scene), payer=OTHER_PAYER)
        assert -300 == scene.cents()

    def test_a_workspace_instance(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        with refused(NOT_FOUND, "there is no such credit note"):
            scene.void_note(scene.only().id)

    def test_an_invoice(self, scene: Scene) -> None:
        take_over(scene, entry(-500, kind="invoice"))
        (invoice,) = scene.calls.entries(PAYER)
        with refused(PRECONDITION, "is an invoice: only a credit note can be voided"):
            scene.void_note(invoice.id)
        assert -500 == scene.cents()

    @pytest.mark.parametrize("entry_id", ["", *BAD_UUIDS])
    def test_a_malformed_id(self, scene: Scene, entry_id: str) -> None:
        with refused(INVALID, "entry_id", "must be a UUID"):
            scene.void_note(entry_id)

    def test_a_malformed_attribution_id(self, scene: Scene) -> None:
        with refused(INVALID, "attribution_id"):
            scene.void_note(named_uuid("a"), payer="")

    @pytest.mark.parametrize("reason", ["", "\t", "x" * 256])
    def test_without_a_reason_or_with_a_long_one(self, scene: Scene, reason: str) -> None:
        scene.record(note(3))
        with refused(INVALID, "reason"):
            scene.void_note(the_note(scene), reason=reason)
        assert -300 == scene.cents()


class TestTwice:
    def test_the_second_says_by_whom_and_when(self, scene: Scene) -> None:
        scene.record(note(3))
        voided = the_note(scene)
        scene.void_note(voided)
        (event,) = log_of(scene.calls, "credit-note-voided")
        with refused(PRECONDITION, "void already", event.author, "2026-11-01T08:00:00.000Z"):
            scene.void_note(voided)
        assert 0 == scene.cents()

    def test_eight_at_once_are_one(self, scene: Scene) -> None:
        scene.record(note(3), note(4, event_id="another"))
        (voided,) = [each.id for each in notes(scene) if each.credit_cents == -300]

        def act(_number: int) -> grpc.StatusCode:
            try:
                scene.void_note(voided)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        outcomes = together(8, act)
        assert (1, 7) == (outcomes.count(grpc.StatusCode.OK), outcomes.count(PRECONDITION))
        assert 1 == len(log_of(scene.calls, "credit-note-voided"))
        assert -400 == scene.cents()


class TestAgain:
    def test_its_event_is_a_repeat(self, scene: Scene) -> None:
        scene.record(note(3))
        scene.void_note(the_note(scene))
        scene.repeat(note(3))
        assert 0 == scene.cents()

    def test_the_same_call_under_its_key_brings_it_not_back(self, scene: Scene) -> None:
        """Who retries a call that was answered long ago must not undo an operator."""
        add_note(scene.calls, 3, payer=PAYER, key="once")
        scene.void_note(the_note(scene))
        add_note(scene.calls, 3, payer=PAYER, key="once")
        assert 0 == scene.cents()
        assert [] == notes(scene)

    def test_other_content_under_its_key_is_refused_as_ever(self, scene: Scene) -> None:
        add_note(scene.calls, 3, payer=PAYER, key="once")
        scene.void_note(the_note(scene))
        with refused(grpc.StatusCode.ALREADY_EXISTS, "once"):
            add_note(scene.calls, 4, payer=PAYER, key="once")


class TestClosedCycles:
    def test_the_closed_one_stays_and_the_open_one_takes_it_back_naming_it(
        self, scene: Scene
    ) -> None:
        scene.record(note(3), *ran("a", "06:00", "07:00"))
        scene.open_cost_center()
        before = scene.calls.draft(PAYER)
        assert 700 == before.carried_balance_cents
        scene.void_note(the_note(scene))
        draft = scene.calls.draft(PAYER)
        assert 700 == draft.carried_balance_cents
        assert (1, 300, [(0, 1, 300)]) == notes_of_draft(scene)
        assert 1000 == draft.total_cents == scene.cents()
        (voided,) = draft.voided_credit_notes
        assert "2026-11-01T08:00:00Z" == voided.late_for.end.ToJsonString()

    def test_one_dated_in_the_open_cycle_before_it_was_opened_is_its_own(
        self, scene: Scene
    ) -> None:
        scene.record(note(3, time="08:00"))
        scene.open_cost_center()
        scene.void_note(the_note(scene))
        assert (1, 300, [(None, 1, 300)]) == notes_of_draft(scene)

    def test_notes_of_the_open_cycle_stand_beside(self, scene: Scene) -> None:
        scene.record(note(3, event_id="old"), note(5, event_id="older"))
        scene.open_cost_center()
        scene.record(note(1, event_id="new"), note(2, event_id="newer"))
        for each in notes(scene):
            if each.credit_cents != -200:
                scene.void_note(each.id)
        assert (3, 600, [(0, 2, 800)]) == notes_of_draft(scene)
        assert -200 == scene.cents()

    def test_one_that_lowered_a_write_off_is_owed_again(self, scene: Scene) -> None:
        """The write-off stays what it was: the next one covers what is owed now."""
        scene.open_cost_center()
        scene.record(note(3), *ran("a", "06:00", "07:00"))
        scene.reconcile("11-20 08:00")
        scene.reset(DECEMBER)
        assert 0 == scene.cents()  # 700 of 700 were written off
        scene.void_note(the_note(scene))
        assert 300 == scene.cents()
        assert (1, 300, [(0, 1, 300)]) == notes_of_draft(scene)
        scene.reconcile("12-20 08:00")
        scene.reset("2027-01-01T08:00:00Z")
        assert 0 == scene.cents()
        assert (0, 0, []) == notes_of_draft(scene)


class TestShown:
    def test_the_list_of_voids_says_who_what_and_why(self, scene: Scene) -> None:
        add_note(scene.calls, 3, payer=PAYER, user=USER)
        voided = notes(scene)[0]
        answer = scene.void_note(voided.id, reason="given twice")
        (void,) = scene.voids()
        assert "given twice" == void.reason
        assert void.author.startswith("local:")
        assert (voided.id, -300, queries_pb2.ENTRY_KIND_CREDIT_NOTE, USER, "") == (
            void.entry_id,
            void.credit_cents,
            void.kind,
            void.user_id,
            void.workspace_instance_id,
        )
        assert voided.effective_time == void.effective_time
        assert answer.position == void.position

    def test_the_reason_lies_outside_the_log(self, scene: Scene) -> None:
        scene.record(note(3))
        scene.void_note(the_note(scene), reason="a very private reason")
        (event,) = log_of(scene.calls, "credit-note-voided")
        assert "private" not in event.json
        assert 32 == len(bytes.fromhex(json.loads(event.json)["commitment"]))
