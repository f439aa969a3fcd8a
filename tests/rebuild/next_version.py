"""The program of a next version: its folds have a higher number, and differ as a test wants.

`USAGE_LEDGER_TEST_NEXT` says how: `same`, `dearer` (each credit note gives a cent less), `fails`
(a note cannot be folded), `wider` (a migration adds a table and a column to the read model).
Nothing of the ledger is imported before the projections are changed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import projections
from events import CreditNoteIssued, Recorded
from projections import read_model
from projections.balances import BalanceFold
from projections.rows import Told

HOW = os.environ.get("USAGE_LEDGER_TEST_NEXT", "same")
VERSION = read_model.VERSION + 1
NEW_TABLE, NEW_COLUMN = "note_days", "note_count"


class DearerNotes(BalanceFold):
    """Gives a cent less for each credit note."""

    def fold(self, batch: Sequence[Recorded], told: Told) -> None:
        super().fold(batch, told)
        for recorded in batch:
            if isinstance(recorded.event, CreditNoteIssued):
                self._delta(recorded.event.payer).booked_cents += 1


class NoNotes(BalanceFold):
    """Has a mistake in it."""

    def fold(self, batch: Sequence[Recorded], told: Told) -> None:
        if any(isinstance(recorded.event, CreditNoteIssued) for recorded in batch):
            raise ValueError("this version does not know what a note is")
        super().fold(batch, told)


def widen() -> None:
    """Let a migration of this version add to the read model."""
    name = "persistence.sql.tables"
    found = importlib.util.find_spec("persistence")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "sql" / "tables.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    # Before its room is imported, which reads it.
    tables = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    tables.TABLES["balances"] = (*tables.TABLES["balances"], NEW_TABLE)

    from persistence.migration import Migration  # noqa: PLC0415
    from persistence.postgres import migrations as of_postgres  # noqa: PLC0415
    from persistence.sqlite import migrations as of_sqlite  # noqa: PLC0415

    sqlite = (
        f"CREATE TABLE {NEW_TABLE} (day INTEGER PRIMARY KEY, notes INTEGER NOT NULL)",
        f"ALTER TABLE balances ADD COLUMN {NEW_COLUMN} INTEGER NOT NULL DEFAULT 0",
    )
    postgres = tuple(statement.replace("INTEGER", "bigint") for statement in sqlite)
    for room, statements in ((of_sqlite, sqlite), (of_postgres, postgres)):
        number = room.MIGRATIONS[-1].number + 1

        def apply(connection: object, statements: tuple[str, ...] = statements) -> None:
            for statement in statements:
                connection.execute(statement)  # type: ignore[attr-defined]  # of either database

        step = Migration(number, "a test", lambda _: "", apply, lambda _: "")
        vars(room).update(MIGRATIONS=(*room.MIGRATIONS, step))
        package = room.__name__.rpartition(".")[0]
        for module in [*sys.modules.values()]:  # some have taken the number already
            if module.__name__.startswith(package) and hasattr(module, "SCHEMA_VERSION"):
                vars(module).update(SCHEMA_VERSION=number)


def change() -> None:
    """Make the folds those of the next version, in this process."""
    projections.VERSION = read_model.VERSION = VERSION
    if HOW == "dearer":
        vars(read_model)["BalanceFold"] = DearerNotes
    elif HOW == "fails":
        vars(read_model)["BalanceFold"] = NoNotes
    elif HOW == "wider":
        widen()
    else:
        assert HOW == "same", HOW


if __name__ == "__main__":
    change()
    from cli.main import main

    sys.exit(main())
