"""Where a service of a test lies, on SQLite and on PostgreSQL."""

from tests.proofs.conftest import place

__all__ = ["place"]
