"""The folds of meters and alerts say at every position what the ledger's read model says there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.sqlite import SQLiteStore
from projections import ReadModel
from projections.alerts import THRESHOLDS, AlertId
from projections.live import LiveState
from projections.meters import NANO, WINDOWS
from tests.laws.adapter import ProductLedger
from tests.laws.histories import examples
from tests.oracle.events import InstanceEventKind, named_uuid, payer_of
from tests.oracle.operations import EndInstance, PublishPrices, Reconcile, VoidInstance
from tests.oracle.strategies import KINDS
from tests.views.logs import Folded, Log, log_of, logs, told_of

Running = dict[tuple[bytes, str], tuple[int, Fraction]]


def positions_of(log: Log) -> Iterator[tuple[SQLiteStore, Folded]]:
    """The ledger's rows and the live states, after each event."""
    folded = Folded()
    store = SQLiteStore(None)
    try:
        for recorded, correction in log:
            with store.transaction() as transaction:
                appended = transaction.append([recorded])
                standing, paused = transaction.standing()
                ReadModel(transaction.rows, transaction.positions, standing, paused).fold(appended)
            folded.take(recorded, correction)
            yield store, folded
    finally:
        store.close()


def balances_in(store: SQLiteStore) -> dict[bytes, int]:
    rows = store.connection.execute(
        "SELECT payer, booked_cents + running_cents FROM balances ORDER BY payer"
    )
    return {payer: cents for payer, cents in rows if cents}


def limits_in(store: SQLiteStore) -> dict[bytes, tuple[int, int]]:
    rows = store.connection.execute(
        "SELECT payer, cycle_number, spending_limit FROM cost_centers ORDER BY payer"
    )
    return {payer: (cycle, limit) for payer, cycle, limit in rows}


def running_in(store: SQLiteStore) -> Running:
    found: dict[tuple[bytes, str], list[Fraction]] = defaultdict(list)
    for payer, workspace_class, rate in store.connection.execute(
        "SELECT payer, workspace_class, rate FROM open_instances"
        " WHERE started IS NOT NULL AND stopping IS NULL AND stopped IS NULL"
    ):
        found[payer, workspace_class].append(Fraction(rate))
    return {key: (len(rates), 60 * sum(rates, Fraction(0))) for key, rates in found.items()}


def running_of(states: dict[bytes, LiveState]) -> Running:
    return {
        (payer, name): (meter.running, Fraction(meter.nanocredits_per_hour, NANO))
        for payer, state in states.items()
        for name, meter in state.meters.classes.items()
        if meter.running
    }


def stops_in(store: SQLiteStore) -> dict[tuple[bytes, bytes], tuple[int | None, ...]]:
    """Stops whose start is not known."""
    return {
        (payer, instance): (stopping, stopped)
        for payer, instance, stopping, stopped in store.connection.execute(
            "SELECT payer, instance, stopping, stopped FROM open_instances WHERE start_position = 0"
        )
    }


def stopping_in(store: SQLiteStore) -> set[tuple[bytes, bytes]]:
    """What is booked, and whose stop is still to come."""
    return set(
        store.connection.execute(
            "SELECT payer, instance FROM open_instances"
            " WHERE start_position > 0 AND stopping IS NOT NULL"
        )
    )


def stopping_of(states: dict[bytes, LiveState]) -> set[tuple[bytes, bytes]]:
    return {(payer, instance) for payer, state in states.items() for instance in state.stopping}


def stops_of(states: dict[bytes, LiveState]) -> dict[tuple[bytes, bytes], tuple[int | None, ...]]:
    return {
        (payer, instance): (stops.stopping, stops.stopped)
        for payer, state in states.items()
        for instance, stops in state.waiting.items()
    }


class TestAtEveryPosition:
    @examples(300)
    @given(logs())
    def test_balance_and_what_runs_are_the_ledgers(self, log: Log) -> None:
        for store, folded in positions_of(log):
            states = folded.states
            balances = {p: s.balance_cents for p, s in sorted(states.items()) if s.balance_cents}
            assert balances_in(store) == balances
            assert running_in(store) == running_of(states)
            in_lots = Counter(
                (payer, lot.workspace_class)
                for payer, state in states.items()
                for lot in state.lots
                for _ in (*lot.accrued, *lot.fresh)
            )
            assert {key: count for key, (count, _) in running_in(store).items()} == in_lots
            assert stops_in(store) == stops_of(states)
            assert stopping_in(store) == stopping_of(states)

    @examples(300)
    @given(logs())
    def test_an_alert_is_raised_when_the_ledgers_balance_first_reaches_its_share(
        self, log: Log
    ) -> None:
        expected: dict[AlertId, tuple[int, int, int]] = {}
        told: list[AlertId] = []
        for index, (store, folded) in enumerate(positions_of(log)):
            balances = balances_in(store)
            for payer, (cycle, limit) in limits_in(store).items():
                balance = balances.get(payer, 0)
                for threshold in THRESHOLDS:
                    if limit and Fraction(balance, 100 * limit) >= Fraction(threshold, 100):
                        raised = (index + 1, balance, limit)
                        expected.setdefault(AlertId(payer, cycle, threshold), raised)
            told = [alert.id for alert in folded.alerts]
            assert sorted(expected) == sorted(told)
        assert expected == {
            alert.id: (alert.position, alert.balance_cents, alert.spending_limit)
            for alert in folded.alerts
        }
        recorded_at = {recorded.position: recorded.event.recorded_at for recorded, _ in log}
        for alert in folded.alerts:
            assert recorded_at[alert.position] == alert.recorded_at

    @examples(200)
    @given(logs())
    def test_windows_hold_what_started_and_what_entries_are_dated_in_them(self, log: Log) -> None:
        for store, folded in positions_of(log):
            for payer, state in folded.states.items():
                if not state.meters.early:  # what was not placed is in no window
                    for index in range(len(WINDOWS)):
                        expected = windows_in(store, payer, index, state.meters.newest[index])
                        assert expected == windows_of(state, index)


Windows = dict[tuple[str, int], tuple[int, int, int]]


def windows_of(state: LiveState, index: int) -> Windows:
    return {
        (name, number): (window.started, window.ended, window.credit_cents)
        for name, meter in state.meters.classes.items()
        for number, window in meter.windows[index].items()
    }


def windows_in(store: SQLiteStore, payer: bytes, index: int, newest: int | None) -> Windows:
    """Every start and entry of a payer that lies in the windows kept."""
    length_ms, kept = WINDOWS[index]
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    select = store.connection.execute
    for name, started in select(
        "SELECT workspace_class, started FROM entries WHERE payer = ?1 AND started IS NOT NULL"
        " UNION ALL SELECT workspace_class, started FROM open_instances"
        " WHERE payer = ?1 AND started IS NOT NULL AND stopping IS NULL AND stopped IS NULL",
        (payer,),
    ):
        sums[name, started // length_ms][0] += 1
    for name, effective, cents in select(
        "SELECT workspace_class, effective, cents FROM entries WHERE payer = ?", (payer,)
    ):
        sums[name, effective // length_ms][1] += 1
        sums[name, effective // length_ms][2] += cents
    return {
        key: (started, ended, cents)
        for key, (started, ended, cents) in sums.items()
        if newest is not None and key[1] > newest - kept
    }


BEGIN_MS, HOUR_MS = 1_790_000_000_000, 3_600_000
ONE, ANOTHER = payer_of("one"), payer_of("another")


Kind = InstanceEventKind | Literal["end"]


def _orders(kinds: tuple[Kind, ...]) -> list[tuple[Kind, ...]]:
    """Every way to tell up to three of them, in any order."""
    return [told for size in (1, 2, 3) for told in permutations(kinds, size)]


def _live(ledger: ProductLedger, payer: str, kinds: tuple[Kind, ...], life: int) -> None:
    """Tell of one life of the instance, and reconcile after the first that is told."""
    at_ns = (BEGIN_MS + life * 24 * HOUR_MS) * 1_000_000
    name = named_uuid("anew")
    for number, kind in enumerate(kinds):
        time_ns = at_ns + ("started", "stopping", "stopped", "end").index(kind) * HOUR_MS * 10**6
        now_ns = at_ns + (10 + number) * HOUR_MS * 10**6
        if kind == "end":
            ended = EndInstance(at_ns=now_ns, instance_id=name, ended_ns=time_ns)
            ledger.apply(ended)
        else:
            line = told_of(kind, name, time_ns, payer, f"{life} {kind}")
            ledger.apply(replace(line, at_ns=now_ns))
        if not number:
            ledger.apply(Reconcile(at_ns=now_ns))


class TestAnInstanceThatBeginsAnew:
    """Nothing of the life before a void may be left, whatever was known of it."""

    @pytest.mark.parametrize("second", _orders(KINDS), ids="-".join)
    def test_is_told_from_the_life_that_was_voided(self, second: tuple[Kind, ...]) -> None:
        for first in _orders(("started", "stopping", "stopped", "end")):
            for payer in (ONE, ANOTHER):
                with closing(ProductLedger()) as ledger:
                    ledger.apply(PublishPrices(at_ns=BEGIN_MS * 10**6, revision=1, rates=()))
                    _live(ledger, ONE, first, 1)
                    now_ns = (BEGIN_MS + 47 * HOUR_MS) * 10**6
                    ledger.apply(VoidInstance(at_ns=now_ns, instance_id=named_uuid("anew")))
                    _live(ledger, payer, second, 2)
                    states = Folded().take_all(log_of(ledger)).states
                    told = f"{first}, voided, {second} of {payer}"
                    balances = {p: s.balance_cents for p, s in states.items() if s.balance_cents}
                    assert balances_in(ledger.store) == balances, told
                    assert running_in(ledger.store) == running_of(states), told
                    assert stops_in(ledger.store) == stops_of(states), told
                    assert stopping_in(ledger.store) == stopping_of(states), told


class TestRepeatsAndRestarts:
    @examples(200)
    @given(logs(), st.data())
    def test_change_no_state_and_raise_no_alert_twice(self, log: Log, data: st.DataObject) -> None:
        expected = Folded().take_all(log)
        restarted = Folded()
        at = 0
        for _ in range(data.draw(st.integers(0, 6))):
            stop = data.draw(st.integers(at, len(log)))
            restarted.take_all(log[at:stop])
            restarted.restart()
            at = data.draw(st.integers(0, stop))
        restarted.take_all(log[at:])
        assert expected.states == restarted.states
        assert expected.alerts == restarted.alerts
