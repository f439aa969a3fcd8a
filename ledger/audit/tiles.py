"""The tree as it is stored: tiles of 256 hashes, grown at their right edge and never changed else.

Level 0 holds leaves, a hash of level n + 1 is the root over a full tile of level n. So a few rows
hold every hash that a proof in a tree of any size needs, and adding a thousand leaves writes five.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ledger.audit.merkle import HASH_BYTES, Span, Subtree, folded, perfect_root, subtrees_of
from persistence import Tile, TileKey

TILE_HEIGHT = 8
TILE_HASHES = 1 << TILE_HEIGHT
TILE_BYTES = TILE_HASHES * HASH_BYTES


class TreeBrokenError(Exception):
    """What is stored of the tree does not fit together; the text is for operators."""


def edge_keys(size: int) -> list[TileKey]:
    """Name the tiles at the right edge of a tree that are not full, by level."""
    keys = []
    level, count = 0, size
    while count:
        if count % TILE_HASHES:
            keys.append((level, count // TILE_HASHES))
        level, count = level + 1, count // TILE_HASHES
    return keys


class Edge:
    """The right edge of a tree: all that is needed to add leaves to it."""

    def __init__(self, size: int, tiles: Mapping[int, Tile]) -> None:
        """Take the tiles that are not full, by level; they fit the size."""
        self.size = size
        self._tiles = tiles

    @classmethod
    def of(cls, size: int, tiles: Mapping[TileKey, Tile]) -> Edge:
        """Take the tiles that `edge_keys` named; TreeBrokenError if they do not fit the size."""
        by_level: dict[int, Tile] = {}
        for key in edge_keys(size):
            level, number = key
            wanted = (size >> (TILE_HEIGHT * level)) % TILE_HASHES
            there = len(tiles[key].hashes) if key in tiles else 0
            if there != wanted * HASH_BYTES:
                raise TreeBrokenError(
                    f"tile {level}/{number} of the tree of {size:,} leaves has {there:,} bytes"
                    f" instead of {wanted * HASH_BYTES:,}"
                )
            by_level[level] = tiles[key]
        return cls(size, by_level)

    def tile(self, level: int) -> Tile:
        """Give the tile of a level that is not full."""
        return self._tiles[level]

    def root(self) -> bytes:
        """Give the root of the tree."""
        return Subtrees(
            lambda keys: {key: self._tiles[key[0]] for key in keys if key[0] in self._tiles}
        ).root(self.size)

    def grown(self, leaves: Sequence[bytes], positions: Sequence[int]) -> tuple[Edge, list[Tile]]:
        """Add leaves, and the positions of their events; give the new edge and what to write."""
        edge = dict(self._tiles)
        written: list[Tile] = []
        level, count = 0, self.size
        hashes: Sequence[bytes] = leaves
        while hashes:
            full = []
            at = 0
            while at < len(hashes):
                number, there = divmod(count, TILE_HASHES)
                more = hashes[at : at + TILE_HASHES - there]
                before = edge.get(level) or Tile(level, number, positions[at], b"")
                tile = before._replace(hashes=b"".join((before.hashes, *more)))
                edge[level] = tile
                if len(tile.hashes) == TILE_BYTES:
                    full.append(edge.pop(level))
                written.append(tile)
                at, count = at + len(more), count + len(more)
            level, count = level + 1, self.size >> (TILE_HEIGHT * (level + 1))
            hashes = [perfect_root(tile.hashes) for tile in full]
            positions = [tile.first_position for tile in full]
        return Edge(self.size + len(leaves), edge), written


class Subtrees:
    """Hashes of perfect subtrees and of spans, out of tiles that are loaded when they are needed.

    TreeBrokenError when a tile lacks what the size of the tree says is there.
    """

    def __init__(self, load: Callable[[list[TileKey]], Mapping[TileKey, Tile]]) -> None:
        """`load` gives tiles by key, as far as they are there."""
        self._load = load
        self._tiles: dict[TileKey, bytes] = {}

    def root(self, size: int) -> bytes:
        """Give the root of the tree when it had so many leaves."""
        return self.hashes([(0, size)])[0]

    def hashes(self, spans: Sequence[Span]) -> list[bytes]:
        """Give the root of each span."""
        cut = [subtrees_of(*span) for span in spans]
        self._need([_place(subtree)[0] for subtrees in cut for subtree in subtrees])
        return [folded([self.hash_of(*subtree) for subtree in subtrees]) for subtrees in cut]

    def hash_of(self, height: int, number: int) -> bytes:
        """Give the root over 2^height leaves; that of height 0 is the leaf itself."""
        key, start, end = _place((height, number))
        self._need([key])
        hashes = self._tiles[key]
        if len(hashes) < end:
            level, number = key
            raise TreeBrokenError(
                f"tile {level}/{number} of the tree has {len(hashes):,} bytes where it must have at"
                f" least {end:,}"
            )
        return perfect_root(hashes[start:end])

    def _need(self, keys: Sequence[TileKey]) -> None:
        missing = [key for key in dict.fromkeys(keys) if key not in self._tiles]
        if missing:
            found = self._load(missing)
            for key in missing:
                self._tiles[key] = found[key].hashes if key in found else b""


def _place(subtree: Subtree) -> tuple[TileKey, int, int]:
    """Say which tile a subtree lies in, and between which of its bytes."""
    height, number = subtree
    level, inside = divmod(height, TILE_HEIGHT)
    first = number << inside
    start = first % TILE_HASHES * HASH_BYTES
    return (level, first // TILE_HASHES), start, start + (HASH_BYTES << inside)
