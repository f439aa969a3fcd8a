"""The ports of evidence packs: what lies beside a log, and how a log is taken over.

What is read here is read in pages, so that a pack of any size takes the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from persistence.erasures import Personal
    from persistence.store import Counts, StreamEvent


class RecordedId(NamedTuple):
    """Under which source and id an event was recorded, for ever."""

    source_number: int
    source: str
    event_key: bytes
    digest: bytes
    position: int


class PackReader(Protocol):
    """Reading what lies beside the log."""

    def recorded_ids(self, *, after: tuple[int, bytes], limit: int) -> list[RecordedId]:
        """Give rows of the inbox beyond a (number of the source, event key), in that order."""

    def personal_after(self, position: int, limit: int) -> list[Personal]:
        """Give personal rows at higher positions, in order."""

    def deliveries(self) -> list[tuple[str, Counts]]:
        """Give every source of delivery with its counts, by name."""

    def placements_after(self, payer: bytes, limit: int) -> list[tuple[bytes, int]]:
        """Give payers behind one, with their shards, in order. First shard only."""

    def streams_of(self, topic: str, *, after: int, up_to: int) -> list[str]:
        """Name the streams that have an event of a topic at positions in (after, up_to]."""

    def last_position(self) -> int:
        """Give the position of the log's newest event, or 0."""

    def personal_left_through(self) -> int:
        """Give the position up to which personal fields stayed behind at a take-over, or 0."""


class PackRows(Protocol):
    """Taking a log over, inside a transaction with the append lock."""

    def holdings(self) -> list[str]:
        """Name the tables that make a ledger one that is not empty."""

    def restore(self, events: Sequence[StreamEvent]) -> None:
        """Write events of another store behind the newest one, as they are, where they were."""

    def rename_tree(self, origin: str) -> None:
        """Give a tree without leaves and heads the name that it had in another store."""

    def leave_personal(self, through: int) -> None:
        """Keep that the personal fields of events up to a position were not taken over."""
