"""What cannot be stored: UNAVAILABLE, nothing of it stays, reads go on, it recovers by itself."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.faults.mounts import SmallDisk, mounted
from tests.harness import Calls, InProcessService, ServiceProcess, health_stub, settings_for
from tests.oracle.events import payer_of
from tests.oracle.synthetic import synthetic_lines
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HEALTH_SECONDS_MAX = 10
LINES = list(synthetic_lines(5, 400, 3))
PAYER = payer_of("full")


def note(calls: Calls, description: str = "sorry") -> None:
    calls.usage.AddUsageCreditNote(
        usage_pb2.AddUsageCreditNoteRequest(
            attribution_id=PAYER, credits=1, description=description
        )
    )


def health(calls: Calls, service: str) -> int:
    stub = health_stub(calls.channel)
    status: int = stub.Check(health_pb2.HealthCheckRequest(service=service)).status
    return status


def await_writes(calls: Calls, status: int) -> None:
    deadline = time.monotonic() + HEALTH_SECONDS_MAX
    while health(calls, "usage_ledger.writes") != status:
        assert time.monotonic() < deadline, f"writes' health did not become {status}"
        time.sleep(0.05)


def status_of(calls: Calls) -> queries_pb2.GetStatusResponse:
    status: queries_pb2.GetStatusResponse = calls.queries.GetStatus(queries_pb2.GetStatusRequest())
    return status


def outlives(calls: Calls, fill: Callable[[], None], empty: Callable[[], None]) -> None:
    """Fill the disk under a service, see what still works, empty it, and see everything work."""
    calls.publish(LINES[:300], delivery="file")
    note(calls)
    before = status_of(calls)
    fill()

    for _ in range(2):
        with pytest.raises(grpc.RpcError) as refused:
            calls.publish(LINES, delivery="file", block_lines=200)
        assert grpc.StatusCode.UNAVAILABLE == refused.value.code()
        assert "nothing can be stored now" in (refused.value.details() or "")

    await_writes(calls, NOT_SERVING)
    assert SERVING == health(calls, "usage.v1.UsageService")
    while_full = status_of(calls)
    assert while_full.writes_refused
    assert -100 == calls.balance_cents(PAYER)
    assert 1 == len(calls.entries(PAYER))
    assert [] == calls.breaches()
    # A last small block may still have fitted; of what was refused nothing stays.
    total = while_full.total
    assert total.received == total.recorded + total.repeated
    recorded = total.recorded - before.total.recorded
    assert recorded == while_full.head.number - before.head.number

    empty()
    await_writes(calls, SERVING)  # without a call that writes
    assert not status_of(calls).writes_refused
    receipt = calls.publish(LINES, delivery="file")
    assert receipt.received == len(LINES)
    assert 0 == receipt.rejected
    note(calls)
    assert -200 == calls.balance_cents(PAYER)
    total = status_of(calls).total
    assert len(LINES) == total.recorded
    assert total.received == total.recorded + total.repeated + total.rejected
    assert [] == calls.breaches()


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        with ServiceProcess(tmp_path / "disk" / "data") as service:
            outlives(service.calls, disk.fill, disk.empty)
        with ServiceProcess(tmp_path / "disk" / "data") as again:
            assert [] == again.calls.breaches()


def test_a_database_at_its_limit(tmp_path: Path) -> None:
    """The same without a disk of our own: SQLite answers as if there were no room."""
    with InProcessService(settings_for(tmp_path / "data")) as service:
        execute = service.sqlite.connection.execute

        def fill() -> None:
            pages = execute("PRAGMA page_count").fetchone()[0]
            execute(f"PRAGMA max_page_count = {pages}")

        def empty() -> None:
            execute("PRAGMA max_page_count = 1073741823")

        outlives(service.calls, fill, empty)


def test_a_disk_that_is_full_when_the_service_stops(tmp_path: Path) -> None:
    """It ends in time and without a crash; what was answered is there afterwards."""
    with mounted(tmp_path / "disk") as disk:
        with ServiceProcess(tmp_path / "disk" / "data") as service:
            service.calls.publish(LINES)
            fill_up(disk, service)
            assert 0 == service.stop(), service.log
            assert "Traceback" not in service.log
        disk.empty()
        with ServiceProcess(tmp_path / "disk" / "data") as again:
            assert len(LINES) == status_of(again.calls).total.recorded
            assert [] == again.calls.breaches()


def fill_up(disk: SmallDisk, service: ServiceProcess) -> None:
    """Until not even a note can be written."""
    disk.fill()
    for _ in range(1_000):
        try:
            note(service.calls)
        except grpc.RpcError:
            return
    pytest.fail("a full disk took a thousand notes")


def test_a_database_that_another_program_holds(tmp_path: Path) -> None:
    """A transaction cannot even begin: callers are told, they do not wait for ever."""
    with InProcessService(settings_for(tmp_path / "data")) as service:
        note(service.calls)
        service.sqlite.connection.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(tmp_path / "data" / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(grpc.RpcError) as refused:
            note(service.calls)
        assert grpc.StatusCode.UNAVAILABLE == refused.value.code()
        await_writes(service.calls, NOT_SERVING)
        assert -100 == service.calls.balance_cents(PAYER)
        other.execute("ROLLBACK")
        other.close()
        await_writes(service.calls, SERVING)
        note(service.calls)
        assert -200 == service.calls.balance_cents(PAYER)
