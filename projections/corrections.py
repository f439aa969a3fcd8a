"""What a correction of a final entry, or a void, changes, worked out from the instance's stream.

A fold that keeps only what runs cannot know what an entry of last year cost. Whoever reads the log
for it hands it this: the instance's stream, which lies in the log, says everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from events import (
    LedgerEvent,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
    WorkspaceInstanceVoided,
)
from projections.entries import accrued


class Correction(NamedTuple):
    """How an entry stood before an event corrected it, and what it costs since.

    A void takes the entry away, if there was one, and that the instance had started.
    """

    workspace_class: str
    before_cents: int
    after_cents: int
    dated_at: int  # when the event that had dated the entry was recorded; 0 without an entry
    started: int | None = None  # what is void: when it had started, if that was known
    started_at: int = 0  # ... and when that was recorded


def is_correction(event: LedgerEvent) -> bool:
    """Say whether an event changes what earlier ones of its stream had settled."""
    if isinstance(event, WorkspaceInstanceStopping | WorkspaceInstanceEnded):
        return event.corrects is not None
    return isinstance(event, WorkspaceInstanceVoided)


def correction_of(stream: Sequence[LedgerEvent]) -> Correction:
    """Work it out from an instance's events, the last of which corrects."""
    entry = _Entry()
    for event in stream[:-1]:
        entry.fold(event)
    workspace_class, before_cents, dated_at = entry.workspace_class, entry.cents, entry.dated_at
    started, started_at = entry.started, entry.started_at
    entry.fold(stream[-1])
    correction = Correction(workspace_class, before_cents, entry.cents, dated_at)
    if isinstance(stream[-1], WorkspaceInstanceVoided):
        return correction._replace(started=started, started_at=started_at)
    return correction


class _Entry:
    """One instance's entry, by the rules of `projections/instances.py`."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.workspace_class = ""
        self.started: int | None = None
        self.started_at = 0
        self.rate = ""
        self.end: int | None = None
        self.is_entry = False
        self.cents = 0
        self.dated_at = 0

    def fold(self, event: LedgerEvent) -> None:
        match event:
            case WorkspaceInstanceStarted() | WorkspaceInstanceImported():
                self.workspace_class, self.rate = event.workspace_class, event.rate
                self.started, self.started_at = event.started_time, event.recorded_at
                if isinstance(event, WorkspaceInstanceStarted):
                    self._date(event, self.end)
                elif event.credit_cents is not None:
                    self.end, self.is_entry = event.effective_time, True
                    self.cents, self.dated_at = event.credit_cents, event.recorded_at
            case WorkspaceInstanceStopping():
                self._end(event, event.stopping_time, wins=True)
            case WorkspaceInstanceEnded():
                self._end(event, event.ended_time, wins=True)
            case WorkspaceInstanceStopped():
                self._end(event, event.stopped_time, wins=False)
            case WorkspaceInstanceVoided():
                self._begin()
            case _:
                raise TypeError(f"{event.TOPIC} is no event of a workspace instance")

    def _end(self, event: LedgerEvent, time: int, *, wins: bool) -> None:
        """A stopping time and an operator's end win over an end that was there."""
        if self.end is None or wins:
            self.end = time
            self._date(event, time)

    def _date(self, event: LedgerEvent, end: int | None) -> None:
        if end is None or (self.started is None and not self.is_entry):
            return
        self.is_entry, self.dated_at = True, event.recorded_at
        if self.started is not None:
            self.cents = accrued(self.rate, self.started, end).cents
