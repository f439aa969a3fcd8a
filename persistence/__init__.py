"""The only SQL: event store, inbox, positions and rows of the read model, behind one contract."""

from persistence.errors import StoreError, StoreRefusedError, StoreUnavailableError
from persistence.reading import (
    ClosedCycle,
    DraftRows,
    JobRow,
    OtherRow,
    ProjectionRow,
    Reader,
    StatusRows,
    SuspectRow,
    UsageRow,
)
from persistence.store import (
    Counts,
    DeadLetter,
    EventKey,
    Inboxed,
    Personal,
    StreamEvent,
    Transaction,
    WritableStore,
)

__all__ = [
    "ClosedCycle",
    "Counts",
    "DeadLetter",
    "DraftRows",
    "EventKey",
    "Inboxed",
    "JobRow",
    "OtherRow",
    "Personal",
    "ProjectionRow",
    "Reader",
    "StatusRows",
    "StoreError",
    "StoreRefusedError",
    "StoreUnavailableError",
    "StreamEvent",
    "SuspectRow",
    "Transaction",
    "UsageRow",
    "WritableStore",
]
