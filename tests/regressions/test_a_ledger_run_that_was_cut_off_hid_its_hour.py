"""A run that began and never ended was taken for one that had covered its hour."""

import json
from pathlib import Path

from tests.contract.calls.asking import log_of
from tests.harness import InProcessService, ManualClock, settings_for


def test_the_next_run_reaches_back_to_the_one_before(tmp_path: Path) -> None:
    clock = ManualClock("2026-11-01T08:00:00Z")
    with InProcessService(settings_for(tmp_path), clock=clock) as service:
        service.run_job("ledger")
        clock.advance(hours=1)
        cut_off = service.ledger.job_ran(
            "ledger", started=service.ledger.now(), finished=None, error=""
        )
        service.wait(cut_off)
    clock.advance(hours=1)
    with InProcessService(settings_for(tmp_path), clock=clock) as service:
        service.run_job("ledger")
        recorded = json.loads(log_of(service.calls, "usage-reconciled")[-1].json)
        assert "2026-11-01T08:00:00.000Z" == recorded["from_time"]
        assert "2026-11-01T10:00:00.000Z" == recorded["to_time"]
