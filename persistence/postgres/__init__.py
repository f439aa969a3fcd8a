"""The PostgreSQL store."""

from persistence.postgres.database import Database
from persistence.postgres.migrations import SCHEMA_VERSION, finish, migrate, migrate_shards, state
from persistence.postgres.reads import PostgresReader
from persistence.postgres.store import PostgresStore

__all__ = [
    "SCHEMA_VERSION",
    "Database",
    "PostgresReader",
    "PostgresStore",
    "finish",
    "migrate",
    "migrate_shards",
    "state",
]
