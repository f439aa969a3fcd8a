"""Which generation is served, without asking the database each time.

Whoever asked believes the answer for a moment. A change is announced before it is made, for longer
than anybody believes an answer, and who hears of an announcement believes nothing: so when it is
made, everybody asks. It is the bargain of a lease, and needs clocks only that run at the same pace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from persistence.errors import StoreUnavailableError
from persistence.sql import Row
from projections import VERSION

BELIEVED_SECONDS = 0.4
ANNOUNCED_SECONDS = 1.0  # with a margin for threads that stood still while they asked

ASK_SERVED = b"SELECT generation, coming FROM served WHERE version = %s"

Ask = Callable[[], Row | None]


class _Believed(NamedTuple):
    generation: int
    until: float  # by the monotonic clock


class Served:
    """What this process knows; any thread."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._believed: _Believed | None = None

    def believed(self) -> int:
        """Give the generation that is served for sure; 0 when it must be asked."""
        believed = self._believed
        if believed is None or time.monotonic() >= believed.until:
            return 0
        return believed.generation

    def forget(self) -> None:
        """Believe nothing."""
        self._believed = None

    def now(self, ask: Ask) -> int:
        """Give the generation that is served, asking the newest state if need be."""
        return self.believed() or self.asked(ask)

    def asked(self, ask: Ask) -> int:
        """Ask the newest state; not inside a snapshot, which may be old."""
        began = time.monotonic()
        generation, coming = found(ask())
        self._believed = (
            None if coming is not None else _Believed(generation, began + BELIEVED_SECONDS)
        )
        return generation


def found(row: Row | None) -> tuple[int, int | None]:
    """Give what is served and what may come; StoreUnavailableError when nothing is."""
    if row is None:
        raise StoreUnavailableError(f"no projections of version {VERSION} are served")
    return row[0], row[1]
