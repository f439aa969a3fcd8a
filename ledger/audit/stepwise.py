"""A verification that goes on step by step, for a caller who may take its time or hang up."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ledger.audit.keys import KeyList
from ledger.audit.notes import Note
from ledger.audit.verifying import Told, verify
from ledger.shards import Shard
from persistence import StoreUnavailableError

# One that has begun waits so long for a server that is away, and looks so often.
PATIENCE_SECONDS, LOOK_SECONDS = 10.0, 0.2


class Verification:
    """A verification of one shard, on whatever thread; a caller may hang up at any time."""

    def __init__(self, shard: Shard, keys: KeyList, kept: Sequence[Note]) -> None:
        """Begin nothing yet; `kept` are heads that were kept elsewhere."""
        self._reader = shard.new_queries().reader
        self._is_lent = shard.store.is_shared
        self._telling = verify(self._reader, keys, kept)
        # The thread of a call that was cancelled still reads: its connection must not be closed
        # under it.
        self._reading = threading.Lock()

    def go_on(self) -> Told | None:
        """Give what it tells next; None at its end. StoreUnavailableError: it is over."""
        with self._reading:
            if not self._is_lent:
                return next(self._telling, None)
            try:
                self._borrow()
                return next(self._telling, None)
            finally:
                self._reader.close()  # a caller may take its time for what it was told

    def _borrow(self) -> None:
        """Have a connection before the step begins: hours are not lost for a server's pause."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._reader.serves()
            except StoreUnavailableError:
                if time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Give the connection back, once nobody reads."""
        with self._reading:
            self._reader.close()
