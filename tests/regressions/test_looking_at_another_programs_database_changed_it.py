"""A foreign database was turned to write-ahead logging before it was refused."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from persistence import StoreRefusedError
from persistence.sqlite import FILE_NAME, SQLiteStore


def test_not_a_byte_of_it_is_changed(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    with contextlib.closing(sqlite3.connect(file)) as theirs, theirs:
        theirs.execute("CREATE TABLE theirs (a)")
    before = file.read_bytes()

    with pytest.raises(StoreRefusedError, match="is not a ledger"):
        SQLiteStore(tmp_path)

    assert before == file.read_bytes()
    assert {FILE_NAME, "lock"} == {path.name for path in tmp_path.iterdir()}
