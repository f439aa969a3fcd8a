"""How long a call waits until its change is folded, and what it did not wait for.

Where a projector folds, a change is durable before it is visible. A call waits for that until near
its deadline; then it is answered all the same, and says at which position its change stands.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

DEFAULT_SECONDS = 5.0  # of a call without a deadline
MARGIN_SECONDS = 0.25  # left of a deadline for the answer to arrive


class Patience:
    """What one call may wait. Shared by everything that the call starts."""

    def __init__(self, seconds: float | None = DEFAULT_SECONDS) -> None:
        """None waits as long as it takes."""
        self._until = None if seconds is None else time.monotonic() + seconds
        self.unfolded: dict[int, int] = {}  # by shard, the newest position not waited for

    @property
    def seconds(self) -> float | None:
        """Give how long it still waits."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.0)

    def gave_up(self, shard: int, position: int) -> None:
        """Note that a change is durable and not yet visible."""
        self.unfolded[shard] = max(position, self.unfolded.get(shard, 0))


def patience_of(remaining: float | None, *, patient: bool) -> Patience:
    """Give the patience of a call with so many seconds left; None without a deadline."""
    if remaining is None:
        return Patience(None if patient else DEFAULT_SECONDS)
    return Patience(max(remaining - MARGIN_SECONDS, 0.0))


current: ContextVar[Patience] = ContextVar("patience")


def current_patience() -> Patience:
    """Give the patience of the call that is being answered; without one, no limit."""
    return current.get(None) or Patience(None)
