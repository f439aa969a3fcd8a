"""Hand-computed examples of cost centers, resets, upgrades and what a cycle holds."""

import pytest

from . import CallError, InvoiceDraft, Line
from ._times import add_months, cut_to_ms
from .build import PAYER, Bench, at, instance

JAN = "2026-01-28T10:00:00Z"


def ms(text: str) -> int:
    return cut_to_ms(at(text))


def line(late_for: int | None, instances: int, seconds: int, cents: int) -> Line:
    return Line(
        workspace_class="cent",
        late_for=late_for,
        instances=instances,
        seconds=seconds,
        cents=cents,
    )


def amounts(draft: InvoiceDraft) -> tuple[int, int, int, int]:
    return draft.carried_cents, draft.credit_note_cents, draft.invoice_cents, draft.total_cents


class TestMonths:
    @pytest.mark.parametrize(
        ("months", "expected"),
        [(1, "2026-02-28"), (2, "2026-03-31"), (3, "2026-04-30"), (25, "2028-02-29")],
    )
    def test_are_counted_from_the_anchor_and_clamped(self, months: int, expected: str) -> None:
        anchor = ms("2026-01-31T23:59:59.999Z")
        assert ms(f"{expected}T23:59:59.999Z") == add_months(anchor, months)


class TestCostCenter:
    def test_the_first_read_opens_it(self) -> None:
        oracle = Bench().oracle
        center = oracle.get_cost_center(PAYER, at("2026-01-31T08:00:00.0019Z"))
        assert ("OTHER", 0, 1) == (center.strategy, center.spending_limit, center.cycle)
        assert ms("2026-01-31T08:00:00.001Z") == center.cycle_start_ms
        assert ms("2026-02-28T08:00:00.001Z") == center.next_billing_ms

    def test_a_reset_does_not_drift_and_takes_many_months_at_once(self) -> None:
        oracle = Bench().oracle
        oracle.get_cost_center(PAYER, at("2026-01-31T08:00:00Z"))
        assert [] == oracle.reset_usage(at("2026-02-28T07:59:59.999999Z"))
        assert [PAYER] == oracle.reset_usage(at("2026-02-28T08:00:00Z"))
        center = oracle.get_cost_center(PAYER, at("2026-02-28T08:00:00Z"))
        assert ms("2026-03-31T08:00:00Z") == center.next_billing_ms
        center = oracle.get_cost_center(PAYER, at("2026-06-15T00:00:00Z"))
        assert ms("2026-05-31T08:00:00Z") == center.cycle_start_ms
        assert (ms("2026-06-30T08:00:00Z"), 3) == (center.next_billing_ms, center.cycle)

    @pytest.mark.parametrize(("limit", "left"), [(0, 0), (1, 20), (500, 0)])
    def test_a_reset_covers_up_to_the_limit(self, limit: int, left: int) -> None:
        bench = Bench()
        bench.oracle.set_cost_center(PAYER, limit, "OTHER", at(JAN))
        bench.run("a", "08:00", "10:00")
        bench.oracle.reset_usage(at("10:00"))
        assert left == bench.balance

    def test_a_reset_leaves_a_credit_alone(self) -> None:
        bench = Bench()
        bench.oracle.get_cost_center(PAYER, at(JAN))
        bench.note(2)
        bench.oracle.reset_usage(at("10:00"))
        assert (-200, 1) == (bench.balance, len(bench.oracle.entries(PAYER)))

    def test_an_upgrade_forgives_a_debt_once_and_keeps_a_credit(self) -> None:
        bench = Bench()
        bench.run("a", "08:00", "10:00")
        for _ in range(2):
            bench.oracle.set_cost_center(PAYER, 7, "STRIPE", at("10:00"))
        kinds = [entry.kind for entry in bench.oracle.entries(PAYER)]
        assert (0, ["workspace_instance", "invoice"]) == (bench.balance, kinds)
        credited = Bench()
        credited.note(2)
        credited.oracle.set_cost_center(PAYER, 7, "STRIPE", at("10:00"))
        assert (-200, 1) == (credited.balance, len(credited.oracle.entries(PAYER)))

    def test_a_stripe_cost_center_is_never_reset(self) -> None:
        oracle = Bench().oracle
        oracle.set_cost_center(PAYER, 7, "STRIPE", at(JAN))
        assert [] == oracle.reset_usage(at("2027-01-01T00:00:00Z"))
        assert 2 == oracle.get_cost_center(PAYER, at("2027-01-01T00:00:00Z")).cycle

    def test_going_back_restores_the_latest_limit_under_other(self) -> None:
        oracle = Bench().oracle
        oracle.set_cost_center(PAYER, 40, "OTHER", at(JAN))
        oracle.set_cost_center(PAYER, 30, "OTHER", at(JAN))
        oracle.set_cost_center(PAYER, 900, "STRIPE", at(JAN))
        center = oracle.set_cost_center(PAYER, 5, "OTHER", at("10:00"))
        assert ("OTHER", 30, ms("10:00")) == (
            center.strategy,
            center.spending_limit,
            center.cycle_start_ms,
        )

    def test_setting_an_expired_one_resets_it_first_with_the_old_limit(self) -> None:
        bench = Bench()
        bench.oracle.set_cost_center(PAYER, 1, "OTHER", at(JAN))
        bench.run("a", "08:00", "10:00")
        center = bench.oracle.set_cost_center(PAYER, 500, "OTHER", at("10:30"))
        assert (20, 500, 2) == (bench.balance, center.spending_limit, center.cycle)

    def test_a_negative_limit_opens_nothing(self) -> None:
        oracle = Bench().oracle
        with pytest.raises(CallError, match="INVALID_ARGUMENT: spending_limit"):
            oracle.set_cost_center(PAYER, -1, "OTHER", at(JAN))
        assert oracle.cost_center(PAYER) is None


class TestHeldResets:
    def test_a_clock_that_jumped_waits_for_two_reconciles_an_interval_apart(self) -> None:
        oracle = Bench(hold_resets=True).oracle
        oracle.get_cost_center(PAYER, at("08:00"))
        jumped = "2026-05-01T{}Z".format
        assert [] == oracle.reset_usage(at(jumped("08:00:00")))
        oracle.reconcile(at(jumped("08:00:00")))
        oracle.reconcile(at(jumped("08:59:59")))
        assert [] == oracle.reset_usage(at(jumped("08:59:59")))
        oracle.reconcile(at(jumped("09:00:00")))
        assert [PAYER] == oracle.reset_usage(at(jumped("09:00:00")))

    def test_a_clock_that_comes_back_was_wrong(self) -> None:
        oracle = Bench(hold_resets=True).oracle
        oracle.get_cost_center(PAYER, at("08:00"))
        oracle.reconcile(at("2026-05-01T08:00:00Z"))
        oracle.reconcile(at("09:00"))
        assert [] == oracle.reset_usage(at("2026-05-01T10:00:00Z"))

    def test_a_person_may_confirm(self) -> None:
        oracle = Bench(hold_resets=True).oracle
        oracle.get_cost_center(PAYER, at("08:00"))
        assert [PAYER] == oracle.reset_usage(at("2026-05-01T08:00:00Z"), confirm=True)

    def test_a_merely_overdue_cycle_is_not_held(self) -> None:
        oracle = Bench(hold_resets=True).oracle
        oracle.get_cost_center(PAYER, at("08:00"))
        oracle.reconcile(at("2026-03-20T08:00:00Z"))
        assert [PAYER] == oracle.reset_usage(at("2026-04-15T08:00:00Z"))


class TestCycles:
    def test_without_a_cost_center_there_is_one_open_cycle(self) -> None:
        bench = Bench()
        bench.run("a", "08:00", "09:00")
        bench.note(2)
        draft = bench.oracle.invoice_draft(PAYER)
        assert (0, (line(None, 1, 3600, 60),)) == (draft.cycle, draft.lines)
        assert (0, -200, 0, -140) == amounts(draft)
        assert 0 == draft.billable_credits

    def test_opening_carries_over_what_is_owed(self) -> None:
        bench = Bench()
        bench.run("a", "08:00", "09:00")
        bench.oracle.get_cost_center(PAYER, at("09:30"))
        draft = bench.oracle.invoice_draft(PAYER)
        assert (1, (), (60, 0, 0, 60), 1) == (
            draft.cycle,
            draft.lines,
            amounts(draft),
            draft.billable_credits,
        )

    def test_an_instance_over_a_boundary_has_a_line_on_both_sides(self) -> None:
        bench = Bench()
        bench.oracle.get_cost_center(PAYER, at(JAN))
        bench.tell("a", "started", "08:00")
        bench.oracle.reconcile(at("09:00"))
        bench.oracle.reset_usage(at("10:30"))
        closed = bench.oracle.invoice_draft(PAYER, cycle=1)
        assert ((line(None, 1, 3600, 60),), (0, 0, -60, 0)) == (closed.lines, amounts(closed))
        assert 1 == closed.billable_credits
        running = bench.oracle.invoice_draft(PAYER)
        assert ((line(None, 1, 0, 0),), (0, 0, 0, 0)) == (running.lines, amounts(running))
        bench.tell("a", "stopped", "11:00")
        final = bench.oracle.invoice_draft(PAYER)
        assert ((line(None, 1, 7200, 120),), (0, 0, 0, 120)) == (final.lines, amounts(final))
        assert closed == bench.oracle.invoice_draft(PAYER, cycle=1)
        shares = bench.oracle.instance_lines(instance("a"))
        assert {1: (3600, 60), 2: (7200, 120)} == {
            cycle: (share.seconds, share.cents) for cycle, share in shares.items()
        }

    def test_an_instance_that_ended_before_the_boundary_is_late(self) -> None:
        bench = Bench()
        bench.oracle.get_cost_center(PAYER, at(JAN))
        bench.tell("a", "started", "08:00")
        bench.oracle.reconcile(at("09:00"))
        bench.oracle.reset_usage(at("10:30"))
        bench.tell("a", "stopping", "09:30")
        bench.run("b", "07:00", "07:30")
        bench.run("c", "2026-01-28T09:00:00Z", "2026-01-28T09:59:00Z")
        lines = (line(0, 1, 3540, 59), line(1, 2, 3600, 60))
        assert lines == bench.oracle.invoice_draft(PAYER).lines

    @pytest.mark.parametrize(("end", "late_for"), [("09:59:59.999", 1), ("10:00", None)])
    def test_a_cycle_begins_with_its_first_millisecond(
        self, end: str, late_for: int | None
    ) -> None:
        bench = Bench()
        bench.oracle.get_cost_center(PAYER, at(JAN))
        bench.oracle.reset_usage(at("10:30"))
        bench.run("a", "09:00", end)
        assert (line(late_for, 1, 3600, 60),) == bench.oracle.invoice_draft(PAYER).lines

    def test_a_correction_downwards_is_a_negative_line(self) -> None:
        bench = Bench()
        bench.oracle.get_cost_center(PAYER, at(JAN))
        bench.tell("a", "started", "08:00")
        bench.tell("a", "stopped", "09:30")
        bench.oracle.reset_usage(at("10:00"))
        assert () == bench.oracle.invoice_draft(PAYER).lines
        bench.tell("a", "stopping", "09:00")
        draft = bench.oracle.invoice_draft(PAYER)
        assert ((line(1, 1, -1800, -30),), -30) == (draft.lines, draft.total_cents)

    def test_what_changes_no_second_makes_no_line(self) -> None:
        bench = Bench()
        bench.oracle.get_cost_center(PAYER, at(JAN))
        bench.tell("a", "started", "08:00")
        bench.tell("a", "stopping", "09:00")
        bench.oracle.reset_usage(at("10:00"))
        bench.tell("a", "stopped", "09:05")
        assert () == bench.oracle.invoice_draft(PAYER).lines

    def test_one_that_left_running_without_a_change_has_a_line_of_nothing(self) -> None:
        bench = Bench()
        bench.oracle.get_cost_center(PAYER, at(JAN))
        bench.tell("a", "started", "08:00")
        bench.oracle.reconcile(at("09:00"))
        bench.oracle.reset_usage(at("10:00"))
        bench.tell("a", "stopped", "09:00")
        assert (line(1, 1, 0, 0),) == bench.oracle.invoice_draft(PAYER).lines

    def test_one_not_listed_yet_has_no_line(self) -> None:
        bench = Bench()
        bench.oracle.reconcile(at("08:30"))
        bench.tell("a", "started", "08:00")
        assert () == bench.oracle.invoice_draft(PAYER).lines

    def test_a_first_set_with_stripe_opens_and_upgrades(self) -> None:
        bench = Bench()
        bench.run("a", "08:00", "09:00")
        bench.oracle.set_cost_center(PAYER, 7, "STRIPE", at("09:30"))
        drafts = [amounts(bench.oracle.invoice_draft(PAYER, cycle=n)) for n in range(3)]
        assert [(0, 0, 0, 60), (60, 0, -60, 0), (0, 0, 0, 0)] == drafts
