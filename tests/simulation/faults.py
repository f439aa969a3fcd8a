"""Faults inside the core: it dies, the store refuses, a fold fails; where, chance says."""

from __future__ import annotations

import random

from persistence import StoreUnavailableError
from projections import PROJECTIONS

BEFORE_COMMIT = (
    "between-works",
    "before-append",
    "after-append",
    "before-fold",
    "after-fold",
    "before-commit",
)
PASSES_MAX = 3  # a fault strikes when its place is passed the first, second or third time


class Died(BaseException):
    """The process is gone. Not an Exception: nothing in it may be caught."""

    def __init__(self, *, committed: bool) -> None:
        """Remember whether the transaction was stored."""
        super().__init__(committed)
        self.committed = committed


class Faults:
    """At most one fault at a time."""

    def __init__(self, rng: random.Random) -> None:
        """Take the seed's chance."""
        self._rng = rng
        self.disarm()

    def disarm(self) -> None:
        """Nothing fails from now on."""
        self._kind = ""
        self._where = ""
        self._left = 0

    def arm(self, kind: str) -> None:
        """Plan one of `die`, `die after`, `refuse`, `fold`, or nothing."""
        self.disarm()
        self._kind = kind
        self._left = self._rng.randint(1, PASSES_MAX)
        if kind == "fold":
            self._where = self._rng.choice(PROJECTIONS)
        elif kind == "die after":
            self._where, self._left = "after-commit", 1
        elif kind:
            self._where = self._rng.choice(BEFORE_COMMIT)

    def __str__(self) -> str:
        """Name the fault in the list of steps."""
        return f"[{self._kind} at {self._where}:{self._left}]" if self._kind else "[]"

    def passed(self, failpoint: str) -> None:
        """Strike at a failpoint."""
        if self._kind in {"", "fold"} or failpoint != self._where:
            return
        self._left -= 1
        if self._left == 0:
            if self._kind == "refuse":
                raise StoreUnavailableError("planted")
            raise Died(committed=self._kind == "die after")

    def before_fold(self, projection: str) -> None:
        """Strike in a fold."""
        if self._kind == "fold" and projection == self._where:
            self._left -= 1
            if self._left == 0:
                raise ValueError("planted")
