"""Section 2: the rates in force are events."""

from pathlib import Path
from typing import Any

import pytest

from ledger.errors import StartRefusedError
from tests.contract.data.scene import Scene, at, ran, started, stopped, stopping
from usage_ledger.v1 import queries_pb2

NOVEMBER_1 = "2026-11-01T08:00:00Z"


def list_of(revision: int, rate: str, since: str | None = None) -> dict[str, Any]:
    """`rate` for class `c`."""
    prices: dict[str, Any] = {"revision": revision, "credits_per_minute": {"c": rate}}
    if since is not None:
        prices["effective_from"] = since
    return prices


def published(scene: Scene) -> list[str]:
    request = queries_pb2.TailLogRequest(from_position=1)
    events = [event for page in scene.calls.queries.TailLog(request) for event in page.events]
    return [event.json for event in events if event.stream == "price-list"]


def cents(scene: Scene, name: str) -> int:
    return scene.known(name).entry.credit_cents


class Starts:
    """Starts the service again and again on one ledger, an hour later each time."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._hours = 0

    def __call__(self, prices: dict[str, Any], now: str | None = None) -> Scene:
        scene = Scene(self._data_dir, prices=prices)
        if now is not None:
            scene.clock.set(at(now))
        else:
            scene.clock.advance(hours=self._hours)
        self._hours += 1
        return scene


@pytest.fixture
def start(tmp_path: Path) -> Starts:
    return Starts(tmp_path / "ledger")


class TestRevisions:
    def test_a_start_appends_its_list_only_if_its_revision_is_higher(self, start: Starts) -> None:
        with start(list_of(1, "0.01")) as scene:
            assert 1 == len(published(scene)) == scene.status().price_revision
        with start(list_of(1, "0.01")) as scene:
            assert 1 == len(published(scene))
        with start(list_of(7, "0.02")) as scene:
            assert 2 == len(published(scene))
            assert 7 == scene.status().price_revision

    def test_the_same_revision_with_other_rates_refuses_to_start(self, start: Starts) -> None:
        with start(list_of(1, "0.01")):
            pass

        with pytest.raises(StartRefusedError, match=r"prices\.revision 1 .* other rates"):
            start(list_of(1, "0.02")).__enter__()
        with start(list_of(1, "0.01")) as scene:
            assert 1 == len(published(scene))

    @pytest.mark.parametrize("same", ["0.010", "0.0100000000", "0.01"])
    def test_the_same_rate_in_other_digits_is_the_same_rate(self, start: Starts, same: str) -> None:
        with start(list_of(1, "0.01")):
            pass
        with start(list_of(1, same)) as scene:
            assert 1 == len(published(scene))

    def test_a_class_more_or_less_is_other_rates(self, start: Starts) -> None:
        with start(list_of(1, "0.01")):
            pass
        more = {"revision": 1, "credits_per_minute": {"c": "0.01", "d": "0.01"}}

        with pytest.raises(StartRefusedError):
            start(more).__enter__()

    def test_a_lower_revision_uses_the_logs_rates_and_warns(
        self, start: Starts, caplog: pytest.LogCaptureFixture
    ) -> None:
        with start(list_of(5, "0.05")):
            pass
        caplog.clear()
        with start(list_of(4, "0.04")) as scene:
            scene.record(*ran("a", "06:00", "07:00", workspaceClass="c"))
            assert 300 == scene.cents()
            assert 1 == len(published(scene))
            assert 5 == scene.status().price_revision
        assert any("prices.revision 4 is lower than 5" in text for text in caplog.messages)


class TestInForce:
    def test_the_first_list_is_in_force_since_the_beginning_of_time(self, start: Starts) -> None:
        with start(list_of(1, "0.01", since="2026-12-01T00:00:00Z")) as scene:
            first, last = "0001-01-01T00:00:00Z", "0001-01-01T01:00:00Z"
            scene.record(*ran("a", first, last, workspaceClass="c"))
            assert 60 == cents(scene, "a")

    def test_a_later_list_is_in_force_from_the_instant_it_carries(self, start: Starts) -> None:
        with start(list_of(1, "0.01")):
            pass
        with start(list_of(2, "0.02", since="2026-11-01T06:00:00Z")) as scene:
            scene.record(*ran("before", "05:59:59.999", "06:59:59.999", workspaceClass="c"))
            scene.record(*ran("at", "06:00", "07:00", workspaceClass="c"))
            assert (60, 120) == (cents(scene, "before"), cents(scene, "at"))

    def test_without_an_instant_it_is_in_force_as_soon_as_it_is_recorded(
        self, start: Starts
    ) -> None:
        with start(list_of(1, "0.01"), now="08:00"):
            pass
        with start(list_of(2, "0.02"), now="09:00") as scene:
            scene.clock.advance(hours=3)
            scene.record(*ran("before", "08:59:59.999", "09:59:59.999", workspaceClass="c"))
            scene.record(*ran("at", "09:00", "10:00", workspaceClass="c"))
            assert (60, 120) == (cents(scene, "before"), cents(scene, "at"))

    def test_an_instance_takes_the_list_in_force_at_its_start_not_at_its_end(
        self, start: Starts
    ) -> None:
        with start(list_of(1, "0.01")) as scene:
            scene.record(started("a", "05:00", workspaceClass="c"))
        with start(list_of(2, "0.02", since="2026-11-01T06:00:00Z")) as scene:
            scene.record(stopping("a", "07:00"), stopped("a", "07:00"))
            assert 120 == cents(scene, "a")

    def test_a_late_start_takes_the_list_in_force_at_its_start(self, start: Starts) -> None:
        third = list_of(3, "0.03", "2026-10-20T00:00:00Z")
        for prices in (list_of(1, "0.01"), list_of(2, "0.02", "2026-10-10T00:00:00Z"), third):
            with start(prices):
                pass
        with start(third) as scene:
            for day, expected in [("10-09", 60), ("10-15", 120), ("10-25", 180)]:
                scene.record(*ran(day, f"{day} 00:00", f"{day} 01:00", workspaceClass="c"))
                assert expected == cents(scene, day)

    def test_only_lists_recorded_before_the_start_was_count(self, start: Starts) -> None:
        with start(list_of(1, "0.01")) as scene:
            scene.record(started("early", "07:00", workspaceClass="c"))
        with start(list_of(2, "0.02", since="2026-11-01T06:00:00Z")) as scene:
            scene.clock.set(at("10:00"))
            scene.record(started("late", "07:00", workspaceClass="c"))
            scene.record(stopped("early", "08:00"), stopped("late", "08:00"))
            assert (60, 120) == (cents(scene, "early"), cents(scene, "late"))
            assert (1, 2) == (
                scene.known("early").price_revision,
                scene.known("late").price_revision,
            )

    def test_a_list_for_the_future_leaves_todays_starts_alone(self, start: Starts) -> None:
        with start(list_of(1, "0.01")):
            pass
        with start(list_of(2, "0.02", since="2026-11-02T00:00:00Z")) as scene:
            scene.record(started("today", "09:00", workspaceClass="c"))
            scene.clock.set(at("11-03 00:00"))
            scene.record(started("later", "11-02 00:00", workspaceClass="c"))
            scene.record(stopped("today", "10:00"), stopped("later", "11-02 01:00"))
            assert (60, 120) == (cents(scene, "today"), cents(scene, "later"))

    def test_no_later_event_prices_it_otherwise(self, start: Starts) -> None:
        with start(list_of(1, "0.01")) as scene:
            scene.record(*ran("done", "05:00", "07:00", workspaceClass="c"))
            scene.record(started("running", "05:00", workspaceClass="c"))
            scene.reconcile("08:00")
        with start(list_of(2, "9", since="2020-01-01T00:00:00Z"), now="09:00") as scene:
            scene.repeat(*ran("done", "05:00", "07:00", workspaceClass="c"))
            scene.repeat(started("running", "05:00", workspaceClass="c", event_id="again"))
            scene.reconcile("10:00")
            assert (120, 300) == (cents(scene, "done"), cents(scene, "running"))
            scene.end("done", "06:00")
            assert 60 == cents(scene, "done")

    def test_a_class_that_only_the_new_list_has_costs_a_sixth_before_it(
        self, start: Starts
    ) -> None:
        with start(list_of(1, "0.01")):
            pass
        new = {"revision": 2, "credits_per_minute": {"d": "0.02"}}
        with start({**new, "effective_from": "2026-11-01T06:00:00Z"}) as scene:
            scene.record(*ran("before", "05:00", "06:00", workspaceClass="d"))
            scene.record(*ran("after", "06:00", "07:00", workspaceClass="d"))
            scene.record(*ran("gone", "06:00", "07:00", workspaceClass="c"))
            assert (1000, 120, 1000) == tuple(
                cents(scene, name) for name in ("before", "after", "gone")
            )
