"""Spending alerts: a payer's balance has reached a share of the open cycle's spending limit."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from events import (
    BillingCycleStarted,
    CostCenterImported,
    CostCenterOpened,
    LedgerEvent,
    SpendingLimitSet,
)

THRESHOLDS = (50, 80, 100)  # percent of the spending limit, rising


class AlertId(NamedTuple):
    """What an alert is called: raised again it is a repeat."""

    payer: bytes
    cycle: int
    threshold: int  # percent


class Alert(NamedTuple):
    """A balance reached a threshold. Position and time are those of the event that made it so."""

    payer: bytes
    cycle: int
    threshold: int  # percent
    balance_cents: int
    spending_limit: int  # credits
    shard: int
    position: int
    recorded_at: int

    @property
    def id(self) -> AlertId:
        """Give its name."""
        return AlertId(self.payer, self.cycle, self.threshold)


class Spending(msgspec.Struct, array_like=True, gc=False):
    """What the open cycle allows, and how many of the thresholds were reached in it.

    Thresholds are reached from below, so the raised ones are always the first ones. Without a cost
    center, and with the limit 0, there is nothing to be a share of.
    """

    cycle: int = 0
    spending_limit: int = 0  # credits
    raised: int = 0


def fold_terms(spending: Spending, event: LedgerEvent) -> None:
    """Take an event of the cost center in: a new cycle has raised nothing yet."""
    match event:
        case CostCenterOpened():
            _begin(spending, 1, event.spending_limit)
        case BillingCycleStarted():
            _begin(spending, event.cycle_number, event.spending_limit)
        case CostCenterImported():
            _begin(spending, event.cycle_number, event.history[-1].spending_limit)
        case SpendingLimitSet():
            spending.spending_limit = event.spending_limit
        case _:
            raise TypeError(f"{event.TOPIC} says nothing of a spending limit")


def _begin(spending: Spending, cycle: int, spending_limit: int) -> None:
    spending.cycle, spending.spending_limit, spending.raised = cycle, spending_limit, 0


def reached(spending: Spending, balance_cents: int) -> tuple[int, ...]:
    """Give the thresholds that this balance reaches for the first time in the open cycle."""
    limit = spending.spending_limit
    if not limit:
        return ()
    before = spending.raised
    raised = before
    # A percent of a limit in credits is one cent a credit.
    while raised < len(THRESHOLDS) and balance_cents >= THRESHOLDS[raised] * limit:
        raised += 1
    spending.raised = raised
    return THRESHOLDS[before:raised]
