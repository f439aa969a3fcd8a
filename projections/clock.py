"""What the log knows of the clock.

Whether it leapt, and whether a later reconcile agreed with the leap.
"""

from __future__ import annotations

from collections.abc import Sequence

from events import ClockConfirmed, Recorded, UsageReconciled
from projections.rows import ClockRow

LEAP_MS = (
    31 * 86_400_000
)  # a longer silence may be a clock that jumped; resets wait for a second opinion


def fold_clock(row: ClockRow, batch: Sequence[Recorded]) -> ClockRow:
    """Fold a batch. The first event of an empty log is no leap: there was no time before it."""
    newest, suspect, agreed = row.newest_recorded, row.suspect_since, row.agreed_at
    times = [recorded[2].recorded_at for recorded in batch]
    # None of them leapt. In logs of several shards times went back behind copied facts once.
    if suspect is None and newest and max(times) - min(newest, *times) <= LEAP_MS:
        return ClockRow(times[-1], None, agreed)
    for _, _, event, position in batch:
        recorded_at = event.recorded_at
        if recorded_at - newest > LEAP_MS and position > 1:
            suspect, agreed = recorded_at, None
        newest = recorded_at
        if suspect is None:
            continue
        if isinstance(event, ClockConfirmed):
            suspect = agreed = None
        elif isinstance(event, UsageReconciled):
            if event.instant < suspect:
                continue  # the clock went back: this reconcile does not agree with the leap
            if agreed is None:
                agreed = event.instant
            elif event.instant >= agreed + event.ledger_interval_ms:
                suspect = agreed = None
    return ClockRow(newest, suspect, agreed)
