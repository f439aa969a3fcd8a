"""ReconcileUsage, as section 4 of the contract says."""

import json

import pytest

from tests.contract.calls.asking import (
    INVALID,
    PAYER,
    RIVAL,
    list_usage,
    log_of,
    names_of,
    refused,
    run,
    run_lines,
    stamp,
    status,
    text,
    together,
)
from tests.harness import Calls, ManualClock
from usage.v1 import usage_pb2 as pb

pytestmark = pytest.mark.sharded


def reconcile(calls: Calls, *, start: str = "", end: str = "") -> None:
    request = pb.ReconcileUsageRequest()
    if start:
        getattr(request, "from").CopyFrom(stamp(start))
    if end:
        request.to.CopyFrom(stamp(end))
    calls.usage.ReconcileUsage(request)


class TestFromAndTo:
    def test_to_before_from_is_invalid_argument(self, calls: Calls) -> None:
        with refused(INVALID, "to 2026-11-01T06:59:59Z", "from 2026-11-01T07:00:00Z"):
            reconcile(calls, start="2026-11-01T07:00:00Z", end="2026-11-01T06:59:59Z")
        assert [] == log_of(calls, "usage-reconciled")

    def test_to_one_nanosecond_before_from_is_invalid_argument(self, calls: Calls) -> None:
        with refused(INVALID, "to", "from"):
            reconcile(
                calls, start="2026-11-01T07:00:00.000000002Z", end="2026-11-01T07:00:00.000000001Z"
            )

    def test_equal_is_fine(self, calls: Calls) -> None:
        reconcile(calls, start="2026-11-01T07:00:00Z", end="2026-11-01T07:00:00Z")
        assert 1 == len(log_of(calls, "usage-reconciled"))

    def test_neither_given_is_fine(self, calls: Calls) -> None:
        reconcile(calls)
        assert 1 == len(log_of(calls, "usage-reconciled"))

    def test_a_missing_from_is_the_epoch(self, calls: Calls) -> None:
        reconcile(calls, end="1970-01-01T00:00:00Z")
        with refused(INVALID, "to", "from"):
            reconcile(calls, end="1969-12-31T23:59:59.999999999Z")

    def test_a_missing_to_is_the_epoch(self, calls: Calls) -> None:
        reconcile(calls, start="1969-12-31T23:59:59Z")
        with refused(INVALID, "to", "from"):
            reconcile(calls, start="2026-11-01T07:00:00Z")

    def test_are_recorded(self, calls: Calls) -> None:
        reconcile(calls, start="2026-11-01T07:00:00Z", end="2026-11-01T07:30:00Z")
        (event,) = log_of(calls, "usage-reconciled")
        recorded = json.loads(event.json)
        assert "2026-11-01T07:00:00.000Z" == recorded["from_time"]
        assert "2026-11-01T07:30:00.000Z" == recorded["to_time"]
        assert "2026-11-01T08:00:00.000Z" == recorded["instant"]

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            ("", ""),
            ("2001-01-01T00:00:00Z", "2001-01-02T00:00:00Z"),
            ("2099-01-01T00:00:00Z", "2099-01-02T00:00:00Z"),
        ],
    )
    def test_decide_nothing(self, calls: Calls, start: str, end: str) -> None:
        run(calls, "stopped", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        run(calls, "running", "2026-11-01T07:00:00Z")
        reconcile(calls, start=start, end=end)
        assert ["running", "stopped"] == names_of(list_usage(calls).usage_entries)
        assert 1100 == calls.balance_cents(PAYER)


class TestTheRun:
    def test_records_one_event_not_one_per_instance(self, calls: Calls) -> None:
        for number in range(20):
            run(calls, number, "2026-11-01T07:00:00Z")
        before = status(calls).head.number
        reconcile(calls)
        assert before + 1 == status(calls).head.number

    def test_accrues_every_running_instance_to_the_instant_of_the_call(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z")
        run(calls, "b", "2026-11-01T07:30:00Z", payer=RIVAL, workspace_class="g1-large")
        clock.advance(minutes=30)
        reconcile(calls)
        assert (1500, 2000) == (calls.balance_cents(PAYER), calls.balance_cents(RIVAL))
        (entry,) = list_usage(calls, end="2026-11-02T00:00:00Z").usage_entries
        assert ("2026-11-01T08:30:00Z", True) == (text(entry.effective_time), entry.draft)

    def test_does_not_forget_one_that_runs_longer_than_ten_days(self, calls: Calls) -> None:
        run(calls, "old", "2026-01-01T08:00:00Z")  # 304 days before
        reconcile(calls)
        assert 304 * 24 * 1000 == pytest.approx(calls.balance_cents(PAYER), abs=1)
        assert ["old"] == names_of(list_usage(calls).usage_entries)
        assert 1 == status(calls).runs_long

    def test_nothing_running_is_listed_before_the_first_reconcile(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z")
        assert 0 == list_usage(calls).pagination.total
        assert 0 == calls.balance_cents(PAYER)

    def test_one_recorded_after_a_reconcile_waits_for_the_next(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        reconcile(calls)
        run(calls, "a", "2026-11-01T07:00:00Z")
        assert 0 == list_usage(calls).pagination.total
        clock.advance(milliseconds=1)
        reconcile(calls)
        assert ["a"] == names_of(list_usage(calls).usage_entries)

    def test_a_stopped_instance_needs_none(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        assert 100 == calls.balance_cents(PAYER)
        assert ["a"] == names_of(list_usage(calls).usage_entries)

    def test_twice_in_a_row_changes_nothing(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z")
        run(calls, "b", "2026-11-01T07:00:00Z", stopping="2026-11-01T07:30:00Z")
        reconcile(calls)
        before = (calls.balance_cents(PAYER), calls.entries(PAYER), calls.draft(PAYER))
        reconcile(calls)
        assert before == (calls.balance_cents(PAYER), calls.entries(PAYER), calls.draft(PAYER))

    def test_twice_in_a_row_later_changes_nothing_but_the_accrual(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z")
        reconcile(calls)
        before = list_usage(calls).usage_entries[0]
        clock.advance(minutes=6)
        reconcile(calls)
        after = list_usage(calls).usage_entries[0]
        assert (10.0, 11.0) == (before.credits, after.credits)
        before.credits = after.credits
        before.effective_time.CopyFrom(after.effective_time)
        assert before == after

    def test_reflects_every_event_accepted_before_the_call(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        for count in range(1, 20):
            run(calls, count, "2026-11-01T07:54:00Z")
            clock.advance(milliseconds=1)
            reconcile(calls)
            assert count == list_usage(calls).pagination.total
            assert 100 * count == calls.balance_cents(PAYER)


class TestConcurrentReconciles:
    def test_none_fails_and_the_balance_is_right(self, calls: Calls) -> None:
        for number in range(50):
            run(calls, number, "2026-11-01T07:54:00Z")

        def act(number: int) -> None:
            for _ in range(5):
                reconcile(calls)
                calls.publish(
                    run_lines(f"x{number}", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
                )

        together(8, act)
        assert 5800 == calls.balance_cents(PAYER)
        assert 40 == len(log_of(calls, "usage-reconciled"))
        assert [] == calls.breaches()
