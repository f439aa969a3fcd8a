"""What the ledger shows to the rooms above it.

Types of answers, and how identifiers and events read.
"""

from billing import is_stripe_id
from events import OTHER, STRIPE, Recorded, UnreadableEventError, decode, recorded_time
from events.readable import TIME_MIN, attribution_id, event_json, uuid_text
from persistence import (
    BillingRun,
    Counts,
    DeadLetter,
    Head,
    OtherRow,
    SourceKey,
    StatusRows,
    StoreUnavailableError,
    StreamEvent,
    SuspectRow,
    UsageRow,
    VoidRow,
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
    "Head",
    "OtherRow",
    "Recorded",
    "SourceKey",
    "StatusRows",
    "StoreUnavailableError",
    "StreamEvent",
    "SuspectRow",
    "UnreadableEventError",
    "UsageRow",
    "VoidRow",
    "Webhook",
    "WebhookPlace",
    "attribution_id",
    "decode",
    "event_json",
    "is_stripe_id",
    "recorded_time",
    "uuid_text",
]
