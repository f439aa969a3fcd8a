"""Recomputing a shard's tree from its stored events, against its tiles and its heads.

It says what it finds as it goes, in memory that does not grow with the log. Of events the first
that is not what was recorded is named: where a row is missing or too many, all that follow stand
elsewhere than they did. The log is read without a snapshot, for it is only ever added to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ledger.audit.findings import Finding, Mark
from ledger.audit.following import leaves_of
from ledger.audit.keys import KeyList
from ledger.audit.marks import Marks
from ledger.audit.merkle import HASH_BYTES
from ledger.audit.naming import first_difference, name_difference
from ledger.audit.notes import Note
from ledger.audit.tiles import TILE_BYTES, TILE_HASHES, Edge, TreeBrokenError, edge_keys
from persistence import Reader, StoreUnavailableError, StreamEvent, Tile, TileKey

BEGINNING = -(2**62)  # before every position: what stands below 1 was never recorded
BATCH_TILES = 20  # of events compared between two signs of progress
FINDINGS_MAX = 100


class Progress(NamedTuple):
    """How many events were compared, and how many there are to compare."""

    verified: int
    size: int


class Summary(NamedTuple):
    """What was looked at."""

    origin: str
    events: int
    tiles: int
    heads: int
    uncovered: int  # events that no head covers
    waiting: int  # events that are not in the tree yet
    findings: int


Told = Progress | Finding | Summary


def verify(reader: Reader, keys: KeyList, kept: Sequence[Note] = ()) -> Iterator[Told]:
    """Verify a shard; `kept` are heads that were kept elsewhere, whatever shard they are of."""
    walk = _Walk(reader, keys, kept)
    count = 0
    for told in walk.run():
        if isinstance(told, Finding):
            count += 1
            if count > FINDINGS_MAX:
                continue  # they are counted
        yield told
    yield walk.summary(count)


class _StoppedError(Exception):
    """What follows a leaf stands elsewhere than it did, so nothing can be said of it."""

    def __init__(self, leaf: int) -> None:
        super().__init__()
        self.leaf = leaf


class _Walk:
    """One walk over a shard's log."""

    def __init__(self, reader: Reader, keys: KeyList, kept: Sequence[Note]) -> None:
        self._reader = reader
        with reader.snapshot():
            self._state = reader.tree.state()
            self._end = reader.tree.position()
            self._counts = reader.tree.counts()
            self._waiting = reader.tree.events_before(2**62, since=self._end + 1)
            self._marks = Marks(reader, self._state, keys, kept)
        self._edge = Edge(0, {})
        self._positions: list[int] = []  # of the events in the last tile of leaves
        self._before = BEGINNING  # the position of the event before those
        self._stored: dict[TileKey, Tile] = {}
        self._tiles = 0
        self._matched = Mark("", 0, b"", "")
        self._goes_astray = False  # since a root that is not what a head covers
        self._told_tile = -1  # the last tile of leaves that something was told of
        self._compared = 0

    def run(self) -> Iterator[Progress | Finding]:
        size = self._state.size
        if self._state.fault:
            yield Finding("tree", f"the ledger has found that {self._state.fault}")
        yield from self._extra_tiles()
        try:
            yield from self._walk(size)
            yield from self._compare_edge()
            self._compared = self._edge.size
        except _StoppedError as stopped:
            self._compared = stopped.leaf
        yield from self._marks.rest(size, is_growing=self._waiting > 0)
        yield Progress(self._compared, size)

    def summary(self, findings: int) -> Summary:
        size = self._state.size
        uncovered = max(size - self._marks.covered, 0)
        return Summary(
            self._state.origin, self._compared, self._tiles, self._marks.heads, uncovered,
            self._waiting, findings,
        )  # fmt: skip

    # Events ------------------------------------------------------------------------------------

    def _walk(self, size: int) -> Iterator[Progress | Finding]:
        after = BEGINNING
        while True:
            stored, unreadable = self._read(after)
            self._load_tiles(len(stored))
            start = 0
            # Up to the next head, where the root is compared, or the end of the tree.
            while start < len(stored) and self._edge.size < size:
                mark = self._marks.next_size(self._edge.size)
                end = start + min(mark, size) - self._edge.size
                yield from self._add(stored[start:end])
                start = min(end, len(stored))
                yield from self._compare_with_marks()
            if start < len(stored):
                yield self._too_many(stored[start])
                raise _StoppedError(self._edge.size)
            if stored:
                after = stored[-1].position
                yield Progress(self._edge.size, size)
            if unreadable is not None:
                yield unreadable
                raise _StoppedError(self._edge.size)
            if not stored:
                break
        yield from self._compare_end(size, after)

    def _compare_end(self, size: int, position: int) -> Iterator[Finding]:
        """Compare where the tree ends with where it says that it does."""
        told = f"the tree of {size:,} leaves is said to follow the log to position {self._end:,}"
        if self._edge.size == size:
            if size and position != self._end:
                yield Finding("tree", f"{told}, but its last leaf stands at {position:,}")
            return
        found = name_difference(self._reader, self._edge.size, position, self._marks.upcoming)
        if found.kind == "tile":  # the event is there, behind that position
            found = Finding("tree", f"{told}, which is leaf {self._edge.size - 1:,}")
        yield found
        raise _StoppedError(self._edge.size)

    def _read(self, after: int) -> tuple[list[StreamEvent], Finding | None]:
        """Read the next events of the tree, up to one that cannot be read, of which is told."""
        limit = BATCH_TILES * TILE_HASHES - self._edge.size % TILE_HASHES
        try:
            stored = self._reader.log(after=after, limit=limit)
        except StoreUnavailableError:
            return self._read_singly(after, limit)
        return [event for event in stored if event.position <= self._end], None

    def _read_one(self, after: int) -> list[StreamEvent] | str:
        """Read an event, or say why it cannot be read; StoreUnavailableError if nothing can."""
        try:
            return self._reader.log(after=after, limit=1)
        except StoreUnavailableError:
            self._reader.tree.state()  # or is it the store that cannot be read?
        try:
            return self._reader.log(after=after, limit=1)  # it may have been away for a moment
        except StoreUnavailableError as error:
            self._reader.tree.state()
            return str(error)

    def _read_singly(self, after: int, limit: int) -> tuple[list[StreamEvent], Finding | None]:
        stored: list[StreamEvent] = []
        for _ in range(limit):
            one = self._read_one(after)
            if isinstance(one, str):
                return stored, Finding(
                    "unreadable",
                    f"the event behind position {after:,} cannot be read: {one}",
                    leaf=self._edge.size + len(stored),
                )
            if not one or one[0].position > self._end:
                break
            stored += one
            after = one[0].position
        return stored, None

    def _add(self, stored: Sequence[StreamEvent]) -> Iterator[Finding]:
        """Add leaves, and compare every tile that they fill or begin."""
        try:
            leaves = leaves_of(stored)
        except TreeBrokenError:
            readable, damaged = _until_damaged(stored)
            yield from self._add(readable)
            yield Finding(
                "unreadable",
                f"the event at position {damaged.position:,}, {damaged.stream} version"
                f" {damaged.version}, {damaged.topic}, is damaged",
                damaged.position,
                self._edge.size,
            )
            raise _StoppedError(self._edge.size) from None
        self._edge, written = self._edge.grown(leaves, [event.position for event in stored])
        at = 0
        for tile in written:
            if tile.level:
                yield from self._compare_upper(tile)
                continue
            more = len(tile.hashes) // HASH_BYTES - len(self._positions)
            self._positions += [event.position for event in stored[at : at + more]]
            at += more
            yield from self._compare_leaves(tile)
            if len(tile.hashes) == TILE_BYTES:
                self._tiles += 1
                self._before = self._positions[-1]
                self._positions = []

    # Tiles -------------------------------------------------------------------------------------

    def _load_tiles(self, count: int) -> None:
        """Load the tiles of leaves that so many events lie in, and those that they fill above."""
        begin, end = self._edge.size, self._edge.size + count
        keys: list[TileKey] = []
        level = 0
        while end:
            first, last = begin // TILE_HASHES, -(-end // TILE_HASHES)
            keys += [(level, number) for number in range(first, last)]
            level, begin, end = level + 1, begin // TILE_HASHES, end // TILE_HASHES
        self._stored = dict(self._reader.tree.tiles(keys))

    def _compare_leaves(self, tile: Tile) -> Iterator[Finding]:
        if tile.number == self._told_tile:
            return
        stored = self._stored.get((0, tile.number))
        kept = b"" if stored is None else stored.hashes[: len(tile.hashes)]
        if stored is not None and kept == tile.hashes:
            if stored.first_position != tile.first_position:
                self._told_tile = tile.number
                yield Finding(
                    "moved",
                    f"the event at position {tile.first_position:,} stood at"
                    f" {stored.first_position:,} when it became a leaf",
                    tile.first_position,
                    tile.number * TILE_HASHES,
                )
            return
        index = first_difference(tile.hashes, kept)
        leaf = tile.number * TILE_HASHES + index
        before = self._positions[index - 1] if index else self._before
        found = name_difference(self._reader, leaf, before, self._marks.upcoming)
        yield found
        if found.kind != "tile":
            raise _StoppedError(leaf)
        self._told_tile = tile.number

    def _compare_upper(self, tile: Tile) -> Iterator[Finding]:
        if len(tile.hashes) == TILE_BYTES:
            self._tiles += 1
            yield from self._differs(tile, self._stored.get((tile.level, tile.number)))

    def _compare_edge(self) -> Iterator[Finding]:
        """Compare the tiles above the leaves that are not full."""
        keys = [key for key in edge_keys(self._edge.size) if key[0]]
        stored = self._reader.tree.tiles(keys)
        self._tiles += len(edge_keys(self._edge.size))
        for key in keys:
            yield from self._differs(self._edge.tile(key[0]), stored.get(key))

    @staticmethod
    def _differs(tile: Tile, stored: Tile | None) -> Iterator[Finding]:
        name = f"tile {tile.level}/{tile.number}"
        if stored is None:
            yield Finding("tile", f"{name} of the tree is missing; the events are as recorded")
        elif stored.hashes[: len(tile.hashes)] != tile.hashes:
            yield Finding("tile", f"{name} of the tree was changed; the events are as recorded")

    def _extra_tiles(self) -> Iterator[Finding]:
        wanted: dict[int, int] = {}
        level, count = 0, self._state.size
        while count:
            wanted[level] = -(-count // TILE_HASHES)
            level, count = level + 1, count // TILE_HASHES
        for level, (count, highest) in sorted(self._counts.items()):
            if count > wanted.get(level, 0) or highest >= wanted.get(level, 0):
                yield Finding(
                    "tree",
                    f"the tree of {self._state.size:,} leaves has {count:,} tiles of level {level},"
                    f" up to number {highest:,}, instead of {wanted.get(level, 0):,}",
                )

    # Heads -------------------------------------------------------------------------------------

    def _compare_with_marks(self) -> Iterator[Finding]:
        for found in self._marks.reached(self._edge.size):
            if isinstance(found, Finding):
                yield found
            elif not self._goes_astray and self._edge.root() == found.root:
                self._matched = found
            elif not self._goes_astray:
                self._goes_astray = True
                yield Finding(
                    found.kind,
                    f"the log does not begin with what {found.name} covers: between leaf"
                    f" {self._matched.size:,} and leaf {found.size - 1:,} events were changed, and"
                    " the tree with them",
                    leaf=self._matched.size,
                )

    def _too_many(self, event: StreamEvent) -> Finding:
        return Finding(
            "inserted",
            f"the event at position {event.position:,}, {event.stream} version {event.version},"
            f" {event.topic}, was inserted: the tree ends before it and follows the log to position"
            f" {self._end:,}",
            event.position,
            self._edge.size,
        )


def _until_damaged(stored: Sequence[StreamEvent]) -> tuple[Sequence[StreamEvent], StreamEvent]:
    for index, event in enumerate(stored):
        try:
            leaves_of([event])
        except TreeBrokenError:
            return stored[:index], event
    raise AssertionError("one of them is damaged")
