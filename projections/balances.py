"""Balances: what each payer owes, booked entries plus what its running instances accrued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from events import (
    ClockConfirmed,
    CostCenterImported,
    EntryImported,
    FreeCreditClaimed,
    MemberImported,
    PriceListPublished,
    Recorded,
    StripeIdClaimed,
    UsageReconciled,
    UserErased,
    UserErasureRequested,
    WorkspaceInstanceImported,
)
from projections.rows import BalanceDelta, Entry, OtherEntry, Rows, Told

# A claim is no event of the payer's own either: an import makes claims, too, and one may lie in
# another shard than its payer.
_NOT_LIVE = frozenset(
    {
        CostCenterImported,
        EntryImported,
        FreeCreditClaimed,
        MemberImported,
        StripeIdClaimed,
        WorkspaceInstanceImported,
        # These are of no payer.
        ClockConfirmed,
        PriceListPublished,
        UsageReconciled,
        UserErased,
        UserErasureRequested,
    }
)


class BalanceFold:
    """Adds up entries and running instances by payer."""

    def __init__(self, rows: Rows) -> None:
        """Start with nothing folded."""
        self._rows = rows
        self._deltas: dict[bytes, BalanceDelta] = {}

    def _delta(self, payer: bytes) -> BalanceDelta:
        delta = self._deltas.get(payer)
        if delta is None:
            delta = self._deltas[payer] = BalanceDelta()
        return delta

    def fold(self, batch: Sequence[Recorded], told: Told) -> None:
        """Take a batch of events and what the instance fold told of it."""
        live = Counter(
            [
                event.payer  # type: ignore[attr-defined]  # the set names those without one
                for _, _, event, _ in batch
                if type(event) not in _NOT_LIVE
            ]
        )
        for payer, count in live.items():
            self._delta(payer).live_events += count
        for change in told.changes:
            delta = self._delta(change.after.payer)
            delta.booked_cents += change.after.cents
            if change.before is None:
                delta.entries += 1
            else:
                delta.booked_cents -= change.before.cents
        for other in told.others:
            delta = self._delta(other.payer)
            delta.entries += 1
            delta.booked_cents += other.cents
        for entry, was_running in told.voided:
            if not was_running:
                self._take_away(entry)
        for note in told.voided_notes:
            self._take_away(note)
        for payer, cents in told.running_cents.items():
            self._delta(payer).running_cents += cents

    def _take_away(self, entry: Entry | OtherEntry) -> None:
        delta = self._delta(entry.payer)
        delta.entries -= 1
        delta.booked_cents -= entry.cents

    def reconcile(self, running: Mapping[bytes, int]) -> None:
        """Set what running instances add, after a reconcile.

        Everything before must have been flushed.
        """
        self._rows.set_running_cents(running)

    def flush(self) -> None:
        """Write what was folded and forget it."""
        if self._deltas:
            self._rows.add_balances(self._deltas)
            self._deltas = {}
