"""Many processes share a PostgreSQL store: who waits for whom, and what nobody ever sees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from events import Recorded
from persistence import PositionMovedError, SourceKey, StoreUnavailableError, Transaction
from persistence.postgres import Database, PostgresReader, PostgresStore
from projections import ReadModel
from tests.store.facts import OTHER_PAYER, PAYER, fail, note, placed, run
from tests.store.test_transactions import LONG_S, beside, waits

pytestmark = pytest.mark.postgres

WRITERS = 3
BATCHES = 25
SOURCE = SourceKey("cluster", "topic id", 3)

OpenStore = Callable[[], PostgresStore]


@pytest.fixture
def another(ledger_database: str) -> Iterator[OpenStore]:
    """Open the same ledger once more, as another process would."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            closing(PostgresStore(Database(ledger_database), pool_size=2))
        )


class TestWriters:
    def test_give_no_position_twice_and_readers_see_no_gap(self, another: OpenStore) -> None:
        stores = [another() for _ in range(WRITERS)]
        writing = threading.Event()
        writing.set()

        def write(number: int) -> list[int]:
            positions = []
            for batch in range(BATCHES):
                with stores[number].transaction() as transaction:
                    events = [placed(f"{number}:{batch}:{n}") for n in range(1 + batch % 7)]
                    positions += [event.position for event in transaction.append(events)]
            return positions

        def follow() -> list[int]:
            with closing(PostgresReader(stores[0])) as reader:
                seen: list[int] = []
                while True:
                    over = not writing.is_set()
                    seen += [event.position for event in reader.log(after=len(seen), limit=99)]
                    # Position n + 1 is never there before n: what is behind would be missed.
                    assert list(range(1, len(seen) + 1)) == seen
                    if over:
                        return seen

        with ThreadPoolExecutor() as threads:
            following = threads.submit(follow)
            given = [p for positions in threads.map(write, range(WRITERS)) for p in positions]
            writing.clear()
            seen = following.result(LONG_S)
        assert list(range(1, len(given) + 1)) == sorted(given)
        assert sorted(given) == seen

    def test_wait_for_each_other_and_then_see_what_the_other_did(self, another: OpenStore) -> None:
        one, other = another(), another()

        def append() -> int:
            with other.transaction() as transaction:
                return transaction.append([placed("b")])[0].position

        with one.transaction() as transaction:
            transaction.append([placed("a")])
            answer = beside(append)
            assert waits(answer)
        assert 2 == answer.result(LONG_S)

    def test_that_roll_back_leave_no_gap(self, another: OpenStore) -> None:
        one, other = another(), another()
        with pytest.raises(RuntimeError):
            run(one, lambda transaction: transaction.append([placed("a")]), fail)
        with other.transaction() as transaction:
            assert [1] == [event.position for event in transaction.append([placed("b")])]

    def test_append_only_with_the_lock(self, another: OpenStore) -> None:
        store = another()
        for begin in (store.folding, store.beside):
            with pytest.raises(AssertionError), begin() as transaction:
                transaction.append([placed("a")])


class TestWhoFolds:
    def test_does_not_stop_writers_nor_they_him(self, another: OpenStore) -> None:
        one, other = another(), another()
        with one.folding(), other.transaction() as transaction:
            transaction.append([placed("a")])
        with other.transaction() as transaction:
            transaction.append([placed("b")])
            with one.folding() as folding:
                assert 1 == folding.head
                folding.positions.advance("clock", expected=0, position=1)
        assert 1 == one.progress().standing["clock"]

    def test_is_alone(self, another: OpenStore) -> None:
        one, other = another(), another()

        def fold() -> int:
            with other.folding() as transaction:
                return transaction.standing()[0]["clock"]

        with one.folding() as transaction:
            transaction.positions.advance("clock", expected=0, position=7)
            answer = beside(fold)
            assert waits(answer)
        assert 7 == answer.result(LONG_S)

    def test_waits_for_a_writer_that_decides_on_a_balance(self, another: OpenStore) -> None:
        """The writer folds the rest itself, behind the append lock; the projector finds it done."""
        writer, projector = another(), another()

        def fold() -> int:
            with projector.folding() as transaction:
                return transaction.standing()[0]["balances"]

        with writer.transaction() as transaction:
            appended = transaction.append([Recorded("a", 1, note(-100))])
            transaction.lock_projections()
            standing, paused = transaction.standing()
            ReadModel(transaction.rows, transaction.positions, standing, paused).fold(appended)
            assert (-100, 1) == transaction.balance(PAYER)
            answer = beside(fold)
            assert waits(answer)
        assert 1 == answer.result(LONG_S)


class TestPositions:
    def test_of_intake_are_won_by_one_of_two(self, another: OpenStore) -> None:
        """Two consumers hold the same batch after a rebalance; it is booked once."""
        one, other = another(), another()
        with one.beside() as transaction:
            assert transaction.intake_position(SOURCE) is None
        with one.transaction() as transaction:
            transaction.append([placed("a")])
            transaction.advance_intake(SOURCE, topic="events", expected=None, position=5)

        def overlap(transaction: Transaction) -> None:
            transaction.advance_intake(SOURCE, topic="events", expected=None, position=3)

        with pytest.raises(PositionMovedError):
            run(other, lambda transaction: transaction.append([placed("b")]), overlap)
        with other.transaction() as transaction:
            assert (1, 5) == (transaction.head, transaction.intake_position(SOURCE))

    def test_of_a_follower_are_won_by_one_of_two_at_once(self, another: OpenStore) -> None:
        one, other = another(), another()

        def advance() -> None:
            with other.beside() as transaction:
                transaction.advance_tail("relay", expected=0, position=3)

        with one.beside() as transaction:
            transaction.advance_tail("relay", expected=0, position=5)
            answer = beside(advance)
            assert waits(answer)
        with pytest.raises(PositionMovedError):
            answer.result(LONG_S)

    def test_of_a_projection_do_not_move_from_elsewhere(self, another: OpenStore) -> None:
        one, other = another(), another()
        with one.folding() as transaction:
            transaction.positions.advance("clock", expected=0, position=5)
        with pytest.raises(StoreUnavailableError), other.folding() as transaction:
            transaction.positions.advance("clock", expected=0, position=3)

    def test_of_payers_are_the_same_for_two_who_place_them_at_once(
        self, another: OpenStore
    ) -> None:
        one, other = another(), another()

        def place() -> dict[bytes, int]:
            with other.beside() as transaction:
                return transaction.place({OTHER_PAYER: 2, PAYER: 2})

        with one.beside() as transaction:
            transaction.place({PAYER: 1})
            answer = beside(place)
            assert waits(answer)
        assert {PAYER: 1, OTHER_PAYER: 2} == answer.result(LONG_S)

    def test_sources_get_one_number_from_two_who_add_them_at_once(self, another: OpenStore) -> None:
        one, other = another(), another()

        def number() -> int:
            with other.beside() as transaction:
                return transaction.delivery("kafka")

        with one.transaction() as transaction:
            given = transaction.delivery("kafka")
            answer = beside(number)
            assert waits(answer)
        assert given == answer.result(LONG_S)


class TestLeases:
    def test_have_one_holder(self, another: OpenStore) -> None:
        one, other = another(), another()
        assert one.hold_lease("jobs", "one", 60)
        assert not other.hold_lease("jobs", "other", 60)
        assert other.hold_lease("relay", "other", 60)

    def test_are_renewed_by_their_holder(self, another: OpenStore) -> None:
        one, other = another(), another()
        # It ends at once by the database's clock, so whoever asks first has it.
        assert one.hold_lease("jobs", "one", 0)
        assert one.hold_lease("jobs", "one", 60)
        assert not other.hold_lease("jobs", "other", 60)

    def test_that_ended_are_taken_over(self, another: OpenStore) -> None:
        one, other = another(), another()
        assert one.hold_lease("jobs", "one", 0)
        assert other.hold_lease("jobs", "other", 60)
        assert not one.hold_lease("jobs", "one", 60)

    def test_that_are_given_back_are_free(self, another: OpenStore) -> None:
        one, other = another(), another()
        assert one.hold_lease("jobs", "one", 60)
        one.release_lease("jobs", "one")
        assert other.hold_lease("jobs", "other", 60)

    def test_are_not_given_back_by_others(self, another: OpenStore) -> None:
        one, other = another(), another()
        assert one.hold_lease("jobs", "one", 60)
        other.release_lease("jobs", "other")
        assert not other.hold_lease("jobs", "other", 60)

    def test_are_won_by_one_of_many_at_once(self, another: OpenStore) -> None:
        stores = [another() for _ in range(4)]
        with ThreadPoolExecutor() as threads:
            won = list(
                threads.map(lambda n: stores[n].hold_lease("jobs", f"holder {n}", 60), range(4))
            )
        assert 1 == sum(won)
