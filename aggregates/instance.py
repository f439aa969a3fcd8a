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
    WorkspaceInstanceVoided,
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
    """The state that decisions need. A new instance has version 0 and knows nothing.

    A void ends one life of the instance: what was recorded before counts no more, and the next
    event that is taken in begins another, of whatever payer.
    """

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
    voided_for: tuple[bytes, ...] = ()  # the payers of the lives that were voided

    @property
    def is_known(self) -> bool:
        """Say whether anything recorded of it counts; else its ID is free."""
        return bool(self.payer)

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
            case WorkspaceInstanceVoided():
                self._begin_anew()
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

    def _begin_anew(self) -> None:
        fresh = WorkspaceInstance(self.version, voided_for=(*self.voided_for, self.payer))
        for name in self.__struct_fields__:
            setattr(self, name, getattr(fresh, name))

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
        self._not_of_a_voided_life(payer)
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
        self._not_of_a_voided_life(payer)
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

    def void(self, *, recorded_at: int, author: str, commitment: bytes) -> WorkspaceInstanceVoided:
        """Let nothing count that is recorded of the instance.

        The caller has checked that something does.
        """
        has_entry = self.end is not None and (self.started is not None or self.charged)
        return WorkspaceInstanceVoided(
            recorded_at, author, self.payer, self.end if has_entry else None, commitment
        )

    def _not_of_a_voided_life(self, payer: bytes) -> None:
        """Refuse a stop that is late for a life that was voided, before it begins another one.

        It would claim the free ID for the payer that it was just taken from. A stop of another
        payer cannot be late: it is of an instance whose start is still to come.
        """
        if not self.is_known and payer in self.voided_for:
            raise Contradiction(
                f"the instance was voided for {attribution_id(payer)}: a stop of it says nothing"
                " before another start is recorded"
            )

    def _same_payer(self, payer: bytes) -> None:
        if self.is_known and self.payer != payer:
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
