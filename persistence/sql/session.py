"""What the shared SQL needs of a connection, whatever the database.

Statements have `?` for each value and come from our own constants. Look-ups and writes of many rows
are named by table and columns, because databases take many rows in different ways: SQLite one by
one, PostgreSQL as arrays or as a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Columns = tuple[str, ...]
Row = tuple[Any, ...]


class Session(Protocol):
    """A connection inside a transaction; statements go to the tables of one generation."""

    @property
    def generation(self) -> int:
        """Give the generation that is read and written."""

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Give the rows that a statement answers with."""

    def one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Give the first row, or None."""

    def stream(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Give the rows one after the other, however many."""

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that writes; give how many rows it wrote."""

    def among(
        self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()
    ) -> Iterator[Any]:
        """Give the rows whose column is among the keys, in no order beyond the statement's.

        `{among}` in the statement stands behind that column; `values` come before the keys.
        Rows of one key are never torn apart.
        """

    def matching(
        self, table: str, columns: Columns, keys: Columns, wanted: Sequence[Row]
    ) -> Iterator[Any]:
        """Give the rows whose key columns are one of the wanted tuples."""

    def insert(
        self, table: str, columns: Columns, rows: Sequence[Row], *, missing_only: bool = False
    ) -> None:
        """Write new rows; those that are there already are a conflict, or let pass."""

    def put(
        self, table: str, keys: Columns, columns: Columns, rows: Sequence[Row], *,
        changed: Columns = (),
    ) -> None:  # fmt: skip
        """Write rows, new or not; of those that are there change all columns or the named ones."""

    def add(self, table: str, keys: Columns, sums: Columns, rows: Sequence[Row]) -> None:
        """Add to the sums of rows by key; a row that is not there begins with what is added."""

    def update(
        self, table: str, keys: Columns, columns: Columns, rows: Sequence[Row], *,
        raised: Columns = (),
    ) -> None:  # fmt: skip
        """Set or raise columns of rows that are there; a row is its keys, then the columns."""

    def remove(
        self, table: str, keys: Columns, wanted: Sequence[Row], *, condition: str = ""
    ) -> None:
        """Delete rows by key, where a condition on their own columns holds."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what happens inside when it raises, and nothing else.

        StoreUnavailableError when the whole transaction is lost.
        """


def quoted(column: str) -> str:
    """Give a column as every database takes it: `user` is a function in PostgreSQL."""
    return '"user"' if column == "user" else column


def listed(columns: Columns) -> str:
    """Give columns for a statement."""
    return ", ".join(map(quoted, columns))
