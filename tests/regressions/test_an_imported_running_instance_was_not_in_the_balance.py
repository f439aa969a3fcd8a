"""A payer whose only entry was an imported running instance had no balance row to accrue to."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness import InProcessService, ManualClock, settings_for
from usage_ledger.v1 import admin_pb2

PAYER = "team:0b1f6f6e-6d0c-5a52-9d2b-0d1c6f1f8a11"


class TestAnImportedRunningInstance:
    """The first thing that is known of a payer."""

    def test_is_in_the_balance_after_a_reconcile(self, tmp_path: Path) -> None:
        """It is priced from its own start."""
        line = {
            "kind": "entry",
            "id": "5d0c2f0a-8a38-4d5b-9a4e-3f3f0f4a7c01",
            "attribution_id": PAYER,
            "entry_kind": "workspace_instance",
            "credit_cents": 1,
            "effective_time": "2026-11-01T07:30:00Z",
            "draft": True,
            "workspace_instance_id": "0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42",
            "metadata": {"startTime": "2026-11-01T07:00:00Z", "workspaceClass": "default"},
        }
        request = admin_pb2.ImportOpeningStateRequest(
            source="old-ledger", lines=json.dumps(line).encode()
        )
        clock = ManualClock("2026-11-01T08:00:00Z")
        with InProcessService(settings_for(tmp_path), clock=clock) as service:
            receipts = [r.receipt for r in service.calls.admin.ImportOpeningState(iter([request]))]
            assert [r.recorded for r in receipts] == [1]
            service.calls.reconcile()
            assert service.calls.balance_cents(PAYER) == 1_000
            assert service.calls.breaches() == []
