"""Who decides: aggregates take what is said and answer with events.

They never fetch, log or read a clock.
"""

from aggregates.billing_account import (
    BillingAccount,
    BoundCustomer,
    BoundSubscription,
    EndedSubscription,
)
from aggregates.cost_center import CostCenter
from aggregates.instance import REPEATED, Contradiction, Started, WorkspaceInstance
from aggregates.pricing import FALLBACK_RATE, PriceBook

__all__ = [
    "FALLBACK_RATE",
    "REPEATED",
    "BillingAccount",
    "BoundCustomer",
    "BoundSubscription",
    "Contradiction",
    "CostCenter",
    "EndedSubscription",
    "PriceBook",
    "Started",
    "WorkspaceInstance",
]
