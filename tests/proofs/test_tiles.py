"""Tiles: grown by any batches they hold every tree there ever was; damaged ones are noticed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit import merkle
from ledger.audit.tiles import TILE_HASHES, Edge, Subtrees, TreeBrokenError, edge_keys
from persistence import Tile, TileKey
from tests.proofs import naive

LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(1_500)]
ROOTS: dict[int, bytes] = {}


def root_of(size: int) -> bytes:
    if size not in ROOTS:
        ROOTS[size] = naive.root(LEAVES[:size])
    return ROOTS[size]


def position_of(leaf: int) -> int:
    """Positions with gaps: the log begins at 10, and every seventh position is left out."""
    return 10 + leaf + leaf // 6


def grow(tiles: dict[TileKey, Tile], start: int, end: int) -> None:
    """Add the leaves [start, end) as a follower that has just been started does."""
    edge = Edge.of(start, {key: tiles[key] for key in edge_keys(start)})
    positions = [position_of(leaf) for leaf in range(start, end)]
    _, grown = edge.grown(LEAVES[start:end], positions)
    for tile in grown:
        tiles[tile.level, tile.number] = tile


def subtrees(tiles: dict[TileKey, Tile]) -> Subtrees:
    return Subtrees(lambda keys: {key: tiles[key] for key in keys if key in tiles})


@pytest.fixture(scope="module")
def grown() -> dict[TileKey, Tile]:
    tiles: dict[TileKey, Tile] = {}
    grow(tiles, 0, len(LEAVES))
    return tiles


class TestGrowing:
    @given(st.lists(st.integers(0, 700), max_size=12))
    def test_in_any_batches_gives_the_same_tiles(self, sizes: list[int]) -> None:
        tiles: dict[TileKey, Tile] = {}
        size = 0
        for more in sizes:
            end = min(size + more, len(LEAVES))
            grow(tiles, size, end)
            size = end
        at_once: dict[TileKey, Tile] = {}
        grow(at_once, 0, size)
        assert at_once == tiles

    def test_keeps_its_edge_between_batches(self) -> None:
        tiles: dict[TileKey, Tile] = {}
        edge, size = Edge.of(0, {}), 0
        rng = random.Random(5)
        while size < len(LEAVES):
            end = min(size + rng.randint(1, 300), len(LEAVES))
            edge, grown = edge.grown(LEAVES[size:end], [position_of(n) for n in range(size, end)])
            tiles |= {(tile.level, tile.number): tile for tile in grown}
            size = end
            assert size == edge.size
        at_once: dict[TileKey, Tile] = {}
        grow(at_once, 0, size)
        assert at_once == tiles

    def test_leaves_an_edge_that_did_not_commit_as_it_was(self) -> None:
        edge = Edge.of(0, {})
        edge.grown(LEAVES[:300], range(1, 301))
        after, tiles = edge.grown(LEAVES[:3], range(1, 4))
        assert (3, [Tile(0, 0, 1, b"".join(LEAVES[:3]))]) == (after.size, tiles)

    def test_says_which_event_a_tile_begins_with(self, grown: dict[TileKey, Tile]) -> None:
        for (level, number), tile in grown.items():
            first_leaf = number * TILE_HASHES ** (level + 1)
            assert position_of(first_leaf) == tile.first_position

    def test_three_levels(self) -> None:
        """65,536 leaves fill a tile of level 1; its root is the first hash of level 2."""
        leaves = [merkle.leaf_hash(b"%d" % number) for number in range(65_700)]
        _, grown = Edge.of(0, {}).grown(leaves, range(1, 65_701))
        tiles = {(tile.level, tile.number): tile for tile in grown}
        assert {(1, 0), (2, 0)} <= tiles.keys()
        assert 32 == len(tiles[2, 0].hashes)
        assert naive.root(leaves[:65_536]) == tiles[2, 0].hashes
        for size in (65_535, 65_536, 65_537, 65_700):
            assert naive.root(leaves[:size]) == subtrees(tiles).root(size)


class TestReading:
    @given(st.integers(1, len(LEAVES)), st.data())
    def test_any_root_and_proof_of_any_size(self, size: int, data: st.DataObject) -> None:
        tiles: dict[TileKey, Tile] = {}
        grow(tiles, 0, data.draw(st.integers(size, len(LEAVES))))
        read = subtrees(tiles)
        assert root_of(size) == read.root(size)
        leaf = data.draw(st.integers(0, size - 1))
        assert LEAVES[leaf] == read.hash_of(0, leaf)
        path = read.hashes(merkle.inclusion_spans(leaf, size))
        assert root_of(size) == merkle.root_by_inclusion(LEAVES[leaf], leaf, size, path)
        first = data.draw(st.integers(1, size))
        proof = read.hashes(merkle.consistency_spans(first, size))
        assert merkle.is_consistent(first, root_of(first), size, root_of(size), proof)

    def test_the_empty_tree(self) -> None:
        assert merkle.EMPTY_ROOT == subtrees({}).root(0)

    def test_asks_for_few_tiles_once(self, grown: dict[TileKey, Tile]) -> None:
        asked: list[TileKey] = []

        def load(keys: list[TileKey]) -> dict[TileKey, Tile]:
            asked.extend(keys)
            return {key: grown[key] for key in keys}

        read = Subtrees(load)
        read.hashes([*merkle.inclusion_spans(3, 1_500), (0, 1_024), (1_024, 1_500)])
        assert len(asked) == len(set(asked)) <= 4


class TestDamage:
    @pytest.mark.parametrize("key", [(0, 0), (0, 5), (1, 0)])
    @pytest.mark.parametrize("what", ["missing", "short", "cut"])
    def test_of_a_tile_that_is_needed_is_told(
        self, grown: dict[TileKey, Tile], key: TileKey, what: str
    ) -> None:
        tiles = dict(grown)
        tile = tiles.pop(key)
        if what != "missing":
            left = tile.hashes[:-32] if what == "short" else tile.hashes[:-1]
            tiles[key] = tile._replace(hashes=left)
        level, number = key
        last = number * TILE_HASHES + len(tile.hashes) // 32 - 1
        with pytest.raises(TreeBrokenError, match=f"tile {level}/{number}"):
            subtrees(tiles).hash_of(8 * level, last)

    @pytest.mark.parametrize("change", ["missing", "short", "long"])
    def test_of_the_edge_is_told_before_it_grows(
        self, grown: dict[TileKey, Tile], change: str
    ) -> None:
        edge = {key: grown[key] for key in edge_keys(len(LEAVES))}
        tile = edge.pop((0, 5))
        if change == "short":
            edge[0, 5] = tile._replace(hashes=tile.hashes[32:])
        elif change == "long":
            edge[0, 5] = tile._replace(hashes=tile.hashes + bytes(32))
        with pytest.raises(TreeBrokenError, match="tile 0/5"):
            Edge.of(len(LEAVES), edge)
