"""A job as the ledger reports it; the jobs room runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class JobPlan:
    """A job and when it is due (ms)."""

    def __init__(
        self, name: str, run: Callable[[], Awaitable[None]], *, every_ms: int, enabled: bool
    ) -> None:
        """Plan a job."""
        self.name = name
        self.run = run
        self.every_ms = every_ms
        self.enabled = enabled
        self.next_ms: int | None = None
