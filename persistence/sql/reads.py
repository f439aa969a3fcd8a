"""Reading a store by SQL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from persistence.erasures import Personal
from persistence.reading import (
    DraftRows,
    IntakeRow,
    JobRow,
    OtherRow,
    StatusRows,
    SuspectRow,
    Tallies,
    UsageRow,
    VoidRow,
)
from persistence.sql.audit import audit
from persistence.sql.billing import SqlBillingReads
from persistence.sql.clocks import SqlClockReader
from persistence.sql.drafts import draft_rows
from persistence.sql.erasures import SqlErasureSearch
from persistence.sql.listing import entry_page, range_totals
from persistence.sql.live import SqlLiveReader
from persistence.sql.packs import SqlPackReader
from persistence.sql.sealed import SqlSealedReader
from persistence.sql.session import quoted
from persistence.sql.status import status_rows, tallies
from persistence.sql.transaction import NEWEST_VERSION
from persistence.sql.tree import SqlTreeReader
from persistence.sql.why import SqlWhyReader
from persistence.store import DeadLetter, StreamEvent
from projections import Accrual, ClockRow, CostCenterRow, Void

_ENTRY = (
    "e.entry_id, e.effective, e.cents, e.draft, e.instance, e.workspace_id, e.workspace_type,"
    " e.workspace_class, e.creation, e.started, e.stopping, e.stopped, e.user, p.fields"
)
_RUNNING = (
    "e.entry_id, ? AS effective, 0 AS cents, 1 AS draft, e.instance, e.workspace_id,"
    " e.workspace_type, e.workspace_class, e.creation, e.started, e.stopping, e.stopped, e.user,"
    " p.fields"
)
_RUNS = "e.started IS NOT NULL AND e.stopping IS NULL AND e.start_position < ?"
_PERSONAL = " LEFT JOIN personal p ON p.position = e.start_position"
_VOID = ", ".join(f"v.{quoted(column)}" for column in Void._fields)
_EVENT = "position, originator_id, originator_version, topic, state"
_stream_event = partial(tuple.__new__, StreamEvent)  # as `_make`, a third faster


class SqlReader(SqlBillingReads, SqlErasureSearch):
    """Implements `persistence.Reader`; a backend brings the connection."""

    folds_later = False  # whether rows may lag behind the log

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Let everything inside see the same state."""

    @abstractmethod
    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Give the rows that a statement answers with; StoreUnavailableError when it cannot."""

    @abstractmethod
    def _among(self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()) -> list[Any]:
        """Give the rows whose column, before `{among}`, is one of the keys."""

    @property
    def _select(self) -> Callable[[str, Sequence[Any]], list[Any]]:
        return self._all

    def _one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        rows = self._all(statement, values)
        return rows[0] if rows else None

    @property
    def live(self) -> SqlLiveReader:
        """Live meters and alerts."""
        return SqlLiveReader(self._all, self.snapshot)

    @property
    def tree(self) -> SqlTreeReader:
        """The tree over the log."""
        return SqlTreeReader(self._all, self._among)

    @property
    def clocks(self) -> SqlClockReader:
        """States of entries at any position of the log."""
        return SqlClockReader(self._all, self._among)

    @property
    def sealed(self) -> SqlSealedReader:
        """Sums of such states."""
        return SqlSealedReader(self._all, self._among)

    @property
    def why(self) -> SqlWhyReader:
        """What numbers are made of."""
        return SqlWhyReader(self._all, self._among)

    @property
    def packs(self) -> SqlPackReader:
        """What lies beside the log and goes with it."""
        return SqlPackReader(self._all)

    def balance(self, payer: bytes) -> int:
        """Give what a payer owes in cents; 0 without entries."""
        row = self._one(
            "SELECT booked_cents + running_cents FROM balances WHERE payer = ?", (payer,)
        )
        return row[0] if row else 0

    def balances(self, payers: Sequence[bytes]) -> dict[bytes, int]:
        """Give what payers owe; those without entries are left out."""
        statement = "SELECT payer, booked_cents + running_cents FROM balances WHERE payer {among}"
        return dict(self._among(statement, payers))

    def cost_center(self, payer: bytes) -> CostCenterRow | None:
        """Give a cost center."""
        row = self._one("SELECT * FROM cost_centers WHERE payer = ?", (payer,))
        return CostCenterRow(*row) if row else None

    def cost_centers(self, *, after: bytes, limit: int) -> list[tuple[CostCenterRow, int]]:
        """Give cost centers with their balances, by payer."""
        rows = self._all(
            "SELECT c.*, coalesce(b.booked_cents + b.running_cents, 0) FROM cost_centers c"
            " LEFT JOIN balances b ON b.payer = c.payer WHERE c.payer > ?"
            " ORDER BY c.payer LIMIT ?",
            (after, limit),
        )
        return [(CostCenterRow(*row[:-1]), row[-1]) for row in rows]

    def clock(self) -> ClockRow:
        """Give what the log knows of the clock."""
        row = self._one("SELECT newest_recorded, suspect_since, agreed_at FROM clock")
        return ClockRow(*row) if row else ClockRow(0, None, None)

    def accrual(self) -> Accrual:
        """Give the last reconcile."""
        row = self._one("SELECT instant, position FROM accrual")
        return Accrual(*row) if row else Accrual(0, 0)

    def usage_totals(self, payer: bytes, user: bytes, *, start: int, end: int) -> tuple[int, int]:
        """Give (count, cents) of ended entries in [start, end); an empty user means all."""
        return range_totals(self._one, payer, user, start=start, end=end)

    def running_totals(self, payer: bytes, user: bytes) -> tuple[int, int]:
        """Give (count, cents) of running entries."""
        where, values = ("", (payer,)) if not user else (' AND "user" = ?', (payer, user))
        row = self._one(
            "SELECT coalesce(sum(count), 0), coalesce(sum(cents), 0) FROM accruals"
            f" WHERE payer = ?{where}",
            values,
        )
        return row[0], row[1]

    def usage_page(
        self,
        payer: bytes,
        user: bytes,
        *,
        start: int,
        end: int,
        ascending: bool,
        offset: int,
        limit: int,
    ) -> list[UsageRow]:
        """Give a stretch of the ended entries in [start, end)."""
        rows = entry_page(
            self._all,
            _ENTRY,
            payer,
            user,
            start=start,
            end=end,
            ascending=ascending,
            offset=offset,
            limit=limit,
        )
        return [UsageRow(*row) for row in rows]

    def accrued_block(
        self, payer: bytes, user: bytes, accrual: Accrual, *, offset: int, limit: int
    ) -> list[UsageRow]:
        """Give entries dated at the accrual instant, running ones included, by id."""
        only = " AND e.user = ?" if user else ""
        users = (user,) if user else ()
        rows = self._all(
            f"SELECT {_ENTRY} FROM entries e{_PERSONAL} WHERE e.payer = ? AND e.effective = ?{only}"
            f" UNION ALL SELECT {_RUNNING} FROM open_instances e{_PERSONAL}"
            f" WHERE e.payer = ? AND {_RUNS}{only} ORDER BY 1 LIMIT ? OFFSET ?",
            (
                payer,
                accrual.instant,
                *users,
                accrual.instant,
                payer,
                accrual.position,
                *users,
                limit,
                offset,
            ),
        )
        return [UsageRow(*row) for row in rows]

    def usage_after(
        self, payer: bytes, *, key: tuple[int, bytes] | None, ascending: bool, limit: int
    ) -> list[UsageRow]:
        """Give ended entries beyond a (time, id)."""
        where, values, order = _beyond("e.", key, ascending=ascending)
        rows = self._all(
            f"SELECT {_ENTRY} FROM entries e{_PERSONAL} WHERE e.payer = ?{where}"
            f" ORDER BY {order} LIMIT ?",
            (payer, *values, limit),
        )
        return [UsageRow(*row) for row in rows]

    def running_after(
        self, payer: bytes, accrual: Accrual, *, after: bytes, limit: int
    ) -> list[UsageRow]:
        """Give running entries with an id beyond `after`, by id."""
        rows = self._all(
            f"SELECT {_RUNNING} FROM open_instances e{_PERSONAL}"
            f" WHERE e.payer = ? AND e.entry_id > ? AND {_RUNS} ORDER BY e.entry_id LIMIT ?",
            (accrual.instant, payer, after, accrual.position, limit),
        )
        return [UsageRow(*row) for row in rows]

    def rates(self, payer: bytes, entry_ids: Sequence[bytes]) -> dict[bytes, str]:
        """Give the rates of running instances."""
        statement = "SELECT entry_id, rate FROM open_instances WHERE payer = ? AND entry_id {among}"
        return dict(self._among(statement, entry_ids, (payer,)))

    def others_after(
        self, payer: bytes, *, key: tuple[int, bytes] | None, ascending: bool, limit: int
    ) -> list[OtherRow]:
        """Give invoices and credit notes beyond a (time, id)."""
        where, values, order = _beyond("o.", key, ascending=ascending)
        rows = self._all(
            "SELECT o.entry_id, o.effective, o.cents, o.kind, o.user, p.fields, e.topic, e.state"
            " FROM other_entries o LEFT JOIN personal p ON p.position = o.position"
            f" LEFT JOIN stored_events e ON e.position = o.position WHERE o.payer = ?{where}"
            f" ORDER BY {order} LIMIT ?",
            (payer, *values, limit),
        )
        return [OtherRow(*row) for row in rows]

    def draft(self, payer: bytes) -> DraftRows:
        """Give what a payer's invoice draft is made of."""
        with self.snapshot():
            return draft_rows(
                self._all,
                payer,
                cost_center=self.cost_center(payer),
                accrual=self.accrual(),
                balance_cents=self.balance(payer),
            )

    def voids(self, payer: bytes, *, before: int, limit: int) -> list[VoidRow]:
        """Give what was voided of a payer before a position, newest first."""
        rows = self._all(
            f"SELECT {_VOID}, p.fields, e.topic, e.state FROM voids v"
            " JOIN stored_events e ON e.position = v.position"
            " LEFT JOIN personal p ON p.position = v.position"
            " WHERE v.payer = ? AND v.position < ? ORDER BY v.position DESC LIMIT ?",
            (payer, before, limit),
        )
        return [VoidRow(Void(*row[:-3]), *row[-3:]) for row in rows]

    def stream(self, stream: str, *, after: int = 0) -> list[StreamEvent]:
        """Give a stream, from the version behind `after` on."""
        rows = self._all(
            f"SELECT {_EVENT} FROM stored_events WHERE originator_id = ?"
            " AND originator_version > ? ORDER BY originator_version",
            (stream, after),
        )
        return [StreamEvent(*row) for row in rows]

    def streams(self, ids: Sequence[str]) -> dict[str, list[StreamEvent]]:
        """Give whole streams, each in order; streams without events are left out."""
        found: dict[str, list[StreamEvent]] = {}
        statement = (
            f"SELECT {_EVENT} FROM stored_events WHERE originator_id {{among}}"
            " ORDER BY originator_id, originator_version"
        )
        for row in self._among(statement, ids):
            event = StreamEvent(*row)
            found.setdefault(event.stream, []).append(event)
        return found

    def version(self, stream: str) -> int:
        """Give the version of a stream's newest event; 0 without events."""
        version: int = self._one(NEWEST_VERSION, (stream,))[0]
        return version

    def stream_names(self, *, after: str, before: str, limit: int) -> list[str]:
        """Give names of streams between two names, both left out, in the order of their bytes."""
        rows = self._all(
            "SELECT DISTINCT originator_id FROM stored_events"
            " WHERE originator_id > ? AND originator_id < ? ORDER BY originator_id LIMIT ?",
            (after, before, limit),
        )
        return [row[0] for row in rows]

    def log(self, *, after: int, limit: int) -> list[StreamEvent]:
        """Give the log in order."""
        rows = self._all(
            f"SELECT {_EVENT} FROM stored_events WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        return list(map(_stream_event, rows))

    def suspects(
        self, *, runs_since: int, stopped_since: int, after: tuple[bytes, bytes], limit: int
    ) -> list[SuspectRow]:
        """Give instances that run since before a time, and old stops without a start."""
        rows = self._all(
            "SELECT payer, entry_id, instance, start_position > 0, coalesce(started, heard_at)"
            " FROM open_instances WHERE (payer, entry_id) > (?, ?) AND ("
            " (started IS NOT NULL AND stopping IS NULL AND started < ?)"
            " OR (start_position = 0 AND heard_at < ?)) ORDER BY payer, entry_id LIMIT ?",
            (*after, runs_since, stopped_since, limit),
        )
        return [SuspectRow(row[0], row[1], row[2], bool(row[3]), row[4]) for row in rows]

    def dead_letters(self, *, before: int, limit: int) -> list[tuple[DeadLetter, str]]:
        """Give dead letters with lower ids, newest first, with the names of their deliveries.

        Their bytes are left out: a page of them could fill the memory.
        """
        rows = self._all(
            "SELECT l.id, l.digest, l.kind, l.delivery, l.line, l.reason, x'', l.size_bytes,"
            " l.first_rejected, l.last_rejected, l.times, d.name FROM dead_letters l"
            " JOIN deliveries d ON d.id = l.delivery WHERE l.id < ? ORDER BY l.id DESC LIMIT ?",
            (before, limit),
        )
        return [(DeadLetter(*row[:-1]), row[-1]) for row in rows]

    def dead_letter(self, letter_id: int) -> tuple[DeadLetter, str] | None:
        """Give one dead letter."""
        row = self._one(
            "SELECT l.*, d.name FROM dead_letters l JOIN deliveries d ON d.id = l.delivery"
            " WHERE l.id = ?",
            (letter_id,),
        )
        return (DeadLetter(*row[:-1]), row[-1]) if row else None

    def status(self, *, runs_since: int, stopped_since: int) -> StatusRows:
        """Tell how the ledger is."""
        with self.snapshot():
            return status_rows(
                self._all,
                clock=self.clock(),
                accrual=self.accrual(),
                jobs=self.jobs(),
                intake=self.intake_positions(),
                tails=self.tails(),
                runs_since=runs_since,
                stopped_since=stopped_since,
            )

    def begun_before(self, streams: Sequence[str], position: int) -> set[str]:
        """Name those of the streams whose first event lies before a position."""
        statement = (
            "SELECT originator_id FROM stored_events WHERE originator_version = 1 AND position < ?"
            " AND originator_id {among}"
        )
        return {row[0] for row in self._among(statement, streams, (position,))}

    @abstractmethod
    def serves(self) -> int:
        """Give the generation of the read model that is served."""

    @abstractmethod
    def rows_of(
        self,
        table: str,
        columns: Sequence[str] = (),
        *,
        generation: int | None = None,
        payer: bytes | None = None,
    ) -> Iterator[tuple[object, ...]]:
        """Give the rows of a table by its key: all of them, or those of a payer."""

    def personal(self, position: int) -> Personal | None:
        """Give the personal row of the event at a position; `erased_by` says if it is erased."""
        row = self._one("SELECT * FROM personal WHERE position = ?", (position,))
        return Personal(*row) if row else None

    def tallies(self) -> Tallies:
        """Add up what was delivered, and count the dead letters; reads both tables."""
        with self.snapshot():
            return tallies(self._all)

    def jobs(self) -> list[JobRow]:
        """Give when jobs last ran."""
        return [JobRow(*row) for row in self._all("SELECT * FROM jobs ORDER BY name")]

    def placement(self, payer: bytes) -> int | None:
        """Give a payer's shard; None before its first event."""
        row = self._one("SELECT shard FROM placement WHERE payer = ?", (payer,))
        return row[0] if row else None

    def highest_shard(self) -> int:
        """Give the highest number of a shard in which a payer lives."""
        number: int = self._one("SELECT coalesce(max(shard), 0) FROM placement")[0]
        return number

    def intake_positions(self) -> list[IntakeRow]:
        """Give where the intake of every partition stands."""
        rows = self._all(
            "SELECT cluster, topic_id, partition, topic, position FROM intake_positions"
            " ORDER BY cluster, topic, topic_id, partition"
        )
        return [IntakeRow(*row) for row in rows]

    def tails(self) -> dict[str, int]:
        """Give where the followers of the log stand, by name."""
        return dict(self._all("SELECT name, position FROM tails"))

    def audit(self) -> Iterator[tuple[str, int, list[str]]]:
        """Recompute the laws: give (law, how many compared, breaches) one after the other."""
        with self.snapshot():
            yield from audit(self._all, folds_later=self.folds_later)

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


def _beyond(
    table: str, key: tuple[int, bytes] | None, *, ascending: bool
) -> tuple[str, tuple[Any, ...], str]:
    """Give condition, values and order of a stretch by time, ties by id ascending."""
    order = f"{table}effective {'ASC' if ascending else 'DESC'}, {table}entry_id ASC"
    if key is None:
        return "", (), order
    sign = ">" if ascending else "<"
    return (
        f" AND {table}effective {sign}= ? AND ({table}effective {sign} ? OR {table}entry_id > ?)",
        (key[0], key[0], key[1]),
        order,
    )
