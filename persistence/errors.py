"""What can go wrong with a store.

StoreError
├── StoreRefusedError        it must not be opened: wrong version, locked, read-only, not ours
├── StoreUnavailableError    it cannot be read or written now; nothing of the transaction stays
└── PositionMovedError       a compare-and-set lost: somebody else goes on from another position
"""

from __future__ import annotations

from projections import RowsUnavailableError


class StoreError(Exception):
    """A store's trouble; the text is for operators and never reaches a caller."""


class StoreRefusedError(StoreError):
    """The store must not be opened; the text says what to change."""


class StoreUnavailableError(StoreError, RowsUnavailableError):
    """The store cannot be read or written now; nothing of the transaction stays."""


class PositionMovedError(StoreError):
    """A position is not where it was read; nothing of the transaction stays."""
