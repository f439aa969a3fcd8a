"""The core: runs groups of work, each in one transaction.

Synchronous; clock, store and chance handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from aggregates import PriceBook
from events import PriceListPublished, UnreadableEventError, decode
from ledger.clock import Clock
from ledger.commands.ledger import PRICES_STREAM
from ledger.entropy import SystemEntropy
from ledger.errors import LedgerError, UnavailableError
from ledger.folding import fold_stored
from ledger.group import Caches, Context, Group
from persistence import StoreUnavailableError, Transaction, WritableStore
from projections import Pause

FOLLOW_MAX = 5_000  # events of other processes taken in one by one; beyond it all is forgotten

log = logging.getLogger(__name__)


class Work:
    """One thing to do in a group, and what came of it: `result`, or `error`."""

    __slots__ = ("act", "author", "cancelled", "error", "is_background", "result")

    def __init__(
        self, act: Callable[[Group], Any], author: str, *, is_background: bool = False
    ) -> None:
        """`act` decides and appends; it raises LedgerError only while it has appended nothing.

        What is in the background refuses nobody else, even when the store refuses it.
        """
        self.act = act
        self.author = author
        self.is_background = is_background
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None


class Core:
    """A writer's state: caches, prices, and the newest recorded time.

    Where the store is shared, other processes append, too: each transaction begins with what they
    have added since, and a projector folds. Elsewhere the writer folds what it appends.
    """

    def __init__(
        self,
        store: WritableStore,
        clock: Clock,
        *,
        entropy: Callable[[int], bytes] | None = None,
        before_fold: Callable[[str], None] | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
        shard: int = 0,
    ) -> None:
        """Take up the log where it ends; fold the rest of it where the writer folds."""
        self.store = store
        self.clock = clock
        self.shard = shard
        self._entropy = entropy or SystemEntropy()
        self.failpoint = failpoint
        self._wrap_fold = before_fold
        self._caches = Caches()
        self._last_recorded = 0
        self.prices = PriceBook()
        self.head = 0
        self.paused: dict[str, Pause] = {}
        with self.store.beside() as transaction:
            self._load(transaction)
        if store.is_shared:
            self.paused = self.store.progress().paused
        else:
            self._catch_up()

    def _load(self, transaction: Transaction) -> None:
        self.head = transaction.head
        lists = transaction.streams([PRICES_STREAM]).get(PRICES_STREAM, [])
        newest = transaction.log(after=self.head - 1, limit=1) if self.head else []
        self.prices = PriceBook()
        for stored in lists:
            event = decode(stored.topic, stored.state)
            assert isinstance(event, PriceListPublished)
            self.prices.add(event)
        for stored in newest:
            self._last_recorded = decode(stored.topic, stored.state).recorded_at

    def _follow(self, transaction: Transaction) -> None:
        """Take in what other processes have appended since our last transaction.

        The append lock is ours, so nothing comes after it until we commit. What was read is
        committed: it stays true even if this transaction does not.
        """
        # Another process may have added old calls up, and their rows with them.
        self._caches.deliveries.clear()
        behind = transaction.head - self.head
        if not behind:
            return
        if behind > FOLLOW_MAX:
            self._caches.clear()
            self._load(transaction)
            return
        stored = transaction.log(after=self.head, limit=behind)
        for event in stored:
            self._caches.forget(event.stream)
            if event.stream == PRICES_STREAM:
                prices = decode(event.topic, event.state)
                assert isinstance(prices, PriceListPublished)
                self.prices.add(prices)
        self._last_recorded = decode(stored[-1].topic, stored[-1].state).recorded_at
        self.head = transaction.head

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
            position = fold_stored(self.store, position, self.before_fold)
            self.failpoint("catching-up")
            self.store.checkpoint()
        with self.store.transaction() as transaction:
            self.paused = transaction.standing()[1]

    def before_fold(self, name: str) -> None:
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
        except UnreadableEventError as error:
            # Another process is of a newer version. What it wrote is not guessed at.
            self._caches.clear()
            _refuse(taken)
            raise StoreUnavailableError(
                f"the log holds what a newer version has written, so this process waits for its"
                f" upgrade: {error}"
            ) from error
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
            elif taken[-1].is_background:
                self._run_apart([taken[:-1], taken[-1:]])
            else:
                # Each alone, so that the mistake meets only the one it lies in.
                self._run_apart([[work] for work in taken])
            return False
        return True

    def _run_apart(self, parts: Sequence[Sequence[Work]]) -> None:
        for index, part in enumerate(parts):
            waiting = iter(part)
            try:
                while not self._run_group(waiting):
                    pass
            except StoreUnavailableError:
                # What the group had decided on the others was rolled back: they must not hear it.
                _refuse(chain(waiting, *parts[index + 1 :]))
                raise

    def _run(self, works: Iterable[Work], taken: list[Work]) -> None:
        with self.store.transaction() as transaction:
            if self.store.is_shared:
                self._follow(transaction)
            group = Group(transaction, self._caches, self._context())
            for work in works:
                taken.append(work)
                if len(taken) > 1:
                    self.failpoint("between-works")
                work.result = work.error = None
                if work.cancelled:
                    continue
                _do(work, group)
            group.finish()
            self.failpoint("before-commit")
        self.failpoint("after-commit")
        if not self.store.is_shared:
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
            self.before_fold,
            self.failpoint,
            self.store.is_shared,
            self.shard,
        )


def _do(work: Work, group: Group) -> None:
    group.author = work.author
    before = group.appended
    try:
        work.result = work.act(group)
    except LedgerError as error:
        if group.appended != before:
            raise _FailedHalfWayError from error
        work.error = error
    except StoreUnavailableError as error:
        if work.is_background:
            raise _BackgroundRefusedError from error
        raise


class _FailedHalfWayError(Exception):
    """A command failed after it had appended: the group is undone and the others are tried again.

    `__cause__` is what the caller is told.
    """


class _BackgroundRefusedError(Exception):
    """The store refused what is in the background; `__cause__` says why.

    Others in its group are tried again without it. If the store takes nothing, they find out.
    """


def _refuse(works: Iterable[Work]) -> None:
    for work in works:
        work.result = None
        work.error = UnavailableError("nothing can be stored now; try again later")


def _told(error: Exception) -> BaseException:
    if isinstance(error, _FailedHalfWayError | _BackgroundRefusedError):
        assert error.__cause__ is not None
        return error.__cause__
    log.error("a piece of work failed", exc_info=error)
    return error
