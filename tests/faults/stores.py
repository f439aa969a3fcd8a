"""A store that goes away when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from persistence import StoreUnavailableError
from persistence.sqlite import SQLiteStore
from persistence.sqlite.transaction import SQLiteTransaction


class FailingStore(SQLiteStore):
    """A ledger in memory."""

    def __init__(self) -> None:
        """Work until told otherwise."""
        self.transactions_left: int | None = None
        self.fails_at_commit = False
        super().__init__(None)

    @contextmanager
    def transaction(self) -> Iterator[SQLiteTransaction]:
        """Begin, unless no transactions are left."""
        if self.transactions_left is not None:
            if not self.transactions_left:
                raise StoreUnavailableError("gone")
            self.transactions_left -= 1
        with super().transaction() as transaction:
            yield transaction
            if self.fails_at_commit:
                raise StoreUnavailableError("gone at commit")
