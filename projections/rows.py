"""The row types of the read model, and the port through which folds read and write them.

Keys and units: `payer`, `user`, `instance` and entry ids are 16 bytes (`user` may be empty), times
are milliseconds, `cents` are credit cents, `seconds` whole seconds of runtime, positions are places
in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import msgspec

from projections.billing import BillingRows


class OpenInstance(msgspec.Struct, gc=False):
    """An instance that is not final: it runs, is stopping, or its stop came before its start."""

    payer: bytes
    entry_id: bytes
    instance: bytes
    user: bytes
    workspace_class: str
    workspace_type: str
    workspace_id: str
    creation: int | None
    started: int | None
    stopping: int | None
    stopped: int | None
    rate: str
    start_position: int  # 0 while the start is not known
    heard_at: int  # when its first event was recorded


class Entry(msgspec.Struct, gc=False):
    """The usage entry of an instance that no longer runs."""

    start_position: (
        int  # position of the event that started it: its key, and that of its personal row
    )
    payer: bytes
    effective: int
    entry_id: bytes
    user: bytes
    instance: bytes
    workspace_class: str
    workspace_type: str
    workspace_id: str
    creation: int | None
    started: int | None
    stopping: int | None
    stopped: int | None
    rate: str
    cents: int
    seconds: int
    draft: bool
    ended_position: int  # position of the event that made it an entry
    changed_position: int  # ... of the one that last changed date or amount; at first the same
    final_position: int  # ... of the one that made it final; 0 while it is a draft


class OtherEntry(NamedTuple):
    """An invoice or credit note entry."""

    payer: bytes
    effective: int
    entry_id: bytes
    kind: str  # `invoice` or `credit_note`
    cents: int
    user: bytes
    position: int  # of its event, and of its personal row


class EntryVersion(NamedTuple):
    """An entry as it stood from its `changed_position` on, up to the event that ended that.

    One that `ran` never was an entry: the instance ran until it was voided. Its stretch is empty.
    """

    entry: Entry
    known_to: int  # position of that event
    ran: bool


class Void(NamedTuple):
    """An entry that an operator has voided; the event lies at `position`."""

    payer: bytes
    position: int
    kind: str  # `workspace_instance` or `credit_note`
    entry_id: bytes
    instance: bytes  # empty for a note
    user: bytes
    effective: int | None  # where it was dated; None when it was no entry yet
    cents: int  # that the balance loses; of what ran, what it had accrued at the last reconcile
    made_position: int  # of the note's event, or of the instance's start; 0 when none was known


class EntryChange(NamedTuple):
    """One instance's entry came into being or changed."""

    position: int
    before: Entry | None
    after: Entry
    was_running: bool


class VoidedInstance(NamedTuple):
    """An instance of which nothing counts any more: its entry, or what ran, dated nowhere yet."""

    entry: Entry
    was_running: bool


class Told(msgspec.Struct, gc=False):
    """What the instance fold tells the others of a run of events."""

    changes: list[EntryChange] = []
    others: list[OtherEntry] = []
    voided: list[VoidedInstance] = []
    voided_notes: list[OtherEntry] = []
    running_cents: dict[bytes, int] = {}  # change by payer, from instances that ended or are void


class Amount(NamedTuple):
    """Instances, cents and seconds; also used as a difference."""

    count: int  # type: ignore[assignment]  # a tuple's own count() is never wanted of an amount
    cents: int
    seconds: int


class AtBoundary(NamedTuple):
    """What an entry was at the boundary that began the open cycle."""

    cents: int
    seconds: int
    effective: int  # where it was dated then


class CostCenterRow(msgspec.Struct, gc=False):
    """A cost center's terms as they are now."""

    payer: bytes
    spending_limit: int
    strategy: str
    cycle_number: int
    cycle_start: int
    next_billing: int


class OpenCycle(msgspec.Struct, gc=False):
    """A payer's open cycle. Number 0, without times, until the payer has a cost center."""

    payer: bytes
    number: int
    start: int | None
    opened_position: int  # the boundary: what lies at or before it belongs to earlier cycles
    accrued_to: int | None  # the accrual instant at the boundary
    accrual_position: int  # position of the reconcile that set it
    carried_cents: int
    note_count: int
    note_cents: int
    invoice_count: int
    invoice_cents: int


class ClockRow(msgspec.Struct, gc=False):
    """What the log knows of the clock."""

    newest_recorded: int
    suspect_since: int | None  # recorded time of the first event after a leap of more than a month
    agreed_at: int | None  # instant of the first reconcile after the leap


class Accrual(NamedTuple):
    """The last reconcile: its instant A and its position; position 0 before the first one."""

    instant: int
    position: int


AccrualKey = tuple[bytes, bytes, str]  # payer, user, workspace class
OtherKey = tuple[bytes, int, bytes]  # payer, effective, entry id
RollupKey = tuple[bytes, bytes, int, int]  # payer, user or b"" for all, HOURLY or DAILY, bucket
LineKey = tuple[
    bytes, int, str, int
]  # payer, cycle, workspace class, late for which cycle or OWN_PERIOD
BaseKey = tuple[bytes, str]  # payer, workspace class
NoteKey = tuple[bytes, int, int]  # payer, cycle, in which cycle it lay or OWN_PERIOD

HOURLY, DAILY = 0, 1
BUCKET_MS = {HOURLY: 3_600_000, DAILY: 86_400_000}
OWN_PERIOD = -1


class BalanceDelta(msgspec.Struct, gc=False):
    """What a batch adds to a payer's balance row."""

    entries: int = 0
    booked_cents: int = 0
    running_cents: int = 0
    live_events: int = 0  # events that were not imported


class RowsUnavailableError(Exception):
    """The store cannot be read or written now; nothing is wrong with what was folded."""


class Rows(BillingRows, Protocol):
    """What folds need of a store, inside the writer's transaction.

    One implementation per backend.
    """

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what happens inside when it raises, and nothing else."""

    def accrual(self) -> Accrual:
        """Give the last reconcile."""

    def open_instances(
        self, keys: Sequence[tuple[bytes, bytes]]
    ) -> dict[tuple[bytes, bytes], OpenInstance]:
        """Load rows by (payer, entry id)."""

    def entry(self, payer: bytes, *, effective: int, entry_id: bytes) -> Entry | None:
        """Load the entry of an instance by where it is dated."""

    def scan_running(self, before_position: int) -> Iterator[tuple[bytes, bytes, str, str, int]]:
        """Give payer, user, class, rate, start of what runs and was recorded before a position."""

    def accrued_payers(self) -> list[bytes]:
        """Give the payers whose running instances have accrued something."""

    def accruals(self, payer: bytes) -> dict[AccrualKey, Amount]:
        """Give what a payer's running instances have accrued."""

    def open_cycles(self, payers: Sequence[bytes]) -> dict[bytes, OpenCycle]:
        """Load open cycles."""

    def closed_cycles(self, payer: bytes) -> list[tuple[int, int | None]]:
        """Give number and start of the payer's closed cycles, newest first."""

    def line_total(self, payer: bytes, number: int) -> int:
        """Sum the cents of a cycle's lines."""

    def bases(self, payer: bytes) -> dict[str, Amount]:
        """Give what the payer's still running instances had accrued at the boundary, by class."""

    def correction(self, start_position: int, number: int) -> AtBoundary | None:
        """Give what an entry that was corrected in this cycle was at the boundary."""

    def other_entry(self, key: OtherKey) -> OtherEntry | None:
        """Load an invoice or credit note."""

    def cost_center(self, payer: bytes) -> CostCenterRow | None:
        """Load a cost center."""

    def clock(self) -> ClockRow:
        """Give what the log knows of the clock."""

    def write_instances(
        self,
        *,
        put: Iterable[OpenInstance],
        removed: Iterable[tuple[bytes, bytes]],
    ) -> None:
        """Write instances that are not final."""

    def write_entries(
        self,
        *,
        new: Iterable[Entry],
        changed: Iterable[Entry],
        removed: Iterable[int],
        versions: Iterable[EntryVersion],
    ) -> None:
        """Write entries, and how they stood before; removed are those that start at positions."""

    def add_accruals(self, deltas: Mapping[AccrualKey, Amount]) -> None:
        """Add to what running instances have accrued; rows of no instance go."""

    def replace_accruals(self, accrual: Accrual, amounts: Mapping[AccrualKey, Amount]) -> None:
        """Set the accrual instant, remember it, and set everything accrued to it."""

    def write_other_entries(
        self, *, new: Iterable[OtherEntry], removed: Iterable[OtherKey]
    ) -> None:
        """Write invoices and credit notes, and take away those that were voided."""

    def add_voids(self, voids: Iterable[Void]) -> None:
        """Keep what was voided."""

    def add_rollups(self, deltas: Mapping[RollupKey, tuple[int, int]]) -> None:
        """Add (count, cents) to the sums by hour and day; rows of no entry go."""

    def add_balances(self, deltas: Mapping[bytes, BalanceDelta]) -> None:
        """Add to balances."""

    def set_running_cents(self, running: Mapping[bytes, int]) -> None:
        """Set what running instances add to balances."""

    def put_cost_centers(self, rows: Iterable[CostCenterRow]) -> None:
        """Write cost centers."""

    def put_open_cycles(self, rows: Iterable[OpenCycle]) -> None:
        """Write open cycles."""

    def close_cycle(
        self, cycle: OpenCycle, *, closed_position: int, lines: Mapping[LineKey, Amount]
    ) -> None:
        """Keep a cycle as closed, with the lines of what still ran."""

    def add_lines(self, deltas: Mapping[LineKey, Amount]) -> None:
        """Add to cycle lines; lines of no instance go."""

    def add_bases(self, deltas: Mapping[BaseKey, Amount]) -> None:
        """Add to the bases of an open cycle."""

    def replace_bases(self, payer: bytes, bases: Mapping[str, Amount]) -> None:
        """Set a payer's bases."""

    def put_corrections(self, rows: Mapping[tuple[int, int], AtBoundary]) -> None:
        """Keep what entries were at the boundary by (start position, cycle)."""

    def add_voided_notes(self, deltas: Mapping[NoteKey, tuple[int, int]]) -> None:
        """Add (count, cents) to the notes of closed cycles that were voided in a cycle."""

    def put_clock(self, row: ClockRow) -> None:
        """Write what the log knows of the clock."""
