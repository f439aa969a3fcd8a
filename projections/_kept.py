"""Rows that a fold holds in memory between loading and writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bytes, str, tuple[str, int])
Row = TypeVar("Row")


class Kept(Generic[Key, Row]):
    """Rows of one table: those that were loaded, and those that changed or are new."""

    def __init__(self, find: Callable[[Sequence[Key]], dict[Key, Row]]) -> None:
        """Load with `find`, many at a time."""
        self._find: Callable[[Sequence[Key]], dict[Key, Row]] = find
        self._loaded: dict[Key, Row] = {}
        self._changed: dict[Key, Row] = {}

    def load(self, keys: Iterable[Key]) -> None:
        """Load all rows that the next events may ask for."""
        wanted = sorted(set(keys))
        self._loaded = self._find(wanted) if wanted else {}

    def has(self, key: Key) -> bool:
        """Say whether there is a row."""
        return key in self._changed or key in self._loaded

    def put(self, key: Key, row: Row) -> None:
        """Take a row in the place of what is there."""
        self._changed[key] = row

    def change(self, key: Key) -> Row:
        """Give a row that is there, to be changed; KeyError when it is not."""
        row = self._changed.get(key)
        if row is None:
            row = self._changed[key] = self._loaded[key]
        return row

    def taken(self) -> list[Row]:
        """Give what changed, and forget everything."""
        changed = list(self._changed.values())
        self._loaded, self._changed = {}, {}
        return changed
