"""Answers at any moment are those of a plain fold of the log, cut off."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from events import Recorded
from ledger.audit.clocks import Moment
from ledger.audit.cuts import KnownAt
from ledger.audit.sealing import Sealing
from tests.clocks.comparing import log_of, plain_says, product_says
from tests.clocks.dense import PAYERS, Dense, Step, steps
from tests.clocks.plain import Log, cut_by_position, cut_by_time
from tests.clocks.sealed import forget_all, seal, sealed_rows
from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger
from tests.laws.histories import examples
from tests.laws.test_histories import disturbed
from tests.oracle.operations import Operation

TIMES = ("recorded_at", "started_time", "stopping_time", "stopped_time", "ended_time",
         "effective_time", "instant", "cycle_start", "closed_at")  # fmt: skip
STEPS_MS = (0, 0, -1, 1, -1_000, 1_000, 3_600_000, -3_600_000, 86_400_000, -86_400_000)


def times_in(events: Sequence[Recorded]) -> list[int]:
    """Every time that an event speaks of."""
    found = {getattr(each.event, name, None) for each in events for name in TIMES}
    return sorted(time for time in found if time is not None)


@st.composite
def moments(draw: st.DrawFn, events: Sequence[Recorded]) -> tuple[Moment, list[Recorded]]:
    """A moment near what happened, and the log that it knows."""
    step = st.sampled_from(STEPS_MS)
    times = times_in(events) or [0]
    near = st.tuples(st.sampled_from(times), step).map(sum)
    as_of = draw(st.none() | near)
    if events and draw(st.sampled_from((True, False))):
        newest = events[-1].event.recorded_at
        time = min(draw(st.sampled_from(times)) + draw(step), newest)
        return Moment(as_of, KnownAt(time=time)), cut_by_time(events, time)
    position = draw(st.integers(0, len(events)))
    return Moment(as_of, KnownAt(position=position)), cut_by_position(events, position)


class TestAnyMoment:
    @examples(100)
    @given(disturbed(), st.data())
    def test_says_what_a_plain_fold_of_the_cut_log_says(
        self, operations: list[Operation], data: st.DataObject
    ) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            events = log_of(ledger.reader)
            for payer in ledger.payers()[:3]:
                key = payer_bytes(payer)
                for _ in range(4):
                    moment, cut = data.draw(moments(events))
                    expected = plain_says(Log(key, cut), moment.as_of)
                    assert expected == product_says(ledger.queries, key, moment), moment

    @examples(50)
    @given(disturbed())
    def test_without_either_clock_it_is_the_live_answer(self, operations: list[Operation]) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            for payer in ledger.payers():
                key = payer_bytes(payer)
                said = product_says(ledger.queries, key, Moment())
                assert ledger.balance_cents(payer) == said["balance"]
                live = ledger.queries.draft(key)
                assert live.total_cents == said["draft"].total_cents
                lines = [(line.workspace_class, *line.amount) for line in live.lines]
                told = [(line[0], *line[2:]) for line in said["draft"].lines]
                assert sorted(lines) == sorted(told)


class TestWhatIsSealed:
    @examples(80)
    @given(disturbed(), st.data())
    def test_changes_no_answer_wherever_the_follower_stands(
        self, operations: list[Operation], data: st.DataObject
    ) -> None:
        block, batch = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
        with closing(ProductLedger()) as ledger:
            sealing = Sealing(batch_max=batch, block_events=block)
            for operation in operations:
                ledger.apply(operation)
                if data.draw(st.booleans()):
                    seal(ledger, sealing, steps=data.draw(st.integers(1, 9)))
                if not data.draw(st.integers(0, 19)):
                    sealing = Sealing(batch_max=batch, block_events=block)
            events = log_of(ledger.reader)
            for payer in ledger.payers()[:3]:
                key = payer_bytes(payer)
                for _ in range(4):
                    moment, cut = data.draw(moments(events))
                    expected = plain_says(Log(key, cut), moment.as_of)
                    assert expected == product_says(ledger.queries, key, moment), moment

    @examples(100)
    @given(disturbed(), st.data())
    def test_can_be_thrown_away_whole_or_in_part(
        self, operations: list[Operation], data: st.DataObject
    ) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            seal(ledger, Sealing(batch_max=50, block_events=data.draw(st.integers(1, 6))))
            events = log_of(ledger.reader)
            payers = [payer_bytes(payer) for payer in ledger.payers()]
            asked = [
                (data.draw(st.sampled_from(payers)), *data.draw(moments(events)))
                for _ in range(6 if payers else 0)
            ]
            expected = [plain_says(Log(payer, cut), m.as_of) for payer, m, cut in asked]
            assert expected == [product_says(ledger.queries, payer, m) for payer, m, _ in asked]
            blocks = ledger.select("SELECT payer, position FROM sealed_blocks ORDER BY 1, 2")
            gone = data.draw(st.lists(st.sampled_from(blocks), unique=True)) if blocks else []
            for key in gone:
                ledger.store.connection.execute(
                    "DELETE FROM sealed_blocks WHERE payer = ? AND position = ?", key
                )
            assert expected == [product_says(ledger.queries, payer, m) for payer, m, _ in asked]
            forget_all(ledger)
            assert expected == [product_says(ledger.queries, payer, m) for payer, m, _ in asked]

    @examples(100)
    @given(disturbed(), st.data())
    def test_is_the_same_however_it_was_followed(
        self, operations: list[Operation], data: st.DataObject
    ) -> None:
        block = data.draw(st.integers(2, 6))
        with closing(ProductLedger()) as ledger, closing(ProductLedger()) as other:
            sealing = Sealing(batch_max=1_000, block_events=block)
            for operation in operations:
                ledger.apply(operation)
                seal(ledger, sealing)
            other.apply_all(operations)
            seal(other, Sealing(batch_max=data.draw(st.integers(1, 30)), block_events=block))
            known = sealed_rows(ledger)
            assert known["sealed_blocks"] == sealed_rows(other)["sealed_blocks"]
            assert known == sealed_rows(other)

    @examples(60)
    @given(steps, st.data())
    def test_is_the_same_of_a_dense_history_by_followers_that_forget(
        self, taken: list[Step], data: st.DataObject
    ) -> None:
        block = data.draw(st.integers(1, 6))
        with closing(ProductLedger()) as ledger, closing(ProductLedger()) as other:
            Dense(ledger).take(taken, Sealing(batch_max=1_000, block_events=block))
            seal(ledger, Sealing(batch_max=1_000, block_events=block))
            Dense(other).take(taken)
            while other.core.head != seal(
                other, Sealing(batch_max=data.draw(st.integers(1, 30)), block_events=block), steps=1
            ):
                pass
            assert sealed_rows(ledger) == sealed_rows(other)


class TestDenseHistories:
    """Everything happens to a few instances, over midnights."""

    @examples(80)
    @given(steps, st.data())
    def test_say_what_a_plain_fold_says(self, taken: list[Step], data: st.DataObject) -> None:
        block, batch = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 12))
        with closing(ProductLedger()) as ledger:
            sealing = Sealing(batch_max=batch, block_events=block)
            Dense(ledger).take(taken, data.draw(st.sampled_from((None, sealing))))
            events = log_of(ledger.reader)
            for payer in PAYERS:
                key = payer_bytes(payer)
                for _ in range(4):
                    moment, cut = data.draw(moments(events))
                    expected = plain_says(Log(key, cut), moment.as_of)
                    assert expected == product_says(ledger.queries, key, moment), moment
            assert [] == ledger.breaches()
