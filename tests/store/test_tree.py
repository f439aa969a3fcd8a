"""Tiles, size and heads of the tree, on every backend."""

from __future__ import annotations

from contextlib import closing

import pytest

from events import encode
from persistence import (
    TREE_TAIL,
    Head,
    PositionMovedError,
    Reader,
    Tile,
    Transaction,
    TreeState,
    WritableStore,
)
from persistence.sql.tree import TILE_AT
from persistence.sqlite import SQLiteStore
from tests.store.facts import fail, note, placed, run

LEAVES = bytes(range(256)) * 32


def tile(number: int, *, level: int = 0, first: int = 1, count: int = 256) -> Tile:
    return Tile(level, number, first, LEAVES[: 32 * count])


def head(number: int, *, size: int = 5, key: str = "key") -> Head:
    return Head(number, size, b"r" * 32, 1_000, 2_000, key, "somebody", f"note {number}\n")


class TestTheState:
    def test_is_empty_at_first(self, store: WritableStore, reader: Reader) -> None:
        assert TreeState("", 0, "") == reader.tree.state()
        with store.beside() as transaction:
            assert TreeState("", 0, "") == transaction.tree.state()

    def test_keeps_its_first_name(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            assert "one/0" == transaction.tree.name("one/0")
            assert "one/0" == transaction.tree.name("other/0")
        assert TreeState("one/0", 0, "") == reader.tree.state()

    def test_can_be_named_after_it_has_grown(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            transaction.tree.resize(expected=0, size=3)
            transaction.tree.name("one/0")
        assert TreeState("one/0", 3, "") == reader.tree.state()

    def test_moves_by_compare_and_set(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            transaction.tree.resize(expected=0, size=3)
        with store.beside() as transaction:
            transaction.tree.resize(expected=3, size=8)
        for stale in (0, 3, 9):
            with pytest.raises(PositionMovedError), store.beside() as transaction:
                transaction.tree.resize(expected=stale, size=20)
        assert 8 == reader.tree.state().size

    def test_keeps_a_fault_until_it_is_gone(self, store: WritableStore, reader: Reader) -> None:
        for fault in ("a tile is missing", "another", ""):
            with store.beside() as transaction:
                transaction.tree.find_fault(fault)
            assert fault == reader.tree.state().fault


class TestTiles:
    def test_are_written_and_grow(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            transaction.tree.put([tile(0), tile(1, first=257, count=3), tile(0, level=1, count=1)])
        with store.beside() as transaction:
            transaction.tree.put([tile(1, first=257, count=9)])
            both = transaction.tree.tiles([(0, 1), (0, 7), (1, 0)])
        expected = {(0, 1): tile(1, first=257, count=9), (1, 0): tile(0, level=1, count=1)}
        assert expected == both
        assert expected == reader.tree.tiles([(0, 1), (0, 7), (1, 0)])
        assert {} == reader.tree.tiles([])
        assert {0: (2, 1), 1: (1, 0)} == reader.tree.counts()

    def test_are_found_by_the_position_of_an_event(
        self, store: WritableStore, reader: Reader
    ) -> None:
        """Positions may have gaps: the first tile ends somewhere before 400."""

        def advance(transaction: Transaction) -> None:
            transaction.advance_tail(TREE_TAIL, expected=0, position=403)

        with store.beside() as transaction:
            # The roots of level 1 begin at the same positions, and are no leaves.
            transaction.tree.put([tile(0, first=5), tile(1, first=400, count=3)])
            transaction.tree.put([tile(0, level=1, first=5, count=1)])
            advance(transaction)
        found = {position: reader.tree.tile_at(position) for position in (4, 5, 399, 400, 403, 404)}
        numbers = {
            position: None if each is None else each.number for position, each in found.items()
        }
        assert {4: None, 5: 0, 399: 0, 400: 1, 403: 1, 404: None} == numbers
        assert 403 == reader.tree.position()

    def test_are_forgotten_together(self, store: WritableStore, reader: Reader) -> None:
        with store.beside() as transaction:
            transaction.tree.name("one/0")
            transaction.tree.put([tile(0)])
            transaction.tree.resize(expected=0, size=256)
            transaction.advance_tail(TREE_TAIL, expected=0, position=256)
            transaction.tree.add_head(head(1))
            transaction.tree.find_fault("broken")
        with store.beside() as transaction:
            transaction.tree.clear()
        assert TreeState("one/0", 0, "") == reader.tree.state()
        assert (0, {}) == (reader.tree.position(), reader.tree.counts())
        assert head(1) == reader.tree.newest_head()

    def test_of_a_transaction_that_failed_are_not_there(
        self, store: WritableStore, reader: Reader
    ) -> None:
        with pytest.raises(RuntimeError):
            run(store, lambda t: t.tree.put([tile(0)]), fail)
        assert {} == reader.tree.tiles([(0, 0)])


class TestHeads:
    @pytest.fixture
    def kept(self, store: WritableStore) -> list[Head]:
        heads = [
            head(1, size=5),
            head(2, size=9, key="key"),
            head(3, size=9, key="other"),
            head(4, size=12, key="other"),
        ]
        with store.beside() as transaction:
            for each in heads:
                transaction.tree.add_head(each)
        return heads

    def test_are_found(self, kept: list[Head], reader: Reader) -> None:
        tree = reader.tree
        assert kept == tree.heads(after=0, limit=10)
        assert kept[2:3] == tree.heads(after=2, limit=1)
        assert [kept[2], kept[1]] == tree.heads_before(4, 2)
        assert (kept[1], None) == (tree.head(2), tree.head(9))
        assert kept[3] == tree.newest_head()
        within = [tree.newest_head_within(size) for size in (4, 5, 8, 9, 11, 12, 99)]
        assert [None, kept[0], kept[0], kept[2], kept[2], kept[3], kept[3]] == within
        assert (kept[1], kept[3]) == (tree.last_head_of("key"), tree.last_head_of("other"))
        assert tree.last_head_of("nobody") is None

    def test_there_are_none_at_first(self, reader: Reader) -> None:
        assert (None, []) == (reader.tree.newest_head(), reader.tree.heads(after=0, limit=5))

    def test_a_number_is_given_once(self, kept: list[Head], store: WritableStore) -> None:
        with pytest.raises(PositionMovedError), store.beside() as transaction:
            transaction.tree.add_head(head(4, size=20))
        with store.beside() as transaction:
            transaction.tree.add_head(head(5, size=20))


class TestEvents:
    def test_are_found_by_stream_and_version(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            transaction.append([placed("a"), placed("a", 2, cents=-7), placed("b")])
        found = reader.tree.event("a", 2)
        assert found is not None
        assert (2, "a", 2, encode(note(-7))) == (*found[:3], found.state)
        assert reader.tree.event("a", 3) is None

    def test_are_counted_between_positions(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            transaction.append([placed("a"), placed("b"), placed("c")])
        counted = [reader.tree.events_before(3, since=since) for since in (1, 2, 3, 4)]
        assert [2, 1, 0, 0] == counted

    def test_are_found_by_what_they_were_recorded_as(
        self, store: WritableStore, reader: Reader
    ) -> None:
        with store.transaction() as transaction:
            number = transaction.source_number("/tests")
            transaction.add_inbox([(number, b"tone", b"digest", 4)])
        found = [
            reader.tree.recorded_as(*key) for key in (("/tests", b"tone"), ("/tests", b"ttwo"))
        ]
        assert [4, None] == found
        assert reader.tree.recorded_as("/elsewhere", b"tone") is None


def test_sqlite_finds_the_tile_of_a_position_without_reading_the_others() -> None:
    with closing(SQLiteStore(None)) as store:
        plan = store.connection.execute(f"EXPLAIN QUERY PLAN {TILE_AT}", (5,)).fetchall()
    assert ["tree_tiles_by_position"] == [row[3].split()[4] for row in plan], plan
