"""Who decides: aggregates take what is said and answer with events.

They never fetch, log or read a clock.
"""

from aggregates.billing_account import (
    CARD_STEP,
    HOLD_STEP,
    STORED_FAILURE,
    SUBSCRIPTION_STEP,
    BillingAccount,
    BoundCustomer,
    BoundSubscription,
    EndedSubscription,
)
from aggregates.cost_center import CostCenter
from aggregates.instance import REPEATED, Contradiction, Started, WorkspaceInstance
from aggregates.periods import Period, Periods, month_at, month_from, second_behind
from aggregates.pricing import FALLBACK_RATE, PriceBook

__all__ = [
    "CARD_STEP",
    "FALLBACK_RATE",
    "HOLD_STEP",
    "REPEATED",
    "STORED_FAILURE",
    "SUBSCRIPTION_STEP",
    "BillingAccount",
    "BoundCustomer",
    "BoundSubscription",
    "Contradiction",
    "CostCenter",
    "EndedSubscription",
    "Period",
    "Periods",
    "PriceBook",
    "Started",
    "WorkspaceInstance",
    "month_at",
    "month_from",
    "second_behind",
]
