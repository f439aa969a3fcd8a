"""What explanations read, by SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from persistence.sql.session import listed
from persistence.store import StreamEvent
from persistence.why import CycleRow, DaySum, LifeAt, Mark, PublishedAs
from projections import DAILY, Amount, OtherEntry, Report, Void

_OTHER = f"SELECT {listed(OtherEntry._fields)} FROM other_entries"
_VOID = f"SELECT {listed(Void._fields)} FROM voids"
_OPEN = "SELECT instance FROM open_instances WHERE payer = ? AND entry_id = ?"
# The index by date has the ids: to look for one reads nothing but that.
_ENDED = (
    "SELECT instance FROM entries WHERE start_position = (SELECT max(start_position)"
    " FROM entries INDEXED BY entries_by_payer WHERE payer = ? AND entry_id = ?)"
)
_GONE = (
    "SELECT instance FROM voids"
    " WHERE payer = ? AND entry_id = ? AND kind = 'workspace_instance' LIMIT 1"
)
_INSTANCE_OF = (_OPEN, _ENDED, _GONE)
_EVENTS = (
    "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
    " WHERE position {among}"
)
_CYCLE = listed(CycleRow._fields[:-1])
_REPORT = listed(Report.__struct_fields__)
_IN_CYCLE = "subscription_id = ? AND stamped >= ? AND stamped < ? AND state <> 'lost'"

Select = Callable[[str, Sequence[Any]], list[Any]]
Among = Callable[[str, Sequence[Any], Sequence[Any]], list[Any]]


class SqlWhyReader:
    """Implements `persistence.WhyReader` by a reader's own means."""

    def __init__(self, select: Select, among: Among) -> None:
        """Ask on the reader's connection."""
        self._all = select
        self._among = among

    def mark(self, payer: bytes) -> Mark:
        """Give a payer's mark."""
        rows = self._all(
            "SELECT entries, booked_cents, running_cents, live_events FROM balances"
            " WHERE payer = ?",
            (payer,),
        )
        running = self._all(
            "SELECT coalesce(sum(count), 0), (SELECT max(position) FROM accrual) FROM accruals"
            " WHERE payer = ?",
            (payer,),
        )[0]
        entries, booked, accrued, live = rows[0] if rows else (0, 0, 0, 0)
        at = (running[1] or 0) if running[0] else 0
        return Mark(entries, booked, accrued, live, int(running[0]), at)

    def sources(self, positions: Sequence[int]) -> Mapping[int, PublishedAs]:
        """Give under which source and id events were published; others are left out."""
        rows = self._among(
            "SELECT i.position, s.source, i.event_key FROM inbox i"
            " JOIN sources s ON s.number = i.source WHERE i.position {among}",
            positions,
            (),
        )
        return {row[0]: PublishedAs(row[1], row[2]) for row in rows}

    def events(self, positions: Sequence[int]) -> Mapping[int, StreamEvent]:
        """Give events by their positions."""
        return {row[0]: StreamEvent(*row) for row in self._among(_EVENTS, positions, ())}

    def texts(self, positions: Sequence[int]) -> Mapping[int, bytes]:
        """Give the personal fields of events that have some."""
        return dict(
            self._among(
                "SELECT position, fields FROM personal WHERE position {among}", positions, ()
            )
        )

    # The balance -------------------------------------------------------------------------------

    def days_total(self, payer: bytes) -> tuple[int, int, int]:
        """Give (days, entries, cents) of a payer's ended entries."""
        row = self._all(
            "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(cents), 0) FROM rollups"
            ' WHERE payer = ? AND "user" = ? AND unit = ?',
            (payer, b"", DAILY),
        )[0]
        return row[0], int(row[1]), int(row[2])

    def days(self, payer: bytes, *, before: int, limit: int) -> list[DaySum]:
        """Give the days before one that have ended entries, newest first."""
        rows = self._all(
            'SELECT bucket, count, cents FROM rollups WHERE payer = ? AND "user" = ?'
            " AND unit = ? AND bucket < ? ORDER BY bucket DESC LIMIT ?",
            (payer, b"", DAILY, before, limit),
        )
        return [DaySum(*row) for row in rows]

    def others_totals(self, payer: bytes) -> Mapping[str, tuple[int, int]]:
        """Give (count, cents) of invoices and credit notes, by kind."""
        rows = self._all(
            "SELECT kind, count(*), sum(cents) FROM other_entries WHERE payer = ? GROUP BY kind",
            (payer,),
        )
        return {row[0]: (row[1], int(row[2])) for row in rows}

    def others(
        self, payer: bytes, kind: str, *, before: tuple[int, bytes] | None, limit: int
    ) -> list[OtherEntry]:
        """Give entries of a kind before a (time, id), newest first."""
        beyond = "" if before is None else " AND (effective, entry_id) < (?, ?)"
        rows = self._all(
            f"{_OTHER} WHERE payer = ? AND kind = ?{beyond}"
            " ORDER BY effective DESC, entry_id DESC LIMIT ?",
            (payer, kind, *(before or ()), limit),
        )
        return [OtherEntry(*row) for row in rows]

    def others_made(self, payer: bytes, kind: str, *, after: int, before: int) -> list[OtherEntry]:
        """Give entries of a kind that were made between two positions, by position."""
        rows = self._all(
            f"{_OTHER} WHERE payer = ? AND kind = ? AND position > ? AND position < ?"
            " ORDER BY position",
            (payer, kind, after, before),
        )
        return [OtherEntry(*row) for row in rows]

    def voided_notes(self, payer: bytes, *, after: int) -> list[Void]:
        """Give the voids of credit notes behind a position, by position."""
        rows = self._all(
            f"{_VOID} WHERE payer = ? AND kind = 'credit_note' AND position > ? ORDER BY position",
            (payer, after),
        )
        return [Void(*row) for row in rows]

    # Finding entries ---------------------------------------------------------------------------

    def other(self, payer: bytes, entry_id: bytes) -> OtherEntry | None:
        """Find an invoice or credit note."""
        rows = self._all(f"{_OTHER} WHERE payer = ? AND entry_id = ?", (payer, entry_id))
        return OtherEntry(*rows[0]) if rows else None

    def instance_of(self, payer: bytes, entry_id: bytes) -> bytes | None:
        """Find the instance of a payer's entry: one that counts, runs, or was voided."""
        for statement in _INSTANCE_OF:
            rows = self._all(statement, (payer, entry_id))
            if rows:
                found: bytes = rows[0][0]
                return found
        return None

    def void_of_note(self, payer: bytes, entry_id: bytes) -> Void | None:
        """Find the void of a credit note."""
        rows = self._all(
            f"{_VOID} WHERE payer = ? AND entry_id = ? AND kind = 'credit_note'",
            (payer, entry_id),
        )
        return Void(*rows[0]) if rows else None

    def voids_count(self, payer: bytes) -> int:
        """Count what was voided of a payer."""
        count: int = self._all("SELECT count(*) FROM voids WHERE payer = ?", (payer,))[0][0]
        return count

    # Cycles ------------------------------------------------------------------------------------

    def cycles(self, payer: bytes) -> list[CycleRow]:
        """Give a payer's cycles, the open one last."""
        closed = self._all(
            f"SELECT {_CYCLE}, closed_position FROM closed_cycles WHERE payer = ?"
            " ORDER BY closed_position",
            (payer,),
        )
        opened = self._all(f"SELECT {_CYCLE}, 0 FROM open_cycles WHERE payer = ?", (payer,))
        return [CycleRow(*row) for row in (*closed, *opened)]

    def cycle_lines(self, payer: bytes, number: int) -> Mapping[tuple[str, int], Amount]:
        """Give the stored lines of a cycle by class and period."""
        rows = self._all(
            "SELECT workspace_class, late_for, count, cents, seconds FROM cycle_lines"
            " WHERE payer = ? AND number = ?",
            (payer, number),
        )
        return {(row[0], row[1]): Amount(*row[2:]) for row in rows}

    def changed_lives(
        self,
        payer: bytes,
        workspace_class: str,
        *,
        after: int,
        begun_before: int,
        dated: tuple[int, int],
        limit: int,
    ) -> list[LifeAt]:
        """Give lives whose entry changed last behind a position, by that position."""
        rows = self._all(
            "SELECT changed_position, instance, start_position FROM entries"
            " WHERE payer = ? AND changed_position > ? AND workspace_class = ?"
            " AND start_position < ? AND effective >= ? AND effective < ?"
            " ORDER BY changed_position LIMIT ?",
            (payer, after, workspace_class, begun_before, *dated, limit),
        )
        return [LifeAt(*row) for row in rows]

    def voided_lives(self, payer: bytes, *, after: int, limit: int) -> list[LifeAt]:
        """Give lives that were voided behind a position, by that position."""
        rows = self._all(
            "SELECT position, instance, made_position FROM voids WHERE payer = ? AND position > ?"
            " AND kind = 'workspace_instance' AND made_position > 0 ORDER BY position LIMIT ?",
            (payer, after, limit),
        )
        return [LifeAt(*row) for row in rows]

    def running_lives(
        self, payer: bytes, workspace_class: str, *, after: bytes, begun_before: int, limit: int
    ) -> list[LifeAt]:
        """Give lives that run, with entry ids behind one, by id."""
        rows = self._all(
            "SELECT entry_id, instance, start_position FROM open_instances WHERE payer = ?"
            " AND entry_id > ? AND workspace_class = ? AND started IS NOT NULL"
            " AND stopping IS NULL AND start_position < ? ORDER BY entry_id LIMIT ?",
            (payer, after, workspace_class, begun_before, limit),
        )
        return [LifeAt(*row) for row in rows]

    # Usage records -----------------------------------------------------------------------------

    def records(
        self, subscription_id: str, *, start: int, end: int, after: int, limit: int
    ) -> list[Report]:
        """Give usage records stamped in [start, end) and not lost, behind a seq, by seq."""
        rows = self._all(
            f"SELECT {_REPORT} FROM billing_reports WHERE {_IN_CYCLE} AND seq > ?"
            " ORDER BY seq LIMIT ?",
            (subscription_id, start, end, after, limit),
        )
        return [Report(*row) for row in rows]

    def records_count(self, subscription_id: str, *, start: int, end: int) -> tuple[int, int]:
        """Give (count, credits) of those."""
        row = self._all(
            f"SELECT count(*), coalesce(sum(delta), 0) FROM billing_reports WHERE {_IN_CYCLE}",
            (subscription_id, start, end),
        )[0]
        return row[0], int(row[1])
