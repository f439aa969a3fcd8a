"""The read model: all projections folded together from one pass over the log.

The instance fold comes first and tells the others what changed. A fold that raises pauses its
projection: its position stays, the others go on; when the instance fold raises, all that live on it
pause too. Nothing is skipped.

Reconciles and cycle boundaries look at everything before them, so a batch is cut there and flushed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from events import (
    BillingCycleStarted,
    CostCenterImported,
    CostCenterOpened,
    Recorded,
    SpendingLimitSet,
    UsageReconciled,
)
from projections.balances import BalanceFold
from projections.billing import BillingFold
from projections.clock import fold_clock
from projections.cost_centers import CostCenterFold
from projections.instances import InstanceFold
from projections.invoice_drafts import Boundary, InvoiceDraftFold
from projections.rows import Rows, RowsUnavailableError
from projections.totals import UsageTotalsFold

INSTANCES = "instances"
TOTALS = "usage-totals"
BALANCES = "balances"
DRAFTS = "invoice-drafts"
COST_CENTERS = "cost-centers"
CLOCK = "clock"
BILLING = "billing"

PROJECTIONS = (INSTANCES, TOTALS, BALANCES, DRAFTS, COST_CENTERS, CLOCK, BILLING)
VERSION = 2  # of all tables; raise it when a fold or a table changes
_LIVES_ON_INSTANCES = (TOTALS, BALANCES, DRAFTS)

_BOUNDARIES = (CostCenterOpened, BillingCycleStarted, CostCenterImported)
_CUTS = frozenset({UsageReconciled, *_BOUNDARIES})
_COST_CENTER_EVENTS = frozenset({*_BOUNDARIES, SpendingLimitSet})


class Pause(NamedTuple):
    """Why a projection stands still."""

    position: int  # of the first event of the run that could not be folded
    reason: str  # with the traceback


class Positions(Protocol):
    """Where each projection stands, kept with its rows."""

    def advance(self, name: str, *, expected: int, position: int) -> None:
        """Move by compare-and-set; raise when the position is not the expected one."""

    def pause(self, name: str, pause: Pause) -> None:
        """Keep why a projection stands still."""


class ReadModel:
    """Folds batches of the log into rows.

    One per transaction; `positions` are those in the store. A projection that the store has no
    position of is not folded: it begins when no role of an older version runs any more.
    """

    def __init__(
        self,
        rows: Rows,
        positions: Positions,
        standing: dict[str, int],
        paused: dict[str, Pause],
        *,
        wrap: Callable[[str], None] | None = None,
        guarded: bool = True,
    ) -> None:
        """Continue from `standing`.

        `wrap` is called before each projection folds (tests plant faults there). Without `guarded`
        a fold that fails raises, positions move once a batch and no savepoint is taken: the caller
        undoes the batch and folds it again, guarded. It saves three round trips a projection and
        run where the database is a server.
        """
        self._rows = rows
        self._positions = positions
        self.standing = standing
        self.paused = paused
        self._before_fold = wrap or (lambda _name: None)
        self._guarded = guarded
        self._reached: dict[str, int] = {}  # not yet told to the store, when not guarded
        self._instances = InstanceFold(rows)
        self._totals = UsageTotalsFold(rows)
        self._balances = BalanceFold(rows)
        self._drafts = InvoiceDraftFold(rows)
        self._cost_centers = CostCenterFold(rows)
        self._billing = BillingFold(rows)

    def fold(self, batch: Sequence[Recorded]) -> None:
        """Fold the events that follow the last batch, in the log's order; write the outcome."""
        for run in _runs(batch):
            first = run[0].event
            if isinstance(first, UsageReconciled):
                self._reconcile(run[0], first)
            elif isinstance(first, _BOUNDARIES):
                self._run(run, boundary=first)
            else:
                self._run(run, boundary=None)
        for name, position in self._reached.items():
            self._advance(name, position)
        self._reached = {}

    def _run(self, run: Sequence[Recorded], *, boundary: Boundary | None) -> None:
        instances = self._instances
        told = instances.told  # what the others fold: the flush leaves it to them

        def fold_instances() -> None:
            instances.fold(run)
            instances.flush()

        if not self._guard(INSTANCES, run, fold_instances):
            self._instances = InstanceFold(self._rows)
            self._pause_dependents(run)

        def fold_totals() -> None:
            self._totals.fold(told)
            self._totals.flush()

        def fold_balances() -> None:
            self._balances.fold(run, told)
            self._balances.flush()

        def fold_drafts() -> None:
            if boundary is None:
                self._drafts.fold(told)
            else:
                self._drafts.boundary(boundary, instances.accrual, run[0].position)
            self._drafts.flush()

        self._guard(TOTALS, run, fold_totals)
        self._guard(BALANCES, run, fold_balances)
        self._guard(DRAFTS, run, fold_drafts)
        self._fold_cost_centers(run)
        self._fold_clock(run)
        self._fold_billing(run)

    def _fold_cost_centers(self, run: Sequence[Recorded]) -> None:
        def fold() -> None:
            for recorded in run:
                if type(recorded[2]) in _COST_CENTER_EVENTS:
                    self._cost_centers.fold(recorded[2])
            self._cost_centers.flush()

        if not self._guard(COST_CENTERS, run, fold):
            self._cost_centers = CostCenterFold(self._rows)

    def _fold_clock(self, run: Sequence[Recorded]) -> None:
        self._guard(CLOCK, run, lambda: self._rows.put_clock(fold_clock(self._rows.clock(), run)))

    def _fold_billing(self, run: Sequence[Recorded]) -> None:
        def fold() -> None:
            self._billing.fold(run)
            self._billing.flush()

        if not self._guard(BILLING, run, fold):
            self._billing = BillingFold(self._rows)

    def _reconcile(self, recorded: Recorded, event: UsageReconciled) -> None:
        run = [recorded]
        running: dict[bytes, int] = {}

        def fold_instances() -> None:
            running.update(self._instances.reconcile(event, recorded.position))

        if not self._guard(INSTANCES, run, fold_instances):
            self._instances = InstanceFold(self._rows)
            self._pause_dependents(run)
        self._guard(TOTALS, run, lambda: None)
        self._guard(BALANCES, run, lambda: self._balances.reconcile(running))
        self._guard(DRAFTS, run, lambda: None)
        self._fold_cost_centers(run)
        self._fold_clock(run)
        self._guard(BILLING, run, lambda: None)

    def _guard(self, name: str, run: Sequence[Recorded], fold: Callable[[], None]) -> bool:
        """Fold one projection under a savepoint and advance it.

        On a failure pause it. Say if it went well.
        """
        if name in self.paused:
            return name != INSTANCES
        if name not in self.standing:
            return True
        if not self._guarded:
            self._before_fold(name)
            fold()
            self._reached[name] = run[-1].position
            return True
        try:
            with self._rows.savepoint():
                self._before_fold(name)
                fold()
                self._advance(name, run[-1].position)
        except RowsUnavailableError:
            raise  # the store's trouble is not the fold's: the whole transaction fails
        except Exception:  # noqa: BLE001  # whatever a fold raises pauses it; nothing is skipped
            self._pause(name, Pause(run[0].position, traceback.format_exc()))
            return False
        return True

    def _advance(self, name: str, position: int) -> None:
        self._positions.advance(name, expected=self.standing[name], position=position)
        self.standing[name] = position

    def _pause(self, name: str, pause: Pause) -> None:
        self.paused[name] = pause
        self._positions.pause(name, pause)

    def _pause_dependents(self, run: Sequence[Recorded]) -> None:
        for name in _LIVES_ON_INSTANCES:
            if name not in self.paused:
                self._pause(
                    name, Pause(run[0].position, f"lives on {INSTANCES!r}, which is paused")
                )


def _runs(batch: Sequence[Recorded]) -> Iterator[Sequence[Recorded]]:
    """Cut a batch before and after every reconcile and boundary."""
    start = 0
    for index, recorded in enumerate(batch):
        if type(recorded[2]) in _CUTS:
            if index > start:
                yield batch[start:index]
            yield batch[index : index + 1]
            start = index + 1
    if start < len(batch):
        yield batch[start:]
