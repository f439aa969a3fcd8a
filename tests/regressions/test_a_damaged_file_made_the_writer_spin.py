"""SQLite tells a damaged file by DatabaseError itself; it was taken for a mistake of ours.

Groups failed one by one without end, folds were paused for it, and health went on saying SERVING.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from persistence import StoreUnavailableError
from persistence.sqlite import SQLiteStore


def test_it_is_the_store_s_trouble() -> None:
    with closing(SQLiteStore(None)) as store:
        with pytest.raises(StoreUnavailableError), store.transaction():
            raise sqlite3.DatabaseError("database disk image is malformed")
        with (
            pytest.raises(StoreUnavailableError),
            store.transaction() as transaction,
            transaction.rows.savepoint(),
        ):
            raise sqlite3.DatabaseError("database disk image is malformed")


def test_a_mistake_of_ours_is_not() -> None:
    store = SQLiteStore(None)
    with closing(store), pytest.raises(sqlite3.IntegrityError), store.transaction():
        raise sqlite3.IntegrityError("UNIQUE constraint failed")
