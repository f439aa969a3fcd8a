"""Only gaps inside the log were looked for: events missing at its end went unnoticed.

Every later write failed on the projections' positions.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ledger import commands
from ledger.core import Core, Work
from persistence import StoreRefusedError
from persistence.sqlite import SQLiteStore
from tests.harness import ManualClock


def test_it_is_refused(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path)) as store:
        core = Core(store, ManualClock())
        core.run([Work(commands.confirm_clock, "test") for _ in range(3)])
        store.connection.execute("DELETE FROM stored_events WHERE position = 3")

    with pytest.raises(StoreRefusedError, match="events are missing; restore a backup"):
        SQLiteStore(tmp_path)
