"""Publishing a file: events per second until durable, folded and visible; memory and disk."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common import (
    disk_bytes,
    events_file,
    fresh_service,
    median,
    memory_mib,
    percentile,
    publish,
    wal_mib,
)
from usage.v1 import usage_pb2

SEGMENT = 150_000  # events whose rate is printed on the way


@contextmanager
def _input(options: argparse.Namespace) -> Iterator[tuple[Path, int]]:
    if options.file:
        path = Path(options.file)
        with path.open("rb") as file:
            yield path, sum(1 for _ in file)
    else:
        with events_file(options.events) as path:
            yield path, options.events


def measure(options: argparse.Namespace) -> None:
    """Publish a file, and publish it again."""
    first, again = [], []
    with _input(options) as (path, events):
        for _ in range(options.runs):
            with fresh_service() as service:
                publish_empty(service.calls)
                began = time.perf_counter()
                publish(service, path)
                first.append(events / (time.perf_counter() - began))
                began = time.perf_counter()
                publish(service, path)
                again.append(events / (time.perf_counter() - began))
                memory = memory_mib(service, "VmRSS"), memory_mib(service, "VmHWM")
                write_ahead = wal_mib(service)
                breaches = service.calls.breaches() if events <= SEGMENT else []
                assert not breaches, breaches
                service.stop()
                disk = disk_bytes(service) / events
    print(f"{events:,} events: {median(first)} events/s; sent again: {median(again)} events/s")
    print(f"service: {memory[0]:.0f} MiB resident, {memory[1]:.0f} MiB at most", end="")
    print(f"; {disk:.0f} B an event in all tables; write-ahead log {write_ahead:.0f} MiB")


def publish_empty(calls: object) -> None:
    """Make the first call, so that connecting is not measured."""
    calls.reconcile()  # type: ignore[attr-defined]


def measure_calls(options: argparse.Namespace) -> None:
    """Add credit notes one after the other while a file is being published."""
    latencies: list[float] = []
    with _input(options) as (path, _), fresh_service() as service:
        publishing = threading.Thread(target=publish, args=(service, path))
        publishing.start()
        time.sleep(1)
        request = usage_pb2.AddUsageCreditNoteRequest(
            attribution_id="team:0b1f6f6e-6d0c-5a52-9d2b-0d1c6f1f8a11", credits=1, description="x"
        )
        while publishing.is_alive():
            began = time.perf_counter()
            service.calls.usage.AddUsageCreditNote(request)
            latencies.append((time.perf_counter() - began) * 1000)
            time.sleep(0.005)
        publishing.join()
    print(
        f"{len(latencies)} calls: median {percentile(latencies, 0.5):.1f} ms,"
        f" p99 {percentile(latencies, 0.99):.1f} ms, worst {max(latencies):.1f} ms"
    )
