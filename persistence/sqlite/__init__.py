"""The SQLite store."""

from persistence.sql.tables import TABLES
from persistence.sqlite.migrations import migrations_of
from persistence.sqlite.reads import SQLiteReader
from persistence.sqlite.store import FILE_NAME, SQLiteStore

__all__ = ["FILE_NAME", "TABLES", "SQLiteReader", "SQLiteStore", "migrations_of"]
