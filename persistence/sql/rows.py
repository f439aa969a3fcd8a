"""The rows of the read model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from persistence.errors import StoreUnavailableError
from persistence.sql.billing import SqlBillingRows
from persistence.sql.session import Session, listed
from projections import (
    Accrual,
    AccrualKey,
    Amount,
    AtBoundary,
    BalanceDelta,
    BaseKey,
    ClockRow,
    CostCenterRow,
    Entry,
    EntryVersion,
    LineKey,
    NoteKey,
    OpenCycle,
    OpenInstance,
    OtherEntry,
    OtherKey,
    Pause,
    RollupKey,
    Void,
)

_astuple = msgspec.structs.astuple

_OPEN = OpenInstance.__struct_fields__
_ENTRY = Entry.__struct_fields__
_EFFECTIVE = _ENTRY.index("effective")
_CHANGING = (
    *("effective", "stopping", "stopped", "cents", "seconds", "draft"),
    *("changed_position", "final_position"),
)
_CYCLE = OpenCycle.__struct_fields__
_OPEN_KEY = ("payer", "entry_id")
_ACCRUAL_KEY = ("payer", "user", "workspace_class")
_ROLLUP_KEY = ("payer", "user", "unit", "bucket")
_LINE_KEY = ("payer", "number", "workspace_class", "late_for")
_BASE_KEY = ("payer", "workspace_class")
_OTHER_KEY = ("payer", "effective", "entry_id")
_NOTE_KEY = ("payer", "number", "late_for")
_AMOUNT = ("count", "cents", "seconds")
_BALANCE = ("entries", "booked_cents", "running_cents", "live_events")


class SqlRows(SqlBillingRows):
    """Implements `projections.Rows` and `projections.Positions` inside a transaction."""

    def __init__(self, session: Session) -> None:
        """Take the transaction's session."""
        self._session = session
        self._all = session.all
        self._one = session.one

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what happens inside when it raises, and nothing else."""
        return self._session.savepoint()

    def advance(self, name: str, *, expected: int, position: int) -> None:
        """Move a projection by compare-and-set."""
        moved = self._session.change(
            "UPDATE projections SET position = ? WHERE name = ? AND position = ?",
            (position, name, expected),
        )
        if moved != 1:
            raise StoreUnavailableError(
                f"projection {name!r} is not at {expected}: another writer moved it"
            )

    def pause(self, name: str, pause: Pause) -> None:
        """Keep why a projection stands still."""
        self._session.change(
            "UPDATE projections SET paused_at = ?, paused_reason = ? WHERE name = ?",
            (pause.position, storable(pause.reason), name),
        )

    def accrual(self) -> Accrual:
        """Give the last reconcile."""
        row = self._one("SELECT instant, position FROM accrual")
        return Accrual(*row) if row else Accrual(0, 0)

    def open_instances(
        self, keys: Sequence[tuple[bytes, bytes]]
    ) -> dict[tuple[bytes, bytes], OpenInstance]:
        """Load rows by (payer, entry id)."""
        return {
            (row[0], row[1]): OpenInstance(*row)
            for row in self._session.matching("open_instances", _OPEN, _OPEN_KEY, keys)
        }

    def entry(self, payer: bytes, *, effective: int, entry_id: bytes) -> Entry | None:
        """Load the entry of an instance by where it is dated."""
        row = self._one(
            f"SELECT {listed(_ENTRY)} FROM entries INDEXED BY entries_by_payer"
            " WHERE payer = ? AND effective = ? AND entry_id = ?",
            (payer, effective, entry_id),
        )
        return _entry(row) if row else None

    def scan_running(self, before_position: int) -> Iterator[tuple[bytes, bytes, str, str, int]]:
        """Give payer, user, class, rate, start of what runs and was recorded before a position."""
        return self._session.stream(
            'SELECT payer, "user", workspace_class, rate, started FROM open_instances'
            " WHERE started IS NOT NULL AND stopping IS NULL AND start_position < ?",
            (before_position,),
        )

    def accrued_payers(self) -> list[bytes]:
        """Give the payers whose running instances have accrued something."""
        return [row[0] for row in self._all("SELECT DISTINCT payer FROM accruals")]

    def accruals(self, payer: bytes) -> dict[AccrualKey, Amount]:
        """Give what a payer's running instances have accrued."""
        return {
            (row[0], row[1], row[2]): Amount(row[3], row[4], row[5])
            for row in self._all(
                'SELECT payer, "user", workspace_class, count, cents, seconds FROM accruals'
                " WHERE payer = ?",
                (payer,),
            )
        }

    def open_cycles(self, payers: Sequence[bytes]) -> dict[bytes, OpenCycle]:
        """Load open cycles."""
        statement = f"SELECT {listed(_CYCLE)} FROM open_cycles WHERE payer {{among}}"
        return {row[0]: OpenCycle(*row) for row in self._session.among(statement, payers)}

    def closed_cycles(self, payer: bytes) -> list[tuple[int, int | None]]:
        """Give number and start of the payer's closed cycles, newest first."""
        return self._all(
            "SELECT number, start FROM closed_cycles WHERE payer = ? ORDER BY number DESC", (payer,)
        )

    def line_total(self, payer: bytes, number: int) -> int:
        """Sum the cents of a cycle's lines."""
        total: int = self._one(
            "SELECT coalesce(sum(cents), 0) FROM cycle_lines WHERE payer = ? AND number = ?",
            (payer, number),
        )[0]
        return total

    def bases(self, payer: bytes) -> dict[str, Amount]:
        """Give what the payer's still running instances had accrued at the boundary, by class."""
        return {
            row[0]: Amount(row[1], row[2], row[3])
            for row in self._all(
                "SELECT workspace_class, count, cents, seconds FROM cycle_bases WHERE payer = ?",
                (payer,),
            )
        }

    def correction(self, start_position: int, number: int) -> AtBoundary | None:
        """Give what an entry that was corrected in this cycle was at the boundary."""
        row = self._one(
            "SELECT cents, seconds, effective FROM corrections"
            " WHERE start_position = ? AND number = ?",
            (start_position, number),
        )
        return AtBoundary(*row) if row else None

    def other_entry(self, key: OtherKey) -> OtherEntry | None:
        """Load an invoice or credit note."""
        row = self._one(
            f"SELECT {listed(OtherEntry._fields)} FROM other_entries"
            " WHERE payer = ? AND effective = ? AND entry_id = ?",
            key,
        )
        return OtherEntry(*row) if row else None

    def cost_center(self, payer: bytes) -> CostCenterRow | None:
        """Load a cost center."""
        row = self._one("SELECT * FROM cost_centers WHERE payer = ?", (payer,))
        return CostCenterRow(*row) if row else None

    def clock(self) -> ClockRow:
        """Give what the log knows of the clock."""
        row = self._one("SELECT newest_recorded, suspect_since, agreed_at FROM clock")
        return ClockRow(*row) if row else ClockRow(0, None, None)

    def write_instances(
        self,
        *,
        put: Iterable[OpenInstance],
        removed: Iterable[tuple[bytes, bytes]],
    ) -> None:
        """Write instances that are not final."""
        self._session.put("open_instances", _OPEN_KEY, _OPEN, [_astuple(row) for row in put])
        self._session.remove("open_instances", _OPEN_KEY, list(removed))

    def write_entries(
        self,
        *,
        new: Iterable[Entry],
        changed: Iterable[Entry],
        removed: Iterable[int],
        versions: Iterable[EntryVersion],
    ) -> None:
        """Write entries, and how they stood before; removed are those that start at positions."""
        session = self._session
        session.remove("entries", ("start_position",), [(position,) for position in removed])
        session.insert("entries", _ENTRY, [_astuple(row) for row in new])
        session.update(
            "entries",
            ("start_position",),
            _CHANGING,
            [(e.start_position, *[getattr(e, column) for column in _CHANGING]) for e in changed],
        )
        session.insert("entry_versions", (*_ENTRY, "known_to"), list(map(_version, versions)))

    def add_accruals(self, deltas: Mapping[AccrualKey, Amount]) -> None:
        """Add to what running instances have accrued; rows of no instance go."""
        self._session.add("accruals", _ACCRUAL_KEY, _AMOUNT, _rows(deltas))
        self._session.remove("accruals", _ACCRUAL_KEY, list(deltas), condition="count = 0")

    def replace_accruals(self, accrual: Accrual, amounts: Mapping[AccrualKey, Amount]) -> None:
        """Set the accrual instant, remember it, and set everything accrued to it."""
        self._session.put("accrual", ("one",), ("one", "instant", "position"), [(1, *accrual)])
        self._session.insert("reconciles", Accrual._fields, [accrual])
        self._session.change("DELETE FROM accruals")
        self._session.insert("accruals", (*_ACCRUAL_KEY, *_AMOUNT), _rows(amounts))

    def write_other_entries(
        self, *, new: Iterable[OtherEntry], removed: Iterable[OtherKey]
    ) -> None:
        """Write invoices and credit notes, and take away those that were voided."""
        self._session.remove("other_entries", _OTHER_KEY, list(removed))
        self._session.insert("other_entries", OtherEntry._fields, list(new))

    def add_voids(self, voids: Iterable[Void]) -> None:
        """Keep what was voided."""
        self._session.insert("voids", Void._fields, list(voids))

    def add_rollups(self, deltas: Mapping[RollupKey, tuple[int, int]]) -> None:
        """Add (count, cents) to the sums by hour and day; rows of no entry go."""
        # In the order of the key: neighbours lie on the same page.
        self._session.add("rollups", _ROLLUP_KEY, ("count", "cents"), sorted(_rows(deltas)))
        shrunk = [key for key, delta in deltas.items() if delta[0] <= 0]
        self._session.remove("rollups", _ROLLUP_KEY, shrunk, condition="count = 0")

    def add_balances(self, deltas: Mapping[bytes, BalanceDelta]) -> None:
        """Add to balances."""
        rows = [(payer, *_astuple(delta)) for payer, delta in deltas.items()]
        self._session.add("balances", ("payer",), _BALANCE, rows)

    def set_running_cents(self, running: Mapping[bytes, int]) -> None:
        """Set what running instances add to balances."""
        self._session.put(
            "balances",
            ("payer",),
            ("payer", *_BALANCE),
            [(payer, 0, 0, cents, 0) for payer, cents in running.items()],
            changed=("running_cents",),
        )

    def put_cost_centers(self, rows: Iterable[CostCenterRow]) -> None:
        """Write cost centers."""
        columns = CostCenterRow.__struct_fields__
        self._session.put("cost_centers", ("payer",), columns, [_astuple(row) for row in rows])

    def put_open_cycles(self, rows: Iterable[OpenCycle]) -> None:
        """Write open cycles."""
        self._session.put("open_cycles", ("payer",), _CYCLE, [_astuple(row) for row in rows])

    def close_cycle(
        self, cycle: OpenCycle, *, closed_position: int, lines: Mapping[LineKey, Amount]
    ) -> None:
        """Keep a cycle as closed, with the lines of what still ran."""
        row = (*_astuple(cycle), closed_position)
        self._session.insert("closed_cycles", (*_CYCLE, "closed_position"), [row])
        self.add_lines(lines)

    def add_lines(self, deltas: Mapping[LineKey, Amount]) -> None:
        """Add to cycle lines; lines of no instance go."""
        self._session.add("cycle_lines", _LINE_KEY, _AMOUNT, _rows(deltas))
        shrunk = [key for key, amount in deltas.items() if amount.count <= 0]
        self._session.remove("cycle_lines", _LINE_KEY, shrunk, condition="count = 0")

    def add_bases(self, deltas: Mapping[BaseKey, Amount]) -> None:
        """Add to the bases of an open cycle."""
        self._session.add("cycle_bases", _BASE_KEY, _AMOUNT, _rows(deltas))
        self._session.remove("cycle_bases", _BASE_KEY, list(deltas), condition="count = 0")

    def replace_bases(self, payer: bytes, bases: Mapping[str, Amount]) -> None:
        """Set a payer's bases."""
        self._session.change("DELETE FROM cycle_bases WHERE payer = ?", (payer,))
        rows = [(payer, workspace_class, *amount) for workspace_class, amount in bases.items()]
        self._session.insert("cycle_bases", (*_BASE_KEY, *_AMOUNT), rows)

    def put_corrections(self, rows: Mapping[tuple[int, int], AtBoundary]) -> None:
        """Keep what entries were at the boundary by (start position, cycle)."""
        columns = ("start_position", "number", *AtBoundary._fields)
        self._session.insert("corrections", columns, _rows(rows))

    def add_voided_notes(self, deltas: Mapping[NoteKey, tuple[int, int]]) -> None:
        """Add (count, cents) to the notes of closed cycles that were voided in a cycle."""
        self._session.add("cycle_voided_notes", _NOTE_KEY, ("count", "cents"), _rows(deltas))

    def put_clock(self, row: ClockRow) -> None:
        """Write what the log knows of the clock."""
        columns = ("one", *ClockRow.__struct_fields__)
        self._session.put("clock", ("one",), columns, [(1, *_astuple(row))])


def storable(text: str) -> str:
    """Give free text as every database keeps it: PostgreSQL takes no NUL, nobody half a pair."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _rows(by_key: Mapping[Any, Sequence[Any]]) -> list[tuple[Any, ...]]:
    return [(*key, *value) for key, value in by_key.items()]


def _version(version: EntryVersion) -> tuple[Any, ...]:
    row = [*_astuple(version.entry), version.known_to]
    if version.ran:  # it was dated nowhere
        row[_EFFECTIVE] = None
    return tuple(row)


def _entry(row: tuple[Any, ...]) -> Entry:
    entry = Entry(*row)
    entry.draft = bool(entry.draft)
    return entry
