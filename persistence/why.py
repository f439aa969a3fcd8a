"""The port of explanations: what a number is made of, a stretch at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from projections import Amount, OtherEntry, Report, Void

if TYPE_CHECKING:
    from persistence.store import StreamEvent


class PublishedAs(NamedTuple):
    """Under which source and id an event was published, once for ever."""

    source: str
    event_key: bytes  # the id, as the inbox keeps it


class Mark(NamedTuple):
    """Changes whenever a payer's numbers do."""

    entries: int
    booked_cents: int
    running_cents: int
    live_events: int
    running: int  # instances
    accrual_position: int  # 0 while nothing runs: a reconcile changes nothing then


class DaySum(NamedTuple):
    """Ended entries of one day (UTC, counted from 1970)."""

    day: int
    entries: int
    cents: int


class LifeAt(NamedTuple):
    """One life of an instance, and the place of its row in the list that it was found in."""

    place: int | bytes
    instance: bytes
    start_position: int


class CycleRow(NamedTuple):
    """A cycle of a payer. Of the open one `closed_position` is 0."""

    number: int
    start: int | None
    opened_position: int
    accrued_to: int | None
    accrual_position: int
    carried_cents: int
    note_count: int
    note_cents: int
    invoice_count: int
    invoice_cents: int
    closed_position: int


class WhyReader(Protocol):
    """Reading what explanations need beside what everybody reads."""

    def mark(self, payer: bytes) -> Mark:
        """Give a payer's mark."""

    def sources(self, positions: Sequence[int]) -> Mapping[int, PublishedAs]:
        """Give under which source and id events were published; others are left out."""

    def events(self, positions: Sequence[int]) -> Mapping[int, StreamEvent]:
        """Give events by their positions."""

    def texts(self, positions: Sequence[int]) -> Mapping[int, bytes]:
        """Give the personal fields of events that have some."""

    def days_total(self, payer: bytes) -> tuple[int, int, int]:
        """Give (days, entries, cents) of a payer's ended entries."""

    def days(self, payer: bytes, *, before: int, limit: int) -> list[DaySum]:
        """Give the days before one that have ended entries, newest first."""

    def others_totals(self, payer: bytes) -> Mapping[str, tuple[int, int]]:
        """Give (count, cents) of invoices and credit notes, by kind."""

    def others(
        self, payer: bytes, kind: str, *, before: tuple[int, bytes] | None, limit: int
    ) -> list[OtherEntry]:
        """Give entries of a kind before a (time, id), newest first."""

    def others_made(self, payer: bytes, kind: str, *, after: int, before: int) -> list[OtherEntry]:
        """Give entries of a kind that were made between two positions, by position."""

    def voided_notes(self, payer: bytes, *, after: int) -> list[Void]:
        """Give the voids of credit notes behind a position, by position."""

    def other(self, payer: bytes, entry_id: bytes) -> OtherEntry | None:
        """Find an invoice or credit note."""

    def instance_of(self, payer: bytes, entry_id: bytes) -> bytes | None:
        """Find the instance of a payer's entry: one that counts, runs, or was voided."""

    def void_of_note(self, payer: bytes, entry_id: bytes) -> Void | None:
        """Find the void of a credit note."""

    def voids_count(self, payer: bytes) -> int:
        """Count what was voided of a payer."""

    def cycles(self, payer: bytes) -> list[CycleRow]:
        """Give a payer's cycles, the open one last."""

    def cycle_lines(self, payer: bytes, number: int) -> Mapping[tuple[str, int], Amount]:
        """Give the stored lines of a cycle by class and period."""

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
        """Give lives whose entry changed last behind a position, by that position.

        Only those that began before another one and are dated in [first, last) now.
        """

    def voided_lives(self, payer: bytes, *, after: int, limit: int) -> list[LifeAt]:
        """Give lives that were voided behind a position, by that position."""

    def running_lives(
        self, payer: bytes, workspace_class: str, *, after: bytes, begun_before: int, limit: int
    ) -> list[LifeAt]:
        """Give lives that run, with entry ids behind one, by id."""

    def records(
        self, subscription_id: str, *, start: int, end: int, after: int, limit: int
    ) -> list[Report]:
        """Give usage records stamped in [start, end) and not lost, behind a seq, by seq."""

    def records_count(self, subscription_id: str, *, start: int, end: int) -> tuple[int, int]:
        """Give (count, credits) of those."""
