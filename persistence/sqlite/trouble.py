"""Telling the store's trouble from our own mistakes."""

from __future__ import annotations

import sqlite3


def is_trouble(error: BaseException) -> bool:
    """Say whether the file is full, locked, gone or damaged.

    DatabaseError itself is a damaged file; its other subclasses are mistakes of ours.
    """
    return type(error) in {sqlite3.OperationalError, sqlite3.DatabaseError}
