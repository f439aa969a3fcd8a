"""The PostgreSQL store."""

from persistence.postgres.database import Database
from persistence.postgres.generations import PostgresGenerations
from persistence.postgres.migrations import (
    SCHEMA_VERSION,
    finish,
    migrate,
    migrate_shards,
    missing_indexes,
    state,
)
from persistence.postgres.reads import PostgresDatabaseReader, PostgresReader
from persistence.postgres.store import PostgresStore

__all__ = [
    "SCHEMA_VERSION",
    "Database",
    "PostgresDatabaseReader",
    "PostgresGenerations",
    "PostgresReader",
    "PostgresStore",
    "finish",
    "migrate",
    "migrate_shards",
    "missing_indexes",
    "state",
]
