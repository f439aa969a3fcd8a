"""Section 3: the accrual instant A."""

import pytest

from tests.contract.data.scene import OTHER_PAYER, PAYER, Scene, at, started, stopped, stopping
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded


class TestAccrualInstant:
    def test_before_the_first_reconcile_nothing_running_is_listed(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))

        assert ([], 0) == (scene.usage(), scene.cents())
        assert not scene.known("a").HasField("entry")
        assert not scene.status().HasField("accrued_to")

    def test_a_running_instance_is_a_draft_dated_a_and_priced_to_it(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("07:00")

        assert (2000, "2026-11-01T07:00:00Z", True) == scene.only_dated()
        assert (2000, "2026-11-01T07:00:00Z") == (
            scene.cents(),
            scene.status().accrued_to.ToJsonString(),
        )

    def test_it_stands_still_between_reconciles(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("07:00")
        scene.clock.advance(hours=5)

        assert (2000, "2026-11-01T07:00:00Z", True) == scene.only_dated()

    def test_the_last_reconcile_in_the_log_decides_even_if_the_clock_went_back(
        self, scene: Scene
    ) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("08:00")
        scene.reconcile("06:00")

        assert (1000, "2026-11-01T06:00:00Z", True) == scene.only_dated()

    def test_a_is_cut_to_the_millisecond(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.clock.set_ns(scene.clock.now_ns() + 999_999)
        scene.reconcile()

        assert "2026-11-01T08:00:00Z" == scene.only().effective_time.ToJsonString()

    def test_a_start_after_a_costs_nothing_but_is_listed(self, scene: Scene) -> None:
        scene.record(started("a", "09:00"))
        scene.reconcile("08:00")

        assert (0, "2026-11-01T08:00:00Z", True) == scene.only_dated()
        scene.reconcile("10:00")
        assert (1000, "2026-11-01T10:00:00Z", True) == scene.only_dated()

    def test_a_start_recorded_after_a_is_not_listed_until_the_next_reconcile(
        self, scene: Scene
    ) -> None:
        scene.reconcile("08:00")
        scene.record(started("a", "05:00"))
        assert ([], 0) == (scene.usage(), scene.cents())
        scene.reconcile("08:00")  # the same instant: it is the order of the log that counts
        assert (3000, "2026-11-01T08:00:00Z", True) == scene.only_dated()

    def test_every_running_instance_is_accrued_however_long_it_runs(self, scene: Scene) -> None:
        scene.record(started("a", "2020-01-01T00:00:00Z"))
        scene.reconcile()

        hours = (scene.clock.now_ns() // 10**9 - 1577836800) // 3600
        # The default rate is a little above a sixth.
        assert hours * 1000 <= scene.cents() < hours * 1000 + 10

    def test_the_first_start_of_a_stopped_instance_needs_no_reconcile(self, scene: Scene) -> None:
        scene.record(stopped("a", "07:00"), started("a", "06:00"))

        assert (1000, "2026-11-01T07:00:00Z", False) == scene.only_dated()

    def test_each_payer_and_user_has_their_own(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), started("b", "06:00", userId=None))
        scene.record(started("c", "07:00", payer=OTHER_PAYER))
        scene.reconcile("08:00")

        assert (5000, 1000) == (scene.cents(PAYER), scene.cents(OTHER_PAYER))

    def test_the_draft_of_an_invoice_says_until_when_it_is_accrued(self, scene: Scene) -> None:
        assert not scene.calls.draft(PAYER).HasField("accrued_to")
        scene.reconcile("08:00")
        assert "2026-11-01T08:00:00Z" == scene.calls.draft(PAYER).accrued_to.ToJsonString()


class TestStopping:
    def test_a_stopping_instance_is_a_draft_dated_and_priced_at_its_stopping_time_at_once(
        self, scene: Scene
    ) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("08:00")
        scene.record(stopping("a", "07:00"))

        assert (2000, "2026-11-01T07:00:00Z", True) == scene.only_dated()
        scene.reconcile("09:00")
        assert (2000, "2026-11-01T07:00:00Z", True) == scene.only_dated()

    def test_it_is_folded_even_if_no_reconcile_saw_it_running(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopping("a", "07:00"))

        assert (2000, "2026-11-01T07:00:00Z", True) == scene.only_dated()

    def test_stopping_in_the_future_counts_in_full(self, scene: Scene) -> None:
        scene.record(started("a", "07:00"), stopping("a", "09:00"))

        assert 2000 == scene.cents()
        scene.clock.advance(hours=2)  # ListUsage looks as far as now
        assert (2000, "2026-11-01T09:00:00Z", True) == scene.only_dated()


class TestStopped:
    def test_with_stopped_it_is_final(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopping("a", "07:00"), stopped("a", "07:30"))

        assert (2000, "2026-11-01T07:00:00Z", False) == scene.only_dated()
        scene.reconcile("12:00")
        assert (2000, "2026-11-01T07:00:00Z", False) == scene.only_dated()

    def test_stopped_without_stopping_is_billed_though_no_run_saw_it(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopped("a", "07:00"))

        assert (2000, "2026-11-01T07:00:00Z", False) == scene.only_dated()

    def test_a_first_stopping_that_comes_later_still_corrects_the_entry(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopped("a", "07:30"))
        scene.reconcile()
        scene.record(stopping("a", "07:00"))

        assert (2000, "2026-11-01T07:00:00Z", False) == scene.only_dated()
        assert 2000 == scene.cents()

    def test_after_that_no_other_stop_does(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopped("a", "07:30"), stopping("a", "07:00"))

        scene.reject(stopping("a", "06:00", event_id="again"))
        scene.reject(stopped("a", "06:00", event_id="again"))
        assert (2000, "2026-11-01T07:00:00Z", False) == scene.only_dated()

    def test_a_late_stopping_may_lie_after_the_stop(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopped("a", "06:00"), stopping("a", "07:00"))

        assert (2000, "2026-11-01T07:00:00Z", False) == scene.only_dated()


class TestOperatorsEnd:
    def test_it_ends_a_running_instance_as_an_event_with_its_author(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile()
        scene.end("a", "06:00")

        assert (1000, "2026-11-01T06:00:00Z", False) == scene.only_dated()
        known = scene.known("a")
        assert "2026-11-01T06:00:00Z" == known.ended_time.ToJsonString()
        event = known.events[-1]
        assert event.topic.endswith("instance-ended")
        assert event.author.startswith("local:")
        assert "it hung" not in event.json  # free texts lie outside the log

    def test_it_corrects_a_final_entry(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopping("a", "07:00"), stopped("a", "07:30"))
        scene.end("a", "06:00")
        assert (1000, "2026-11-01T06:00:00Z", False) == scene.only_dated()
        scene.end("a", "07:00")
        assert (2000, "2026-11-01T07:00:00Z", False) == scene.only_dated()

    def test_it_ends_one_that_is_stopping(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopping("a", "07:00"))
        scene.end("a", "06:00")

        assert (1000, "2026-11-01T06:00:00Z", False) == scene.only_dated()

    def test_the_service_saying_the_same_afterwards_repeats(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.end("a", "06:00")

        scene.repeat(stopped("a", "06:00"))
        assert "06:00:00.000Z" in scene.reject(stopped("a", "06:30", event_id="other"))
        assert 1000 == scene.cents()

    def test_a_first_stopping_afterwards_corrects_it_too(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.end("a", "07:00")
        scene.record(stopping("a", "06:00"))

        assert (1000, "2026-11-01T06:00:00Z", False) == scene.only_dated()

    def test_it_may_be_said_twice(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.end("a", "06:00")
        head = scene.status().head.number
        scene.end("a", "06:00")

        assert head == scene.status().head.number


class TestSuspects:
    def suspects(self, scene: Scene) -> list[tuple[str, int, str]]:
        request = queries_pb2.ListSuspectInstancesRequest()
        answer = scene.calls.queries.ListSuspectInstances(request)
        return [
            (each.workspace_instance_id, each.reason, each.since.ToJsonString())
            for each in answer.instances
        ]

    def test_instances_running_longer_than_max_expected_runtime_are_listed(
        self, scene: Scene
    ) -> None:
        scene.record(started("long", "10-22 07:59:59.999"), started("not yet", "10-22 08:00"))
        scene.record(started("stopping", "10-01 00:00"), stopping("stopping", "07:00"))

        long = scene.known("long").workspace_instance_id
        runs_long = queries_pb2.SuspectInstance.REASON_RUNS_LONG
        assert [(long, runs_long, "2026-10-22T07:59:59.999Z")] == self.suspects(scene)
        assert (1, 0) == (scene.status().runs_long, scene.status().stops_without_start)

    def test_max_expected_runtime_is_a_setting(self) -> None:
        with Scene(max_expected_runtime="2h") as scene:
            scene.record(started("long", "05:59"), started("short", "06:01"))
            assert 1 == scene.status().runs_long == len(self.suspects(scene))

    def test_stops_without_a_start_for_an_hour_are_listed(self, scene: Scene) -> None:
        scene.record(stopped("a", "01:00"))
        scene.clock.set(at("09:00"))
        assert [] == self.suspects(scene)  # an hour, not longer
        scene.clock.advance(milliseconds=1)

        orphan = queries_pb2.SuspectInstance.REASON_STOP_WITHOUT_START
        (found,) = self.suspects(scene)
        assert (scene.known("a").workspace_instance_id, orphan) == found[:2]
        assert "2026-11-01T08:00:00Z" == found[2]  # since it was heard of
        assert (0, 1) == (scene.status().runs_long, scene.status().stops_without_start)

    def test_a_start_or_an_operators_end_takes_it_off_the_list(self, scene: Scene) -> None:
        scene.record(stopping("orphan", "01:00"), started("long", "10-01 00:00"))
        scene.clock.set(at("10:00"))
        assert 2 == len(self.suspects(scene))

        scene.record(started("orphan", "00:00"))
        scene.end("long", "10-02 00:00")
        assert [] == self.suspects(scene)

    def test_pages_follow_each_other(self, scene: Scene) -> None:
        names = [f"i{number}" for number in range(7)]
        scene.record(*[started(name, "10-01 00:00") for name in names])

        found: list[str] = []
        cursor = ""
        while True:
            request = queries_pb2.ListSuspectInstancesRequest(page_size=2, cursor=cursor)
            page = scene.calls.queries.ListSuspectInstances(request)
            assert len(page.instances) <= 2
            found += [each.workspace_instance_id for each in page.instances]
            cursor = page.next_cursor
            if not cursor:
                break
        assert sorted(scene.known(name).workspace_instance_id for name in names) == sorted(found)
