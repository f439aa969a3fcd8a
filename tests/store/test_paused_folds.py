"""A fold that raises stands still with what lives on it, intake goes on, and a restart mends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import HoldPlaced, Recorded
from persistence import Transaction
from persistence.sql.tables import TABLES
from projections import PROJECTIONS, ReadModel, Rows
from tests.laws.adapter import ProductLedger
from tests.laws.histories import admissible_scenarios, examples, without_blank_lines
from tests.laws.replay import READ_MODEL, replayed, rows_of
from tests.oracle import DEFAULT_RATES, instant
from tests.oracle.events import InstanceEventKind, instance_event, line_of, named_uuid, payer_of
from tests.oracle.operations import (
    GetCostCenter,
    Operation,
    Publish,
    PublishPrices,
    Reconcile,
    SetCostCenter,
)
from tests.oracle.strategies import deliveries
from tests.store.backends import EMBEDDED, Backend
from tests.store.facts import placed

PAYER = payer_of("payer")
AT_NS = instant("2026-02-28T12:00:00Z")
LIVE_ON_INSTANCES = {"usage-totals", "balances", "invoice-drafts"}
COMPARED = ("projections", *READ_MODEL)


HOLD = HoldPlaced(1_000, "somebody", bytes(16), 1, "pi_1")


class PlantedError(Exception):
    """What a broken fold raises."""


class Fault:
    """Called before each fold; breaks one projection from its n-th fold on, until it is mended."""

    def __init__(self, projection: str, *, after: int = 0) -> None:
        self.projection = projection
        self.left = after
        self.mended = False

    def __call__(self, name: str) -> None:
        if name != self.projection or self.mended:
            return
        if self.left:
            self.left -= 1
            return
        raise PlantedError(f"{name} cannot fold this")


def stands_still(projection: str) -> set[str]:
    return {projection} | (LIVE_ON_INSTANCES if projection == "instances" else set())


def event(kind: InstanceEventKind, time: str) -> Publish:
    told = instance_event(kind, instant(time), instance_id=named_uuid("instance"), payer=PAYER)
    return Publish(at_ns=AT_NS, lines=(line_of(told),))


BEFORE: tuple[Operation, ...] = (
    PublishPrices(at_ns=AT_NS, revision=1, rates=tuple(DEFAULT_RATES.items())),
    event("started", "2026-02-28T11:00:00Z"),
)
AFTER: tuple[Operation, ...] = (
    GetCostCenter(at_ns=AT_NS, payer=PAYER),
    event("stopping", "2026-02-28T11:30:00Z"),
    Reconcile(at_ns=AT_NS),
    event("stopped", "2026-02-28T11:40:00Z"),
)


@pytest.fixture(params=EMBEDDED)
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "ledger" if request.param == "file" else None


@pytest.fixture
def broken(
    request: pytest.FixtureRequest, data_dir: Path | None
) -> Iterator[tuple[ProductLedger, Fault]]:
    """A ledger whose projection, the test's parameter, broke after what is BEFORE."""
    fault = Fault(request.param)
    fault.mended = True
    with closing(ProductLedger(data_dir, before_fold=fault)) as ledger:
        ledger.apply_all(BEFORE)
        fault.mended = False
        yield ledger, fault


Broken = tuple[ProductLedger, Fault]
every_projection = pytest.mark.parametrize("broken", PROJECTIONS, indirect=True)


class TestAFoldThatRaises:
    @every_projection
    def test_pauses_itself_and_what_lives_on_it(self, broken: Broken) -> None:
        ledger, fault = broken
        ledger.apply_all(AFTER)
        assert stands_still(fault.projection) == ledger.core.paused.keys()
        rows = ledger.reader.status(runs_since=0, stopped_since=0).projections
        head = len(BEFORE) + len(AFTER)
        assert {
            name: len(BEFORE) if name in stands_still(fault.projection) else head
            for name in PROJECTIONS
        } == {row.name: row.position for row in rows}

    @every_projection
    def test_is_kept_with_position_and_traceback(self, broken: Broken) -> None:
        ledger, fault = broken
        ledger.apply_all(AFTER)
        rows = ledger.reader.status(runs_since=0, stopped_since=0).projections
        pauses = {row.name: row.pause for row in rows if row.pause}
        assert ledger.core.paused == pauses
        assert {len(BEFORE) + 1} == {pause.position for pause in pauses.values()}
        reason = pauses[fault.projection].reason
        assert reason.startswith("Traceback")
        assert f"PlantedError: {fault.projection} cannot fold this" in reason
        dependents = {pauses[name].reason for name in pauses if name != fault.projection}
        assert dependents <= {"lives on 'instances', which is paused"}

    @every_projection
    def test_leaves_the_rows_of_where_it_stands(self, broken: Broken) -> None:
        ledger, fault = broken
        before = rows_of(ledger.store, READ_MODEL)
        ledger.apply_all(AFTER)
        for name in stands_still(fault.projection):
            for table in TABLES[name]:
                assert before[table] == rows_of(ledger.store, (table,))[table]

    @every_projection
    def test_does_not_stop_intake(self, broken: Broken) -> None:
        ledger, _ = broken
        answers = [ledger.apply(operation) for operation in AFTER]
        assert [1, 1] == [getattr(answers[n], "recorded", None) for n in (1, 3)]
        counts = ledger.counts()
        assert (3, 3, 0, 0) == counts
        assert len(BEFORE) + len(AFTER) == ledger.core.head

    @every_projection
    def test_does_not_let_anybody_decide_on_an_old_balance(self, broken: Broken) -> None:
        ledger, fault = broken
        ledger.apply_all(AFTER)
        head = ledger.core.head
        upgrade = SetCostCenter(at_ns=AT_NS, payer=PAYER, spending_limit=1, strategy="STRIPE")
        answer = ledger.apply(upgrade)
        if fault.projection in {"instances", "balances"}:
            assert "UNAVAILABLE" == answer
            assert head == ledger.core.head
        else:
            assert "UNAVAILABLE" != answer
            assert head < ledger.core.head

    @every_projection
    def test_is_folded_anew_at_the_next_start_without_the_fault(self, broken: Broken) -> None:
        ledger, fault = broken
        ledger.apply_all(AFTER)
        fault.mended = True
        ledger.reopen()
        assert {} == ledger.core.paused
        with closing(ProductLedger()) as sound:
            sound.apply_all([*BEFORE, *AFTER])
            assert rows_of(sound.store, COMPARED) == rows_of(ledger.store, COMPARED)

    @every_projection
    def test_pauses_again_at_a_start_with_the_fault(self, broken: Broken) -> None:
        ledger, fault = broken
        ledger.apply_all(AFTER)
        ledger.reopen()
        assert stands_still(fault.projection) == ledger.core.paused.keys()
        assert 1 == ledger.core.paused[fault.projection].position

    @examples(60)
    @given(data=st.data(), projection=st.sampled_from(PROJECTIONS), after=st.integers(0, 12))
    def test_anywhere_in_any_history_is_mended_by_a_restart(
        self, data: st.DataObject, projection: str, after: int
    ) -> None:
        scenario = data.draw(admissible_scenarios())
        operations = without_blank_lines(data.draw(deliveries(scenario)))
        fault = Fault(projection, after=after)
        with closing(ProductLedger(before_fold=fault)) as ledger:
            ledger.apply_all(operations)
            with replayed(ledger.store, batch_events=10) as fresh:
                for name in set(PROJECTIONS) - ledger.core.paused.keys():
                    assert rows_of(fresh, TABLES[name]) == rows_of(ledger.store, TABLES[name])
                fault.mended = True
                ledger.reopen()
                assert rows_of(fresh, COMPARED) == rows_of(ledger.store, COMPARED)
                assert [] == ledger.breaches()


class RowsThatRefuse:
    """Passes everything on but one method, which the database refuses."""

    def __init__(self, rows: Rows, refused: str) -> None:
        self._rows = rows
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        if name == self._refused:
            raise PlantedError(f"{name} is refused")
        return getattr(self._rows, name)


class TestRowsThatCannotBeWritten:
    @pytest.mark.parametrize(
        ("refused", "projection"),
        [
            ("write_instances", "instances"),
            ("write_other_entries", "instances"),
            ("add_balances", "balances"),
            ("put_open_cycles", "invoice-drafts"),
            ("put_clock", "clock"),
            ("put_billing", "billing"),
        ],
    )
    def test_pause_their_projection_too(
        self, backend: Backend, refused: str, projection: str
    ) -> None:
        with backend.store.transaction() as transaction:
            paused = self._fold(transaction, refused)
        assert stands_still(projection) == paused
        with backend.store.transaction() as transaction:
            standing, pauses = transaction.standing()
        assert stands_still(projection) == pauses.keys()
        assert {name: 0 if name in pauses else 2 for name in PROJECTIONS} == standing
        assert f"{refused} is refused" in pauses[projection].reason

    @staticmethod
    def _fold(transaction: Transaction, refused: str) -> set[str]:
        rows: Any = RowsThatRefuse(transaction.rows, refused)
        standing, paused = transaction.standing()
        appended = transaction.append([placed("a"), Recorded("hold", 1, HOLD)])
        model = ReadModel(rows, transaction.positions, standing, paused)
        model.fold(appended)
        return set(model.paused)
