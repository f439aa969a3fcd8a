"""Cost centers (`cost-center:team:<uuid>`) and their billing cycles (`cycle:team:<uuid>:<n>`).

A boundary between two cycles of a payer is one of: `CostCenterOpened`, `CostCenterImported`,
`BillingCycleClosed`. What follows it in the log belongs to the next cycle.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from events.base import LedgerEvent

STRIPE: Literal["stripe"] = "stripe"
OTHER: Literal["other"] = "other"


class CostCenterOpened(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A payer got a cost center; its first counted cycle, number 1, starts."""

    TOPIC: ClassVar[str] = "cost-center-opened"

    payer: bytes
    spending_limit: int  # credits
    strategy: str  # STRIPE or OTHER
    cycle_start: int
    next_billing: int


class SpendingLimitSet(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The spending limit changed, nothing else."""

    TOPIC: ClassVar[str] = "spending-limit-set"

    payer: bytes
    spending_limit: int


class BillingCycleClosed(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A cycle ended. The stream takes one event only, so no cycle is closed twice."""

    TOPIC: ClassVar[str] = "billing-cycle-closed"

    payer: bytes
    cycle_number: int
    reason: str  # `reset`, `upgrade`, `downgrade`, or `period`: the next one under STRIPE
    closed_at: int
    balance_cents: int  # before the write-off
    write_off_cents: int  # of the invoice entry "Credits", 0 or negative; it belongs to this cycle


class BillingCycleStarted(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The cost center's next cycle, with the terms that hold in it."""

    TOPIC: ClassVar[str] = "billing-cycle-started"

    payer: bytes
    cycle_number: int
    spending_limit: int
    strategy: str
    cycle_start: int
    next_billing: int
    anchor: int  # boundaries are anchor + whole months
    periods: int  # how many months cycle_start lies after the anchor


class CostCenterTerms(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One state of a cost center in the ledger it came from."""

    spending_limit: int
    strategy: str
    created: int
    cycle_start: int
    next_billing: int | None


class CostCenterImported(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A cost center taken over with its history, oldest first."""

    TOPIC: ClassVar[str] = "cost-center-imported"

    payer: bytes
    history: tuple[CostCenterTerms, ...]
    cycle_number: int
    next_billing: int
