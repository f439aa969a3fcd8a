"""Generations of the read model, as whoever builds, compares and promotes them sees them.

A generation is one set of the tables of the read model with the positions of their projections. The
first has the tables' own names; a later one stands beside it under names that end in its number.
Each version of the folds serves one generation, which a row of table `served` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from persistence.clocks import CLOCKS_TAIL
from persistence.reading import Reader
from persistence.store import FoldingTransaction, Progress

FIRST = 1  # its tables have the names that statements are written with

# Folds stored events into a transaction, up to a position or a little less; gives how far.
FoldRest = Callable[[FoldingTransaction, int], int]

Structure = Mapping[str, Sequence[str]]  # columns by table


def clocks_tail(generation: int) -> str:
    """Name where the follower that keeps sums of entries stands; each generation has its own."""
    return CLOCKS_TAIL if generation == FIRST else f"{CLOCKS_TAIL}-g{generation}"


class Generation(NamedTuple):
    """A generation as the store has it; times in ms, None while it has not happened."""

    number: int
    version: int  # of the folds that fill it
    structure: str | None  # JSON of a `Structure`, where later migrations have changed the tables
    begun_at: int
    begun_by: str
    compared_at: int | None
    compared_with: int | None  # the generation that was served then
    compared_position: int | None
    differences: str  # JSON: how many rows differ, by kind
    dropped_at: int | None


class Promotion(NamedTuple):
    """That a generation began to be served, or was served again."""

    number: int
    generation: int
    version: int
    promoted_at: int
    author: str
    accepted: str  # the kinds of differences that were meant, joined by commas


class Switch(Protocol):
    """The transaction in which a version changes to another generation; nothing else folds."""

    @property
    def folding(self) -> FoldingTransaction:
        """Fold into the generation that is to be served."""

    def target(self) -> int:
        """Give where the served generation stands."""

    def balances(
        self, generation: int, columns: Sequence[str], payers: Iterable[bytes]
    ) -> dict[bytes, tuple[int, ...]]:
        """Give columns of payers' rows in table `balances` of a generation."""

    def promote(self, promotion: Promotion) -> None:
        """Serve the generation; the number of the promotion is given by the store."""


class Generations(Protocol):
    """The generations of one shard, for one process at a time that builds and promotes them."""

    @property
    def name(self) -> str:
        """Name the place for people, without any secret."""

    def claim(self) -> None:
        """Let no other process do the same; StoreRefusedError names who does."""

    def all(self) -> list[Generation]:
        """Give every generation, by number; dropped ones, too."""

    def served(self) -> dict[int, int]:
        """Give which generation each version of the folds serves."""

    def promotions(self) -> list[Promotion]:
        """Give what was promoted, in order."""

    def progress(self, generation: int) -> Progress:
        """Give where a generation stands; a dropped one stands nowhere."""

    def reader(self) -> Reader:
        """Give a connection for reading, beside whatever this process writes."""

    def begin(self, author: str) -> int:
        """Make the tables of a new generation of this version; give its number."""

    def folding(self, generation: int) -> AbstractContextManager[FoldingTransaction]:
        """Begin a transaction that folds into a generation; commit, or roll back on an error."""

    def seconds_a_batch(self) -> float:
        """Give how long a transaction may be now, so that nobody waits visibly."""

    def let_others(self) -> None:
        """Wait until others have had their turn, where there is one turn for all."""

    def level(
        self, served: int, generation: int, fold_rest: FoldRest
    ) -> AbstractContextManager[Reader]:
        """Fold the last events; give a snapshot in which both stand at the same position.

        StoreUnavailableError when the log grows faster than it can be folded.
        """

    def keep_comparison(self, generation: Generation) -> None:
        """Keep when, with what and with what outcome a generation was compared."""

    def announce(self, generation: int | None) -> None:
        """Let every process know that this version may change to a generation at any moment.

        None takes it back.
        """

    def switch(self, served: int, generation: int) -> AbstractContextManager[Switch]:
        """Begin the transaction that changes to a generation; commit, or roll back on an error."""

    def drop(self, generation: int, author: str, dropped: Callable[[int], None]) -> None:
        """Forget a generation's rows, little by little; `dropped` hears of how many so far.

        StoreRefusedError while somebody may read them.
        """

    def close(self) -> None:
        """Close every connection and let others do the same."""
