"""The tree over the log by SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from persistence.errors import PositionMovedError
from persistence.sql.rows import storable
from persistence.sql.session import Session, listed
from persistence.store import StreamEvent
from persistence.tree import TREE_TAIL, Head, Tile, TileKey, TreeState

_KEY = ("level", "number")
_TILE = Tile._fields
_HEAD = Head._fields
_TILES = f"SELECT {listed(_TILE)} FROM tree_tiles"
# By itself SQLite takes the key, and sorts every tile of the level.
TILE_AT = (
    f"{_TILES} INDEXED BY tree_tiles_by_position WHERE level = 0 AND first_position <= ?"
    " ORDER BY first_position DESC LIMIT 1"
)
_HEADS = f"SELECT {listed(_HEAD)} FROM tree_heads"
_STATE = "SELECT origin, size, fault FROM tree"
_BEGIN = "INSERT INTO tree (one, origin, size, fault) VALUES (1, ?, 0, '') ON CONFLICT DO NOTHING"

Select = Callable[[str, Sequence[Any]], list[Any]]
Among = Callable[[str, Sequence[Any], Sequence[Any]], list[Any]]


class SqlTreeRows:
    """Implements `persistence.TreeRows` inside a transaction."""

    def __init__(self, session: Session) -> None:
        """Take the transaction's session."""
        self._session = session

    def state(self) -> TreeState:
        """Tell how the tree is."""
        return _state(self._session.all(_STATE))

    def name(self, origin: str) -> str:
        """Name the tree unless it has a name; give the one that it has now."""
        self._session.change(_BEGIN, (origin,))
        self._session.change("UPDATE tree SET origin = ? WHERE origin = ''", (origin,))
        return self.state().origin

    def tiles(self, keys: Sequence[TileKey]) -> Mapping[TileKey, Tile]:
        """Load tiles; those that are not there are left out."""
        return _by_key(self._session.matching("tree_tiles", _TILE, _KEY, keys))

    def put(self, tiles: Iterable[Tile]) -> None:
        """Write tiles, new or grown."""
        self._session.put("tree_tiles", _KEY, _TILE, list(tiles), changed=("hashes",))

    def resize(self, *, expected: int, size: int) -> None:
        """Move the size by compare-and-set; PositionMovedError when it is not the expected one."""
        if expected == 0:
            self._session.change(_BEGIN, ("",))
        if self._session.change("UPDATE tree SET size = ? WHERE size = ?", (size, expected)) != 1:
            raise PositionMovedError(f"the tree has not {expected} leaves")

    def find_fault(self, fault: str) -> None:
        """Keep what is wrong with the tree; empty: nothing any more."""
        self._session.change(_BEGIN, ("",))
        self._session.change("UPDATE tree SET fault = ? WHERE fault <> ?", (fault, fault))

    def clear(self) -> None:
        """Forget every tile, so that they can be computed anew; the heads stay."""
        # The size first: a follower that is about to commit is waited for, or finds it moved.
        self._session.change("UPDATE tree SET size = 0, fault = ''")
        self._session.change("DELETE FROM tree_tiles")
        self._session.change("DELETE FROM tails WHERE name = ?", (TREE_TAIL,))

    def add_head(self, head: Head) -> None:
        """Keep a head; PositionMovedError when its number is taken."""
        marks = ", ".join("?" * len(_HEAD))
        added = self._session.change(
            f"INSERT INTO tree_heads ({listed(_HEAD)}) VALUES ({marks}) ON CONFLICT DO NOTHING",
            head,
        )
        if added != 1:
            raise PositionMovedError(f"head {head.number} was signed by somebody else meanwhile")


class SqlTreeReader:
    """Implements `persistence.TreeReader` by a reader's own means."""

    def __init__(self, select: Select, among: Among) -> None:
        """Ask on the reader's connection."""
        self._all = select
        self._among = among

    def state(self) -> TreeState:
        """Tell how the tree is."""
        return _state(self._all(_STATE, ()))

    def position(self) -> int:
        """Give the position up to which events are in the tree."""
        rows = self._all("SELECT position FROM tails WHERE name = ?", (TREE_TAIL,))
        return rows[0][0] if rows else 0

    def tiles(self, keys: Sequence[TileKey]) -> Mapping[TileKey, Tile]:
        """Load tiles; those that are not there are left out."""
        found: dict[TileKey, Tile] = {}
        statement = f"{_TILES} WHERE level = ? AND number {{among}}"
        for level in sorted({level for level, _ in keys}):
            numbers = [number for each, number in keys if each == level]
            found |= _by_key(self._among(statement, numbers, (level,)))
        return found

    def tile_at(self, position: int) -> Tile | None:
        """Give the tile of leaves that an event's leaf lies in, if its leaf is there."""
        if position > self.position():
            return None
        rows = self._all(TILE_AT, (position,))
        return Tile(*rows[0]) if rows else None

    def events_before(self, position: int, *, since: int) -> int:
        """Count the events at positions from `since` on that come before a position."""
        rows = self._all(
            "SELECT count(*) FROM stored_events WHERE position >= ? AND position < ?",
            (since, position),
        )
        count: int = rows[0][0]
        return count

    def counts(self) -> Mapping[int, tuple[int, int]]:
        """Give, by level, how many tiles there are and the highest number."""
        rows = self._all("SELECT level, count(*), max(number) FROM tree_tiles GROUP BY level", ())
        return {level: (count, highest) for level, count, highest in rows}

    def head(self, number: int) -> Head | None:
        """Give a head by its number."""
        return self._head("WHERE number = ?", (number,))

    def newest_head(self) -> Head | None:
        """Give the newest head."""
        return self._head("ORDER BY number DESC LIMIT 1", ())

    def newest_head_within(self, size: int) -> Head | None:
        """Give the newest of the heads that cover no more than so many events."""
        return self._head("WHERE size <= ? ORDER BY size DESC, number DESC LIMIT 1", (size,))

    def heads(self, *, after: int, limit: int) -> list[Head]:
        """Give heads with higher numbers, in order."""
        statement = f"{_HEADS} WHERE number > ? ORDER BY number LIMIT ?"
        return [Head(*row) for row in self._all(statement, (after, limit))]

    def heads_before(self, number: int, limit: int) -> list[Head]:
        """Give heads with lower numbers, newest first."""
        statement = f"{_HEADS} WHERE number < ? ORDER BY number DESC LIMIT ?"
        return [Head(*row) for row in self._all(statement, (number, limit))]

    def last_head_of(self, key_name: str) -> Head | None:
        """Give the newest head that a key has signed."""
        return self._head("WHERE key_name = ? ORDER BY number DESC LIMIT 1", (storable(key_name),))

    def _head(self, where: str, values: Sequence[Any]) -> Head | None:
        rows = self._all(f"{_HEADS} {where}", values)
        return Head(*rows[0]) if rows else None

    def event(self, stream: str, version: int) -> StreamEvent | None:
        """Give an event by its place in its stream."""
        rows = self._all(
            "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
            " WHERE originator_id = ? AND originator_version = ?",
            (stream, version),
        )
        return StreamEvent(*rows[0]) if rows else None

    def recorded_as(self, source: str, event_key: bytes) -> int | None:
        """Give the position of the event that was recorded under a source and id."""
        rows = self._all(
            "SELECT i.position FROM sources s CROSS JOIN inbox i"
            " ON i.source = s.number AND i.event_key = ? WHERE s.source = ?",
            (event_key, source),
        )
        return rows[0][0] if rows else None


def _state(rows: Sequence[Any]) -> TreeState:
    return TreeState(*rows[0]) if rows else TreeState("", 0, "")


def _by_key(rows: Iterable[Any]) -> dict[TileKey, Tile]:
    return {(row[0], row[1]): Tile(*row) for row in rows}
