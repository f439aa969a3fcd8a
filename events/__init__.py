"""The facts: frozen, past-tense events with lasting topics, their codec, their arithmetic."""

from events.base import LedgerEvent, Recorded, type_registry
from events.codec import UnreadableEventError, decode, encode, upcasts
from events.cost_centers import (
    OTHER,
    STRIPE,
    BillingCycleClosed,
    BillingCycleStarted,
    CostCenterImported,
    CostCenterOpened,
    CostCenterTerms,
    SpendingLimitSet,
)
from events.instances import (
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
)
from events.ledger import (
    ClockConfirmed,
    CreditNoteIssued,
    EntryImported,
    FreeCreditClaimed,
    MemberImported,
    PriceListPublished,
    UsageReconciled,
)

__all__ = [
    "OTHER",
    "STRIPE",
    "BillingCycleClosed",
    "BillingCycleStarted",
    "ClockConfirmed",
    "CostCenterImported",
    "CostCenterOpened",
    "CostCenterTerms",
    "CreditNoteIssued",
    "EntryImported",
    "FreeCreditClaimed",
    "LedgerEvent",
    "MemberImported",
    "PriceListPublished",
    "Recorded",
    "SpendingLimitSet",
    "UnreadableEventError",
    "UsageReconciled",
    "WorkspaceInstanceEnded",
    "WorkspaceInstanceImported",
    "WorkspaceInstanceStarted",
    "WorkspaceInstanceStopped",
    "WorkspaceInstanceStopping",
    "decode",
    "encode",
    "type_registry",
    "upcasts",
]
