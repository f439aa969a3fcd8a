"""The SQLite store."""

from persistence.sql.tables import TABLES
from persistence.sqlite.generations import SQLiteGenerations
from persistence.sqlite.migrations import migrations_of
from persistence.sqlite.reads import ReadableFile, SQLiteFileReader, SQLiteReader
from persistence.sqlite.replayed import Replayed, ReplayFile, nothing_of
from persistence.sqlite.scratch import Scratch
from persistence.sqlite.store import FILE_NAME, SQLiteStore

__all__ = [
    "FILE_NAME",
    "TABLES",
    "ReadableFile",
    "ReplayFile",
    "Replayed",
    "SQLiteFileReader",
    "SQLiteGenerations",
    "SQLiteReader",
    "SQLiteStore",
    "Scratch",
    "migrations_of",
    "nothing_of",
]
