"""The follower's work at once, and its rows thrown away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ledger.audit.sealing import Sealing
from persistence.sql.tables import SEALED_TABLES
from tests.laws.adapter import ProductLedger


def seal(ledger: ProductLedger, sealing: Sealing, *, steps: int | None = None) -> int:
    """Follow the log to its end, or so many steps; give where it stands."""
    while True:
        step = sealing.look(ledger.reader)
        if not step.events or steps == 0:
            return step.after
        with ledger.store.transaction() as transaction:
            sealing.keep(transaction, step)
        steps = None if steps is None else steps - 1


def sealed_rows(ledger: ProductLedger) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted(ledger.select(f"SELECT * FROM {table}"), key=repr) for table in SEALED_TABLES
    }


def forget_all(ledger: ProductLedger, tables: Iterable[str] = SEALED_TABLES) -> None:
    for table in tables:
        ledger.store.connection.execute(f"DELETE FROM {table}")
