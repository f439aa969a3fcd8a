"""The ports of the tree over the log: its tiles and its heads, in a transaction and for reading.

A tile (level, number) holds up to 256 hashes one behind the other. Those of level 0 are leaves in
the order of the log; a hash of the next level is the root over a full tile below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from persistence.store import StreamEvent

TREE_TAIL = "tree"  # the follower of the log whose position says which events are in the tree

TileKey = tuple[int, int]  # level, number


class Tile(NamedTuple):
    """A tile as it is stored; the last one of a level may lack hashes."""

    level: int
    number: int
    first_position: int  # of the first event that is under it
    hashes: bytes


class TreeState(NamedTuple):
    """How a shard's tree is."""

    origin: str  # names ledger and shard, for ever; empty before the ledger was started once
    size: int  # leaves
    fault: str  # what is wrong with it; empty while nothing is known to be


class Head(NamedTuple):
    """A signed head. Its note says all of it; the columns are there to find it by."""

    number: int  # of the shard's heads, counted from 1 without gaps
    size: int
    root: bytes
    recorded_at: int  # of the newest event that it covers
    signed_at: int
    key_name: str
    author: str  # who had it signed
    note: str


class TreeRows(Protocol):
    """The tree inside a transaction."""

    def state(self) -> TreeState:
        """Tell how the tree is."""

    def name(self, origin: str) -> str:
        """Name the tree unless it has a name; give the one that it has now."""

    def tiles(self, keys: Sequence[TileKey]) -> Mapping[TileKey, Tile]:
        """Load tiles; those that are not there are left out."""

    def put(self, tiles: Iterable[Tile]) -> None:
        """Write tiles, new or grown."""

    def resize(self, *, expected: int, size: int) -> None:
        """Move the size by compare-and-set; PositionMovedError when it is not the expected one."""

    def find_fault(self, fault: str) -> None:
        """Keep what is wrong with the tree; empty: nothing any more."""

    def clear(self) -> None:
        """Forget every tile, so that they can be computed anew; the heads stay."""

    def add_head(self, head: Head) -> None:
        """Keep a head; PositionMovedError when its number is taken."""


class TreeReader(Protocol):
    """Reading the tree, and events by where they stand in it."""

    def state(self) -> TreeState:
        """Tell how the tree is."""

    def position(self) -> int:
        """Give the position up to which events are in the tree."""

    def tiles(self, keys: Sequence[TileKey]) -> Mapping[TileKey, Tile]:
        """Load tiles; those that are not there are left out."""

    def tile_at(self, position: int) -> Tile | None:
        """Give the tile of leaves that an event's leaf lies in, if its leaf is there."""

    def events_before(self, position: int, *, since: int) -> int:
        """Count the events at positions from `since` on that come before a position."""

    def counts(self) -> Mapping[int, tuple[int, int]]:
        """Give, by level, how many tiles there are and the highest number."""

    def head(self, number: int) -> Head | None:
        """Give a head by its number."""

    def newest_head(self) -> Head | None:
        """Give the newest head."""

    def newest_head_within(self, size: int) -> Head | None:
        """Give the newest of the heads that cover no more than so many events."""

    def heads(self, *, after: int, limit: int) -> list[Head]:
        """Give heads with higher numbers, in order."""

    def heads_before(self, number: int, limit: int) -> list[Head]:
        """Give heads with lower numbers, newest first."""

    def last_head_of(self, key_name: str) -> Head | None:
        """Give the newest head that a key has signed."""

    def event(self, stream: str, version: int) -> StreamEvent | None:
        """Give an event by its place in its stream."""

    def recorded_as(self, source: str, event_key: bytes) -> int | None:
        """Give the position of the event that was recorded under a source and id."""
