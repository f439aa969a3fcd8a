"""Indexes that are made behind the migrations, while others write.

Whoever makes one must not be inside a transaction: it waits until every older one has ended.
"""

from __future__ import annotations

import time

from psycopg import Connection

from persistence.postgres.audit_schema import WHY, WHY_INDEX
from persistence.sql import Row

LOCK = 0x55534C49  # of who makes one, in the ledger's own database
PAUSE_SECONDS = 0.2


def build_indexes(connection: Connection[Row]) -> None:
    """Make what is missing, and anew what was interrupted."""
    while not _first_of(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):
        time.sleep(PAUSE_SECONDS)
    if lacks(connection, WHY_INDEX):
        # Else it would wait for those who read the table, and everybody who comes later behind it.
        connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {WHY_INDEX}".encode(), prepare=False)
        connection.execute(f"CREATE INDEX CONCURRENTLY {WHY}".encode(), prepare=False)
    _first_of(connection, "SELECT pg_advisory_unlock(%s)", LOCK)


def lacks(connection: Connection[Row], index: str) -> bool:
    """Say whether there is no index, or none that is used yet."""
    question = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    return not _first_of(connection, question, index)


def _first_of(connection: Connection[Row], question: str, value: object) -> object:
    row = connection.execute(question.encode(), (value,), prepare=False).fetchone()
    return None if row is None else row[0]
