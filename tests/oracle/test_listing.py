"""Examples of ListUsage (section 4)."""

import pytest

from . import CallError, UsagePage
from .build import PAYER, USER, Bench, at, instance
from .events import payer_of

DAY_NS = 86_400 * 10**9
NOW = at("12:00")
YEAR_1 = at("0001-01-01T00:00:00Z")


def names(page: UsagePage) -> list[str]:
    """Which of the instances a to e are on the page, in its order."""
    of_id = {instance(name): name for name in "abcde"}
    return [of_id[entry.instance_id] for entry in page.entries]


@pytest.fixture
def bench() -> Bench:
    """a, b, c stopped at 09:00, 10:00, 11:00, d at 10:00 too, e runs; a note is never listed."""
    bench = Bench()
    for name, stop in (("a", "09:00"), ("b", "10:00"), ("c", "11:00"), ("d", "10:00")):
        bench.run(name, "08:00", stop)
    bench.tell("e", "started", "08:00", user_id="")
    bench.note(1)
    return bench


class TestOrder:
    def test_ties_go_by_id_in_both_orders(self, bench: Bench) -> None:
        tied = sorted("bd", key=lambda name: bench.oracle.entry_of(instance(name)).entry_id)  # type: ignore[union-attr]
        rising = bench.oracle.list_usage(PAYER, NOW, order="ascending")
        assert ["a", *tied, "c"] == names(rising)
        assert ["c", *tied, "a"] == names(bench.oracle.list_usage(PAYER, NOW))

    def test_a_running_one_stands_at_the_accrual_instant(self, bench: Bench) -> None:
        bench.oracle.reconcile(NOW)
        assert "e" == names(bench.oracle.list_usage(PAYER, NOW))[0]


class TestRange:
    def test_is_half_open_and_cut_to_the_millisecond(self, bench: Bench) -> None:
        page = bench.oracle.list_usage(
            PAYER, NOW, from_ns=at("09:00:00.000999"), to_ns=at("11:00:00.000999")
        )
        assert ({"a", "b", "d"}, 300) == (set(names(page)), page.total_cents)

    def test_is_three_hundred_days_until_now_by_default(self) -> None:
        bench = Bench()
        bench.run("a", "08:00", "09:00")
        end = at("09:00") + 300 * DAY_NS
        assert 1 == bench.oracle.list_usage(PAYER, end - 10**6).total
        assert 0 == bench.oracle.list_usage(PAYER, end).total

    def test_never_begins_before_year_1(self, bench: Bench) -> None:
        assert 0 == bench.oracle.list_usage(PAYER, NOW, to_ns=YEAR_1 + 1).total


class TestPages:
    def test_totals_are_over_the_whole_range(self, bench: Bench) -> None:
        page = bench.oracle.list_usage(PAYER, NOW, per_page=3, page=2)
        assert (["a"], 4, 2, 480) == (names(page), page.total, page.total_pages, page.total_cents)

    def test_default_to_the_first_of_fifty(self, bench: Bench) -> None:
        page = bench.oracle.list_usage(PAYER, NOW)
        assert (50, 1) == (page.per_page, page.page)

    def test_past_the_end_are_empty_however_far(self, bench: Bench) -> None:
        page = bench.oracle.list_usage(PAYER, NOW, per_page=1000, page=2**63 - 1)
        assert ((), 4, 1) == (page.entries, page.total, page.total_pages)

    def test_of_an_unknown_payer_are_empty(self, bench: Bench) -> None:
        page = bench.oracle.list_usage(payer_of("nobody"), NOW)
        assert ((), 0, 0, 0) == (page.entries, page.total, page.total_pages, page.total_cents)

    def test_of_a_user_leave_out_the_others_also_in_the_sums(self, bench: Bench) -> None:
        bench.oracle.reconcile(NOW)
        page = bench.oracle.list_usage(PAYER, NOW, user_id=USER.upper())
        assert (4, 480) == (page.total, page.total_cents)


class TestChecks:
    def test_answer_in_the_contracts_order(self, bench: Bench) -> None:
        wrong: dict[str, tuple[dict[str, object], dict[str, object]]] = {
            "from": ({"from_ns": NOW + 1, "to_ns": NOW}, {"from_ns": NOW}),
            "range": ({"from_ns": NOW - 300 * DAY_NS - 1}, {"from_ns": NOW}),
            "per_page": ({"per_page": 1001}, {"per_page": 1000}),
            "page": ({"page": -1}, {"page": 1}),
            "attribution_id": ({"payer": "team:x"}, {"payer": PAYER}),
            "user_id": ({"user_id": "x"}, {"user_id": ""}),
        }
        said: dict[str, object] = {"payer": PAYER, "now_ns": NOW, "to_ns": NOW}
        for bad, _ in reversed(wrong.values()):
            said = {**said, **bad}
        for field, (bad, good) in wrong.items():
            said = {**said, **bad}
            with pytest.raises(CallError, match=f"INVALID_ARGUMENT: {field}"):
                bench.oracle.list_usage(**said)  # type: ignore[arg-type]
            said = {**said, **good}
        assert 0 == bench.oracle.list_usage(**said).total  # type: ignore[arg-type]

    @pytest.mark.parametrize("bad", [YEAR_1 - 1, at("9999-12-31T23:59:59.999999999Z") + 1])
    def test_refuse_what_no_timestamp_can_hold(self, bench: Bench, bad: int) -> None:
        with pytest.raises(CallError, match="INVALID_ARGUMENT"):
            bench.oracle.list_usage(PAYER, NOW, from_ns=bad)
