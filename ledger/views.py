"""What the ledger shows to the rooms above it.

Types of answers, and how identifiers and events read.
"""

from billing import is_stripe_id
from events import OTHER, STRIPE, Recorded, UnreadableEventError, decode
from events.readable import TIME_MIN, attribution_id, event_json, uuid_text
from persistence import (
    BillingRun,
    Counts,
    DeadLetter,
    OtherRow,
    SourceKey,
    StatusRows,
    StoreUnavailableError,
    StreamEvent,
    SuspectRow,
    UsageRow,
    Webhook,
    WebhookPlace,
)
from projections import OWN_PERIOD, CostCenterRow

__all__ = [
    "OTHER",
    "OWN_PERIOD",
    "STRIPE",
    "TIME_MIN",
    "BillingRun",
    "CostCenterRow",
    "Counts",
    "DeadLetter",
    "OtherRow",
    "Recorded",
    "SourceKey",
    "StatusRows",
    "StoreUnavailableError",
    "StreamEvent",
    "SuspectRow",
    "UnreadableEventError",
    "UsageRow",
    "Webhook",
    "WebhookPlace",
    "attribution_id",
    "decode",
    "event_json",
    "is_stripe_id",
    "uuid_text",
]
