"""Order, repeats, batches, groups, restarts and backend change no cent and no row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from persistence import Counts
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.histories import (
    admissible_scenarios,
    broken_sums,
    examples,
    new_oracle,
    oracle_views,
    product_views,
    told,
    without_blank_lines,
)
from tests.laws.replay import EVERY_TABLE, READ_MODEL, replayed, rows_of
from tests.oracle import Oracle
from tests.oracle.operations import Operation, Publish, apply
from tests.oracle.strategies import Scenario, deliveries, orderly


@st.composite
def disturbed(draw: st.DrawFn, scenario: Scenario | None = None) -> list[Operation]:
    """Another delivery of a history, with repeats and lines that no ledger takes."""
    known = draw(admissible_scenarios()) if scenario is None else scenario
    return without_blank_lines(draw(deliveries(known, with_rejects=True)))


@contextmanager
def in_a_file(*, batch_lines: int = EVERYTHING) -> Iterator[ProductLedger]:
    with (
        TemporaryDirectory() as folder,
        closing(ProductLedger(Path(folder), batch_lines=batch_lines)) as ledger,
    ):
        yield ledger


def counted(oracle: Oracle) -> Counts:
    receipts = oracle.receipts.values()
    return Counts(*(sum(vars(r)[name] for r in receipts) for name in Counts._fields))


class TestAnyDelivery:
    @examples(300)
    @given(st.data())
    def test_says_what_the_orderly_one_says(self, data: st.DataObject) -> None:
        scenario = data.draw(admissible_scenarios())
        expected = oracle_views(told(orderly(scenario)))
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(data.draw(disturbed(scenario)))
            assert expected == product_views(ledger)
            assert [] == ledger.breaches()

    @examples(100)
    @given(disturbed())
    def test_says_what_the_oracle_says_after_every_step(self, operations: list[Operation]) -> None:
        oracle = new_oracle()
        with closing(ProductLedger()) as ledger:
            for operation in operations:
                before = counted(oracle)
                expected = apply(oracle, operation)
                answer = ledger.apply(operation)
                if isinstance(operation, Publish):
                    difference = zip(counted(oracle), before, strict=True)
                    assert Counts(*(now - then for now, then in difference)) == answer
                elif isinstance(expected, str) and expected.isupper():
                    assert expected == answer
                counts = ledger.counts()
                assert counted(oracle) == counts
                assert counts.received == counts.recorded + counts.repeated + counts.rejected
                views = product_views(ledger)
                assert oracle_views(oracle) == views
                assert [] == [broken for view in views.values() for broken in broken_sums(view)]
                assert [] == ledger.breaches()


class TestTheSameLinesInTheSameOrder:
    """Not one row may tell how they came in, where they lie, or what happened in between."""

    @examples(100)
    @given(disturbed(), st.integers(1, 4), st.integers(1, 3))
    def test_by_any_batch_size(
        self, operations: list[Operation], batch_lines: int, batches_in_group: int
    ) -> None:
        with (
            closing(ProductLedger()) as whole,
            closing(
                ProductLedger(batch_lines=batch_lines, batches_in_group=batches_in_group)
            ) as cut,
        ):
            expected = rows_of(whole.apply_all(operations).store)
            assert expected == rows_of(cut.apply_all(operations).store)

    @examples(100)
    @given(disturbed(), st.integers(1, 4))
    def test_in_one_transaction_with_their_neighbours(
        self, operations: list[Operation], batch_lines: int
    ) -> None:
        with (
            closing(ProductLedger()) as alone,
            closing(ProductLedger(batch_lines=batch_lines)) as grouped,
        ):
            expected = rows_of(alone.apply_all(operations).store)
            assert expected == rows_of(grouped.apply_in_groups(operations).store)

    @examples(60)
    @given(disturbed(), st.sets(st.integers(0, 30)), st.integers(1, 4))
    def test_in_memory_and_in_a_file_with_restarts(
        self, operations: list[Operation], restarts: set[int], batch_lines: int
    ) -> None:
        with (
            closing(ProductLedger()) as in_memory,
            in_a_file(batch_lines=batch_lines) as restarted,
        ):
            expected = rows_of(in_memory.apply_all(operations).store)
            for index, operation in enumerate(_cut(operations, batch_lines)):
                if index in restarts:
                    restarted.reopen()
                restarted.apply(operation)
            restarted.reopen()
            assert expected == rows_of(restarted.store)


def _cut(operations: Sequence[Operation], batch_lines: int) -> Iterator[Operation]:
    """So that a restart can fall between any two batches."""
    for operation in operations:
        if not isinstance(operation, Publish):
            yield operation
            continue
        lines = operation.lines
        for start in range(0, len(lines), batch_lines):
            yield Publish(at_ns=operation.at_ns, lines=lines[start : start + batch_lines])


class TestARebuild:
    @examples(100)
    @given(disturbed(), st.integers(1, 40))
    def test_from_the_log_gives_the_live_rows(
        self, operations: list[Operation], batch_events: int
    ) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            tables = ("stored_events", "projections", *READ_MODEL)
            assert set(tables) < set(EVERY_TABLE)
            with replayed(ledger.store, batch_events=batch_events) as fresh:
                assert rows_of(ledger.store, tables) == rows_of(fresh, tables)
