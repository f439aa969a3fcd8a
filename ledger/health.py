"""How the parts of a process say how they are; who asks them is the edge of the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Probe(Protocol):
    """One part of a process, as health and metrics see it. Reading it costs nothing."""

    @property
    def name(self) -> str:
        """Name the part: `writer`, `intake`, `relay`."""

    @property
    def alive(self) -> bool:
        """Tell whether it works or can recover by itself; if not, the process must be restarted."""

    @property
    def ready(self) -> bool:
        """Tell whether it does its work now."""

    @property
    def reason(self) -> str:
        """Say in a sentence why it is not ready; empty when there is nothing to say."""

    @property
    def lag(self) -> int | None:
        """Count the events or messages that it has yet to take; None when it follows nothing."""

    @property
    def is_needed(self) -> bool:
        """Tell whether the process is of no use while this part is not ready."""


@dataclass
class Part:
    """A probe that its part writes into. Each field is replaced whole, so any thread may."""

    name: str
    alive: bool = True
    ready: bool = False
    reason: str = "it has not begun yet"
    lag: int | None = None
    is_needed: bool = True

    def is_well(self, *, lag: int | None = None) -> None:
        """Say that the part does its work."""
        self.ready, self.reason, self.lag = True, "", lag

    def waits(self, reason: str) -> None:
        """Say that the part cannot do its work now, and what for it waits."""
        self.ready, self.reason = False, reason

    def died(self, reason: str) -> None:
        """Say that the part will not do its work again in this process."""
        self.alive, self.ready, self.reason = False, False, reason
