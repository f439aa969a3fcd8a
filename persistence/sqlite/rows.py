"""The rows of the read model in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from persistence.errors import StoreUnavailableError
from persistence.sqlite.trouble import is_trouble
from projections import (
    Accrual,
    AccrualKey,
    Amount,
    BalanceDelta,
    BaseKey,
    ClockRow,
    CostCenterRow,
    Entry,
    LineKey,
    OpenCycle,
    OpenInstance,
    OtherEntry,
    Pause,
    RollupKey,
)

KEYS_PER_SELECT = 400  # two variables each, far below SQLite's limit of 32,766 and cheap to prepare

_astuple = msgspec.structs.astuple


def _columns(row_type: type[msgspec.Struct]) -> str:
    return ", ".join(row_type.__struct_fields__)


def _marks(row_type: type[msgspec.Struct]) -> str:
    return ", ".join("?" * len(row_type.__struct_fields__))


_OPEN = _columns(OpenInstance)
_ENTRY = _columns(Entry)
_CYCLE = _columns(OpenCycle)


class SQLiteRows:
    """Implements `projections.Rows` inside the writer's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take the writer's connection."""
        self._connection = connection
        self._execute = connection.execute
        self._many = connection.executemany

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside when it raises, and nothing else."""
        self._execute("SAVEPOINT fold")
        try:
            yield
        except BaseException as error:
            if is_trouble(error):  # the whole transaction is lost, savepoints and all
                raise StoreUnavailableError(str(error)) from error
            self._execute("ROLLBACK TO fold")
            self._execute("RELEASE fold")
            raise
        self._execute("RELEASE fold")

    def advance(self, name: str, *, expected: int, position: int) -> None:
        """Move a projection by compare-and-set."""
        moved = self._execute(
            "UPDATE projections SET position = ? WHERE name = ? AND position = ?",
            (position, name, expected),
        )
        if moved.rowcount != 1:
            raise StoreUnavailableError(
                f"projection {name!r} is not at {expected}: another writer moved it"
            )

    def pause(self, name: str, pause: Pause) -> None:
        """Keep why a projection stands still."""
        self._execute(
            "UPDATE projections SET paused_at = ?, paused_reason = ? WHERE name = ?",
            (pause.position, pause.reason, name),
        )

    def accrual(self) -> Accrual:
        """Give the last reconcile."""
        row = self._execute("SELECT instant, position FROM accrual").fetchone()
        return Accrual(*row) if row else Accrual(0, 0)

    def open_instances(
        self, keys: Sequence[tuple[bytes, bytes]]
    ) -> dict[tuple[bytes, bytes], OpenInstance]:
        """Load rows by (payer, entry id)."""
        found: dict[tuple[bytes, bytes], OpenInstance] = {}
        for start in range(0, len(keys), KEYS_PER_SELECT):
            part = keys[start : start + KEYS_PER_SELECT]
            values = ", ".join(["(?, ?)"] * len(part))
            flat = [value for key in part for value in key]
            # CROSS JOIN keeps the keys outside, so that each is one look-up in the primary key.
            for row in self._execute(
                f"WITH k (p, e) AS (VALUES {values}) SELECT {_OPEN} FROM k"
                " CROSS JOIN open_instances ON payer = p AND entry_id = e",
                flat,
            ):
                found[row[0], row[1]] = OpenInstance(*row)
        return found

    def entry(self, payer: bytes, *, effective: int, entry_id: bytes) -> Entry | None:
        """Load the entry of an instance by where it is dated."""
        row = self._execute(
            f"SELECT {_ENTRY} FROM entries INDEXED BY entries_by_payer"
            " WHERE payer = ? AND effective = ? AND entry_id = ?",
            (payer, effective, entry_id),
        ).fetchone()
        return _entry(row) if row else None

    def scan_running(self, before_position: int) -> Iterator[tuple[bytes, bytes, str, str, int]]:
        """Give payer, user, class, rate, start of what runs and was recorded before a position."""
        return self._execute(
            "SELECT payer, user, workspace_class, rate, started FROM open_instances"
            " WHERE started IS NOT NULL AND stopping IS NULL AND start_position < ?",
            (before_position,),
        )

    def accrued_payers(self) -> list[bytes]:
        """Give the payers whose running instances have accrued something."""
        return [row[0] for row in self._execute("SELECT DISTINCT payer FROM accruals")]

    def accruals(self, payer: bytes) -> dict[AccrualKey, Amount]:
        """Give what a payer's running instances have accrued."""
        return {
            (row[0], row[1], row[2]): Amount(row[3], row[4], row[5])
            for row in self._execute(
                "SELECT payer, user, workspace_class, count, cents, seconds FROM accruals"
                " WHERE payer = ?",
                (payer,),
            )
        }

    def open_cycles(self, payers: Sequence[bytes]) -> dict[bytes, OpenCycle]:
        """Load open cycles."""
        found: dict[bytes, OpenCycle] = {}
        for start in range(0, len(payers), KEYS_PER_SELECT):
            part = payers[start : start + KEYS_PER_SELECT]
            marks = ", ".join("?" * len(part))
            for row in self._execute(
                f"SELECT {_CYCLE} FROM open_cycles WHERE payer IN ({marks})", part
            ):
                found[row[0]] = OpenCycle(*row)
        return found

    def closed_cycles(self, payer: bytes) -> list[tuple[int, int | None]]:
        """Give number and start of the payer's closed cycles, newest first."""
        return self._execute(
            "SELECT number, start FROM closed_cycles WHERE payer = ? ORDER BY number DESC", (payer,)
        ).fetchall()

    def line_total(self, payer: bytes, number: int) -> int:
        """Sum the cents of a cycle's lines."""
        total: int = self._execute(
            "SELECT coalesce(sum(cents), 0) FROM cycle_lines WHERE payer = ? AND number = ?",
            (payer, number),
        ).fetchone()[0]
        return total

    def bases(self, payer: bytes) -> dict[str, Amount]:
        """Give what the payer's still running instances had accrued at the boundary, by class."""
        return {
            row[0]: Amount(row[1], row[2], row[3])
            for row in self._execute(
                "SELECT workspace_class, count, cents, seconds FROM cycle_bases WHERE payer = ?",
                (payer,),
            )
        }

    def correction(self, start_position: int, number: int) -> tuple[int, int] | None:
        """Give (cents, seconds) at the boundary of an entry that was corrected in this cycle."""
        row: tuple[int, int] | None = self._execute(
            "SELECT cents, seconds FROM corrections WHERE start_position = ? AND number = ?",
            (start_position, number),
        ).fetchone()
        return row

    def cost_center(self, payer: bytes) -> CostCenterRow | None:
        """Load a cost center."""
        row = self._execute("SELECT * FROM cost_centers WHERE payer = ?", (payer,)).fetchone()
        return CostCenterRow(*row) if row else None

    def clock(self) -> ClockRow:
        """Give what the log knows of the clock."""
        row = self._execute(
            "SELECT newest_recorded, suspect_since, agreed_at FROM clock"
        ).fetchone()
        return ClockRow(*row) if row else ClockRow(0, None, None)

    def write_instances(
        self,
        *,
        put: Iterable[OpenInstance],
        removed: Iterable[tuple[bytes, bytes]],
        new_entries: Iterable[Entry],
        changed_entries: Iterable[Entry],
    ) -> None:
        """Write running instances and their entries."""
        self._many(
            f"INSERT OR REPLACE INTO open_instances ({_OPEN}) VALUES ({_marks(OpenInstance)})",
            [_astuple(row) for row in put],
        )
        self._many("DELETE FROM open_instances WHERE payer = ? AND entry_id = ?", list(removed))
        self._many(
            f"INSERT INTO entries ({_ENTRY}) VALUES ({_marks(Entry)})",
            [_astuple(row) for row in new_entries],
        )
        self._many(
            "UPDATE entries SET effective = ?, stopping = ?, stopped = ?, cents = ?, seconds = ?,"
            " draft = ? WHERE start_position = ?",
            [
                (e.effective, e.stopping, e.stopped, e.cents, e.seconds, e.draft, e.start_position)
                for e in changed_entries
            ],
        )

    def add_accruals(self, deltas: Mapping[AccrualKey, Amount]) -> None:
        """Add to what running instances have accrued; rows of no instance go."""
        self._many(
            "INSERT INTO accruals VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " count = count + excluded.count, cents = cents + excluded.cents,"
            " seconds = seconds + excluded.seconds",
            [(*key, *amount) for key, amount in deltas.items()],
        )
        self._many(
            "DELETE FROM accruals WHERE payer = ? AND user = ? AND workspace_class = ?"
            " AND count = 0",
            list(deltas),
        )

    def replace_accruals(self, accrual: Accrual, amounts: Mapping[AccrualKey, Amount]) -> None:
        """Set the accrual instant and everything accrued to it."""
        self._execute("INSERT OR REPLACE INTO accrual VALUES (1, ?, ?)", accrual)
        self._execute("DELETE FROM accruals")
        self._many(
            "INSERT INTO accruals VALUES (?, ?, ?, ?, ?, ?)",
            [(*key, *amount) for key, amount in amounts.items()],
        )

    def write_other_entries(self, entries: Iterable[OtherEntry]) -> None:
        """Write invoices and credit notes."""
        self._many(
            "INSERT INTO other_entries (payer, effective, entry_id, kind, cents, user, position)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            entries,
        )

    def add_rollups(self, deltas: Mapping[RollupKey, tuple[int, int]]) -> None:
        """Add (count, cents) to the sums by hour and day; rows of no entry go."""
        self._many(
            "INSERT INTO rollups VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " count = count + excluded.count, cents = cents + excluded.cents",
            # In the order of the key: neighbours lie on the same page.
            sorted([(*key, *delta) for key, delta in deltas.items()]),
        )
        shrunk = [key for key, delta in deltas.items() if delta[0] <= 0]
        if shrunk:
            self._many(
                "DELETE FROM rollups WHERE payer = ? AND user = ? AND unit = ? AND bucket = ?"
                " AND count = 0",
                shrunk,
            )

    def add_balances(self, deltas: Mapping[bytes, BalanceDelta]) -> None:
        """Add to balances."""
        self._many(
            "INSERT INTO balances (payer, entries, booked_cents, running_cents, live_events)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " entries = entries + excluded.entries,"
            " booked_cents = booked_cents + excluded.booked_cents,"
            " running_cents = running_cents + excluded.running_cents,"
            " live_events = live_events + excluded.live_events",
            [(payer, *_astuple(delta)) for payer, delta in deltas.items()],
        )

    def set_running_cents(self, running: Mapping[bytes, int]) -> None:
        """Set what running instances add to balances."""
        self._many(
            "INSERT INTO balances (payer, entries, booked_cents, running_cents, live_events)"
            " VALUES (?, 0, 0, ?, 0)"
            " ON CONFLICT DO UPDATE SET running_cents = excluded.running_cents",
            list(running.items()),
        )

    def put_cost_centers(self, rows: Iterable[CostCenterRow]) -> None:
        """Write cost centers."""
        self._many(
            f"INSERT OR REPLACE INTO cost_centers ({_columns(CostCenterRow)})"
            f" VALUES ({_marks(CostCenterRow)})",
            [_astuple(row) for row in rows],
        )

    def put_open_cycles(self, rows: Iterable[OpenCycle]) -> None:
        """Write open cycles."""
        self._many(
            f"INSERT OR REPLACE INTO open_cycles ({_CYCLE}) VALUES ({_marks(OpenCycle)})",
            [_astuple(row) for row in rows],
        )

    def close_cycle(
        self, cycle: OpenCycle, *, closed_position: int, lines: Mapping[LineKey, Amount]
    ) -> None:
        """Keep a cycle as closed, with the lines of what still ran."""
        self._execute(
            f"INSERT INTO closed_cycles ({_CYCLE}, closed_position)"
            f" VALUES ({_marks(OpenCycle)}, ?)",
            (*_astuple(cycle), closed_position),
        )
        self.add_lines(lines)

    def add_lines(self, deltas: Mapping[LineKey, Amount]) -> None:
        """Add to cycle lines; lines of no instance go."""
        self._many(
            "INSERT INTO cycle_lines VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " count = count + excluded.count, cents = cents + excluded.cents,"
            " seconds = seconds + excluded.seconds",
            [(*key, *amount) for key, amount in deltas.items()],
        )
        self._many(
            "DELETE FROM cycle_lines WHERE payer = ? AND number = ? AND workspace_class = ?"
            " AND late_for = ? AND count = 0",
            [key for key, amount in deltas.items() if amount.count <= 0],
        )

    def add_bases(self, deltas: Mapping[BaseKey, Amount]) -> None:
        """Add to the bases of an open cycle."""
        self._many(
            "INSERT INTO cycle_bases VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " count = count + excluded.count, cents = cents + excluded.cents,"
            " seconds = seconds + excluded.seconds",
            [(*key, *amount) for key, amount in deltas.items()],
        )
        self._many(
            "DELETE FROM cycle_bases WHERE payer = ? AND workspace_class = ? AND count = 0",
            list(deltas),
        )

    def replace_bases(self, payer: bytes, bases: Mapping[str, Amount]) -> None:
        """Set a payer's bases."""
        self._execute("DELETE FROM cycle_bases WHERE payer = ?", (payer,))
        self._many(
            "INSERT INTO cycle_bases VALUES (?, ?, ?, ?, ?)",
            [(payer, workspace_class, *amount) for workspace_class, amount in bases.items()],
        )

    def put_corrections(self, rows: Mapping[tuple[int, int], tuple[int, int]]) -> None:
        """Keep (cents, seconds at the boundary) by (start position, cycle)."""
        self._many(
            "INSERT INTO corrections VALUES (?, ?, ?, ?)",
            [(*key, *value) for key, value in rows.items()],
        )

    def put_clock(self, row: ClockRow) -> None:
        """Write what the log knows of the clock."""
        self._execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)", _astuple(row))


def _entry(row: tuple[Any, ...]) -> Entry:
    entry = Entry(*row)
    entry.draft = bool(entry.draft)
    return entry
