"""Why a number is what it is: parts add up, arithmetic recomputes, no event that moved it lacks."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit.why import lines
from tests.laws.acts import payer_bytes
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.asking_why import Asking, dispensable, foreign, log_of, unnamed
from tests.laws.explained import Number, balance_by, events_in, numbers_in, recomputed, wrong
from tests.laws.histories import examples
from tests.laws.test_histories import disturbed
from tests.oracle.operations import Operation
from usage_ledger.v1 import audit_why_pb2 as pb


class TestABalance:
    @examples(100)
    @given(disturbed(), st.integers(1, 5))
    def test_opens_into_the_events_that_make_it(
        self, operations: list[Operation], size: int
    ) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            log, asking = log_of(ledger.queries), Asking(ledger.queries, size)
            for payer in ledger.payers():
                number = asking.balance(payer)
                assert ledger.balance_cents(payer) == number.credit_cents
                assert [] == wrong(number)
                assert [] == foreign(number, log)
                assert [] == list(unnamed(number, payer, log))
                of_payer = [event for event in log.values() if f'"{payer}"' in event.json]
                facts = [event for event in log.values() if event.stream == "usage-reconciled"]
                assert number.credit_cents == balance_by([*of_payer, *facts])
                assert [] == list(dispensable(number))


class TestAnEntry:
    @examples(100)
    @given(disturbed(), st.integers(1, 5))
    def test_opens_into_its_events_and_arithmetic(
        self, operations: list[Operation], size: int
    ) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            log, asking = log_of(ledger.queries), Asking(ledger.queries, size)
            for payer in ledger.payers():
                rows = ledger.queries.entries(
                    payer_bytes(payer), key=None, ascending=True, limit=EVERYTHING
                )
                for row in rows:
                    number = asking.entry(payer, row.entry_id.hex())
                    assert row.cents == number.credit_cents
                    assert row.effective == number.effective_time.ToMilliseconds()
                    assert [] == wrong(number)
                    assert [] == foreign(number, log)
            for instance_id in ledger.instance_ids():
                number = asking.instance(instance_id)
                view = ledger.instance(instance_id)
                assert (view.row.cents if view.row else 0) == number.credit_cents
                assert [] == wrong(number)
                named = {
                    at for at, event in events_in(number).items() if event.event.stream[0] == "i"
                }
                assert {recorded.position for recorded in view.events} == named


class TestALine:
    @examples(100)
    @given(disturbed(), st.integers(1, 5))
    def test_of_any_cycle_opens_into_what_entries_changed_by(
        self, operations: list[Operation], size: int
    ) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            log, asking = log_of(ledger.queries), Asking(ledger.queries, size)
            for payer in ledger.payers():
                for draft in ledger.drafts(payer):
                    for line in draft.lines:
                        number = asking.line(
                            payer, line.workspace_class, line.late_for, draft.cycle
                        )
                        assert line.cents == number.credit_cents
                        assert line.instances == number.part_count
                        assert [] == wrong(number)
                        assert [] == foreign(number, log)
                        assert line.seconds == sum(_seconds(one) for one in numbers_in(number))

    @examples(40)
    @given(disturbed(), st.integers(1, 5))
    def test_opens_alike_where_an_answer_looks_at_few_instances(
        self, operations: list[Operation], size: int
    ) -> None:
        """Pages may have no parts at all then, and go on."""
        with closing(ProductLedger()) as ledger, pytest.MonkeyPatch.context() as patch:
            ledger.apply_all(operations)
            asking = Asking(ledger.queries, size)
            for payer in ledger.payers():
                for line in ledger.drafts(payer)[-1].lines:
                    ask = partial(asking.line, payer, line.workspace_class, line.late_for, None)
                    expected = ask()
                    patch.setattr(lines, "SCANNED_MAX", 1)
                    patch.setattr(lines, "_CHUNK", 2)
                    assert expected == ask()
                    patch.undo()


def _seconds(one: Number) -> int:
    if one.WhichOneof("arithmetic") != "runtime":
        return 0
    return -one.runtime.seconds if one.is_taken_away else one.runtime.seconds


class TestTheChecks:
    """They notice what they are there for."""

    def test_a_wrong_rounding(self) -> None:
        number = Number(credit_cents=27)
        number.runtime.started.FromMilliseconds(0)
        number.runtime.ended.FromMilliseconds(99_000)
        number.runtime.milliseconds, number.runtime.seconds = 99_000, 99
        number.runtime.credits_per_minute = "1/6"
        number.runtime.cents_per_second, number.runtime.exact_fraction = "5/18", "55/2"
        number.runtime.credit_cents = 28
        assert 28 == recomputed(number)
        assert wrong(number)
        number.credit_cents = 28
        assert not wrong(number)

    def test_a_part_that_is_missing(self) -> None:
        part = Number(credit_cents=1, kind=pb.NUMBER_KIND_NOT_DERIVED)
        assert wrong(Number(credit_cents=2, part_count=2, parts=[part]))
        assert not wrong(Number(credit_cents=2, part_count=2, parts=[part, part]))
