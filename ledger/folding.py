"""Folding the stored log into rows: while catching up, beside the writer, and to compare."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from events import Recorded, decode
from persistence import FoldingTransaction, StreamEvent, WritableStore
from projections import ReadModel, RowsUnavailableError

REBUILD_BATCH = 20_000  # events folded in one transaction while catching up

log = logging.getLogger(__name__)


def decoded(stored: Sequence[StreamEvent]) -> list[Recorded]:
    """Decode stored events; UnreadableEventError if a newer version wrote one."""
    return [Recorded(e.stream, e.version, decode(e.topic, e.state), e.position) for e in stored]


def fold_stored(
    store: WritableStore, position: int, before_fold: Callable[[str], None] | None = None
) -> int:
    """Fold the next batch of the stored log into the store's own read model.

    Give the new position.
    """
    with store.folding() as transaction:
        stored = transaction.log(after=position, limit=REBUILD_BATCH)
        fold_events(transaction, stored, before_fold)
    return stored[-1].position


def fold_events(
    transaction: FoldingTransaction,
    stored: Sequence[StreamEvent],
    before_fold: Callable[[str], None] | None = None,
) -> None:
    """Fold stored events into the read model of a transaction, which may be another store's."""
    batch = decoded(stored)
    standing, paused = transaction.standing()
    model = ReadModel(transaction.rows, transaction.positions, standing, paused, wrap=before_fold)
    model.fold(batch)


def fold_events_at_once(
    transaction: FoldingTransaction,
    stored: Sequence[StreamEvent],
    before_fold: Callable[[str], None] | None = None,
    *,
    ignored_pause: str = "",
) -> None:
    """The same with one savepoint for all; a batch with a failing fold is folded again, guarded.

    Projections that are paused for the ignored reason are folded all the same.
    """
    batch = decoded(stored)
    standing, every_pause = transaction.standing()
    paused = {name: pause for name, pause in every_pause.items() if pause.reason != ignored_pause}
    try:
        with transaction.rows.savepoint():
            ReadModel(
                transaction.rows,
                transaction.positions,
                dict(standing),
                dict(paused),
                wrap=before_fold,
                guarded=False,
            ).fold(batch)
    except RowsUnavailableError:
        raise
    except Exception:
        log.warning("a batch could not be folded at once; folding it step by step", exc_info=True)
        ReadModel(transaction.rows, transaction.positions, standing, paused, wrap=before_fold).fold(
            batch
        )
