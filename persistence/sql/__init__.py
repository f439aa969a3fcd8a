"""The SQL that every backend shares: rows of the read model, intake, reads, laws.

Statements are written once, as SQLite takes them, with `?` for each value; a backend's session runs
them and knows what its database spells in another way.
"""

from persistence.sql.reads import SqlReader
from persistence.sql.rows import SqlRows
from persistence.sql.session import Columns, Row, Session, listed, quoted
from persistence.sql.transaction import SqlTransaction

__all__ = [
    "Columns",
    "Row",
    "Session",
    "SqlReader",
    "SqlRows",
    "SqlTransaction",
    "listed",
    "quoted",
]
