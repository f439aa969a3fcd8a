"""What a numbered migration is, whatever the database.

Both databases number them alike, so that one number says which forms of events every role knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

BILLING = 4  # while it is not finished, no event of billing may be written
AUDIT = 5  # ... and no void and no erasure
# The projections that the first migration began; later ones begin with a migration of their own.
FIRST_PROJECTIONS = (
    "instances", "usage-totals", "balances", "invoice-drafts", "cost-centers", "clock",
)  # fmt: skip

_Connection = TypeVar("_Connection")


class Migration(NamedTuple, Generic[_Connection]):
    """One step of the schema, taken in one transaction.

    `before` gives what speaks against it, `after` what went wrong; empty text when nothing does.
    """

    number: int
    note: str
    before: Callable[[_Connection], str]
    apply: Callable[[_Connection], None]
    after: Callable[[_Connection], str]


class MigrationRow(NamedTuple):
    """A migration as a database has it; times in ms, None while it is not applied or finished."""

    number: int
    note: str
    applied_at: int | None
    finished_at: int | None
