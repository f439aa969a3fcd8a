"""When not even a transaction could begin, callers waited, and the service never stopped.

Nobody had been taken from the queue, so nobody was told.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tests.harness import InProcessService, settings_for


def test_callers_hear_it_and_the_service_stops(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as other:
        with InProcessService(settings_for(tmp_path / "data")) as service:
            service.sqlite.connection.execute("PRAGMA busy_timeout = 10")
            other.execute("ATTACH ? AS ledger", (str(tmp_path / "data" / "ledger.db"),))
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM ledger.jobs")  # takes the ledger's write lock
            with pytest.raises(grpc.RpcError) as refused:
                service.calls.reconcile()
            assert grpc.StatusCode.UNAVAILABLE == refused.value.code()
            # It stops while the lock is held.
        other.execute("ROLLBACK")
