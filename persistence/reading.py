"""The reading port of a store, and what it answers with. Nothing here ever writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from persistence.acts import Act
from persistence.billing import BillingReads
from persistence.clocks import ClockReader, SealedReader
from persistence.erasures import ErasureReads, ErasureSearch, Personal
from persistence.live import LiveReader
from persistence.packs import PackReader
from persistence.store import Counts, DeadLetter, StreamEvent
from persistence.tree import TreeReader
from persistence.why import WhyReader
from projections import Accrual, Amount, ClockRow, CostCenterRow, OpenCycle, Pause, Void


class UsageRow(NamedTuple):
    """One usage entry as listings show it."""

    entry_id: bytes
    effective: int
    cents: int
    draft: bool
    instance: bytes
    workspace_id: str
    workspace_type: str
    workspace_class: str
    creation: int | None
    started: int | None
    stopping: int | None
    stopped: int | None
    user: bytes
    personal: bytes | None  # msgpack; zeros once erased


class OtherRow(NamedTuple):
    """An invoice or credit note entry as listings show it."""

    entry_id: bytes
    effective: int
    cents: int
    kind: str
    user: bytes
    personal: bytes | None
    topic: str  # of its event
    state: bytes


class VoidRow(NamedTuple):
    """Something that was voided, as it is shown."""

    void: Void
    personal: bytes | None  # of the void: the reason
    topic: str  # of its event
    state: bytes


class ClosedCycle(NamedTuple):
    """Where a closed cycle lies in time and in the log."""

    number: int
    start: int | None
    opened_position: int
    accrued_to: int | None
    accrual_position: int
    closed_position: int


class DraftRows(NamedTuple):
    """What an invoice draft is made of."""

    cycle: OpenCycle | None
    cost_center: CostCenterRow | None
    lines: dict[tuple[str, int], Amount]  # by class and period, what ended or was corrected
    accruals: dict[str, Amount]  # by class, what runs
    bases: dict[str, Amount]  # by class, what that had accrued at the boundary
    closed: list[ClosedCycle]
    voided_notes: dict[int, tuple[int, int]]  # (count, cents) by period, of closed cycles' notes
    accrual: Accrual
    balance_cents: int


class ProjectionRow(NamedTuple):
    """Where a projection stands."""

    name: str
    version: int
    position: int
    pause: Pause | None


class JobRow(NamedTuple):
    """When a job last ran; times in ms."""

    name: str
    last_started: int | None
    last_finished: int | None
    last_error: str


class IntakeRow(NamedTuple):
    """Where the intake of a partition stands."""

    cluster: str
    topic_id: str
    partition: int
    topic: str
    position: int  # the next offset to take


class SuspectRow(NamedTuple):
    """An instance that runs long, or a stop without a start."""

    payer: bytes
    entry_id: bytes
    instance: bytes
    runs_long: bool
    since: int


class StatusRows(NamedTuple):
    """How the ledger is."""

    head: int
    clock: ClockRow
    projections: list[ProjectionRow]
    total: Counts
    deliveries: list[tuple[str, Counts]]
    dead_letters: int
    cost_centers: int
    running: int
    entries: int
    accrual: Accrual
    jobs: list[JobRow]
    runs_long: int
    stops_without_start: int
    intake: list[IntakeRow]
    tails: dict[str, int]
    acts: list[Act]  # newest first


class Tallies(NamedTuple):
    """Counts that whoever watches the ledger asks for again and again."""

    # Partitions by their whole names, anything else added up by its kind: `call`, `file`, `http`,
    # `import`, `stdin`, `other`.
    deliveries: list[tuple[str, Counts]]
    dead_letters: int


class Reader(BillingReads, ErasureReads, ErasureSearch, Protocol):
    """A connection for reading. Each method sees one committed state; `snapshot` joins several."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Let everything inside see the same state."""

    @property
    def live(self) -> LiveReader:
        """Live meters and alerts."""

    @property
    def clocks(self) -> ClockReader:
        """States of entries at any position of the log."""

    @property
    def sealed(self) -> SealedReader:
        """Sums of such states."""

    @property
    def tree(self) -> TreeReader:
        """The tree over the log."""

    @property
    def why(self) -> WhyReader:
        """What numbers are made of."""

    @property
    def packs(self) -> PackReader:
        """What lies beside the log and goes with it."""

    def balance(self, payer: bytes) -> int:
        """Give what a payer owes in cents; 0 without entries."""

    def balances(self, payers: Sequence[bytes]) -> dict[bytes, int]:
        """Give what payers owe; those without entries are left out."""

    def cost_center(self, payer: bytes) -> CostCenterRow | None:
        """Give a cost center."""

    def cost_centers(self, *, after: bytes, limit: int) -> list[tuple[CostCenterRow, int]]:
        """Give cost centers with their balances, by payer."""

    def clock(self) -> ClockRow:
        """Give what the log knows of the clock."""

    def accrual(self) -> Accrual:
        """Give the last reconcile."""

    def usage_totals(self, payer: bytes, user: bytes, *, start: int, end: int) -> tuple[int, int]:
        """Give (count, cents) of ended entries in [start, end); an empty user means all."""

    def running_totals(self, payer: bytes, user: bytes) -> tuple[int, int]:
        """Give (count, cents) of running entries."""

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

    def accrued_block(
        self, payer: bytes, user: bytes, accrual: Accrual, *, offset: int, limit: int
    ) -> list[UsageRow]:
        """Give a stretch of the entries dated at the accrual instant, running ones included, by id.

        Running ones come without cents: the caller prices them.
        """

    def usage_after(
        self, payer: bytes, *, key: tuple[int, bytes] | None, ascending: bool, limit: int
    ) -> list[UsageRow]:
        """Give ended entries beyond a (time, id)."""

    def running_after(
        self, payer: bytes, accrual: Accrual, *, after: bytes, limit: int
    ) -> list[UsageRow]:
        """Give running entries with an id beyond `after`, by id."""

    def rates(self, payer: bytes, entry_ids: Sequence[bytes]) -> dict[bytes, str]:
        """Give the rates of running instances."""

    def others_after(
        self, payer: bytes, *, key: tuple[int, bytes] | None, ascending: bool, limit: int
    ) -> list[OtherRow]:
        """Give invoices and credit notes beyond a (time, id)."""

    def voids(self, payer: bytes, *, before: int, limit: int) -> list[VoidRow]:
        """Give what was voided of a payer before a position, newest first."""

    def draft(self, payer: bytes) -> DraftRows:
        """Give what a payer's invoice draft is made of."""

    def stream(self, stream: str, *, after: int = 0) -> list[StreamEvent]:
        """Give a stream, from the version behind `after` on."""

    def streams(self, ids: Sequence[str]) -> dict[str, list[StreamEvent]]:
        """Give whole streams, each in order; streams without events are left out."""

    def version(self, stream: str) -> int:
        """Give the version of a stream's newest event; 0 without events."""

    def stream_names(self, *, after: str, before: str, limit: int) -> list[str]:
        """Give names of streams between two names, both left out, in the order of their bytes."""

    def log(self, *, after: int, limit: int) -> list[StreamEvent]:
        """Give the log in order."""

    def suspects(
        self, *, runs_since: int, stopped_since: int, after: tuple[bytes, bytes], limit: int
    ) -> list[SuspectRow]:
        """Give instances that run since before a time, and old stops without a start."""

    def dead_letters(self, *, before: int, limit: int) -> list[tuple[DeadLetter, str]]:
        """Give dead letters with lower ids, newest first, with the names of their deliveries.

        Their bytes are left out.
        """

    def dead_letter(self, letter_id: int) -> tuple[DeadLetter, str] | None:
        """Give one dead letter."""

    def status(self, *, runs_since: int, stopped_since: int) -> StatusRows:
        """Tell how the ledger is."""

    def tallies(self) -> Tallies:
        """Add up what was delivered, and count the dead letters; reads both tables."""

    def begun_before(self, streams: Sequence[str], position: int) -> set[str]:
        """Name those of the streams whose first event lies before a position."""

    def serves(self) -> int:
        """Give the generation of the read model that is served."""

    def rows_of(
        self,
        table: str,
        columns: Sequence[str] = (),
        *,
        generation: int | None = None,
        payer: bytes | None = None,
    ) -> Iterator[tuple[object, ...]]:
        """Give the rows of a table by its key, whatever wrote them: all, or those of a payer.

        Without columns they have all of them. Without a generation it is the one that is served.
        """

    def stands_at(self, generation: int) -> int:
        """Give where the projections that fold stand; the log's head when all are paused."""

    def paused(self, generation: int) -> dict[str, Pause]:
        """Give the projections that stand still in a generation."""

    def structure(self, generation: int) -> dict[str, tuple[str, ...]]:
        """Give the columns of the tables that a generation has."""

    def key_of(self, table: str, generation: int) -> tuple[str, ...]:
        """Give the columns of the primary key that a table has in a generation."""

    def personal(self, position: int) -> Personal | None:
        """Give the personal row of the event at a position; `erased_by` says if it is erased."""

    def jobs(self) -> list[JobRow]:
        """Give when jobs last ran."""

    def placement(self, payer: bytes) -> int | None:
        """Give a payer's shard; None before its first event. First shard only."""

    def highest_shard(self) -> int:
        """Give the highest number of a shard in which a payer lives. First shard only."""

    def intake_positions(self) -> list[IntakeRow]:
        """Give where the intake of every partition stands."""

    def tails(self) -> dict[str, int]:
        """Give where the followers of the log stand, by name."""

    def audit(self) -> Iterator[tuple[str, int, list[str]]]:
        """Recompute the laws: give (law, how many compared, breaches) one after the other."""

    def close(self) -> None:
        """Close the connection."""
