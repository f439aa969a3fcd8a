"""Voiding a workspace instance: nothing of it counts any more, and its ID is free.

What may go wrong, and where it is shown not to:

| case | test |
| --- | --- |
| the same one twice, one after the other and at once | `TestTwice` |
| one that runs, is stopping, has ended, was ended, was imported | `TestWhatIsVoided` |
| one of which only a stop is known | `TestWhatIsVoided` |
| one that nobody knows, or is another payer's | `TestRefused` |
| its stop was on its way | `TestALateStop` |
| the right payer spoke before the void, or after it | `TestTheRightPayer` |
| a cycle was closed in between, once or twice, or it was corrected there | `TestClosedCycles` |
| the cycle wrote it off | `TestClosedCycles` |
| its events come again | `TestAgain` |
| it begins anew under the same payer | `TestAnew` |
| a price list came in between | `TestAnew` |
| the process is killed at any point | `faults/test_killed.py` |
| Stripe has been told, and has settled it | `billing/calls/test_voids.py` |
"""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from tests.contract.calls.asking import INVALID, log_of, refused, together
from tests.contract.data.scene import (
    OTHER_PAYER,
    PAYER,
    USER,
    Scene,
    instance,
    ran,
    started,
    stopped,
    stopping,
)
from tests.importing.lines import entry, take_over, times
from tests.oracle.events import named_uuid
from usage_ledger.v1 import audit_corrections_pb2, queries_pb2

pytestmark = pytest.mark.sharded

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DECEMBER = "12-01 08:00"


def void_events(scene: Scene) -> int:
    return len(log_of(scene.calls, "instance-voided"))


def lines_of(scene: Scene, payer: str = PAYER) -> list[tuple[int | None, int, int, int]]:
    """Period, instances, seconds and cents of the open cycle's lines."""
    return [
        (
            line.late_for.cycle_number if line.HasField("late_for") else None,
            line.instances,
            line.seconds,
            line.credit_cents,
        )
        for line in scene.calls.draft(payer).lines
    ]


class TestWhatIsVoided:
    def counts_for_nothing(self, scene: Scene, name: str = "a") -> None:
        scene.void(name)
        assert 0 == scene.cents()
        assert [] == scene.usage()
        assert [] == scene.usage(user_id=USER)
        assert [] == scene.calls.entries(PAYER)
        assert [] == lines_of(scene)
        scene.reconcile()
        assert 0 == scene.cents()
        assert [] == scene.usage()

    def test_one_that_has_ended(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        assert 1000 == scene.cents()
        self.counts_for_nothing(scene)

    def test_one_that_runs(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.reconcile("07:00")
        assert 1000 == scene.cents()
        self.counts_for_nothing(scene)

    def test_one_that_runs_and_was_never_reconciled(self, scene: Scene) -> None:
        scene.reconcile("07:00")
        scene.record(started("a", "06:00"))
        self.counts_for_nothing(scene)

    def test_one_that_is_stopping(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.reconcile("07:00")
        scene.record(stopping("a", "06:30"))
        self.counts_for_nothing(scene)

    def test_one_that_an_operator_has_ended(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"), stopped("a", "07:00"))
        scene.end("a", "06:30")
        self.counts_for_nothing(scene)

    def test_one_whose_late_stopping_corrected_it(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"), stopped("a", "07:00"), stopping("a", "06:30"))
        self.counts_for_nothing(scene)

    def test_one_of_which_only_a_stop_is_known(self, scene: Scene) -> None:
        scene.record(stopped("a", "07:00"))
        self.counts_for_nothing(scene)
        assert scene.known("a").is_void
        scene.record(started("a", "06:00", payer=OTHER_PAYER))

    def test_one_that_was_imported_with_its_charge(self, scene: Scene) -> None:
        take_over(scene, entry(1667, name="a", metadata=times("10-20 10:00", "10-20 12:00")))
        assert 1667 == scene.cents()
        self.counts_for_nothing(scene)
        scene.record(*ran("a", "06:00", "07:00"))
        assert 1000 == scene.cents()

    def test_one_that_was_imported_running(self, scene: Scene) -> None:
        take_over(scene, entry(1, name="a", draft=True, metadata=times("10-31 08:00")))
        scene.reconcile()
        assert 24_000 == scene.cents()
        self.counts_for_nothing(scene)

    def test_and_nothing_beside_it(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"), *ran("b", "06:00", "07:00"))
        scene.record(started("c", "06:00"), *ran("d", "06:00", "07:00", payer=OTHER_PAYER))
        scene.reconcile("08:00")
        scene.void("a")
        assert 3000 == scene.cents()
        assert 1000 == scene.cents(OTHER_PAYER)
        listed = [each.workspace_instance_id for each in scene.usage()]
        assert sorted([instance("b"), instance("c")]) == sorted(listed)


class TestRefused:
    def test_one_that_nobody_knows(self, scene: Scene) -> None:
        with refused(NOT_FOUND, instance("a"), "no event of it is recorded"):
            scene.void("a")

    def test_one_that_is_another_payers(self, scene: Scene) -> None:
        """Whoever repeats a call must not void what the right payer has recorded since."""
        scene.record(*ran("a", "06:00", "07:00"))
        scene.void("a", payer=PAYER)
        scene.record(started("a", "06:00", payer=OTHER_PAYER))
        with pytest.raises(grpc.RpcError) as again:
            scene.void("a", payer=PAYER)
        assert PRECONDITION == again.value.code()
        assert 1 == void_events(scene)

    @pytest.mark.parametrize("reason", ["", " \n", "x" * 256])
    def test_without_a_reason_or_with_a_long_one(self, scene: Scene, reason: str) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        with refused(INVALID, "reason", "1 to 255 characters"):
            scene.void("a", reason=reason)
        assert 1000 == scene.cents()

    def test_with_a_malformed_attribution_id(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        with refused(INVALID, "attribution_id", "must be team:<uuid>"):
            scene.void("a", payer="user:1")
        assert 1000 == scene.cents()


class TestTwice:
    def test_the_second_says_by_whom_and_when(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.void("a")
        scene.clock.advance(hours=1)
        (event,) = log_of(scene.calls, "instance-voided")
        with refused(PRECONDITION, "void already", event.author, "2026-11-01T08:00:00.000Z"):
            scene.void("a")
        assert 1 == void_events(scene)

    def test_eight_at_once_are_one(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"), *ran("b", "06:00", "07:00"))

        def act(_number: int) -> grpc.StatusCode:
            try:
                scene.void("a")
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        outcomes = together(8, act)
        assert 1 == outcomes.count(grpc.StatusCode.OK)
        assert 7 == outcomes.count(PRECONDITION)
        assert 1 == void_events(scene)
        assert 1000 == scene.cents()

    def test_a_void_and_a_stop_at_once_leave_nothing_of_it(self, scene: Scene) -> None:
        """The stop was first and went with it, or came late and was refused."""
        names = [f"i{number}" for number in range(8)]
        scene.record(*[started(name, "06:00") for name in names])

        def act(number: int) -> int:
            name = names[number // 2]
            if number % 2:
                scene.void(name)
                return 0
            return scene.publish(stopped(name, "07:00")).rejected

        together(8, act)
        assert 0 == scene.cents()
        assert {True} == {scene.known(name).is_void for name in names[:4]}
        assert 4 == void_events(scene)


class TestALateStop:
    """A stop of the payer that the instance was taken from must not claim it again."""

    @pytest.mark.parametrize("late", [stopping("a", "07:00"), stopped("a", "07:00")])
    def test_is_a_dead_letter_that_says_why(self, scene: Scene, late: dict[str, object]) -> None:
        scene.record(started("a", "06:00"))
        scene.void("a")
        reason = scene.reject(late)
        assert f"the instance was voided for {PAYER}" in reason
        assert 0 == scene.cents()
        scene.record(started("a", "06:00", payer=OTHER_PAYER))

    def test_is_one_after_a_restart_too(self, tmp_path: Path) -> None:
        with Scene(tmp_path) as scene:
            scene.record(started("a", "06:00"))
            scene.void("a")
        with Scene(tmp_path) as scene:
            scene.reject(stopped("a", "07:00"))
            scene.record(started("a", "06:00", payer=OTHER_PAYER))

    def test_is_one_once_the_right_payer_has_started_it(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.void("a")
        scene.record(started("a", "06:00", payer=OTHER_PAYER))
        reason = scene.reject(stopped("a", "07:00"))
        # Where the two live in one shard it contradicts; in two the right one's is not known here.
        assert "differs from the recorded" in reason or "was voided" in reason
        assert 0 == scene.cents()

    def test_of_a_life_before_the_last_is_one(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.void("a")
        scene.record(started("a", "06:00", payer=OTHER_PAYER))
        scene.void("a")
        scene.reject(stopped("a", "07:00"), stopped("a", "07:00", payer=OTHER_PAYER))


class TestTheRightPayer:
    def test_whose_events_were_rejected_has_them_retried(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        refused_first = scene.publish(*ran("a", "06:00", "07:00", payer=OTHER_PAYER)).rejected
        # A payer who lives in another shard was not refused: there nothing has to be retried.
        assert refused_first in {0, 3}
        assert refused_first == len(scene.dead_letters())
        scene.void("a", payer=PAYER)
        outcome = scene.retry()
        assert (refused_first, refused_first) == (outcome.retried, outcome.recorded)
        assert [] == scene.dead_letters()
        assert (0, 1000) == (scene.cents(), scene.cents(OTHER_PAYER))
        assert (1000, "2026-11-01T07:00:00Z", False) == scene.only_dated(OTHER_PAYER)
        received, recorded, repeated, rejected = scene.counts()
        assert (6, 6, 0, 0) == (received, recorded, repeated, rejected)

    def test_whose_events_come_after_the_void_has_them_recorded(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.void("a")
        # A stop of another payer cannot be late: it is of a start that is still to come.
        scene.record(stopped("a", "07:00", payer=OTHER_PAYER))
        scene.record(started("a", "06:00", payer=OTHER_PAYER))
        assert (0, 1000) == (scene.cents(), scene.cents(OTHER_PAYER))


class TestAgain:
    def test_what_was_voided_is_a_repeat_under_its_own_id(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.void("a")
        scene.repeat(*ran("a", "06:00", "07:00"))
        assert 0 == scene.cents()
        assert [] == scene.usage()

    def test_other_content_under_its_id_is_rejected_as_ever(self, scene: Scene) -> None:
        scene.record(started("a", "06:00", event_id="one"))
        scene.void("a")
        reason = scene.reject(started("a", "06:30", event_id="one"))
        assert "another event is recorded under this source and id" in reason


class TestAnew:
    def test_under_a_new_id_it_is_another_life_with_the_same_entry(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        before = scene.only().id
        scene.void("a")
        scene.record(started("a", "06:30", event_id="new start"))
        scene.record(stopped("a", "07:00", event_id="new stop"))
        assert (500, "2026-11-01T07:00:00Z", False) == scene.only_dated()
        assert before == scene.only().id
        assert 500 == scene.cents()

    def test_a_stop_of_it_waits_as_a_dead_letter_for_its_start(self, scene: Scene) -> None:
        """It cannot be told from a late one of the life before; the start brings it in."""
        scene.record(started("a", "06:00"))
        scene.void("a")
        scene.reject(stopped("a", "07:00"))
        scene.record(started("a", "06:30", event_id="new start"))
        assert 1 == scene.retry().recorded
        assert (500, "2026-11-01T07:00:00Z", False) == scene.only_dated()

    def test_it_can_be_voided_again(self, scene: Scene) -> None:
        for number in range(3):
            scene.record(started("a", "06:00", event_id=f"start {number}"))
            scene.record(stopped("a", "07:00", event_id=f"stop {number}"))
            assert 1000 == scene.cents()
            scene.void("a", reason=f"reason {number}")
            assert 0 == scene.cents()
        known = scene.known("a")
        assert [f"reason {number}" for number in range(3)] == [v.reason for v in known.voids]
        assert 3 == len(scene.voids())

    def test_another_class_and_user_are_no_contradiction(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", workspaceClass="default"))
        scene.void("a")
        more = {"workspaceClass": "g1-large", "userId": named_uuid("somebody")}
        scene.record(started("a", "06:00", event_id="new", **more))
        scene.record(stopped("a", "07:00", event_id="new stop"))
        assert 2000 == scene.cents()
        assert [] == scene.usage(user_id=USER)
        assert "g1-large" == scene.known("a").workspace_class

    def test_it_has_the_rate_of_the_list_that_is_in_force_now(self, tmp_path: Path) -> None:
        with Scene(tmp_path) as scene:
            scene.record(*ran("a", "06:00", "07:00"))
            scene.void("a")
        dearer = {"revision": 2, "credits_per_minute": {"default": "1"}}
        with Scene(tmp_path, prices=dearer | {"effective_from": "2026-11-01T00:00:00Z"}) as scene:
            scene.repeat(*ran("a", "06:00", "07:00"))
            scene.record(started("a", "06:00", event_id="new"))
            scene.record(stopped("a", "07:00", event_id="new stop"))
            assert 6000 == scene.cents()


class TestClosedCycles:
    def test_the_closed_one_stays_and_the_open_one_takes_it_back_naming_it(
        self, scene: Scene
    ) -> None:
        scene.open_cost_center()
        scene.clock.set("2026-11-02T00:00:00Z")
        scene.record(
            *ran("a", "11-01 09:00", "11-01 10:00"), *ran("b", "11-01 09:00", "11-01 09:30")
        )
        scene.reconcile("11-20 08:00")
        scene.set_cost_center(1)
        scene.reset(DECEMBER)
        before = scene.calls.draft(PAYER)
        assert 1400 == before.carried_balance_cents  # 1500, of which one credit was written off
        scene.void("a")

        draft = scene.calls.draft(PAYER)
        assert before.carried_balance_cents == draft.carried_balance_cents
        assert [(1, 1, -3600, -1000)] == lines_of(scene)
        (line,) = draft.lines
        assert "2026-11-01T08:00:00Z" == line.late_for.start.ToJsonString()
        assert "2026-12-01T08:00:00Z" == line.late_for.end.ToJsonString()
        assert 400 == draft.total_cents == scene.cents()
        assert {1: 1000, 2: -1000} == scene.cycle_lines("a")

    def test_what_was_written_off_becomes_a_credit(self, scene: Scene) -> None:
        """History stays: what was forgiven of it was forgiven."""
        scene.open_cost_center()
        scene.record(*ran("a", "06:00", "07:00"))
        scene.reconcile("11-20 08:00")
        scene.reset(DECEMBER)
        assert 0 == scene.cents()
        scene.void("a")
        assert -1000 == scene.cents()

    def test_what_ran_over_the_boundary_is_taken_back_up_to_there(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.reconcile("07:00")
        scene.clock.set("2026-11-01T08:00:00Z")
        scene.open_cost_center()
        scene.reconcile("09:00")
        assert {0: 1000, 1: 2000} == scene.cycle_lines("a")
        scene.void("a")
        assert [(0, 1, -3600, -1000)] == lines_of(scene)
        assert {0: 1000, 1: -1000} == scene.cycle_lines("a")
        assert 0 == scene.cents()

    def test_what_ran_over_the_boundary_and_ended_is_too(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.reconcile("07:00")
        scene.clock.set("2026-11-01T08:00:00Z")
        scene.open_cost_center()
        scene.clock.set("2026-11-01T10:00:00Z")
        scene.record(stopped("a", "09:30"))
        assert [(None, 1, 9000, 2500)] == lines_of(scene)
        scene.void("a")
        assert [(0, 1, -3600, -1000)] == lines_of(scene)
        assert 0 == scene.cents()

    def test_what_was_corrected_in_the_open_cycle_is_taken_back_as_it_was_at_the_boundary(
        self, scene: Scene
    ) -> None:
        scene.record(started("a", "06:00"), stopped("a", "07:00"))
        scene.open_cost_center()
        scene.clock.set("2026-11-01T10:00:00Z")
        scene.end("a", "09:00")  # dated in the open cycle from now on
        assert [(None, 1, 7200, 2000)] == lines_of(scene)
        scene.void("a")
        assert [(0, 1, -3600, -1000)] == lines_of(scene)
        assert 0 == scene.cents()

    def test_begun_anew_it_has_a_line_of_its_own_beside(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.open_cost_center()
        scene.void("a")
        scene.record(started("a", "06:30", event_id="new"), stopped("a", "07:00", event_id="stop"))
        assert [(0, 2, -1800, -500)] == lines_of(scene)
        assert {0: 1000, 1: -500} == scene.cycle_lines("a")
        assert 500 == scene.cents()

    def test_a_void_two_cycles_later_names_the_first(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.open_cost_center()
        scene.reconcile("11-20 08:00")
        scene.reset(DECEMBER)
        scene.void("a")
        assert [(0, 1, -3600, -1000)] == lines_of(scene)


class TestShown:
    def test_get_instance_shows_who_and_why(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", workspaceClass="g1-large"))
        answer = scene.void("a", reason="billed to the wrong team")
        known = scene.known("a")
        (void,) = known.voids
        assert known.is_void
        assert not known.HasField("entry")
        assert "billed to the wrong team" == void.reason
        assert void.author.startswith("local:")
        assert (PAYER, PAYER, PAYER) == (
            known.attribution_id,
            void.attribution_id,
            answer.attribution_id,
        )
        assert "2026-11-01T08:00:00Z" == void.recorded.ToJsonString()
        assert answer.position == void.position == known.events[-1].position
        assert "g1-large" == known.workspace_class  # of what was voided
        assert [] == list(known.lines)

    def test_and_what_counts_since(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.void("a")
        scene.record(*ran("a", "06:00", "06:30", payer=OTHER_PAYER))
        request = queries_pb2.GetInstanceRequest(
            workspace_instance_id=instance("a"), attribution_id=OTHER_PAYER
        )
        known = scene.calls.queries.GetInstance(request)
        assert not known.is_void
        assert OTHER_PAYER == known.attribution_id
        assert 500 == known.entry.credit_cents
        assert [(OTHER_PAYER, 500)] == [
            (line.attribution_id, line.credit_cents) for line in known.lines
        ]

    def test_the_reason_lies_outside_the_log(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.void("a", reason="a very private reason")
        (event,) = log_of(scene.calls, "instance-voided")
        assert "private" not in event.json
        assert "commitment" in event.json

    def test_the_list_of_voids_says_what_each_took_away(self, scene: Scene) -> None:
        scene.record(
            *ran("ended", "06:00", "07:00"), started("runs", "06:00"), stopped("x", "06:00")
        )
        scene.reconcile("08:00")
        for name in ("ended", "runs", "x"):
            scene.void(name, reason=f"{name}?")
        found = [
            (
                void.workspace_instance_id,
                void.credit_cents,
                void.effective_time.ToJsonString() if void.HasField("effective_time") else "",
                void.reason,
                void.kind,
            )
            for void in scene.voids()
        ]
        kind = queries_pb2.ENTRY_KIND_WORKSPACE_INSTANCE
        assert [
            (instance("x"), 0, "", "x?", kind),
            (instance("runs"), 2000, "", "runs?", kind),
            (instance("ended"), 1000, "2026-11-01T07:00:00Z", "ended?", kind),
        ] == found
        assert [] == scene.voids(OTHER_PAYER)

    def test_the_list_of_voids_has_pages(self, scene: Scene) -> None:
        names = [f"i{number}" for number in range(5)]
        scene.record(*[started(name, "06:00") for name in names])
        for name in names:
            scene.void(name)
        found: list[str] = []
        cursor = ""
        while True:
            request = audit_corrections_pb2.ListVoidsRequest(
                attribution_id=PAYER, page_size=2, cursor=cursor
            )
            page = scene.calls.audit.ListVoids(request)
            assert len(page.voids) <= 2
            found += [void.workspace_instance_id for void in page.voids]
            cursor = page.next_cursor
            if not cursor:
                break
        assert [instance(name) for name in reversed(names)] == found

    def test_it_is_suspect_no_more(self, scene: Scene) -> None:
        scene.record(started("long", "10-01 00:00"))
        assert 1 == scene.status().runs_long
        scene.void("long")
        assert 0 == scene.status().runs_long
