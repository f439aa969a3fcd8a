"""A read model that is folded for one purpose and thrown away: rows in order, however many."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from persistence.sqlite.reads import SQLiteReader
from persistence.sqlite.store import SQLiteStore
from projections import Accrual, Entry, OpenInstance, OtherEntry

_RUNS = "started IS NOT NULL AND stopping IS NULL AND stopped IS NULL AND start_position < ?"
_IN_ORDER = "ORDER BY payer, effective, entry_id"


class Scratch:
    """Rows in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """Begin with nothing folded."""
        # Nothing of it outlives its purpose, so it need not survive a power cut.
        self.store = SQLiteStore(folder, synchronous="off")
        self.reader = SQLiteReader(self.store)

    def close(self) -> None:
        """Close it; the folder is the caller's."""
        self.reader.close()
        self.store.close()

    def payers(self) -> Iterator[bytes]:
        """Give whoever has a balance or a cycle, in order."""
        for (payer,) in self._rows(
            "SELECT payer FROM balances UNION SELECT payer FROM open_cycles"
            " UNION SELECT payer FROM cost_centers ORDER BY payer"
        ):
            yield payer

    def entries(self, accrual: Accrual) -> Iterator[Entry | OpenInstance | OtherEntry]:
        """Give entries of every kind, by payer, date and id; what runs is dated at the accrual."""
        kinds = (
            self._keyed(Entry, f"SELECT {_columns(Entry)} FROM entries {_IN_ORDER}"),
            self._keyed(
                OtherEntry, f"SELECT {_columns(OtherEntry)} FROM other_entries {_IN_ORDER}"
            ),
            self._running(accrual),
        )
        for _, row in heapq.merge(*kinds, key=itemgetter(0)):
            yield row

    def _running(self, accrual: Accrual) -> Iterator[tuple[Any, Any]]:
        statement = (
            f"SELECT {_columns(OpenInstance)} FROM open_instances WHERE {_RUNS}"
            " ORDER BY payer, entry_id"
        )
        for row in self._rows(statement, (accrual.position,)):
            running = OpenInstance(*row)
            yield (running.payer, accrual.instant, running.entry_id), running

    def _keyed(self, kind: Any, statement: str) -> Iterator[tuple[Any, Any]]:
        for row in self._rows(statement):
            entry = kind(*row)
            yield (entry.payer, entry.effective, entry.entry_id), entry

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        yield from self.reader.streamed(statement, values)


def _columns(kind: Any) -> str:
    names = getattr(kind, "_fields", None) or kind.__struct_fields__
    return ", ".join(f'"{name}"' for name in names)
