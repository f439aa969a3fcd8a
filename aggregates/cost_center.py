"""A cost center decides on its terms and on the boundaries between its billing cycles."""

from __future__ import annotations

import msgspec

from aggregates.calendar import add_months, periods_until
from aggregates.periods import Period, month_from
from events import (
    OTHER,
    STRIPE,
    BillingCycleClosed,
    BillingCycleStarted,
    CostCenterImported,
    CostCenterOpened,
    CostCenterTerms,
    LedgerEvent,
    SpendingLimitSet,
)

RESET, UPGRADE, DOWNGRADE, PERIOD = "reset", "upgrade", "downgrade", "period"


def write_off_of_reset(balance_cents: int, spending_limit: int) -> int:
    """Give the entry that a reset writes: what is owed, as far as the limit (credits) covers it.

    The limit 0 covers everything.
    """
    limit_cents = spending_limit * 100
    covered = balance_cents if limit_cents == 0 else min(balance_cents, limit_cents)
    return -max(covered, 0)


def write_off_of_upgrade(balance_cents: int, unsettled_cents: int) -> int:
    """Give the entry that a move to STRIPE writes: what is owed beyond what Stripe still bills."""
    return -max(balance_cents - unsettled_cents, 0)


class CostCenter(msgspec.Struct, gc=False):
    """The state that decisions need; version 0 is a cost center that was never opened."""

    version: int = 0
    payer: bytes = b""
    spending_limit: int = 0
    other_limit: int | None = None  # the latest limit it had under OTHER
    strategy: str = OTHER
    cycle_number: int = 0
    cycle_start: int = 0
    next_billing: int = 0
    anchor: int = 0
    periods: int = 0

    def apply(self, event: LedgerEvent) -> None:
        """Take a recorded event into the state."""
        self.version += 1
        match event:
            case CostCenterOpened():
                self.payer = event.payer
                self.strategy = event.strategy
                self.cycle_number = 1
                self.cycle_start = self.anchor = event.cycle_start
                self.next_billing = event.next_billing
                self._limit(event.spending_limit)
            case SpendingLimitSet():
                self._limit(event.spending_limit)
            case BillingCycleStarted():
                self.strategy = event.strategy
                self.cycle_number = event.cycle_number
                self.cycle_start = event.cycle_start
                self.next_billing = event.next_billing
                self.anchor, self.periods = event.anchor, event.periods
                self._limit(event.spending_limit)
            case CostCenterImported():
                self._apply_import(event)
            case _:
                raise TypeError(f"{event.TOPIC} is no event of a cost center")

    def _limit(self, spending_limit: int) -> None:
        self.spending_limit = spending_limit
        if self.strategy == OTHER:
            self.other_limit = spending_limit

    def _apply_import(self, event: CostCenterImported) -> None:
        self.payer = event.payer
        for terms in event.history:
            self.strategy = terms.strategy
            self._limit(terms.spending_limit)
        self.cycle_number = event.cycle_number
        self.cycle_start = self.anchor = event.history[-1].cycle_start
        self.next_billing = event.next_billing
        # The ledger it came from may have drifted off its own months; ours go on from what it said
        # is due.
        if self.next_billing != add_months(self.anchor, 1):
            self.anchor, self.periods = self.next_billing, -1

    def due(self, now: int) -> bool:
        """Say whether the cycle has ended and a reset is owed (never under STRIPE)."""
        return self.version > 0 and self.strategy == OTHER and self.next_billing <= now

    def open(
        self, payer: bytes, spending_limit: int, *, now: int, recorded_at: int, author: str
    ) -> CostCenterOpened:
        """Open under OTHER; the first cycle starts now."""
        return CostCenterOpened(
            recorded_at, author, payer, spending_limit, OTHER, now, add_months(now, 1)
        )

    def take_over(
        self,
        payer: bytes,
        history: tuple[CostCenterTerms, ...],
        *,
        cycle_number: int,
        recorded_at: int,
        author: str,
    ) -> CostCenterImported:
        """Take over a cost center with its history, oldest first."""
        newest = history[-1]
        due = newest.next_billing
        if due is None or due <= newest.cycle_start:
            due = add_months(newest.cycle_start, 1)
        return CostCenterImported(recorded_at, author, payer, history, cycle_number, due)

    def set_limit(self, spending_limit: int, *, recorded_at: int, author: str) -> SpendingLimitSet:
        """Change the limit; cycle and balance stay."""
        return SpendingLimitSet(recorded_at, author, self.payer, spending_limit)

    def reset(
        self, balance_cents: int, *, now: int, recorded_at: int, author: str
    ) -> tuple[BillingCycleClosed, BillingCycleStarted]:
        """Advance to the cycle that contains now and write off what the limit covers."""
        closed = BillingCycleClosed(
            recorded_at,
            author,
            self.payer,
            self.cycle_number,
            RESET,
            now,
            balance_cents,
            write_off_of_reset(balance_cents, self.spending_limit),
        )
        periods = max(periods_until(self.anchor, now), self.periods + 1)
        return closed, BillingCycleStarted(
            recorded_at,
            author,
            self.payer,
            self.cycle_number + 1,
            self.spending_limit,
            self.strategy,
            add_months(self.anchor, periods),
            add_months(self.anchor, periods + 1),
            self.anchor,
            periods,
        )

    def upgrade(
        self,
        balance_cents: int,
        unsettled_cents: int,
        spending_limit: int,
        *,
        now: int,
        recorded_at: int,
        author: str,
        period: Period | None = None,
    ) -> tuple[BillingCycleClosed, BillingCycleStarted]:
        """Move to STRIPE: what is owed beyond `unsettled_cents` is forgiven, a credit stays.

        With the period of a subscription that holds now, boundaries are Stripe's.
        """
        write_off = write_off_of_upgrade(balance_cents, unsettled_cents)
        return self._turn(
            UPGRADE,
            STRIPE,
            balance_cents=balance_cents,
            write_off_cents=write_off,
            spending_limit=spending_limit,
            now=now,
            recorded_at=recorded_at,
            author=author,
            period=period,
        )

    def begin_period(
        self, balance_cents: int, *, now: int, recorded_at: int, author: str, period: Period
    ) -> tuple[BillingCycleClosed, BillingCycleStarted]:
        """Go on under STRIPE in the period that holds now."""
        return self._turn(
            PERIOD,
            STRIPE,
            balance_cents=balance_cents,
            write_off_cents=0,
            spending_limit=self.spending_limit,
            now=now,
            recorded_at=recorded_at,
            author=author,
            period=period,
        )

    def has_ended(self, now: int) -> bool:
        """Say whether a cycle under STRIPE has ended; the clock says so, no invoice need come."""
        return self.version > 0 and self.strategy == STRIPE and self.next_billing <= now

    def downgrade(
        self, balance_cents: int, default_limit: int, *, now: int, recorded_at: int, author: str
    ) -> tuple[BillingCycleClosed, BillingCycleStarted]:
        """Move to OTHER with the latest limit it had there; the balance is left as it is."""
        limit = default_limit if self.other_limit is None else self.other_limit
        return self._turn(
            DOWNGRADE,
            OTHER,
            balance_cents=balance_cents,
            write_off_cents=0,
            spending_limit=limit,
            now=now,
            recorded_at=recorded_at,
            author=author,
        )

    def _turn(
        self,
        reason: str,
        strategy: str,
        *,
        balance_cents: int,
        write_off_cents: int,
        spending_limit: int,
        now: int,
        recorded_at: int,
        author: str,
        period: Period | None = None,
    ) -> tuple[BillingCycleClosed, BillingCycleStarted]:
        closed = BillingCycleClosed(
            recorded_at,
            author,
            self.payer,
            self.cycle_number,
            reason,
            now,
            balance_cents,
            write_off_cents,
        )
        period = month_from(now) if period is None else period
        return closed, BillingCycleStarted(
            recorded_at,
            author,
            self.payer,
            self.cycle_number + 1,
            spending_limit,
            strategy,
            period.start if reason == PERIOD else now,
            period.end,
            period.anchor,
            period.number,
        )
