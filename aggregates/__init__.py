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
from aggregates.calendar import add_months
from aggregates.cost_center import (
    RESET,
    UPGRADE,
    CostCenter,
    write_off_of_reset,
    write_off_of_upgrade,
)
from aggregates.instance import REPEATED, Contradiction, Started, WorkspaceInstance
from aggregates.periods import Period, Periods, month_at, month_from, second_behind
from aggregates.pricing import FALLBACK_RATE, PriceBook

__all__ = [
    "CARD_STEP",
    "FALLBACK_RATE",
    "HOLD_STEP",
    "REPEATED",
    "RESET",
    "STORED_FAILURE",
    "SUBSCRIPTION_STEP",
    "UPGRADE",
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
    "add_months",
    "month_at",
    "month_from",
    "second_behind",
    "write_off_of_reset",
    "write_off_of_upgrade",
]
