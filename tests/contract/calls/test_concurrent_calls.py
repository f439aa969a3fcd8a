"""Concurrent calls never surface a conflict as INTERNAL: section 4 of the contract, "All calls"."""

from collections.abc import Callable

import pytest

from tests.contract.calls.asking import (
    OTHER,
    PAYER,
    RIVAL,
    STRIPE,
    add_note,
    get_cost_center,
    list_usage,
    log_of,
    owe,
    reset,
    run_lines,
    set_cost_center,
    together,
)
from tests.harness import Calls, ManualClock

pytestmark = pytest.mark.sharded

THREADS, ROUNDS = 9, 20


class TestConcurrentCalls:
    def test_of_every_kind_on_one_payer_all_succeed_and_the_laws_hold(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        """Nine callers do nine different things at once, while the clock goes on by days."""

        def publish(number: int) -> None:
            stopped = {"stopped": "2026-11-01T07:06:00Z"} if number % 3 else {}
            for name in (number, number // 2):  # every second instance is published twice
                assert 0 == calls.publish(run_lines(name, "2026-11-01T07:00:00Z")).rejected
            if stopped:
                calls.publish(run_lines(number, "2026-11-01T07:00:00Z", **stopped))

        acts: list[Callable[[int], object]] = [
            publish,
            lambda number: owe(calls, number % 5, payer=(PAYER, RIVAL)[number % 2]),
            lambda number: add_note(calls, 1, key=f"k{number // 2}"),
            lambda _: get_cost_center(calls),
            lambda number: set_cost_center(calls, limit=9, strategy=(STRIPE, OTHER)[number % 2]),
            lambda _: reset(calls),
            lambda _: calls.reconcile(),
            lambda _: (calls.balance_cents(PAYER), list_usage(calls), calls.draft(PAYER)),
            lambda _: clock.advance(days=3),
        ]

        def act(thread: int) -> None:
            for number in range(ROUNDS):
                acts[thread](number)

        together(THREADS, act)
        calls.reconcile()
        assert [] == calls.breaches()
        for payer in (PAYER, RIVAL):
            balance = calls.balance_cents(payer)
            assert balance == sum(entry.credit_cents for entry in calls.entries(payer))
            assert balance == calls.draft(payer).total_cents
        keyed = [event for event in log_of(calls, "credit-note-issued") if ":key:" in event.stream]
        assert ROUNDS // 2 == len(keyed)
