"""Which ledger a database belongs to, and which shard of it it is."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import Connection

from persistence.errors import StoreRefusedError
from persistence.postgres.database import Database
from persistence.sql import Row


class Identity(NamedTuple):
    """What the one row of table `ledger` says."""

    ledger_id: str
    shard: int


def identity(connection: Connection[Row], database: Database) -> Identity:
    """Give which ledger and shard a database is."""
    row = connection.execute(b"SELECT ledger_id, shard FROM ledger", prepare=False).fetchone()
    if row is None:
        raise StoreRefusedError(
            f"{database.name} does not say which ledger it belongs to: restore a backup"
        )
    return Identity(*row)


def refuse_another(
    found: Identity, database: Database, *, shard: int, ledger_id: str | None
) -> None:
    """Refuse another ledger's database, and another shard's."""
    if ledger_id is not None and found.ledger_id != ledger_id:
        raise StoreRefusedError(
            f"{database.name} belongs to ledger {found.ledger_id}, not to {ledger_id} of the first"
            " shard: put the URLs of one ledger into postgres.urls"
        )
    if found.shard != shard:
        raise StoreRefusedError(
            f"{database.name} is shard {found.shard}, but stands in the place of shard {shard}:"
            " bring postgres.urls into the order of the shards"
        )
