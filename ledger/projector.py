"""The projector: folds the log of a shared store beside its writers.

One at a time, by a lease; were there two, the lock on the rows of positions and compare-and-set
keep each event from being folded twice. A fold that raises pauses its projection; nothing is
skipped. A log that a newer version has written is waited for, not guessed at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from events import UnreadableEventError
from ledger import tracing
from ledger.folding import fold_events_at_once
from persistence import StoreUnavailableError, WritableStore
from projections import VERSION

BATCH_MAX = 4_000  # events folded in one transaction: about a tenth of a second
LEASE = f"project-{VERSION}"  # each version of the folds has its own rows, and its own projector
LEASE_SECONDS = 10.0  # after so long without a sign of life another projector takes over
RENEW_SECONDS = 3.0
IDLE_SECONDS = 0.02  # between two looks at a log that has not grown
TROUBLE_SECONDS = 0.5  # while the store is not there, or the lease is another's
NEWER_SECONDS = 5.0  # while the log holds what only a newer version can read
RETRIES_LOGGED_SECONDS = 30.0
REBUILDING = "is being folded anew"

log = logging.getLogger(__name__)


class Projector:
    """Folds one shard on a thread of its own."""

    def __init__(
        self,
        store: WritableStore,
        holder: str,
        *,
        before_fold: Callable[[str], None] | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
        on_folded: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread with `start`; `on_folded` is told on that thread after each batch."""
        self._store = store
        self._holder = holder
        self._before_fold = before_fold
        self._failpoint = failpoint
        self._on_folded = on_folded
        self._wake = threading.Event()
        self._stopping = False
        self._renewed = 0.0  # when the lease was last ours, by the monotonic clock
        self._begun = False  # whether paused and outdated projections were looked at
        self._said = 0.0
        self.waiting = ""  # what it waits for; empty while it folds or has folded everything
        self.holds_lease = False
        self.stands_by = False  # while another projector folds
        self.folded = 0
        # Set once all that was there at the start is folded, or another projector folds.
        self.settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="projector", daemon=True)

    def start(self) -> None:
        """Start folding."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch that is being folded, and let another projector have the lease."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is None:
            return
        self._thread.join()
        if self.holds_lease:
            try:
                self._store.release_lease(LEASE, self._holder)
            except StoreUnavailableError:
                log.info("the lease could not be given back: it runs out by itself")

    def nudge(self) -> None:
        """Look at the log now; from any thread."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            pause = self._step()
            if pause:
                self._wake.wait(pause)
            self._wake.clear()

    def _step(self) -> float:
        """Fold the next batch; give how long to wait before the next step."""
        try:
            if not self._has_lease():
                self.stands_by, self.waiting = True, "another projector, which holds the lease"
                self.settled.set()
                return TROUBLE_SECONDS
            self.stands_by = False
            if not self._begun:
                self._begin()
                self._begun = True
            folded = self.fold_next()
        except StoreUnavailableError as error:
            return self._wait_for(f"the store: {error}", TROUBLE_SECONDS)
        except UnreadableEventError as error:
            return self._wait_for(f"a newer version: {error}", NEWER_SECONDS)
        except Exception:
            log.exception("the projector failed; trying again")
            return self._wait_for("a mistake of its own, see the log", NEWER_SECONDS)
        self.waiting = ""
        if folded:
            return 0.0
        self.settled.set()
        return IDLE_SECONDS

    def _wait_for(self, what: str, seconds: float) -> float:
        self.stands_by = False
        now = time.monotonic()
        if what != self.waiting or now - self._said > RETRIES_LOGGED_SECONDS:
            log.error("folding waits for %s", what)
            self._said = now
        self.waiting = what
        return seconds

    def _has_lease(self) -> bool:
        now = time.monotonic()
        if self.holds_lease and now - self._renewed < RENEW_SECONDS:
            return True
        held = self.holds_lease
        self.holds_lease = False  # unless the store says otherwise
        self.holds_lease = self._store.hold_lease(LEASE, self._holder, LEASE_SECONDS)
        if self.holds_lease:
            self._renewed = now
            if not held:
                log.info("folding begins: the lease is ours")
                self._begun = False
        return self.holds_lease

    def _begin(self) -> None:
        """Fold anew what is paused, or was folded by another version of the folds."""
        with self._store.folding() as transaction:
            standing, paused = transaction.standing()
            outdated = transaction.outdated()
        if paused or outdated or len(set(standing.values())) > 1:
            log.warning(
                "folding the whole log anew: paused were %s, of another version %s",
                ", ".join(paused) or "none",
                ", ".join(outdated) or "none",
            )
            self._fold_anew()

    def _fold_anew(self) -> None:
        """Empty the rows and fold from the first event.

        Meanwhile every projection is paused, so that no call answers from half of the log.
        """
        self._store.clear_read_model(REBUILDING)
        self._failpoint("after-clear")
        position = 0
        while not self._stopping:
            with self._store.folding() as transaction:
                stored = transaction.log(after=position, limit=BATCH_MAX)
                if not stored:
                    transaction.resume_projections(REBUILDING)
                    break
                fold_events_at_once(
                    transaction, stored, self._before_fold, ignored_pause=REBUILDING
                )
            position = stored[-1].position
            self._failpoint("catching-up")
            if not self._has_lease():
                raise StoreUnavailableError("another projector took over while folding anew")
        self._on_folded()

    def fold_next(self) -> int:
        """Fold the next batch in one transaction; give how many events."""
        with tracing.span("fold batch") as span:
            folded = self._fold_next()
            span.set("usage_ledger.events", folded)
        return folded

    def _fold_next(self) -> int:
        with self._store.folding() as transaction:
            standing, paused = transaction.standing()
            position = min(
                (at for name, at in standing.items() if name not in paused), default=None
            )
            if position is None:
                return 0
            stored = transaction.log(after=position, limit=BATCH_MAX)
            if not stored:
                return 0
            fold_events_at_once(transaction, stored, self._before_fold)
            self._failpoint("before-fold-commit")
        self._failpoint("after-fold-commit")
        self.folded += len(stored)
        self._on_folded()
        return len(stored)
