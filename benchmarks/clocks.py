"""Two clocks: answers at random moments in a payer's long history, and what sums cost intake."""

from __future__ import annotations

import argparse
import heapq
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.common import events_file, fresh_service, median, percentile, publish
from events import (
    OTHER,
    BillingCycleClosed,
    BillingCycleStarted,
    CostCenterOpened,
    CreditNoteIssued,
    LedgerEvent,
    UsageReconciled,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
    encode,
)
from events.readable import attribution_id
from ledger.folding import fold_stored
from ledger.settings import load_settings
from ledger.stores import open_stores
from persistence import CLOCKS_TAIL
from persistence.sql import Session
from tests.harness import ServiceProcess
from usage_ledger.v1 import audit_clocks_pb2 as pb
from usage_ledger.v1 import queries_pb2

PAYER = bytes(range(16))
COST_CENTER = f"cost-center:{attribution_id(PAYER)}"
BEGIN_MS = 1_735_689_600_000  # 2025-01-01
YEAR_MS, DAY_MS, HOUR_MS = 365 * 86_400_000, 86_400_000, 3_600_000
CLASSES = ("g1-standard", "g1-large", "default")
LATE_SHARE = 0.02  # of stops come days later
CALLS = 1_000
BATCH = 20_000
COLUMNS = ("position", "originator_id", "originator_version", "topic", "state")

Told = tuple[int, str, LedgerEvent]  # when it was recorded, and in which stream


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # the same in every run


def _instances(count: int, dice: random.Random) -> Iterator[Told]:
    """Runs of ten minutes to eleven hours, a few of days, over a year."""
    for number in range(count):
        started = BEGIN_MS + YEAR_MS * number // count
        hours = dice.choice((0.2, 0.5, 1, 2, 4, 8, 11)) if number % 100 else dice.randint(20, 90)
        ended = started + int(hours * HOUR_MS) + dice.randrange(60_000)
        late = dice.randrange(1, 5) * DAY_MS if dice.random() < LATE_SHARE else 0
        stream = f"instance:{uuid.UUID(int=number + 1)}"
        rate = "0.3333333333" if number % 3 == 1 else "0.1666666667"
        start = WorkspaceInstanceStarted(
            started, "benchmark", PAYER, f"ws-{number % 977}", CLASSES[number % 3], "regular",
            (number % 50).to_bytes(16), "", None, started, 1, rate, b"",
        )  # fmt: skip
        at = ended + late
        yield started, stream, start
        yield at, stream, WorkspaceInstanceStopping(at, "benchmark", PAYER, ended)
        yield at + 900, stream, WorkspaceInstanceStopped(at + 900, "benchmark", PAYER, ended + 900)


def _facts() -> Iterator[Told]:
    """Reconciles, notes, and a cost center whose months end."""
    yield (
        BEGIN_MS,
        COST_CENTER,
        CostCenterOpened(BEGIN_MS, "benchmark", PAYER, 0, OTHER, BEGIN_MS, BEGIN_MS + 30 * DAY_MS),
    )
    for hour in range(YEAR_MS // HOUR_MS):
        at = BEGIN_MS + hour * HOUR_MS
        yield at, "usage-reconciled", UsageReconciled(at, "benchmark", at, 0, 0, HOUR_MS)
        if hour % 50 == 7:
            note = CreditNoteIssued(at, "benchmark", PAYER, -100 - hour % 9, at, b"", b"")
            yield at, f"credit-note:{hour}", note
        if hour and hour % (30 * 24) == 0:
            cycle = hour // (30 * 24)
            closed = BillingCycleClosed(at, "benchmark", PAYER, cycle, "reset", at, 0, 0)
            yield at, f"cycle:{cycle}", closed
            begun = BillingCycleStarted(
                at, "benchmark", PAYER, cycle + 1, 0, OTHER, at, at + 30 * DAY_MS, BEGIN_MS, cycle
            )
            yield at, COST_CENTER, begun


def _log(count: int) -> Iterator[tuple[int, str, int, str, bytes]]:
    instances = sorted(_instances(count // 3, _dice(7)), key=lambda told: told[0])
    versions: dict[str, int] = {}
    merged = heapq.merge(instances, _facts(), key=lambda told: told[0])
    for position, (at, stream, event) in enumerate(merged, start=1):
        assert event.recorded_at == at
        version = versions[stream] = versions.get(stream, 0) + 1
        yield position, stream, version, event.TOPIC, encode(event)


@contextmanager
def long_history(count: int) -> Iterator[ServiceProcess]:
    """Run a service over a year of one payer in so many events, made without the service."""
    with tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder:
        data_dir = Path(folder) / "ledger"
        if common.server is not None:
            os.environ["USAGE_LEDGER_STORE"] = "postgres"
            os.environ["USAGE_LEDGER_POSTGRES__URLS"] = common.server.new_ledger()
        began = time.perf_counter()
        head = _fill(data_dir, count)
        print(f"   made {head:,} events and folded them in {time.perf_counter() - began:,.0f} s")
        began = time.perf_counter()
        with ServiceProcess(data_dir) as service:
            while _sealed(service) < head:
                time.sleep(0.1)
            took = time.perf_counter() - began
            print(f"   sums of all of it were there after {took:,.0f} s")
            yield service


def _fill(data_dir: Path, count: int) -> int:
    (opened,) = open_stores(load_settings(None, data_dir=data_dir), "benchmark")
    head = 0
    with closing(opened.store) as store:
        batch: list[Any] = []

        def keep() -> None:
            with store.transaction() as transaction:
                _session(transaction).insert("stored_events", COLUMNS, batch)
                if common.server is not None:
                    _session(transaction).change("UPDATE log_head SET head = ?", (batch[-1][0],))
            batch.clear()

        for row in _log(count):
            batch.append(row)
            head = row[0]
            if len(batch) == BATCH:
                keep()
        if batch:
            keep()
        with store.transaction() as transaction:
            transaction.place({PAYER: 0})
        position = 0
        while position < head:
            position = fold_stored(store, position)
            store.checkpoint()
    return head


def _session(transaction: Any) -> Session:
    session: Session = transaction._session  # noqa: SLF001  # rows that no call would write
    return session


def _sealed(service: ServiceProcess) -> int:
    status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
    return next((tail.position.number for tail in status.tails if tail.name == CLOCKS_TAIL), 0)


def measure(options: argparse.Namespace) -> None:
    """Ask about random moments of a payer with `--events` events."""
    with long_history(options.events) as service:
        audit, payer = service.calls.audit, attribution_id(PAYER)
        asked: dict[str, Callable[[pb.Moment], object]] = {
            "balance": lambda at: audit.GetBalanceAt(
                pb.GetBalanceAtRequest(attribution_id=payer, moment=at)
            ),
            "invoice draft": lambda at: audit.GetInvoiceDraftAt(
                pb.GetInvoiceDraftAtRequest(attribution_id=payer, moment=at)
            ),
            "cost center": lambda at: audit.GetCostCenterAt(
                pb.GetCostCenterAtRequest(attribution_id=payer, moment=at)
            ),
            "page of usage": lambda at: audit.ListUsageAt(
                pb.ListUsageAtRequest(attribution_id=payer, moment=at)
            ),
        }
        print(f"   load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
        for what, ask in asked.items():
            for clocks in ("both", "as of", "known at"):
                dice = _dice(3)
                ask(_moment(dice, clocks))  # so that connecting is not measured
                used = common.cpu_seconds(service)
                times = [_timed(ask, _moment(dice, clocks)) for _ in range(CALLS)]
                used = (common.cpu_seconds(service) - used) * 1_000 / CALLS
                print(
                    f"   {what}, {clocks}: median {percentile(times, 0.5):.2f} ms,"
                    f" p99 {percentile(times, 0.99):.2f} ms, worst {max(times):.2f} ms;"
                    f" {used:.1f} ms of the service's processor"
                )
        _measure_comparing(audit, payer)
        print(f"   the service has {common.memory_mib(service, 'VmHWM'):.0f} MiB at most")


def _measure_comparing(audit: Any, payer: str) -> None:
    dice, times = _dice(5), []
    for _ in range(CALLS // 10):
        request = pb.CompareMomentsRequest(
            attribution_id=payer, first=_moment(dice, "both"), second=_moment(dice, "both")
        )
        times.append(_timed(audit.CompareMoments, request))
    print(
        f"   page of differences: median {percentile(times, 0.5):.2f} ms,"
        f" p99 {percentile(times, 0.99):.2f} ms"
    )


def _moment(dice: random.Random, clocks: str) -> pb.Moment:
    moment = pb.Moment()
    if clocks != "known at":
        moment.as_of.FromMilliseconds(BEGIN_MS + dice.randrange(YEAR_MS))
    if clocks != "as of":
        moment.known_at_time.FromMilliseconds(BEGIN_MS + dice.randrange(YEAR_MS))
    return moment


def _timed(call: Callable[[Any], object], request: Any) -> float:
    began = time.perf_counter()
    call(request)
    return (time.perf_counter() - began) * 1_000


def measure_cost(options: argparse.Namespace) -> None:
    """Publish the same file with and without the follower that keeps sums, in pairs."""
    assert common.server is None, "on PostgreSQL nothing is folded without the part `project`"
    rates: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    with events_file(options.events) as path:
        for run in range(options.runs):
            for sums in (True, False) if run % 2 else (False, True):
                os.environ["USAGE_LEDGER_SERVE__PARTS"] = "project,jobs" if sums else "jobs"
                with fresh_service() as service:
                    service.calls.reconcile()  # so that connecting is not measured
                    used, began = common.cpu_seconds(service), time.perf_counter()
                    publish(service, path)
                    rates[sums].append(options.events / (time.perf_counter() - began))
                    while sums and _sealed(service) < options.events:
                        time.sleep(0.02)
                    used = common.cpu_seconds(service) - used
                    cpu[sums].append(1e6 * used / options.events)
    costs = [
        100 * (1 - after / before) for after, before in zip(rates[True], rates[False], strict=True)
    ]
    print(f"   load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"   with sums {median(rates[True])} events/s, without {median(rates[False])}")
    told = ", ".join(f"{cost:.1f}" for cost in costs)
    print(f"   they cost {statistics.median(costs):.1f} % of events/s ({told})")
    print(f"   {median(cpu[True])} µs of processor an event, without {median(cpu[False])}")
