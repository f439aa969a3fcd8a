"""Inbox, personal rows, deliveries and dead letters."""

from __future__ import annotations

import pytest

from persistence import Counts, Inboxed, JobRow, Personal, Reader, WritableStore
from tests.store.backends import Backend
from tests.store.facts import letter

MANY = 1_500  # more keys than one statement asks for


class TestInbox:
    def test_knows_events_by_source_and_id(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            first, second = transaction.source_number("/a"), transaction.source_number("/b")
            transaction.add_inbox([(first, b"1", b"digest", 1), (second, b"2", b"another", 2)])
        with store.transaction() as transaction:
            assert first == transaction.source_number("/a") != second
            asked = [(first, b"1"), (first, b"2"), (second, b"1"), (second, b"2"), (99, b"1")]
            assert {
                (first, b"1"): Inboxed(b"digest", 1),
                (second, b"2"): Inboxed(b"another", 2),
            } == transaction.inbox(asked)

    def test_takes_an_id_once(self, backend: Backend) -> None:
        with backend.store.transaction() as transaction:
            transaction.add_inbox([(1, b"1", b"digest", 1)])
        before = backend.rows()
        with pytest.raises(backend.conflict), backend.store.transaction() as transaction:
            transaction.add_inbox([(1, b"2", b"digest", 2), (1, b"1", b"digest", 3)])
        assert before == backend.rows()

    def test_answers_however_many_are_asked_for(self, store: WritableStore) -> None:
        keys = [(1 + n % 2, str(n).encode()) for n in range(MANY)]
        with store.transaction() as transaction:
            transaction.add_inbox((*key, b"digest", n) for n, key in enumerate(keys, start=1))
            assert set(keys) == set(transaction.inbox(keys))
            assert {} == transaction.inbox([])


class TestPersonalRows:
    def test_stand_beside_their_events(self, store: WritableStore) -> None:
        kept = Personal(3, b"salt", b"fields")
        with store.transaction() as transaction:
            transaction.add_personal([kept])
        with store.transaction() as transaction:
            assert kept == transaction.personal(3)
            assert None is transaction.personal(4)


class TestDeliveries:
    def test_are_counted_by_name(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            first, second = transaction.delivery("file a"), transaction.delivery("file b")
            transaction.count(first, Counts(5, 2, 2, 1))
            transaction.count(second, Counts(1, 1, 0, 0))
        with store.transaction() as transaction:
            assert first == transaction.delivery("file a") != second
            assert "file b" == transaction.delivery_name(second)
            transaction.count(first, Counts(0, 1, 0, -1))
        status = reader.status(runs_since=0, stopped_since=0)
        assert {"file a": Counts(5, 3, 2, 0), "file b": Counts(1, 1, 0, 0)} == dict(
            status.deliveries
        )
        assert Counts(6, 4, 2, 0) == status.total


class TestDeadLetters:
    def test_are_found_by_the_digest_of_their_bytes(
        self, store: WritableStore, reader: Reader
    ) -> None:
        with store.transaction() as transaction:
            delivery = transaction.delivery("file")
            first = transaction.add_dead_letter(letter(b"{", b"one", delivery=delivery))
            second = transaction.add_dead_letter(letter(b"\xff", b"two", delivery=delivery))
        with store.transaction() as transaction:
            found = transaction.dead_letters([b"two", b"three", b"one"])
            assert {b"one": first, b"two": second} == found
            kept = transaction.dead_letter(second)
            assert None is transaction.dead_letter(second + 1)
        assert letter(b"\xff", b"two", delivery=delivery)._replace(id=second) == kept
        assert (kept, "file") == reader.dead_letter(second)
        assert [second, first] == [found.id for found, _ in reader.dead_letters(before=99, limit=9)]
        assert [first] == [found.id for found, _ in reader.dead_letters(before=second, limit=9)]

    def test_are_kept_once_for_the_same_bytes(self, backend: Backend) -> None:
        with backend.store.transaction() as transaction:
            transaction.add_dead_letter(letter(b"{", b"one"))
        before = backend.rows()
        with pytest.raises(backend.conflict), backend.store.transaction() as transaction:
            transaction.add_dead_letter(letter(b"{", b"one"))
        assert before == backend.rows()

    def test_count_how_often_they_came(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            known = transaction.add_dead_letter(letter(b"{", b"one", at=1_000))
            transaction.dead_letter_repeated([known, known], 2_000)
            transaction.dead_letter_repeated([known], 3_000)
            kept = transaction.dead_letter(known)
        assert kept is not None
        assert (4, 1_000, 3_000) == (kept.times, kept.first_rejected, kept.last_rejected)

    def test_say_why_they_were_refused_last(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            known = transaction.add_dead_letter(letter(b"{", b"one"))
            transaction.dead_letter_reason(known, "still not JSON", 2_000)
            kept = transaction.dead_letter(known)
        assert kept is not None
        assert ("still not JSON", 2_000) == (kept.reason, kept.last_rejected)

    def test_go_when_they_are_old_or_taken_in(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            ids = [
                transaction.add_dead_letter(letter(b"{", bytes([at]), at=at)) for at in (10, 20, 30)
            ]
            assert ids[:2] == transaction.expired_dead_letters(30, 9)
            assert ids[:1] == transaction.expired_dead_letters(30, 1)
            transaction.remove_dead_letters(ids[:2])
            assert [None, None] == [transaction.dead_letter(each) for each in ids[:2]]
            assert ids[2:] == transaction.expired_dead_letters(99, 9)

    def test_never_get_the_number_of_one_that_went(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            gone = transaction.add_dead_letter(letter(b"{", b"one"))
            transaction.remove_dead_letters([gone])
        with store.transaction() as transaction:
            assert gone < transaction.add_dead_letter(letter(b"{", b"two"))


class TestJobs:
    def test_remember_their_last_end_while_they_run_again(
        self, store: WritableStore, reader: Reader
    ) -> None:
        with store.transaction() as transaction:
            transaction.job_ran("reset", started=10, finished=20, error="")
            transaction.job_ran("reset", started=30, finished=None, error="gone wrong")
        jobs = reader.status(runs_since=0, stopped_since=0).jobs
        assert [JobRow("reset", 30, 20, "gone wrong")] == jobs
