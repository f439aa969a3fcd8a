"""The clock stepping back or jumping ahead: section 4 of the contract, "All calls"."""

from collections.abc import Callable

import pytest

from tests.contract.calls.asking import (
    PAYER,
    RIVAL,
    add_note,
    get_cost_center,
    invoices,
    list_usage,
    log_of,
    names_of,
    owe,
    reset,
    run,
    set_cost_center,
    status,
    text,
)
from tests.harness import Calls, ManualClock
from usage_ledger.v1 import admin_pb2

AHEAD = "2026-12-15T08:00:00Z"  # 44 days: more than a month past what was recorded


@pytest.fixture
def due(calls: Calls, clock: ManualClock) -> Calls:
    """A payer that owes 25 credits, whose cycle ended while the clock jumped ahead."""
    set_cost_center(calls, limit=10)
    owe(calls, 25)
    clock.set(AHEAD)
    return calls


def is_reset(calls: Calls) -> bool:
    return bool(log_of(calls, "billing-cycle-closed"))


class TestAClockMoreThanAMonthAhead:
    def test_reset_usage_answers_ok_and_holds_the_reset(self, due: Calls) -> None:
        reset(due)
        assert not is_reset(due)
        assert 2500 == due.balance_cents(PAYER)

    def test_get_cost_center_keeps_the_old_cycle(self, due: Calls) -> None:
        answer = get_cost_center(due)
        assert "2026-11-01T08:00:00Z" == text(answer.billing_cycle_start)
        assert "2026-12-01T08:00:00Z" == text(answer.next_billing_time)
        assert not is_reset(due)

    def test_set_cost_center_keeps_the_old_cycle_and_sets_the_limit(self, due: Calls) -> None:
        answer = set_cost_center(due, limit=70)
        assert "2026-11-01T08:00:00Z" == text(answer.billing_cycle_start)
        assert 70 == answer.spending_limit
        assert not is_reset(due)

    def test_status_says_that_resets_are_held(self, due: Calls) -> None:
        assert "2026-12-15T08:00:00" in status(due).resets_held
        due.admin.ConfirmReset(admin_pb2.ConfirmResetRequest())
        assert "" == status(due).resets_held

    def test_other_calls_go_on(self, due: Calls) -> None:
        owe(due, 1)
        run(due, "a", "2026-12-15T07:00:00Z")
        due.reconcile()
        assert 3600 == due.balance_cents(PAYER)
        assert ["a"] == names_of(list_usage(due).usage_entries)
        assert "2026-12-15T08:00:00Z" == text(get_cost_center(due, RIVAL).billing_cycle_start)

    def test_one_reconcile_does_not_release_it(self, due: Calls) -> None:
        due.reconcile()
        reset(due)
        get_cost_center(due)
        assert not is_reset(due)

    def test_a_second_reconcile_sooner_than_a_ledger_interval_later_does_not(
        self, due: Calls, clock: ManualClock
    ) -> None:
        due.reconcile()
        clock.advance(minutes=59, seconds=59, milliseconds=999)
        due.reconcile()
        reset(due)
        assert not is_reset(due)

    def test_a_second_reconcile_a_ledger_interval_later_releases_it(
        self, due: Calls, clock: ManualClock
    ) -> None:
        due.reconcile()
        clock.advance(hours=1)
        reset(due)
        assert not is_reset(due)
        due.reconcile()
        reset(due)
        assert [-1000] == invoices(due)
        assert "2026-12-01T08:00:00Z" == text(get_cost_center(due).billing_cycle_start)

    def test_a_third_reconcile_releases_it_when_the_second_came_too_soon(
        self, due: Calls, clock: ManualClock
    ) -> None:
        due.reconcile()
        for _ in range(2):
            clock.advance(minutes=30)
            due.reconcile()
        assert "2026-12-01T08:00:00Z" == text(get_cost_center(due).billing_cycle_start)

    @pytest.mark.parametrize("write", ["note", "reconcile", "open"])
    def test_is_held_whatever_was_recorded_first_at_the_new_time(
        self, due: Calls, clock: ManualClock, write: str
    ) -> None:
        acts: dict[str, Callable[[], object]] = {
            "note": lambda: add_note(due, 1, payer=RIVAL),
            "reconcile": due.reconcile,
            "open": lambda: get_cost_center(due, RIVAL),
        }
        acts[write]()
        clock.advance(days=2)
        reset(due)
        assert not is_reset(due)

    def test_confirm_reset_does_it_at_once(self, due: Calls) -> None:
        answer = due.admin.ConfirmReset(admin_pb2.ConfirmResetRequest())
        assert (1, 0) == (answer.reset, answer.failed)
        assert [-1000] == invoices(due)

    def test_a_second_leap_is_held_again(self, due: Calls, clock: ManualClock) -> None:
        due.admin.ConfirmReset(admin_pb2.ConfirmResetRequest())
        clock.advance(days=60)
        reset(due)
        assert 1 == len(log_of(due, "billing-cycle-closed"))


class TestAMerelyOverdueCycle:
    def test_is_not_held(self, calls: Calls, clock: ManualClock) -> None:
        set_cost_center(calls, limit=10)
        owe(calls, 25)
        for day in ("2026-11-25", "2026-12-20"):
            clock.set(f"{day}T08:00:00Z")
            calls.reconcile()
        clock.set("2027-01-15T08:00:00Z")  # overdue by six weeks; the log is 26 days old
        reset(calls)
        assert [-1000] == invoices(calls)
        assert "2027-01-01T08:00:00Z" == text(get_cost_center(calls).billing_cycle_start)

    def test_is_not_held_a_month_after_the_newest_recorded_time(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        owe(calls, 25)
        get_cost_center(calls)
        clock.set("2026-12-01T08:00:00Z")
        reset(calls)
        assert [-2500] == invoices(calls)


class TestAClockThatJumpedAheadAndCameBack:
    def test_repairs_itself_with_the_next_reconcile(self, due: Calls, clock: ManualClock) -> None:
        run(due, "a", "2026-11-01T07:00:00Z", payer=RIVAL)
        due.reconcile()
        assert 44 * 24 * 1000 + 1000 == pytest.approx(due.balance_cents(RIVAL), abs=1)
        clock.set("2026-11-01T09:00:00Z")
        due.reconcile()
        assert 2000 == due.balance_cents(RIVAL)
        (entry,) = list_usage(due, RIVAL).usage_entries
        assert "2026-11-01T09:00:00Z" == text(entry.effective_time)
        assert [] == due.breaches()

    def test_resets_nothing_by_it_and_goes_on_with_its_cycles(
        self, due: Calls, clock: ManualClock
    ) -> None:
        due.reconcile()
        reset(due)
        clock.set("2026-11-01T09:00:00Z")
        due.reconcile()
        reset(due)
        assert not is_reset(due)
        clock.set("2026-12-01T08:00:00Z")
        reset(due)
        assert [-1000] == invoices(due)

    def test_recorded_times_never_go_back(self, due: Calls, clock: ManualClock) -> None:
        due.reconcile()
        clock.set("2026-11-01T09:00:00Z")
        for _ in range(3):
            owe(due, 1)
            due.reconcile()
            clock.advance(hours=1)
        recorded = [event.recorded.ToNanoseconds() for event in log_of(due)]
        assert sorted(recorded) == recorded
        notes = [entry for entry in due.entries(PAYER) if entry.credit_cents == 100]
        assert "2026-11-01T11:00:00Z" == text(notes[0].effective_time)


class TestAClockThatWentBack:
    def test_breaks_nothing(self, calls: Calls, clock: ManualClock) -> None:
        opened = set_cost_center(calls, limit=10)
        owe(calls, 25)
        run(calls, "a", "2026-11-01T07:00:00Z")
        calls.reconcile()
        assert 3500 == calls.balance_cents(PAYER)
        clock.set("2026-10-01T08:00:00Z")
        reset(calls)
        assert opened == get_cost_center(calls)
        calls.reconcile()
        assert 2500 == calls.balance_cents(PAYER)  # a start after the accrual instant costs 0
        owe(calls, 1)
        assert 2600 == calls.balance_cents(PAYER)
        assert [] == calls.breaches()
        clock.set("2026-11-01T09:00:00Z")
        calls.reconcile()
        assert 4600 == calls.balance_cents(PAYER)
        assert [] == calls.breaches()

    def test_to_before_the_log_began_breaks_nothing(self, calls: Calls, clock: ManualClock) -> None:
        clock.set("1970-01-01T00:00:00Z")
        assert "1970-01-01T00:00:00Z" == text(get_cost_center(calls).billing_cycle_start)
        owe(calls, 1)
        calls.reconcile()
        reset(calls)
        assert 100 == calls.balance_cents(PAYER)
        assert [] == calls.breaches()
