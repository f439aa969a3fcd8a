"""All of a transaction is kept, or nothing; nobody sees the half of one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import pytest

from persistence import Counts, Personal, Reader, StoreUnavailableError, Transaction, WritableStore
from projections import PROJECTIONS, Accrual, BalanceDelta, CostCenterRow, Pause, ReadModel
from tests.store.backends import Backend
from tests.store.facts import PAYER, fail, letter, placed, run

A_WHILE_S = 0.2
LONG_S = 30

_Answer = TypeVar("_Answer")


def write_everything(transaction: Transaction) -> None:
    appended = transaction.append([placed("a"), placed("b")])
    transaction.add_inbox([(transaction.source_number("/a"), b"1", b"digest", 1)])
    transaction.add_personal([Personal(1, b"salt", b"fields")])
    transaction.count(transaction.delivery("file"), Counts(1, 1, 0, 0))
    transaction.add_dead_letter(letter(b"{", b"one"))
    transaction.job_ran("reset", started=1, finished=2, error="")
    standing, paused = transaction.standing()
    ReadModel(transaction.rows, transaction.positions, standing, paused).fold(appended)
    transaction.rows.put_cost_centers([CostCenterRow(PAYER, 1, "other", 1, 0, 10)])
    transaction.rows.replace_accruals(Accrual(1, 2), {})
    transaction.positions.pause("clock", Pause(1, "broken"))


def beside(work: Callable[[], _Answer]) -> Future[_Answer]:
    """Run in a thread of its own."""
    answer: Future[_Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001  # told by the future
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


def waits(answer: Future[_Answer]) -> bool:
    try:
        answer.result(A_WHILE_S)
    except TimeoutError:
        return True
    return False


class TestRollback:
    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StoreUnavailableError])
    def test_leaves_nothing(self, backend: Backend, error: type[BaseException]) -> None:
        before = backend.rows()

        def fail_with(_transaction: Transaction) -> None:
            raise error

        with pytest.raises(error):
            run(backend.store, write_everything, fail_with)
        assert before == backend.rows()

    def test_leaves_what_was_committed_before(self, backend: Backend) -> None:
        with backend.store.transaction() as transaction:
            write_everything(transaction)
        before = backend.rows()
        written = {table for table, rows in before.items() if rows}
        assert {"stored_events", "inbox", "personal", "deliveries", "dead_letters"} < written
        assert {"jobs", "balances", "other_entries", "open_cycles", "cost_centers"} < written
        with pytest.raises(RuntimeError):
            run(
                backend.store,
                lambda transaction: transaction.append([placed("c")]),
                lambda transaction: transaction.remove_dead_letters([1]),
                fail,
            )
        assert before == backend.rows()

    def test_of_a_savepoint_leaves_what_was_before_it(self, backend: Backend) -> None:
        def add(transaction: Transaction, cents: int, *, and_fail: bool) -> None:
            with transaction.rows.savepoint():
                transaction.rows.add_balances({PAYER: BalanceDelta(booked_cents=cents)})
                if and_fail:
                    raise RuntimeError

        with backend.store.transaction() as transaction:
            add(transaction, 5, and_fail=False)
            with pytest.raises(RuntimeError):
                add(transaction, 7, and_fail=True)
            add(transaction, 11, and_fail=False)
            assert (16, 0) == transaction.balance(PAYER)
        assert [(PAYER, 0, 16, 0, 0)] == backend.rows()["balances"]


class TestReaders:
    def test_see_only_what_is_committed(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            transaction.append([placed("a")])
            answer = beside(lambda: len(reader.log(after=0, limit=9)))
            # A backend may let it wait, but not tell it what may never be.
            assert waits(answer) or 0 == answer.result()
        assert answer.result(LONG_S) in {0, 1}
        assert 1 == len(reader.log(after=0, limit=9))

    def test_never_see_what_is_rolled_back(self, store: WritableStore, reader: Reader) -> None:
        answers: list[Future[int]] = []

        def read(_transaction: Transaction) -> None:
            answers.append(beside(lambda: len(reader.log(after=0, limit=9))))
            assert waits(answers[0]) or 0 == answers[0].result()

        with pytest.raises(RuntimeError):
            run(store, lambda transaction: transaction.append([placed("a")]), read, fail)
        assert 0 == answers[0].result(LONG_S)

    def test_see_one_state_in_a_snapshot(self, store: WritableStore, reader: Reader) -> None:
        def write() -> None:
            with store.transaction() as transaction:
                transaction.append([placed("a")])

        with reader.snapshot():
            assert [] == reader.log(after=0, limit=9)
            writing = beside(write)
            waits(writing)
            assert [] == reader.log(after=0, limit=9)
        writing.result(LONG_S)
        assert 1 == len(reader.log(after=0, limit=9))


class TestProjectionPositions:
    def test_begin_before_the_log(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            assert (dict.fromkeys(PROJECTIONS, 0), {}) == transaction.standing()

    def test_move_by_compare_and_set(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            transaction.positions.advance("clock", expected=0, position=5)
        with store.transaction() as transaction:
            assert 5 == transaction.standing()[0]["clock"]

    @pytest.mark.parametrize("stale", [4, 6])
    def test_do_not_move_from_another_one_and_nothing_stays(
        self, backend: Backend, stale: int
    ) -> None:
        with backend.store.transaction() as transaction:
            transaction.positions.advance("clock", expected=0, position=5)
        before = backend.rows()

        def advance(transaction: Transaction) -> None:
            transaction.positions.advance("clock", expected=stale, position=9)

        with pytest.raises(StoreUnavailableError):
            run(backend.store, write_everything, advance)
        assert before == backend.rows()

    def test_of_a_zombie_writer_stop_its_folds(self, backend: Backend) -> None:
        """Its events would be folded twice, so none of its transaction stays, and no pause does."""
        with backend.store.transaction() as transaction:
            standing, paused = transaction.standing()
            write_everything(transaction)
        before = backend.rows()

        def append(transaction: Transaction) -> None:
            appended = transaction.append([placed("c")])
            ReadModel(transaction.rows, transaction.positions, standing, paused).fold(appended)

        with pytest.raises(StoreUnavailableError):
            run(backend.store, append)
        assert before == backend.rows()

    def test_of_a_paused_one_say_where_and_why(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            transaction.positions.pause("clock", Pause(3, "broken"))
        with store.transaction() as transaction:
            assert {"clock": Pause(3, "broken")} == transaction.standing()[1]
        rows = reader.status(runs_since=0, stopped_since=0).projections
        assert {"clock": Pause(3, "broken")} == {row.name: row.pause for row in rows if row.pause}

    def test_begin_anew_with_an_empty_read_model(self, backend: Backend) -> None:
        empty = backend.rows()
        with backend.store.transaction() as transaction:
            write_everything(transaction)
        full = backend.rows()
        backend.store.clear_read_model()
        of_the_log = {
            *("stored_events", "sources", "inbox", "personal", "deliveries", "dead_letters", "jobs")
        }
        cleared = backend.rows()
        assert {t: rows for t, rows in full.items() if t in of_the_log} == {
            t: rows for t, rows in cleared.items() if t in of_the_log
        }
        assert {t: rows for t, rows in empty.items() if t not in of_the_log} == {
            t: rows for t, rows in cleared.items() if t not in of_the_log
        }
