"""The tree over the log: what it costs intake, how long a proof takes, how fast it is verified."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import common
from benchmarks.common import events_file, fresh_service, median, percentile, publish
from events import WorkspaceInstanceStarted, WorkspaceInstanceStopped, encode
from ledger.audit.following import leaves_of
from ledger.audit.keys import KeyList, ListedKey, new_key_file, write_key_list
from ledger.audit.tiles import Edge
from ledger.settings import load_settings
from ledger.stores import open_stores
from persistence import TREE_TAIL, StreamEvent
from persistence.sql import Session
from tests.harness import ServiceProcess
from usage_ledger.v1 import audit_proofs_pb2 as pb
from usage_ledger.v1 import publishing_pb2, queries_pb2

PARTS = "project,jobs"  # without what costs something itself
PROOFS = 500
COLUMNS = ("position", "originator_id", "originator_version", "topic", "state")
BATCH = 20_000


def measure_cost(options: argparse.Namespace) -> None:
    """Publish the same file with and without the tree, one after the other, in pairs."""
    pairs: list[tuple[_Published, _Published]] = []  # without, with
    with events_file(options.events) as path:
        for run in range(options.runs):
            one: dict[bool, _Published] = {}
            for has_tree in (True, False) if run % 2 else (False, True):
                one[has_tree] = _publish_once(path, options.events, has_tree=has_tree)
            pairs.append((one[False], one[True]))
    without, with_tree = zip(*pairs, strict=True)
    print(f"{options.events:,} events, {options.runs} pairs; {_load()}")
    print(f"   with the tree {median([each.rate for each in with_tree])} events/s", end="")
    print(f", without {median([each.rate for each in without])}")
    _print_costs("events/s", [100 * (1 - after.rate / before.rate) for before, after in pairs])
    cpu = [[1e6 * each.cpu / options.events for each in which] for which in (with_tree, without)]
    print(f"   with the tree {median(cpu[0])} µs of processor an event", end="")
    print(f", without {median(cpu[1])}")
    _print_costs("processor", [100 * (after.cpu / before.cpu - 1) for before, after in pairs])
    print(
        f"   it has all of it {median([each.lag for each in with_tree])} s after the last receipt"
    )


class _Published(NamedTuple):
    """What publishing the file took."""

    rate: float  # events/s
    cpu: float  # seconds of processor, until the tree has everything
    lag: float  # seconds that the tree took to catch up


def _print_costs(what: str, percents: Sequence[float]) -> None:
    each = ", ".join(f"{percent:.1f}" for percent in percents)
    print(f"   the tree costs {statistics.median(percents):.1f} % of {what} ({each})")


def _load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"


def _publish_once(path: Path, events: int, *, has_tree: bool) -> _Published:
    os.environ["USAGE_LEDGER_SERVE__PARTS"] = f"{PARTS},tree" if has_tree else PARTS
    with fresh_service() as service:
        service.calls.reconcile()  # so that connecting is not measured
        cpu, began = common.cpu_seconds(service), time.perf_counter()
        publish(service, path)
        rate = events / (time.perf_counter() - began)
        ended = time.perf_counter()
        while has_tree and not _has_all(service):
            time.sleep(0.02)
        lag = time.perf_counter() - ended
        return _Published(rate, common.cpu_seconds(service) - cpu, lag)


def _has_all(service: ServiceProcess) -> bool:
    status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
    return status.trees[0].position.number == status.head.number


# A log of millions ----------------------------------------------------------------------------


def _events(count: int) -> Iterator[StreamEvent]:
    """Starts and stops of as many instances, as stored; nothing is folded from them."""
    payer, user = bytes(range(16)), bytes(range(16, 32))
    recorded = 1_790_000_000_000
    for position in range(1, count + 1):
        number, is_stop = divmod(position - 1, 2)
        at = recorded + position // 20
        event: Any
        if is_stop:
            event = WorkspaceInstanceStopped(at, "local:benchmark", payer, at)
        else:
            event = WorkspaceInstanceStarted(
                recorded_at=at,
                author="local:benchmark",
                payer=payer,
                workspace_id=f"ws-{number}",
                workspace_class="g1-large",
                workspace_type="regular",
                user=user,
                project_id="",
                creation_time=None,
                started_time=at,
                price_revision=1,
                rate="0.3333333333",
                commitment=bytes(32),
            )
        stream = f"instance:{number:08x}-0000-4000-8000-000000000000"
        yield StreamEvent(position, stream, is_stop + 1, event.TOPIC, encode(event))


@contextmanager
def long_log(count: int) -> Iterator[ServiceProcess]:
    """Run a service over a log of so many events and their tree, made without the service."""
    with tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder:
        data_dir = Path(folder) / "ledger"
        if common.server is not None:
            os.environ["USAGE_LEDGER_STORE"] = "postgres"
            os.environ["USAGE_LEDGER_POSTGRES__URLS"] = common.server.new_ledger()
        _sign_with_a_key_in(Path(folder))
        began = time.perf_counter()
        _fill(data_dir, count)
        print(f"   made {count:,} events and their tree in {time.perf_counter() - began:,.0f} s")
        with ServiceProcess(data_dir) as service:
            answer = service.calls.audit.SignHeads(pb.SignHeadsRequest())
            assert answer.uncovered == 0
            yield service


def _sign_with_a_key_in(folder: Path) -> None:
    public = new_key_file(folder / "signing.key")
    listed = ListedKey("benchmark", public, "now", "benchmark", None)
    write_key_list(folder / "keys.json", KeyList((listed,)))
    os.environ["USAGE_LEDGER_AUDIT__SIGNING_KEY_FILE"] = str(folder / "signing.key")
    os.environ["USAGE_LEDGER_AUDIT__KEYS_FILE"] = str(folder / "keys.json")


def _fill(data_dir: Path, count: int) -> None:
    (opened,) = open_stores(load_settings(None, data_dir=data_dir), "benchmark")
    edge, position = Edge(0, {}), 0
    events = _events(count)
    with closing(opened.store) as store:
        while batch := list(itertools.islice(events, BATCH)):
            grown, tiles = edge.grown(leaves_of(batch), [event.position for event in batch])
            with store.transaction() as transaction:
                _session(transaction).insert("stored_events", COLUMNS, batch)
                transaction.tree.put(tiles)
                transaction.tree.resize(expected=edge.size, size=grown.size)
                end = batch[-1].position
                transaction.advance_tail(TREE_TAIL, expected=position, position=end)
            edge, position = grown, end
            store.checkpoint()
        with store.transaction() as transaction:
            # Nothing is folded from them, and nothing need be.
            _session(transaction).change("UPDATE projections SET position = ?", (count,))
            if common.server is not None:
                _session(transaction).change("UPDATE log_head SET head = ?", (count,))


def _session(transaction: Any) -> Session:
    session: Session = transaction._session  # noqa: SLF001  # rows that no call would write
    return session


def measure_proofs(options: argparse.Namespace) -> None:
    """Prove single events, and that an early tree begins the last, in a log of `--events`."""
    with long_log(options.events) as service:
        common.await_folded(service)
        calls = service.calls.audit
        times: list[float] = []
        consistency: list[float] = []
        for number in range(PROOFS):
            position = 1 + number * 7_919_993 % options.events
            named = publishing_pb2.Position(number=position)
            times.append(_timed(calls.GetEventProof, pb.GetEventProofRequest(position=named)))
            between = pb.GetConsistencyProofRequest(
                first=pb.TreePoint(size=position), second=pb.TreePoint(head=1)
            )
            consistency.append(_timed(calls.GetConsistencyProof, between))
        print(f"   {_load()}")
        for name, told in (("event", times), ("consistency", consistency)):
            print(
                f"   proof of {name} in {options.events:,}: median {percentile(told, 0.5):.2f} ms,"
                f" p99 {percentile(told, 0.99):.2f} ms, worst {max(told):.2f} ms ({PROOFS} calls)"
            )


def _timed(call: Any, request: Any) -> float:
    began = time.perf_counter()
    call(request)
    return (time.perf_counter() - began) * 1_000


def measure_verify(options: argparse.Namespace) -> None:
    """Verify a log of `--events`, of the store itself and over the service."""
    with long_log(options.events) as service:
        places = ["--local", "--data-dir", str(service.data_dir)]
        if common.server is not None:
            places = ["--local"]
        for name, more in (("the store", places), ("a service", ["--target", service.target])):
            rates = []
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            for _ in range(options.runs):
                command = [sys.executable, "-m", "cli.main", "verify", "--json", *more]
                ran = subprocess.run(command, check=True, capture_output=True, text=True)
                told = json.loads(ran.stdout)
                assert options.events <= told["shards"][0]["events"], told
                rates.append(options.events / told["seconds"])
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"   verify of {name}: {median(rates)} events/s; {_load()};", end="")
            print(
                f" {1e6 * used / options.runs / options.events:.1f} µs of processor an event;",
                end="",
            )
            print(f" at most {after.ru_maxrss / 1_024:.0f} MiB")
        print(f"   the service has {common.memory_mib(service, 'VmHWM'):.0f} MiB at most")
