"""A workspace instance decides what is new, what repeats and what contradicts."""

from __future__ import annotations

from typing import Literal

import msgspec

from aggregates.pricing import PriceBook
from events import (
    LedgerEvent,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
)
from events.readable import attribution_id, time_text

REPEATED: Literal["repeated"] = "repeated"


class Contradiction(Exception):
    """What was said of an instance cannot be true beside what is recorded; the text names both."""


class Started(msgspec.Struct, frozen=True, gc=False):
    """What a service says of an instance's start (times in ms, IDs as bytes)."""

    payer: bytes
    workspace_id: str
    workspace_class: str
    workspace_type: str
    user: bytes
    project_id: str
    creation_time: int | None
    started_time: int


class WorkspaceInstance(msgspec.Struct, gc=False):
    """The state that decisions need. A new instance has version 0 and knows nothing."""

    version: int = 0
    payer: bytes = b""
    workspace_class: str = ""
    workspace_type: str = ""
    user: bytes = b""
    started: int | None = None
    stopping: int | None = None
    stopped: int | None = None
    ended: int | None = None
    end: int | None = None  # where the entry is dated, once it is
    charged: bool = False  # by the ledger that it was imported from: no start prices it again

    def apply(self, event: LedgerEvent) -> None:
        """Take a recorded event into the state."""
        self.version += 1
        match event:
            case WorkspaceInstanceStarted():
                self.payer = event.payer
                self.workspace_class = event.workspace_class
                self.workspace_type = event.workspace_type
                self.user = event.user
                self.started = event.started_time
            case WorkspaceInstanceStopping():
                self.payer = event.payer
                self.stopping = self.end = event.stopping_time
            case WorkspaceInstanceStopped():
                self.payer = event.payer
                self.stopped = event.stopped_time
                if self.end is None:
                    self.end = event.stopped_time
            case WorkspaceInstanceEnded():
                self.ended = self.end = event.ended_time
            case WorkspaceInstanceImported():
                self._apply_import(event)
            case _:
                raise TypeError(f"{event.TOPIC} is no event of a workspace instance")

    def _apply_import(self, event: WorkspaceInstanceImported) -> None:
        self.payer = event.payer
        self.workspace_class = event.workspace_class
        self.workspace_type = event.workspace_type
        self.user = event.user
        self.started = event.started_time
        self.stopping = event.stopping_time
        self.stopped = event.stopped_time
        if event.credit_cents is not None:
            self.end = event.effective_time
            self.charged = True

    def start(
        self, said: Started, prices: PriceBook, *, recorded_at: int, author: str, commitment: bytes
    ) -> WorkspaceInstanceStarted | Literal["repeated"]:
        """Decide on a start; a new one is priced here, for ever."""
        self._same_payer(said.payer)
        if self.started is not None:
            self._same("started", self.started, said.started_time)
            self._same_text("workspace_class", self.workspace_class, said.workspace_class)
            self._same_text("workspace_type", self.workspace_type, said.workspace_type)
            if self.user != said.user:
                raise Contradiction("user_id differs from that of the recorded start")
            return REPEATED
        if self.charged:
            raise Contradiction("the instance was imported with its charge and without a start")
        revision, rate, _ = prices.price(said.workspace_class, said.started_time)
        return WorkspaceInstanceStarted(
            recorded_at,
            author,
            said.payer,
            said.workspace_id,
            said.workspace_class,
            said.workspace_type,
            said.user,
            said.project_id,
            said.creation_time,
            said.started_time,
            revision,
            rate,
            commitment,
        )

    def stop_requested(
        self, payer: bytes, stopping_time: int, *, recorded_at: int, author: str
    ) -> WorkspaceInstanceStopping | Literal["repeated"]:
        """Decide on a stopping time; one that comes after the stop still corrects the entry."""
        self._same_payer(payer)
        if self.stopping is not None:
            self._same("stopping", self.stopping, stopping_time)
            return REPEATED
        final = self.stopped is not None or self.ended is not None
        corrects = self.end if final and self.started is not None else None
        return WorkspaceInstanceStopping(recorded_at, author, payer, stopping_time, corrects)

    def stop(
        self, payer: bytes, stopped_time: int, *, recorded_at: int, author: str
    ) -> WorkspaceInstanceStopped | Literal["repeated"]:
        """Decide on a stopped time.

        After an operator's end only the same time is no contradiction.
        """
        self._same_payer(payer)
        if self.stopped is not None:
            self._same("stopped", self.stopped, stopped_time)
            return REPEATED
        if self.ended is not None:
            self._same("ended", self.ended, stopped_time)
            return REPEATED
        return WorkspaceInstanceStopped(recorded_at, author, payer, stopped_time)

    def end_by_operator(
        self, ended_time: int, *, recorded_at: int, author: str, commitment: bytes
    ) -> WorkspaceInstanceEnded:
        """End the instance, or correct when it ended.

        The caller has checked that it started before.
        """
        return WorkspaceInstanceEnded(
            recorded_at, author, self.payer, ended_time, self.end, commitment
        )

    def _same_payer(self, payer: bytes) -> None:
        if self.version and self.payer != payer:
            raise Contradiction(
                f"attribution_id {attribution_id(payer)} differs from the recorded"
                f" {attribution_id(self.payer)}"
            )

    @staticmethod
    def _same(what: str, recorded: int, said: int) -> None:
        if recorded != said:
            raise Contradiction(
                f"{what} time {time_text(said)} differs from the recorded {time_text(recorded)}"
            )

    @staticmethod
    def _same_text(what: str, recorded: str, said: str) -> None:
        if recorded != said:
            raise Contradiction(f"{what} {said!r} differs from the recorded {recorded!r}")
