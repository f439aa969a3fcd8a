"""The only SQL: event store, inbox, positions and rows of the read model, behind one contract."""

from persistence.errors import (
    PositionMovedError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from persistence.reading import (
    ClosedCycle,
    DraftRows,
    IntakeRow,
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
    Progress,
    SourceKey,
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
    "IntakeRow",
    "JobRow",
    "OtherRow",
    "Personal",
    "PositionMovedError",
    "Progress",
    "ProjectionRow",
    "Reader",
    "SourceKey",
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
