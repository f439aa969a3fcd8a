"""ResetUsage, as section 4 of the contract says."""

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from events.cost_centers import BillingCycleClosed
from ledger.group import Group, cycle_stream
from tests.contract.calls.asking import (
    PAYER,
    RIVAL,
    STRIPE,
    add_note,
    believe,
    get_cost_center,
    invoices,
    log_of,
    owe,
    reset,
    run,
    set_cost_center,
    submit,
    text,
    together,
)
from tests.harness import Calls, InProcessService, ManualClock, settings_for
from tests.oracle.events import payer_of
from usage_ledger.v1 import admin_pb2, queries_pb2

pytestmark = pytest.mark.sharded

DUE = "2026-12-01T08:00:00Z"


class TestWhichCyclesAreReset:
    def test_one_whose_next_billing_time_is_now(self, calls: Calls, clock: ManualClock) -> None:
        get_cost_center(calls)
        owe(calls, 5)
        clock.set(DUE)
        reset(calls)
        assert [-500] == invoices(calls)

    def test_none_a_millisecond_before(self, calls: Calls, clock: ManualClock) -> None:
        get_cost_center(calls)
        owe(calls, 5)
        clock.set("2026-12-01T07:59:59.999Z")
        reset(calls)
        assert [] == invoices(calls)
        assert [] == log_of(calls, "billing-cycle-closed")

    def test_never_one_under_stripe(self, calls: Calls, clock: ManualClock) -> None:
        before = set_cost_center(calls, limit=5, strategy=STRIPE)
        owe(calls, 5)
        calls.reconcile()
        clock.set("2026-12-02T08:00:00Z")
        reset(calls)
        assert before == get_cost_center(calls)
        assert 500 == calls.balance_cents(PAYER)

    def test_none_without_a_cost_center(self, calls: Calls, clock: ManualClock) -> None:
        owe(calls, 5)
        clock.set(DUE)
        reset(calls)
        assert 500 == calls.balance_cents(PAYER)

    def test_every_one_that_is_due(self, calls: Calls, clock: ManualClock) -> None:
        payers = [payer_of(number) for number in range(450)]
        together(8, lambda number: [get_cost_center(calls, p) for p in payers[number::8]])
        clock.set(DUE)
        reset(calls)
        closed = log_of(calls, "billing-cycle-closed")
        assert 450 == len(closed)
        assert 450 == len({event.stream for event in closed})


class TestTheWriteOff:
    @pytest.mark.parametrize(
        ("limit", "owed", "written", "left"),
        [
            (10, 25, [-1000], 1500),
            (10, 10, [-1000], 0),
            (10, 4, [-400], 0),
            (0, 25, [-2500], 0),
            (10, 0, [], 0),
            (0, 0, [], 0),
            (10, -7, [], -700),
            (0, -7, [], -700),
            (2**31 - 1, 25, [-2500], 0),
        ],
    )
    def test_is_minus_the_lesser_of_balance_and_limit_and_limit_0_covers_everything(
        self,
        calls: Calls,
        clock: ManualClock,
        limit: int,
        owed: int,
        written: list[int],
        left: int,
    ) -> None:
        set_cost_center(calls, limit=limit)
        if owed:
            owe(calls, owed)
        clock.set(DUE)
        reset(calls)
        assert written == invoices(calls)
        assert left == calls.balance_cents(PAYER)
        assert left == calls.draft(PAYER).carried_balance_cents
        assert [] == calls.breaches()

    def test_is_one_invoice_entry_called_credits(self, calls: Calls, clock: ManualClock) -> None:
        get_cost_center(calls)
        owe(calls, 25)
        clock.set(DUE)
        reset(calls)
        entry = calls.entries(PAYER)[0]
        assert "Credits" == entry.description
        assert queries_pb2.ENTRY_KIND_INVOICE == entry.kind
        assert (-2500, False) == (entry.credit_cents, entry.draft)

    def test_counts_the_cents(self, calls: Calls, clock: ManualClock) -> None:
        set_cost_center(calls, limit=10)
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:00:09Z")  # 2.5 cents
        clock.set(DUE)
        reset(calls)
        assert [-3] == invoices(calls)

    def test_covers_what_came_after_the_cycles_end(self, calls: Calls, clock: ManualClock) -> None:
        get_cost_center(calls)
        clock.set("2026-12-01T09:00:00Z")
        owe(calls, 25)
        run(calls, "a", "2026-12-01T08:30:00Z", stopped="2026-12-01T08:36:00Z")
        reset(calls)
        assert [-2600] == invoices(calls)

    def test_covers_what_running_instances_had_accrued(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        get_cost_center(calls)
        clock.set("2026-12-01T07:00:00Z")
        run(calls, "a", "2026-12-01T06:00:00Z")
        calls.reconcile()
        clock.set(DUE)
        reset(calls)
        assert [-1000] == invoices(calls)
        calls.reconcile()
        assert 1000 == calls.balance_cents(PAYER)
        assert [] == calls.breaches()


class TestTheNextCycle:
    def test_contains_now_however_many_months_have_passed(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        get_cost_center(calls)
        believe(calls, clock, "2027-04-01T07:59:59Z")
        center = get_cost_center(calls)
        assert "2027-03-01T08:00:00Z" == text(center.billing_cycle_start)
        assert "2027-04-01T08:00:00Z" == text(center.next_billing_time)

    def test_is_one_boundary_and_one_write_off_however_many_months(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        set_cost_center(calls, limit=10)
        owe(calls, 100)
        believe(calls, clock, "2027-04-15T08:00:00Z")
        assert [-1000] == invoices(calls)
        assert 1 == len(log_of(calls, "billing-cycle-closed"))
        assert 2 == calls.draft(PAYER).cycle_number

    def test_begins_at_the_anchor_plus_n_months_clamped_over_a_year(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        believe(calls, clock, "2027-01-31T10:00:00Z")
        get_cost_center(calls)
        ends = ["02-28", "03-31", "04-30", "05-31", "06-30", "07-31"]
        ends += ["08-31", "09-30", "10-31", "11-30", "12-31"]
        boundaries = [f"2027-{end}T10:00:00Z" for end in ends]
        boundaries += ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z"]
        for boundary, following in itertools.pairwise(boundaries):
            clock.set(boundary)
            reset(calls)
            center = get_cost_center(calls)
            assert boundary == text(center.billing_cycle_start)
            assert following == text(center.next_billing_time)

    def test_keeps_to_its_anchor_when_resets_come_late(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        believe(calls, clock, "2027-01-31T10:00:00Z")
        get_cost_center(calls)
        clock.set("2027-03-02T17:00:00Z")
        reset(calls)
        assert "2027-02-28T10:00:00Z" == text(get_cost_center(calls).billing_cycle_start)
        assert "2027-03-31T10:00:00Z" == text(get_cost_center(calls).next_billing_time)

    def test_keeps_the_limit(self, calls: Calls, clock: ManualClock) -> None:
        set_cost_center(calls, limit=44)
        clock.set(DUE)
        reset(calls)
        assert 44 == get_cost_center(calls).spending_limit


class TestTwoResetsAtOnce:
    def test_twice_in_a_row_reset_once(self, calls: Calls, clock: ManualClock) -> None:
        set_cost_center(calls, limit=10)
        owe(calls, 100)
        clock.set(DUE)
        reset(calls)
        reset(calls)
        assert [-1000] == invoices(calls)

    def test_eight_concurrent_reset_each_cycle_once(self, calls: Calls, clock: ManualClock) -> None:
        for payer in (PAYER, RIVAL):
            set_cost_center(calls, payer, limit=10)
            owe(calls, 100, payer=payer)
        clock.set(DUE)
        together(8, lambda _: reset(calls))
        assert ([-1000], [-1000]) == (invoices(calls), invoices(calls, RIVAL))
        assert 2 == len(log_of(calls, "billing-cycle-closed"))

    def test_together_with_reads_and_sets_reset_once(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        set_cost_center(calls, limit=10)
        owe(calls, 100)
        clock.set(DUE)
        acts: list[Callable[[], object]] = [
            lambda: reset(calls),
            lambda: get_cost_center(calls),
            lambda: set_cost_center(calls, limit=20),
        ]
        together(9, lambda number: acts[number % 3]())
        assert [-1000] == invoices(calls)
        assert [] == calls.breaches()

    def test_a_restart_in_between_does_not_reset_twice(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        settings = settings_for(tmp_path)
        with InProcessService(settings, clock=clock) as service:
            set_cost_center(service.calls, limit=10)
            owe(service.calls, 100)
            clock.set(DUE)
            reset(service.calls)
        with InProcessService(settings, clock=clock) as service:
            reset(service.calls)
            assert [-1000] == invoices(service.calls)


class TestAFailingCostCenter:
    @staticmethod
    def _spoil(service: InProcessService, payer: str) -> None:
        """Close the first cycle without starting the next: the reset finds its stream taken."""

        def act(group: Group) -> None:
            key = bytes.fromhex(payer.removeprefix("team:").replace("-", ""))
            event = BillingCycleClosed(group.recorded_at, "local:test", key, 1, "reset", 0, 0, 0)
            group.append(cycle_stream(key, 1), 1, event)

        submit(service, act, payer)

    def test_is_logged_and_counted_and_does_not_stop_the_others(
        self,
        service: InProcessService,
        calls: Calls,
        clock: ManualClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        payers = sorted(payer_of(number) for number in range(5))
        for payer in payers:
            get_cost_center(calls, payer)
            owe(calls, 5, payer=payer)
        self._spoil(service, payers[2])
        clock.set(DUE)
        with caplog.at_level(logging.ERROR):
            answer = calls.admin.ConfirmReset(admin_pb2.ConfirmResetRequest())
        assert (4, 1) == (answer.reset, answer.failed)
        assert "a cost center could not be reset" in caplog.text
        left = [calls.balance_cents(payer) for payer in payers]
        assert [0, 0, 500, 0, 0] == left

    def test_leaves_reset_usage_ok(
        self, service: InProcessService, calls: Calls, clock: ManualClock
    ) -> None:
        get_cost_center(calls)
        self._spoil(service, PAYER)
        clock.set(DUE)
        add_note(calls, 1)
        reset(calls)
