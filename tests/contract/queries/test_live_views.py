"""ListMeters, ListAlerts and CheckMeters on the views that the ledger folds itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
import pytest

from projections.live import decode_state, encode_state
from tests.contract.data.scene import (
    CENT_PRICES,
    OTHER_PAYER,
    PAYER,
    Scene,
    at,
    note,
    ran,
    started,
    stopped,
)
from tests.laws.acts import payer_bytes
from tests.oracle.events import payer_of
from usage_ledger.v1 import queries_pb2
from usage_ledger.v1.live_views_pb2 import PayerMeters, SpendingAlert

SECONDS_MAX = 20.0

Answer = TypeVar("Answer", queries_pb2.ListMetersResponse, queries_pb2.ListAlertsResponse)


class LiveScene(Scene):
    """A scene whose log is followed; what is asked waits until the log's end is in the views."""

    def __init__(self) -> None:
        super().__init__(live_views=True, prices=CENT_PRICES)

    def meters(self, payer: str = "", **more: Any) -> queries_pb2.ListMetersResponse:
        request = queries_pb2.ListMetersRequest(attribution_id=payer, **more)
        return self._applied(lambda: self.calls.queries.ListMeters(request))

    def meter(self, payer: str = PAYER) -> PayerMeters:
        (only,) = self.meters(payer).meters
        return only

    def alerts(self, payer: str = "", **more: Any) -> queries_pb2.ListAlertsResponse:
        request = queries_pb2.ListAlertsRequest(attribution_id=payer, **more)
        return self._applied(lambda: self.calls.queries.ListAlerts(request))

    def thresholds(self, payer: str = PAYER) -> list[tuple[int, int]]:
        """Cycle and threshold of every alert of a payer, oldest first."""
        alerts = self.alerts(payer).alerts
        return sorted((each.cycle_number, each.threshold_percent) for each in alerts)

    def _applied(self, ask: Callable[[], Answer]) -> Answer:
        heads = self.calls.queries.GetStatus(queries_pb2.GetStatusRequest()).heads
        wanted = {head.shard: head.number for head in heads}
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            answer = ask()
            if {each.shard: each.number for each in answer.applied} == wanted:
                return answer
            assert time.monotonic() < deadline, f"{answer.applied} of {wanted}"
            time.sleep(0.02)

    def laws(self) -> dict[str, list[str]]:
        """Breaches by law."""
        laws = self.calls.queries.CheckMeters(queries_pb2.CheckMetersRequest()).laws
        return {law.law: list(law.breaches) for law in laws}


@pytest.fixture
def live_scene() -> Iterator[LiveScene]:
    with LiveScene() as scene:
        yield scene
        assert [] == [breach for found in scene.laws().values() for breach in found]


def running_in(meters: PayerMeters) -> dict[str, tuple[int, str]]:
    return {
        each.workspace_class: (each.running_instances, each.credits_per_hour)
        for each in meters.classes
        if each.running_instances
    }


class TestListMeters:
    def test_shows_what_runs_and_costs_an_hour_by_payer_and_class(
        self, live_scene: LiveScene
    ) -> None:
        live_scene.record(
            started("a", "07:00", workspaceClass="cent"),
            started("b", "07:10", workspaceClass="cent"),
            started("c", "07:20"),
            started("d", "07:30", payer=OTHER_PAYER, workspaceClass="never heard of"),
            *ran("e", "06:00", "07:00", workspaceClass="cent"),
        )
        expected = {"cent": (2, "1.2"), "default": (1, "10.000000002")}
        assert expected == running_in(live_scene.meter())
        # 1/6 a minute is ten an hour, to the last digit.
        assert {"never heard of": (1, "10")} == running_in(live_scene.meter(OTHER_PAYER))
        live_scene.record(stopped("b", "07:50"))
        assert (1, "0.6") == running_in(live_scene.meter())["cent"]

    def test_balance_is_what_get_balance_says(self, live_scene: LiveScene) -> None:
        live_scene.record(
            *ran("a", "06:00", "07:00", workspaceClass="cent"),
            started("b", "07:00", workspaceClass="cent"),
            note(3),
        )
        live_scene.reconcile("07:30")
        assert live_scene.cents() == live_scene.meter().balance_cents == 60 + 30 - 300

    def test_a_correction_counts_as_the_ledger_counts_it(self, live_scene: LiveScene) -> None:
        live_scene.record(*ran("a", "06:00", "07:00", workspaceClass="cent"))
        live_scene.end("a", "06:30")
        assert live_scene.cents() == live_scene.meter().balance_cents == 30
        hour = _windows(live_scene.meter(), 3600)
        assert {at("06:00"): (1, 1, 30)} == hour

    def test_windows_are_of_the_events_own_times(self, live_scene: LiveScene) -> None:
        live_scene.record(
            *ran("a", "06:59", "07:04", workspaceClass="cent"),
            *ran("b", "07:03", "07:06", workspaceClass="cent"),
        )
        assert {at("06:00"): (1, 0, 0), at("07:00"): (1, 2, 8)} == _windows(
            live_scene.meter(), 3600
        )
        assert {
            at("06:55"): (1, 0, 0),
            at("07:00"): (1, 1, 5),
            at("07:05"): (0, 1, 3),
        } == _windows(live_scene.meter(), 300)

    def test_what_comes_too_late_for_its_window_is_counted(self, live_scene: LiveScene) -> None:
        live_scene.record(*ran("a", "07:00", "07:30", workspaceClass="cent"))
        live_scene.record(*ran("b", "10-30 07:00", "10-30 08:00", workspaceClass="cent"))
        late = {each.window_length.seconds: each.events for each in live_scene.meter().late}
        assert {300: 2, 3600: 2} == late

    def test_pages_go_through_every_payer_once_in_order(self, live_scene: LiveScene) -> None:
        payers = sorted(payer_of(number) for number in range(7))
        live_scene.record(*[started(p, "07:00", payer=p, workspaceClass="cent") for p in payers])
        found: list[str] = []
        cursor = ""
        while True:
            page = live_scene.meters(page_size=3, cursor=cursor)
            found += [each.attribution_id for each in page.meters]
            cursor = page.next_cursor
            if not cursor:
                break
        assert payers == found

    def test_of_a_payer_that_nobody_knows_are_none(self, live_scene: LiveScene) -> None:
        assert [] == list(live_scene.meters(payer_of("nobody")).meters)

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"attribution_id": "team:x"}, "team:x"),
            ({"page_size": 1001}, "page_size"),
            ({"cursor": "abc"}, "cursor"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, live_scene: LiveScene, wrong: dict[str, Any], told: str
    ) -> None:
        queries: Any = live_scene.calls.queries
        for call, request in (
            (queries.ListMeters, queries_pb2.ListMetersRequest(**wrong)),
            (queries.ListAlerts, queries_pb2.ListAlertsRequest(**wrong)),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call(request)
            error: Any = refused.value
            assert grpc.StatusCode.INVALID_ARGUMENT == error.code()
            assert told in error.details()


def _windows(meters: PayerMeters, seconds: int) -> dict[str, tuple[int, int, int]]:
    return {
        window.start.ToJsonString(): (window.started, window.ended, window.credit_cents)
        for each in meters.classes
        for window in each.windows
        if window.length.seconds == seconds
    }


class TestListAlerts:
    def test_each_share_of_the_limit_is_told_once_in_a_cycle(self, live_scene: LiveScene) -> None:
        live_scene.set_cost_center(100)
        live_scene.record(note(-49, event_id="1"))
        assert [] == live_scene.thresholds()
        live_scene.record(note(-1, event_id="2"))
        assert [(1, 50)] == live_scene.thresholds()
        live_scene.record(note(-60, event_id="3"))
        assert [(1, 50), (1, 80), (1, 100)] == live_scene.thresholds()
        live_scene.record(note(100, event_id="4"), note(-100, event_id="5"))
        assert [(1, 50), (1, 80), (1, 100)] == live_scene.thresholds()

    def test_says_what_made_it_so(self, live_scene: LiveScene) -> None:
        live_scene.set_cost_center(10)
        live_scene.record(note(-7, event_id="1"))
        (alert,) = live_scene.alerts().alerts
        head = live_scene.calls.queries.GetStatus(queries_pb2.GetStatusRequest()).heads
        position = alert.position
        assert (PAYER, 1, 50, 700, 10) == _told(alert)
        assert position.number in {each.number for each in head if each.shard == position.shard}
        assert "2026-11-01T08:00:00Z" == alert.recorded.ToJsonString()

    def test_a_reconcile_raises_it_for_what_runs(self, live_scene: LiveScene) -> None:
        live_scene.set_cost_center(1)
        live_scene.record(started("a", "07:00", workspaceClass="cent"))
        assert [] == live_scene.thresholds()
        live_scene.reconcile("08:30")
        assert [(1, 50), (1, 80)] == live_scene.thresholds()

    def test_a_limit_of_0_has_no_shares(self, live_scene: LiveScene) -> None:
        live_scene.set_cost_center(0)
        live_scene.record(note(-1000))
        assert [] == live_scene.thresholds()

    def test_a_limit_that_changes_raises_what_is_new(self, live_scene: LiveScene) -> None:
        live_scene.set_cost_center(100)
        live_scene.record(note(-50))
        live_scene.set_cost_center(1000)
        live_scene.set_cost_center(60)
        assert [(1, 50), (1, 80)] == live_scene.thresholds()

    def test_the_next_cycle_begins_anew(self, live_scene: LiveScene) -> None:
        live_scene.set_cost_center(10)
        live_scene.record(note(-16))
        live_scene.reset("12-01 09:00")
        # What the write-off left is more than half of the limit again.
        assert 600 == live_scene.cents()
        assert [(1, 50), (1, 80), (1, 100), (2, 50)] == live_scene.thresholds()

    def test_newest_first_by_pages_of_all_or_of_one(self, live_scene: LiveScene) -> None:
        payers = [payer_of(number) for number in range(3)]
        for number, payer in enumerate(payers):
            live_scene.clock.set(at(f"09:0{number}"))
            live_scene.set_cost_center(10, payer=payer)
            live_scene.record(note(-10, payer=payer, event_id=str(number), time="09:00"))
        everything = list(live_scene.alerts().alerts)
        assert 9 == len(everything)
        assert [each.attribution_id for each in everything] == [
            payer for payer in reversed(payers) for _ in range(3)
        ]
        found: list[SpendingAlert] = []
        cursor = ""
        while True:
            page = live_scene.alerts(page_size=2, cursor=cursor)
            found += page.alerts
            cursor = page.next_cursor
            if not cursor:
                break
        assert everything == found
        assert everything[3:6] == list(live_scene.alerts(payers[1]).alerts)


def _told(alert: SpendingAlert) -> tuple[str, int, int, int, int]:
    return (
        alert.attribution_id,
        alert.cycle_number,
        alert.threshold_percent,
        alert.balance_cents,
        alert.spending_limit,
    )


@pytest.mark.embedded
class TestCheckMeters:
    def test_tells_each_difference_with_both_numbers(self) -> None:
        with LiveScene() as scene:
            scene.record(started("a", "07:00", workspaceClass="cent"), note(-5))
            scene.meters()
            assert [] == [breach for found in scene.laws().values() for breach in found]
            rows = scene.service.sqlite.connection
            encoded = rows.execute("SELECT state FROM meters").fetchone()[0]
            state = decode_state(encoded)
            state.booked_cents += 7
            state.meters.classes["cent"].running += 2
            state.meters.classes["cent"].nanocredits_per_hour += 1
            rows.execute("UPDATE meters SET state = ?", (encode_state(state),))
            where = f"{PAYER} cent"
            expected = {
                "meters show what runs": [f"{where}: 1 run, the meter shows 3"],
                "meters show credits per hour": [
                    f"{where}: 0.6 credits an hour, the meter shows 0.600000001"
                ],
                "meters show balances": [f"{PAYER}: owes 500 cents, the meter shows 507"],
            }
            assert expected == scene.laws()

    def test_tells_of_payers_that_only_one_side_knows(self) -> None:
        with LiveScene() as scene:
            scene.record(note(-5), note(-6, payer=OTHER_PAYER, event_id="2"))
            scene.meters()
            rows = scene.service.sqlite.connection
            rows.execute("DELETE FROM meters WHERE payer = ?", (payer_bytes(PAYER),))
            rows.execute("DELETE FROM balances WHERE payer = ?", (payer_bytes(OTHER_PAYER),))
            expected = {
                f"{PAYER}: owes 500 cents, the meter shows 0",
                f"{OTHER_PAYER}: owes 0 cents, the meter shows 600",
            }
            assert expected == set(scene.laws()["meters show balances"])
