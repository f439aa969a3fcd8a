"""Random bytes, taken from the system in large pieces: a call for each salt costs too much."""

from __future__ import annotations

import os

PIECE_BYTES = 65_536


class SystemEntropy:
    """Gives random bytes of the operating system; for one thread."""

    def __init__(self) -> None:
        """Take nothing yet."""
        self._piece = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        """Give `count` random bytes, each only once."""
        end = self._used + count
        if end > len(self._piece):
            self._piece = os.urandom(max(PIECE_BYTES, count))
            self._used, end = 0, count
        given = self._piece[self._used : end]
        self._used = end
        return given
