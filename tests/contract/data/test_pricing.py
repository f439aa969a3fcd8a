"""Section 2: rates, the fallback, runtime, and rounding (section 1)."""

import logging

import pytest

from tests.contract.data.scene import Scene, ran, started, stopped, stopping

pytestmark = pytest.mark.sharded

DEFAULT_CLASSES = {
    "default": ("0.1666666667", 1000),
    "g1-standard": ("0.1666666667", 1000),
    "g1-large": ("0.3333333333", 2000),
    "gitpodio-internal-xl": ("0.3333333333", 2000),
}


def prices(**rates: str) -> dict[str, dict[str, str]]:
    return {"credits_per_minute": {"default": "0.1666666667", **rates}}


def cents_of(start: str, end: str, workspace_class: str = "default", **rates: str) -> int:
    with Scene(prices=prices(**rates)) as scene:
        scene.record(*ran("a", start, end, workspaceClass=workspace_class))
        return scene.cents()


class TestRates:
    @pytest.mark.parametrize("workspace_class", DEFAULT_CLASSES)
    def test_the_default_rates_by_workspace_class(self, scene: Scene, workspace_class: str) -> None:
        scene.record(*ran("a", "06:00", "07:00", workspaceClass=workspace_class))

        rate, cents = DEFAULT_CLASSES[workspace_class]
        assert (rate, cents) == (scene.known("a").credits_per_minute, scene.cents())

    def test_rates_come_from_the_configuration(self) -> None:
        assert 123 == cents_of("06:00", "07:00", "mine", mine="0.0205")

    def test_rates_are_exact_decimals_of_ten_places(self) -> None:
        # 2,496 days at 10^-10 a minute are 0.036 cents; 2,500 days at the other rate are 50.004.
        assert 0 == cents_of("2020-01-01T00:00:00Z", "2026-11-01T00:00:00Z", "c", c="0.0000000001")
        assert 50 == cents_of("2020-01-01T00:00:00Z", "2026-11-05T00:00:00Z", "c", c="0.0000001389")

    @pytest.mark.parametrize(("seconds", "cents"), [(99, 28), (9, 3), (3600, 1000), (1, 0), (2, 1)])
    def test_a_class_without_a_rate_costs_exactly_a_sixth_a_minute(
        self, scene: Scene, seconds: int, cents: int
    ) -> None:
        # 99 s are 27.5 cents, 9 s are 2.5: half away from zero.
        end = f"06:{seconds // 60:02d}:{seconds % 60:02d}" if seconds < 3600 else "07:00"
        scene.record(*ran("a", "06:00", end, workspaceClass="nobody-knows"))

        assert (cents, "1/6") == (scene.cents(), scene.known("a").credits_per_minute)

    def test_a_class_without_a_rate_is_warned_of_once(
        self, scene: Scene, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name, workspace_class in [("a", "x-1"), ("b", "x-1"), ("c", "x-2"), ("d", "default")]:
            scene.record(started(name, "06:00", workspaceClass=workspace_class))

        told = [record.getMessage() for record in caplog.records]
        assert 1 == sum("'x-1' has no rate" in each for each in told)
        assert 1 == sum("'x-2' has no rate" in each for each in told)
        assert 2 == len(told)

    def test_an_empty_class_is_the_default_class(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", workspaceClass=""))

        assert ("default", 1000) == (scene.known("a").workspace_class, scene.cents())


class TestRounding:
    @pytest.mark.parametrize(
        ("end", "cents"),
        [
            ("06:00:00.499", 0),  # 0 s
            ("06:00:00.500", 1),  # 1 s: one second is a cent
            ("06:00:01.499", 1),
            ("06:00:01.500", 2),  # away from zero, not to even
            ("06:00:02.500", 3),
        ],
    )
    def test_runtime_is_rounded_to_whole_seconds_half_away_from_zero(
        self, end: str, cents: int
    ) -> None:
        assert cents == cents_of("06:00", end, "a-cent-a-second", **{"a-cent-a-second": "0.6"})

    @pytest.mark.parametrize(
        ("end", "cents"), [("06:00:01", 1), ("06:00:02", 1), ("06:00:03", 2), ("06:00:05", 3)]
    )
    def test_credits_are_rounded_to_cents_half_away_from_zero(self, end: str, cents: int) -> None:
        # Half a cent a second.
        assert cents == cents_of("06:00", end, "half", half="0.3")

    def test_seconds_are_rounded_before_credits(self) -> None:
        # 1.4 s are 1 s and 0.5 cents, so 1; unrounded they are 0.7 cents; 0.4 s are nothing.
        assert 1 == cents_of("06:00", "06:00:01.400", "half", half="0.3")
        assert 0 == cents_of("06:00", "06:00:00.499", "hundred", hundred="60")

    def test_rounding_is_per_instance(self, scene: Scene) -> None:
        # Three times 27.5 cents: 84 and not 83.
        for name in "abc":
            scene.record(*ran(name, "06:00", "06:01:39", workspaceClass="nobody-knows"))

        assert 84 == scene.cents()

    def test_times_are_cut_to_the_millisecond_before_they_are_subtracted(
        self, scene: Scene
    ) -> None:
        # 06:00:00.000999999 is 06:00:00.000, and .499999999 is .499: 0 s.
        scene.record(*ran("a", "06:00:00.000999999", "06:00:00.499999999", workspaceClass="none"))

        entry = scene.known("a")
        assert "2026-11-01T06:00:00Z" == entry.started_time.ToJsonString()
        assert "2026-11-01T06:00:00.499Z" == entry.stopping_time.ToJsonString()
        assert 0 == scene.cents()


class TestRuntime:
    def test_it_goes_to_stopping_if_that_is_known(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopping("a", "06:00"), stopped("a", "07:00"))

        assert 1000 == scene.cents()

    def test_else_to_stopped(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"), stopped("a", "07:00"))

        assert 2000 == scene.cents()

    def test_else_to_the_accrual_instant(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("08:00")
        scene.clock.advance(hours=1)

        assert 3000 == scene.cents()

    @pytest.mark.parametrize("kind", ["stopping", "stopped", "both"])
    @pytest.mark.parametrize("start_last", [False, True])
    def test_a_stop_before_the_start_is_no_runtime_and_a_warning(
        self, scene: Scene, kind: str, start_last: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        told = [started("a", "06:00")]
        told += [stopping("a", "05:00")] if kind != "stopped" else []
        told += [stopped("a", "05:30")] if kind != "stopping" else []
        scene.record(*reversed(told)) if start_last else scene.record(*told)

        time = "05:30" if kind == "stopped" else "05:00"
        assert (0, f"2026-11-01T{time}:00Z", kind == "stopping") == scene.only_dated()
        warned = [record.getMessage() for record in caplog.records]
        assert any("before its start" in each for each in warned)

    def test_an_instance_that_never_started_costs_nothing_and_is_not_listed(
        self, scene: Scene
    ) -> None:
        scene.record(stopping("a", "06:00"), stopped("a", "06:01"))
        scene.reconcile()

        assert 0 == scene.cents()
        assert [] == scene.usage()
        assert not scene.known("a").HasField("entry")
