"""Folding batches into a generation, and what is said of one that cannot be folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from events import Recorded
from ledger.errors import FailedPreconditionError, UnavailableError
from persistence import FoldingTransaction, StreamEvent
from projections import Pause, ReadModel, RowsUnavailableError

Begin = Callable[[], AbstractContextManager[FoldingTransaction]]


class FoldError(Exception):
    """A fold raised; `__cause__` is what. Nothing of the batch stays."""

    def __init__(self, position: int, batch: Sequence[Recorded]) -> None:
        """Remember what was being folded, and where the projections stood."""
        super().__init__(f"the events behind position {position} cannot be folded")
        self.position = position
        self.batch = batch


class _UndoneError(Exception):
    """Ends a transaction of which nothing is wanted."""


def fold(transaction: FoldingTransaction, position: int, batch: Sequence[Recorded]) -> None:
    """Fold the events behind a position, at once and by all projections, or raise FoldError."""
    standing, paused = transaction.standing()
    if paused or set(standing.values()) != {position}:
        raise UnavailableError(
            f"the generation does not stand at position {position} any more: another process folds"
            " it; wait until that has ended"
        )
    try:
        ReadModel(transaction.rows, transaction.positions, standing, {}, guarded=False).fold(batch)
    except RowsUnavailableError:
        raise
    except Exception as error:
        raise FoldError(position, batch) from error


@contextmanager
def explaining(begin: Begin, where: str) -> Iterator[None]:
    """Tell which projection stood before which event, should one of them not be folded.

    `begin` begins a transaction into the same rows; nothing of it stays.
    """
    try:
        yield
    except FoldError as error:
        name, pause = _found(begin, error)
        raise FailedPreconditionError(
            f"projection {name!r} {where} cannot fold the event at position {pause.position}, or"
            " one soon after it. Nothing of them stays; a program that can fold them goes on from"
            f" there.\n{pause.reason}"
        ) from error


def _found(begin: Begin, error: FoldError) -> tuple[str, Pause]:
    """Find the event by folding step by step."""
    paused: dict[str, Pause] = {}
    try:
        with begin() as transaction:
            standing, _ = transaction.standing()
            model = ReadModel(transaction.rows, transaction.positions, standing, paused)
            model.fold(error.batch)
            raise _UndoneError
    except _UndoneError:
        pass
    return next(iter(paused.items()), ("of some name", Pause(error.position + 1, "")))


def upto(stored: list[StreamEvent], end: int) -> list[StreamEvent]:
    """Leave out what lies behind a position: where some are missing, so many rows reach further."""
    if not stored or stored[-1].position <= end:
        return stored
    return [event for event in stored if event.position <= end]
