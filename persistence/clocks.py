"""How a payer's entries stood at any position of the log: the rows, and the port that reads them.

An entry is one thing and its states are many. Each state is known from the position that made it
up to the one that ended it, so a cut of the log after a position picks at most one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from projections import Accrual, Amount

CLOCKS_TAIL = "clocks"  # the follower of the log that keeps sums of entries
SUMMED_PROJECTIONS = ("instances", "invoice-drafts")  # what sums are made of
DAYS_AXIS, LOG_AXIS = 0, 1  # midnights that an instance ran through; positions at which it ran


class Stand(NamedTuple):
    """A state of a workspace instance's entry."""

    start_position: int  # of the instance: names the life that the entry is of
    effective: int
    entry_id: bytes
    user: bytes
    workspace_class: str
    rate: str
    started: int | None
    stopping: int | None
    stopped: int | None
    cents: int
    seconds: int
    ended_position: int  # of the event that made it an entry
    changed_position: int  # known from here
    final_position: int  # ... as final; 0 while it is a draft
    known_to: int | None  # up to here; None: to this day


class Life(NamedTuple):
    """A workspace instance while it runs: it is no entry yet, or one that is dated later."""

    start_position: int
    entry_id: bytes
    user: bytes
    workspace_class: str
    rate: str
    started: int


class Ended(NamedTuple):
    """A workspace instance that ran until an event made it an entry, or void."""

    life: Life
    position: int  # of that event


class OtherStand(NamedTuple):
    """An invoice or credit note; known from `position` up to `known_to`, where it was voided."""

    position: int
    effective: int
    entry_id: bytes
    kind: str
    cents: int
    user: bytes
    known_to: int | None


class Change(NamedTuple):
    """A state of an entry came (1) or went (-1)."""

    sign: int
    stand: Stand


class OtherChange(NamedTuple):
    """An invoice or credit note came (1) or went (-1)."""

    sign: int
    stand: OtherStand


class Details(NamedTuple):
    """What a listing shows of an instance beside its amounts; personal data as it is today."""

    start_position: int
    instance: bytes
    workspace_id: str
    workspace_type: str
    workspace_class: str
    creation: int | None
    started: int | None
    user: bytes
    personal: bytes | None


class Boundary(NamedTuple):
    """Where a cycle of a payer begins in the log, and what it began with."""

    number: int
    start: int | None
    opened_position: int
    accrued_to: int | None
    accrual_position: int
    carried_cents: int


class Block(NamedTuple):
    """What the follower keeps of a payer's entries as known at a position."""

    position: int
    sums: bytes


class SealedReader(Protocol):
    """Reads what the follower keeps; every row of it can be made again."""

    def block_at(self, payer: bytes, position: int) -> Block | None:
        """Give the newest block at or before a position."""

    def block_from(self, payer: bytes, position: int) -> int | None:
        """Give the position of the oldest block at or behind a position."""

    def sums(
        self, payer: bytes, position: int, ranges: Sequence[tuple[int, int, int]]
    ) -> list[tuple[int, bytes]]:
        """Give (number, sums) of two ranges of buckets (level, first, last) at a position.

        The last one is not meant; buckets that never had entries are left out.
        """

    def touched(
        self, payer: bytes, ranges: Sequence[tuple[int, int, int]], *, after: int, upto: int
    ) -> list[int]:
        """Give the buckets of ranges (level, first, last) that changed between two positions."""

    def sums_of(self, payer: bytes, position: int, bucket: tuple[int, int]) -> bytes | None:
        """Give the sums of a bucket (level, number) as known at a position; None: nothing."""

    def stab(
        self, payer: bytes, axis: int, point: int, *, highest: int, position: int
    ) -> list[Life]:
        """Give what ran through a point, as known at a position; no span ends behind `highest`."""


class Span(NamedTuple):
    """A stretch on an axis through which an instance ran, as known from and up to positions."""

    axis: int
    node: int  # the one place that finds it: see `fork`
    lower: int  # both ends are inside
    upper: int
    start_position: int
    changed_position: int
    known_to: int
    entry_id: bytes
    user: bytes
    workspace_class: str
    rate: str
    started: int


class SealedRows(Protocol):
    """What the follower reads and writes, inside its transaction."""

    def put_block(self, payer: bytes, block: Block) -> None:
        """Keep a block."""

    def put_sums(self, payer: bytes, position: int, rows: Mapping[tuple[int, int], bytes]) -> None:
        """Keep sums of buckets (level, number) as known at a position."""

    def put_spans(self, payer: bytes, spans: Iterable[Span]) -> None:
        """Keep spans."""

    def end_spans(self, payer: bytes, spans: Iterable[Span]) -> None:
        """Say up to which position spans that are kept were known."""

    def forget(self, payer: bytes) -> None:
        """Forget everything of a payer."""


def fork(lower: int, upper: int) -> int:
    """Give the number from `lower` to `upper` that the highest power of two divides.

    Among all stretches that hold a point, only those at the few nodes above it need be looked at.
    """
    assert 0 < lower <= upper
    height = ((lower - 1) ^ upper).bit_length() - 1
    return upper >> height << height


def nodes_above(point: int, *, highest: int) -> tuple[list[int], list[int]]:
    """Give the nodes at which stretches that hold a point may lie: up to it, and beyond it.

    None ends behind `highest`.
    """
    heights = range(highest.bit_length() + 1)
    low = {point >> height << height for height in heights}
    high = {(point >> height) + 1 << height for height in heights}
    return sorted(low - {0}), sorted(node for node in high if node <= highest)


class ClockReader(Protocol):
    """Reads states of a payer's entries. Stretches of positions are (after, upto]."""

    def head(self) -> int:
        """Give the position of the newest event."""

    def folded(self) -> int:
        """Give the position up to which entries and cycles are folded."""

    def states(self, positions: Sequence[int]) -> list[tuple[int, bytes]]:
        """Give (position, beginning of the stored state) of events, by position."""

    def next_states(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Give the same of the events behind a position."""

    def last_state(self, position: int) -> tuple[int, bytes] | None:
        """Give the same of the newest event at or before a position; None before the first."""

    def accrual(self, position: int) -> Accrual:
        """Give the last reconcile at or before a position."""

    def dated(self, payer: bytes, position: int, *, start: int, end: int) -> list[Stand]:
        """Give the states known at a position and dated in [start, end)."""

    def dated_sums(
        self, payer: bytes, position: int, *, start: int, end: int
    ) -> list[tuple[str, Amount]]:
        """Sum the states known at a position and dated in [start, end), by workspace class."""

    def ending(
        self, payer: bytes, position: int, *, started: int, start: int, end: int
    ) -> list[Life]:
        """Give what is known at a position as started by a time and dated in [start, end)."""

    def changes(self, payer: bytes, *, after: int, upto: int) -> list[Change]:
        """Give what came and went between two positions."""

    def learned(self, payer: bytes, *, after: int, upto: int, limit: int) -> list[tuple[int, int]]:
        """Give (position, start position) where an entry was last changed, or was voided.

        Between two positions, in the order of the log; each instance's life once.
        """

    def voided_at(self, start_position: int) -> int | None:
        """Give the position at which a life of an instance was voided."""

    def changed(self, payer: bytes, *, after: int, upto: int, limit: int) -> list[int]:
        """Give the first positions between two at which anything came, changed or was voided.

        What they are is the log's alone: what was recorded later moves none of them.
        """

    def others_dated(
        self, payer: bytes, position: int, *, start: int, end: int
    ) -> list[OtherStand]:
        """Give the invoices and credit notes known at a position and dated in [start, end)."""

    def other_changes(self, payer: bytes, *, after: int, upto: int) -> list[OtherChange]:
        """Give the invoices and credit notes that came and went between two positions."""

    def others_learned(
        self, payer: bytes, *, after: int, upto: int, limit: int
    ) -> list[tuple[int, OtherStand]]:
        """Give (position, invoice or credit note) where it came, or was voided.

        Between two positions, in the order of the log; each of them once.
        """

    def others_page(
        self,
        payer: bytes,
        position: int,
        *,
        start: int,
        end: int,
        key: tuple[int, bytes] | None,
        limit: int,
    ) -> list[OtherStand]:
        """Give those known at a position, dated in [start, end) beyond a (time, id), in order."""

    def open_now(self, payer: bytes, position: int) -> list[Life]:
        """Give what runs to this day and had started by a position."""

    def ended_between(self, payer: bytes, *, after: int, upto: int | None, by: int) -> list[Ended]:
        """Give what had started by a position and became an entry, or void, between two others."""

    def stands_of(self, start_positions: Sequence[int]) -> list[Stand]:
        """Give every state of the entries of some instances."""

    def details(self, payer: bytes, start_positions: Sequence[int]) -> dict[int, Details]:
        """Give what listings show of a payer's instances, by the position of their start."""

    def boundaries(self, payer: bytes, position: int) -> list[Boundary]:
        """Give the cycles that had begun by a position, newest first."""

    def gone(self, payer: bytes, *, after: int, upto: int) -> list[Stand]:
        """Give the states that went between two positions and had come before."""

    def voided_notes(self, payer: bytes, *, after: int, upto: int) -> list[OtherStand]:
        """Give the credit notes that were voided between two positions and had come before."""

    def page(
        self,
        payer: bytes,
        position: int,
        *,
        user: bytes,
        start: int,
        end: int,
        key: tuple[int, bytes] | None,
        ascending: bool,
        limit: int,
    ) -> list[Stand]:
        """Give states known at a position, dated in [start, end) beyond a (time, id), in order."""

    def user_totals(
        self, payer: bytes, position: int, *, user: bytes, start: int, end: int
    ) -> tuple[int, int]:
        """Give (count, cents) of a user's states known at a position and dated in [start, end)."""
