"""The list at the end of section 4: what the original does wrong must be absent here."""

from tests.contract.calls.asking import (
    PAYER,
    RIVAL,
    STRIPE,
    believe,
    get_cost_center,
    invoices,
    list_usage,
    names_of,
    owe,
    reset,
    run,
    run_lines,
    set_cost_center,
    together,
)
from tests.harness import Calls, ManualClock


class TestWeaknessesOfTheOriginal:
    def test_with_more_than_1000_drafts_a_run_skips_none(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        lines = [
            line
            for number in range(2500)
            for line in run_lines(
                number, "2026-11-01T07:54:00Z", payer=PAYER if number % 2 else RIVAL
            )
        ]
        assert 2500 == calls.publish(lines).recorded
        for minutes, cents in ((0, 125_000), (6, 250_000), (6, 375_000)):
            clock.advance(minutes=minutes)
            calls.reconcile()
            for payer in (PAYER, RIVAL):
                assert cents == calls.balance_cents(payer)
                answer = list_usage(calls, payer, per_page=1000, end="2026-11-02T00:00:00Z")
                assert (1250, cents / 100) == (answer.pagination.total, answer.credits_used)
                assert {cents / 125_000} == {entry.credits for entry in answer.usage_entries}

    def test_concurrent_reconciles_do_not_fail_with_deadlocks(self, calls: Calls) -> None:
        for number in range(200):
            run(calls, number, "2026-11-01T07:54:00Z")
        together(16, lambda _: calls.reconcile())
        assert 20_000 == calls.balance_cents(PAYER)

    def test_concurrent_resets_write_a_balance_off_once(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        get_cost_center(calls)
        owe(calls, 25)
        clock.set("2026-12-01T08:00:00Z")
        together(16, lambda _: reset(calls))
        assert [-2500] == invoices(calls)

    def test_concurrent_upgrades_write_a_balance_off_once(self, calls: Calls) -> None:
        get_cost_center(calls)
        owe(calls, 25)
        together(16, lambda _: set_cost_center(calls, strategy=STRIPE))
        assert [-2500] == invoices(calls)

    def test_an_instance_with_stopped_but_no_stopping_that_no_run_saw_is_billed(
        self, calls: Calls
    ) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        assert 100 == calls.balance_cents(PAYER)
        calls.reconcile()
        assert 100 == calls.balance_cents(PAYER)
        assert ["a"] == names_of(list_usage(calls).usage_entries)

    def test_boundaries_do_not_drift_to_the_3rd_for_ever(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        believe(calls, clock, "2027-01-31T10:00:00Z")
        get_cost_center(calls)
        for day in ("2027-02-28", "2027-03-31"):
            clock.set(f"{day}T10:00:00Z")
            start = get_cost_center(calls).billing_cycle_start
            assert f"{day}T10:00:00Z" == start.ToJsonString()
