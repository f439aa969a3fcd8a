"""The only SQL: event store, inbox, positions and rows of the read model, behind one contract."""

from persistence.errors import (
    PositionMovedError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from persistence.live import AlertPlace, LiveReader, LiveRow, LiveRows, RunningRow, place_of
from persistence.migration import MigrationRow
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
    "AlertPlace",
    "ClosedCycle",
    "Counts",
    "DeadLetter",
    "DraftRows",
    "EventKey",
    "Inboxed",
    "IntakeRow",
    "JobRow",
    "LiveReader",
    "LiveRow",
    "LiveRows",
    "MigrationRow",
    "OtherRow",
    "Personal",
    "PositionMovedError",
    "Progress",
    "ProjectionRow",
    "Reader",
    "RunningRow",
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
    "place_of",
]
