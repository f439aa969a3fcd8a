"""The core: runs groups of work, each in one transaction.

Synchronous; clock, store and chance handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from aggregates import PriceBook
from events import PriceListPublished, Recorded, decode
from ledger.clock import Clock
from ledger.commands.ledger import PRICES_STREAM
from ledger.entropy import SystemEntropy
from ledger.errors import LedgerError, UnavailableError
from ledger.group import Caches, Context, Group
from persistence import StoreUnavailableError, StreamEvent, Transaction, WritableStore
from projections import Pause, ReadModel

REBUILD_BATCH = 20_000  # events folded in one transaction while catching up

log = logging.getLogger(__name__)


class Work:
    """One thing to do in a group, and what came of it: `result`, or `error`."""

    __slots__ = ("act", "author", "cancelled", "error", "result")

    def __init__(self, act: Callable[[Group], Any], author: str) -> None:
        """`act` decides and appends; it raises LedgerError only while it has appended nothing."""
        self.act = act
        self.author = author
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None


class Core:
    """The one writer's state: caches, prices, and the newest recorded time."""

    def __init__(
        self,
        store: WritableStore,
        clock: Clock,
        *,
        entropy: Callable[[int], bytes] | None = None,
        before_fold: Callable[[str], None] | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Take up the log where it ends, and bring the read model up to it."""
        self.store = store
        self.clock = clock
        self._entropy = entropy or SystemEntropy()
        self.failpoint = failpoint
        self._wrap_fold = before_fold
        self._caches = Caches()
        self._last_recorded = 0
        self.prices = PriceBook()
        self.head = 0
        self.paused: dict[str, Pause] = {}
        self._load()
        self._catch_up()

    def _load(self) -> None:
        with self.store.transaction() as transaction:
            self.head = transaction.head
            lists = transaction.streams([PRICES_STREAM]).get(PRICES_STREAM, [])
            newest = transaction.log(after=self.head - 1, limit=1) if self.head else []
        for stored in lists:
            event = decode(stored.topic, stored.state)
            assert isinstance(event, PriceListPublished)
            self.prices.add(event)
        for stored in newest:
            self._last_recorded = decode(stored.topic, stored.state).recorded_at

    def _catch_up(self) -> None:
        """Fold what the read model has not seen.

        A projection that is paused, or was folded by another version, is folded anew from zero.
        """
        with self.store.transaction() as transaction:
            standing, paused = transaction.standing()
            outdated = transaction.outdated()
        if paused or outdated or len(set(standing.values())) > 1:
            log.warning(
                "folding the whole log anew: paused were %s, of another version %s",
                ", ".join(paused) or "none",
                ", ".join(outdated) or "none",
            )
            self.store.clear_read_model()
            self.failpoint("after-clear")
            standing = dict.fromkeys(standing, 0)
        position = min(standing.values())
        while position < self.head:
            position = fold_stored(self.store, position, self._before_fold)
            self.failpoint("catching-up")
            self.store.checkpoint()
        with self.store.transaction() as transaction:
            self.paused = transaction.standing()[1]

    def _before_fold(self, name: str) -> None:
        self.failpoint("before-fold")
        if self._wrap_fold is not None:
            self._wrap_fold(name)

    def run(self, works: Iterable[Work]) -> None:
        """Do all of it in one transaction. What fails by itself does not touch its neighbours.

        Work is taken from the iterable while the group runs, so that it can end when it is large
        enough. Raises StoreUnavailableError, after it told so to each piece of work, when nothing
        can be stored.
        """
        waiting = iter(works)
        try:
            while not self._run_group(waiting):
                pass  # a mistake ended the group early: those who still wait are the next one
        except StoreUnavailableError as error:
            log.error("nothing could be stored: %s", error)  # noqa: TRY400  # every half second
            _refuse(waiting)
            raise

    def _run_group(self, waiting: Iterator[Work]) -> bool:
        """Give False when a mistake of ours ended the group before all that waits was taken."""
        taken: list[Work] = []
        try:
            self._run(waiting, taken)
        except StoreUnavailableError:
            self._caches.clear()
            _refuse(taken)
            raise
        except Exception as error:
            self._caches.clear()
            if not taken:
                # Nobody's work had begun. Unless the first that waits hears of it, all wait for
                # ever and the writer tries again without end.
                first = next(waiting, None)
                if first is None:
                    raise
                taken.append(first)
            if len(taken) == 1:
                taken[0].result, taken[0].error = None, _told(error)
            else:
                self._run_alone(taken)
            return False
        return True

    def _run_alone(self, works: Sequence[Work]) -> None:
        """Try each alone, so that the mistake meets only the one it lies in."""
        for index, work in enumerate(works):
            try:
                self._run_group(iter([work]))
            except StoreUnavailableError:
                # What the group had decided on the others was rolled back: they must not hear it.
                _refuse(works[index:])
                raise

    def _run(self, works: Iterable[Work], taken: list[Work]) -> None:
        with self.store.transaction() as transaction:
            group = Group(transaction, self._caches, self._context())
            for work in works:
                taken.append(work)
                if len(taken) > 1:
                    self.failpoint("between-works")
                work.result = work.error = None
                if work.cancelled:
                    continue
                group.author = work.author
                before = group.appended
                try:
                    work.result = work.act(group)
                except LedgerError as error:
                    if group.appended != before:
                        raise _FailedHalfWayError from error
                    work.error = error
            group.fold()
            self.failpoint("before-commit")
        self.failpoint("after-commit")
        self.paused = group.paused
        if group.appended - 1 > self.head:
            self.head = group.appended - 1
            self._last_recorded = group.recorded_at
        for event in group.published_prices:
            self.prices.add(event)
        self._caches.trim()

    def _context(self) -> Context:
        return Context(
            self.clock,
            self._entropy,
            self.prices,
            self._last_recorded,
            self._before_fold,
            self.failpoint,
        )


class _FailedHalfWayError(Exception):
    """A command failed after it had appended: the group is undone and the others are tried again.

    `__cause__` is what the caller is told.
    """


def _refuse(works: Iterable[Work]) -> None:
    for work in works:
        work.result = None
        work.error = UnavailableError("nothing can be stored now; try again later")


def _told(error: Exception) -> BaseException:
    if isinstance(error, _FailedHalfWayError):
        assert error.__cause__ is not None
        return error.__cause__
    log.error("a piece of work failed", exc_info=error)
    return error


def fold_stored(
    store: WritableStore, position: int, before_fold: Callable[[str], None] | None = None
) -> int:
    """Fold the next batch of the stored log into the store's own read model.

    Give the new position.
    """
    with store.transaction() as transaction:
        stored = transaction.log(after=position, limit=REBUILD_BATCH)
        fold_events(transaction, stored, before_fold)
    return stored[-1].position


def fold_events(
    transaction: Transaction,
    stored: Sequence[StreamEvent],
    before_fold: Callable[[str], None] | None = None,
) -> None:
    """Fold stored events into the read model of a transaction, which may be another store's."""
    batch = [Recorded(e.stream, e.version, decode(e.topic, e.state), e.position) for e in stored]
    standing, paused = transaction.standing()
    model = ReadModel(transaction.rows, transaction.positions, standing, paused, wrap=before_fold)
    model.fold(batch)
