"""One life of a workspace instance, as its events up to some position tell: what it costs, and why.

A void ends a life, and the next event begins another, of whatever payer.
"""

from __future__ import annotations

from typing import NamedTuple

from events import (
    Recorded,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
    WorkspaceInstanceVoided,
)
from projections import Accrual, accrued

# What says when an instance ended.
STOPPING, STOPPED, OPERATOR, ACCRUAL = "stopping", "stopped", "operator", "accrual"


class Stretch(NamedTuple):
    """What is charged: from when to when, at which rate, and what says that it ended then."""

    started: int
    ended: int
    ended_by: str
    rate: str
    seconds: int
    cents: int


class Life:
    """Takes the events of an instance's stream one after the other."""

    def __init__(self) -> None:
        """Know nothing."""
        self._begin()

    def _begin(self) -> None:
        self.payer = b""  # of the life that counts; empty while none does
        self.start: WorkspaceInstanceStarted | WorkspaceInstanceImported | None = None
        self.start_position = 0
        self.stopping: int | None = None
        self.stopped: int | None = None
        self.ended: int | None = None
        self.charged: int | None = None  # what another ledger had charged
        self.charged_to = 0  # and until when
        self._end_by = ""

    def apply(self, recorded: Recorded) -> None:
        """Take an event in."""
        event = recorded.event
        self.payer = event.payer  # type: ignore[attr-defined]  # every event here has one
        match event:
            case WorkspaceInstanceStarted():
                self.start, self.start_position = event, recorded.position
            case WorkspaceInstanceImported():
                self.start, self.start_position = event, recorded.position
                self.stopping, self.stopped = event.stopping_time, event.stopped_time
                self.charged, self.charged_to = event.credit_cents, event.effective_time
            case WorkspaceInstanceStopping():
                self.stopping = event.stopping_time
                self._end_by = STOPPING
                if event.corrects is not None:
                    self._priced_anew()
            case WorkspaceInstanceStopped():
                self.stopped = event.stopped_time
            case WorkspaceInstanceEnded():
                self.ended = self.stopped = event.ended_time
                self.stopping = None if self.stopping is None else event.ended_time
                self._end_by = OPERATOR
                self._priced_anew()
            case WorkspaceInstanceVoided():
                self._begin()
            case _:
                raise TypeError(f"{event.TOPIC} is no event of a workspace instance")

    def _priced_anew(self) -> None:
        """A correction prices what another ledger had charged, if it is known when it began."""
        if self.start is not None and self.start.started_time is not None:
            self.charged = None

    @property
    def has_entry(self) -> bool:
        """Say whether it has ended and something is charged for it."""
        return self.start is not None and self.end() is not None

    def runs_at(self, accrual: Accrual) -> bool:
        """Say whether it runs and was accrued by a reconcile."""
        return (
            self.start is not None
            and self.end() is None
            and 0 < self.start_position < accrual.position
        )

    def end(self) -> int | None:
        """Give where its entry is dated; None while it runs."""
        if self.charged is not None:
            return self.charged_to
        return self.stopping if self.stopping is not None else self.stopped

    def stretch(self, accrual: Accrual) -> Stretch | None:
        """Give what is priced, after a reconcile and up to now; None where nothing is."""
        start = self.start
        if start is None or start.started_time is None or self.charged is not None:
            return None
        end, by = self.end(), self._ended_by()
        if end is None:
            if not self.runs_at(accrual):
                return None
            end, by = accrual.instant, ACCRUAL
        _, cents, seconds = accrued(start.rate, start.started_time, end)
        return Stretch(start.started_time, end, by, start.rate, seconds, cents)

    def _ended_by(self) -> str:
        if self._end_by == OPERATOR:
            return OPERATOR
        return STOPPING if self.stopping is not None else STOPPED

    def entry(self, accrual: Accrual) -> tuple[int, int]:
        """Give (seconds, cents) of its entry, after the last reconcile up to now."""
        if self.charged is not None and self.start is not None:
            started = self.start.started_time
            seconds = 0 if started is None else accrued("0", started, self.charged_to).seconds
            return seconds, self.charged
        stretch = self.stretch(accrual)
        return (0, 0) if stretch is None else (stretch.seconds, stretch.cents)
