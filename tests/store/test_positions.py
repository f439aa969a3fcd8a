"""Positions of intake and followers, the placement of payers, and how far everything is."""

from __future__ import annotations

import pytest

from persistence import (
    IntakeRow,
    PositionMovedError,
    Progress,
    Reader,
    SourceKey,
    Transaction,
    WritableStore,
)
from projections import PROJECTIONS, Pause
from tests.store.backends import Backend
from tests.store.facts import OTHER_PAYER, PAYER, letter, placed, run

SOURCE = SourceKey("cluster", "topic id", 3)
MANY = 1_500  # more keys than one statement asks for


class TestIntakePositions:
    def test_are_unknown_before_the_first(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            assert transaction.intake_position(SOURCE) is None

    def test_move_by_compare_and_set(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            transaction.advance_intake(SOURCE, topic="events", expected=None, position=5)
        with store.transaction() as transaction:
            assert 5 == transaction.intake_position(SOURCE)
            transaction.advance_intake(SOURCE, topic="events", expected=5, position=9)
        assert [IntakeRow(*SOURCE, "events", 9)] == reader.intake_positions()

    def test_are_kept_by_cluster_topic_id_and_partition(
        self, store: WritableStore, reader: Reader
    ) -> None:
        keys = [
            SourceKey(cluster, topic_id, partition)
            for cluster in ("a", "b")
            for topic_id in ("old", "new")
            for partition in (0, 1)
        ]
        with store.transaction() as transaction:
            for position, key in enumerate(keys):
                transaction.advance_intake(key, topic="events", expected=None, position=position)
        with store.transaction() as transaction:
            assert list(range(len(keys))) == [transaction.intake_position(key) for key in keys]
        assert len(keys) == len(reader.intake_positions())

    @pytest.mark.parametrize("stale", [None, 0, 4, 6])
    def test_do_not_move_from_another_one_and_nothing_stays(
        self, backend: Backend, stale: int | None
    ) -> None:
        with backend.store.transaction() as transaction:
            transaction.advance_intake(SOURCE, topic="events", expected=None, position=5)
        before = backend.rows()

        def advance(transaction: Transaction) -> None:
            transaction.advance_intake(SOURCE, topic="events", expected=stale, position=9)

        with pytest.raises(PositionMovedError):
            run(backend.store, lambda transaction: transaction.append([placed("a")]), advance)
        assert before == backend.rows()
        with backend.store.beside() as transaction:
            assert 5 == transaction.intake_position(SOURCE)

    def test_of_a_source_that_was_never_taken_do_not_move(self, store: WritableStore) -> None:
        with pytest.raises(PositionMovedError), store.transaction() as transaction:
            transaction.advance_intake(SOURCE, topic="events", expected=0, position=9)


class TestFollowersOfTheLog:
    def test_begin_before_it(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            assert 0 == transaction.tail_position("relay")
        assert {} == reader.tails()

    def test_move_by_compare_and_set(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            transaction.advance_tail("relay", expected=0, position=5)
        with store.beside() as transaction:
            transaction.advance_tail("relay", expected=5, position=9)
            transaction.advance_tail("meters", expected=0, position=2)
            assert (9, 2) == (
                transaction.tail_position("relay"),
                transaction.tail_position("meters"),
            )
        assert {"relay": 9, "meters": 2} == reader.tails()

    @pytest.mark.parametrize("stale", [0, 4, 6])
    def test_do_not_move_from_another_position(
        self, store: WritableStore, reader: Reader, stale: int
    ) -> None:
        with store.beside() as transaction:
            transaction.advance_tail("relay", expected=0, position=5)
        with pytest.raises(PositionMovedError), store.beside() as transaction:
            transaction.advance_tail("relay", expected=stale, position=9)
        assert {"relay": 5} == reader.tails()

    def test_that_are_new_do_not_begin_in_the_middle(
        self, store: WritableStore, reader: Reader
    ) -> None:
        with pytest.raises(PositionMovedError), store.beside() as transaction:
            transaction.advance_tail("relay", expected=3, position=9)
        assert {} == reader.tails()


class TestPlacement:
    def test_is_given_once(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            assert {} == transaction.placements([PAYER])
            assert {PAYER: 1} == transaction.place({PAYER: 1})
        with store.beside() as transaction:
            assert {PAYER: 1, OTHER_PAYER: 2} == transaction.place({PAYER: 3, OTHER_PAYER: 2})
            assert {PAYER: 1} == transaction.placements([PAYER, bytes(16)])
        assert (1, 2, None) == tuple(
            reader.placement(payer) for payer in (PAYER, OTHER_PAYER, bytes(16))
        )

    def test_is_found_however_many_are_asked_for(self, store: WritableStore) -> None:
        wanted = {n.to_bytes(16, "big"): n % 3 for n in range(MANY)}
        with store.beside() as transaction:
            assert wanted == transaction.place(wanted)
            assert wanted == transaction.placements(list(wanted))
            assert {} == transaction.place({})


class TestDeadLettersInOrder:
    def test_are_given_with_their_bytes_and_where_they_came_from(
        self, store: WritableStore
    ) -> None:
        with store.transaction() as transaction:
            delivery = transaction.delivery("kafka")
            ids = [
                transaction.add_dead_letter(letter(original, original, delivery=delivery))
                for original in (b"a", b"b", b"c")
            ]
        with store.beside() as transaction:
            first = transaction.dead_letters_after(0, 2)
            rest = transaction.dead_letters_after(first[-1][0].id, 9)
        assert ids == [found.id for found, _ in first + rest]
        assert [b"a", b"b", b"c"] == [found.original for found, _ in first + rest]
        assert {"kafka"} == {name for _, name in first + rest}

    def test_count_how_often_they_came_again(self, store: WritableStore) -> None:
        with store.transaction() as transaction:
            delivery = transaction.delivery("kafka")
            one = transaction.add_dead_letter(letter(b"a", b"a", delivery=delivery))
            other = transaction.add_dead_letter(letter(b"b", b"b", delivery=delivery))
            transaction.dead_letter_repeated([one, other, one, one], 2_000)
        with store.beside() as transaction:
            found = [dead for dead, _ in transaction.dead_letters_after(0, 9)]
        assert [4, 2] == [dead.times for dead in found]
        assert [2_000, 2_000] == [dead.last_rejected for dead in found]
        assert [1_000, 1_000] == [dead.first_rejected for dead in found]


class TestTextThatNoDatabaseKeeps:
    def test_is_kept_in_a_readable_form(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            delivery = transaction.delivery("file \0\ud800")
            dead = letter(b"a", b"a", delivery=delivery)._replace(reason="not \0 \udfff")
            transaction.add_dead_letter(dead)
            transaction.job_ran("reset", started=1, finished=None, error="\0")
            transaction.positions.pause("clock", Pause(1, "\0"))
        with store.transaction() as transaction:
            assert delivery == transaction.delivery("file \0\ud800")
        ((found, name),) = reader.dead_letters(before=99, limit=9)
        assert ("not \\0 \\udfff", "file \\0\\ud800") == (found.reason, name)
        assert ["\\0"] == [row.last_error for row in reader.jobs()]


class TestProgress:
    def test_is_that_of_what_is_committed(self, store: WritableStore) -> None:
        assert Progress(0, dict.fromkeys(PROJECTIONS, 0), {}) == store.progress()
        with store.transaction() as transaction:
            transaction.append([placed("a"), placed("b")])
        with store.folding() as transaction:
            transaction.positions.advance("clock", expected=0, position=2)
            transaction.positions.pause("balances", Pause(1, "broken"))
        standing = dict.fromkeys(PROJECTIONS, 0) | {"clock": 2}
        assert Progress(2, standing, {"balances": Pause(1, "broken")}) == store.progress()


class TestLeases:
    def test_are_held_until_they_are_given_back(self, store: WritableStore) -> None:
        assert store.hold_lease("jobs", "one", 60)
        assert store.hold_lease("jobs", "one", 60)
        store.release_lease("jobs", "one")
        assert store.hold_lease("jobs", "another", 60)


class TestFolding:
    def test_sees_what_was_appended_and_writes_rows(self, backend: Backend) -> None:
        with backend.store.transaction() as transaction:
            transaction.append([placed("a"), placed("b")])
        with backend.store.folding() as transaction:
            transaction.lock_projections()
            assert 2 == transaction.head
            assert ["a", "b"] == [event.stream for event in transaction.log(after=0, limit=9)]
            transaction.positions.advance("clock", expected=0, position=2)
        with backend.store.transaction() as transaction:
            transaction.lock_projections()
            assert 2 == transaction.standing()[0]["clock"]
