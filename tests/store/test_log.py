"""The log: positions without gaps, and every version of a stream once."""

from __future__ import annotations

import pytest

from events import decode
from persistence import Reader, WritableStore
from tests.store.backends import Backend
from tests.store.facts import fail, note, placed, run

MANY = 1_500  # more streams than one statement asks for


class TestPositions:
    def test_begin_at_one_and_have_no_gaps(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            assert 0 == transaction.head
            first = transaction.append([placed("a"), placed("b")])
            second = transaction.append([placed("a", 2)])
            assert 3 == transaction.head
        with store.transaction() as transaction:
            third = transaction.append([placed("c")])
        assert [1, 2, 3, 4] == [each.position for each in (*first, *second, *third)]
        assert [1, 2, 3, 4] == [each.position for each in reader.log(after=0, limit=10)]

    def test_of_a_transaction_that_failed_are_given_again(self, store: WritableStore) -> None:
        with pytest.raises(RuntimeError):
            run(store, lambda transaction: transaction.append([placed("a"), placed("b")]), fail)
        with store.transaction() as transaction:
            assert 0 == transaction.head
            assert [1] == [each.position for each in transaction.append([placed("a")])]

    def test_are_the_order_of_the_log(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            transaction.append([placed(f"stream {n}") for n in range(9)])
            assert [4, 5, 6] == [each.position for each in transaction.log(after=3, limit=3)]
        assert [9] == [each.position for each in reader.log(after=8, limit=3)]
        assert [] == reader.log(after=9, limit=3)


class TestStreams:
    def test_take_every_version_once(self, backend: Backend) -> None:
        with backend.store.transaction() as transaction:
            transaction.append([placed("a"), placed("a", 2)])
        before = backend.rows()
        with pytest.raises(backend.conflict), backend.store.transaction() as transaction:
            transaction.append([placed("b"), placed("a", 2, cents=5)])
        assert before == backend.rows()

    def test_take_every_version_once_within_a_batch(self, backend: Backend) -> None:
        before = backend.rows()
        with pytest.raises(backend.conflict), backend.store.transaction() as transaction:
            transaction.append([placed("a"), placed("a")])
        assert before == backend.rows()

    def test_are_loaded_whole_and_in_order(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            transaction.append([placed("a"), placed("b"), placed("a", 2), placed("b", 2)])
            loaded = transaction.streams(["b", "nobody", "a"])
        assert {"a": [1, 3], "b": [2, 4]} == {
            stream: [event.position for event in events] for stream, events in loaded.items()
        }
        assert {"a": [1, 2], "b": [1, 2]} == {
            stream: [event.version for event in events] for stream, events in loaded.items()
        }
        assert loaded["a"] == reader.stream("a")
        assert [] == reader.stream("nobody")

    def test_are_loaded_however_many_are_asked_for(self, store: WritableStore) -> None:
        names = [f"stream {n}" for n in range(MANY)]
        with store.transaction() as transaction:
            transaction.append([placed(name) for name in names])
            assert set(names) == set(transaction.streams(names))
            assert {} == transaction.streams([])

    def test_keep_what_was_said(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            (appended,) = transaction.append([placed("a", cents=-(2**40))])
            (inside,) = transaction.streams(["a"])["a"]
        (stored,) = reader.stream("a")
        assert inside == stored
        assert note(-(2**40)) == appended.event == decode(stored.topic, stored.state)
        assert ("a", 1, 1) == (stored.stream, stored.version, stored.position)
