"""Numbers whose parts are read page by page, and how much of a tree one answer opens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from ledger.audit.why.basis import Basis
from ledger.audit.why.cursors import Cursor, Key, Place
from ledger.audit.why.numbers import Number
from ledger.errors import FailedPreconditionError


class Page(NamedTuple):
    """Some parts, and behind which place the others lie; None when there are none."""

    parts: Sequence[Number | Folder]
    after: Place | None


class Folder(ABC):
    """A number with parts."""

    kind: str
    key: Key = ()  # names it among the payer's numbers of its kind
    holds_folders = False  # else its parts are entries, of which one answer has a limited number

    @abstractmethod
    def whole(self) -> Number:
        """Give the number, without its parts."""

    @abstractmethod
    def page(self, after: Place, limit: int) -> Page:
        """Give parts behind a place, at most so many."""


class Opening:
    """Opens a tree, as far as one answer goes."""

    def __init__(self, basis: Basis, size: int) -> None:
        """Open `size` parts of one number, and `size` entries in all."""
        self._basis = basis
        self._size = size
        self._left = size

    def opened(self, folder: Folder, cursor: Cursor | None = None) -> Number:
        """Open a number, or its parts behind those that a cursor names."""
        number = folder.whole()
        after: Place = () if cursor is None else cursor.after
        earlier = (0, 0) if cursor is None else (cursor.earlier_count, cursor.earlier_cents)
        number.earlier_count, number.earlier_cents = earlier
        if not number.part_count:
            return number
        limit = self._size if folder.holds_folders else min(self._size, self._left)
        if not limit:
            return self.closed(folder, number)
        parts, behind = folder.page(after, limit)
        if not folder.holds_folders:
            self._left -= len(parts)
        number.parts = [each if isinstance(each, Number) else self.opened(each) for each in parts]
        count = earlier[0] + len(parts)
        cents = earlier[1] + sum(part.cents for part in number.parts)
        if behind is None:
            _check_sum(number, count, cents)
        else:
            number.more = self._basis.cursor(
                folder.kind, folder.key, behind, earlier=(count, cents)
            )
        return number

    def closed(self, folder: Folder, number: Number | None = None) -> Number:
        """Give a number with none of its parts, and what opens them."""
        number = number or folder.whole()
        if number.part_count:
            number.more = self._basis.cursor(folder.kind, folder.key)
        return number


def _check_sum(number: Number, count: int, cents: int) -> None:
    """Say so, rather than show parts that do not make the number."""
    if (count, cents) != (number.part_count, number.cents):
        raise FailedPreconditionError(
            f"{number.title}: {count} parts of {cents} cents were found, and it has"
            f" {number.part_count} of {number.cents} cents; `usage-ledger check` compares the rows"
            " with the log, and docs/operations.md says how to fold them anew"
        )
