"""Kafka to PostgreSQL to GetBalance, with broker, database, producer and roles on one machine."""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from benchmarks.common import events_file, median, percentile
from publisher import Publisher, credit_note_issued
from publisher.lines import message_of
from tests.cluster.processes import RoleProcess, toml_of
from tests.harness import Calls
from tests.servers.kafka import LocalBroker
from tests.servers.postgres import StartedServer, started_server
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

# Of a database that has something to do; the tests' own is as small as can be.
SERVER = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}
# As Kafka comes: processes that are started together share the partitions from the first message.
BROKER = {"group.initial.rebalance.delay.ms": "3000"}
FRESHNESS_SECONDS = 30
FRESHNESS_EVENTS_A_SECOND = 2_000
PROBE_SECONDS = 0.1
SEGMENTS = 10
GROWTH_MARKS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
LOOK_SECONDS = 0.05  # between looks: of a run of minutes nothing, and they take no core from it
FIRST_LOOK_SECONDS = 0.01  # where a run takes seconds, and counts from the first thing seen


class Cluster:
    """Servers that run, and processes of roles that are started beside them."""

    def __init__(self, broker: LocalBroker, server: StartedServer, folder: Path) -> None:
        """Prepare; topics are made by the command that users run."""
        self.broker = broker
        self.server = server
        self.folder = folder

    def settings(self, urls: Sequence[str], *parts: str) -> dict[str, Any]:
        """Give the configuration of a ledger over these databases."""
        mark = uuid.uuid4().hex[:8]
        return {
            "store": "postgres",
            "postgres": {"urls": list(urls)},
            "kafka": {
                "bootstrap_servers": self.broker.bootstrap_servers,
                # Members of the run before were killed, and their group waits for them.
                "group_id": f"usage-ledger-{mark}",
                "topics": {"usage_events": f"usage.events.{mark}"},
            },
            "serve": {"parts": list(parts)},
            "jobs": {"ledger_enabled": False, "reset_enabled": False},
            "log": {"level": "warning"},
        }

    def databases(self, shards: int) -> list[str]:
        """Make the databases of an empty ledger."""
        urls = [self.server.new_database() for _ in range(shards)]
        config = self.folder / "migrate.toml"
        config.write_text(toml_of({"store": "postgres", "postgres": {"urls": urls}}))
        _command("migrate", "--config", str(config))
        return urls

    def make_topics(self, settings: dict[str, Any]) -> None:
        """Make the topics of a configuration."""
        config = self.folder / "topics.toml"
        config.write_text(toml_of(settings))
        _command("topics", "create", "--config", str(config), "--replication-factor", "1")

    def topic_bytes(self, topic: str) -> int:
        """Give what the segments of a topic take on the broker's disk."""
        segments = self.broker.folder.glob(f"log/{topic}-*/*.log")
        return sum(segment.stat().st_size for segment in segments)

    def publish(self, settings: dict[str, Any], path: Path, *more: str) -> None:
        """Publish a file through the broker."""
        kafka = settings["kafka"]
        _command(
            "publish", str(path), "--kafka", kafka["bootstrap_servers"],
            "--topic", kafka["topics"]["usage_events"], *more,
        )  # fmt: skip


def _command(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments], check=True, stdout=subprocess.DEVNULL
    )


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a broker and a database server."""
    with (
        tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder,
        started_server() as server,
        LocalBroker(Path(folder) / "kafka", properties=BROKER) as broker,
    ):
        server.stop()
        server.start(**SERVER)
        yield Cluster(broker, server, Path(folder))


def _status(calls: Calls) -> queries_pb2.GetStatusResponse:
    return calls.queries.GetStatus(queries_pb2.GetStatusRequest())


class _Progress(NamedTuple):
    received: int
    head: int
    folded: int  # by the projection that is furthest behind


class _Look:
    """How far a ledger is, over all shards. Asked of the tables: a status counts whole indexes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        urls = settings["postgres"]["urls"]
        self._connections = [psycopg.connect(url, autocommit=True) for url in urls]

    def __call__(self) -> _Progress:
        told = []
        for connection in self._connections:
            row = connection.execute(
                "SELECT (SELECT coalesce(sum(received), 0) FROM deliveries),"
                " (SELECT head FROM log_head), (SELECT min(position) FROM projections)"
            ).fetchone()
            assert row is not None
            told.append([int(number) for number in row])
        return _Progress(*map(sum, zip(*told, strict=True)))

    def wait(self, events: int, *, folded: bool) -> None:
        while True:
            now = self()
            if now.received >= events and (now.folded >= now.head or not folded):
                return
            time.sleep(LOOK_SECONDS)

    def until_folded(self, position: int, every: float = LOOK_SECONDS) -> int:
        """Wait until the log is folded up to a position; give how far it is by then."""
        while (folded := self().folded) < position:
            time.sleep(every)
        return folded


def _ticks(pid: int) -> int:
    """Give what CPU a process and its children, those that ended included, have used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # a child that ended just now: its parent has counted it
        return 0
    return sum(map(int, fields[11:15])) + sum(_ticks(int(child)) for child in children)


def _pid_of(broker: LocalBroker) -> int:
    assert broker.process is not None
    return broker.process.pid


class _Clocks:
    """What CPU every part has used since this was made."""

    def __init__(self, running: Cluster, roles: Sequence[RoleProcess]) -> None:
        self._pids = {
            f"{role.role} {number}": role.process.pid
            for number, role in enumerate(roles)
            if role.process is not None
        }
        self._pids |= {"database": running.server.pid, "broker": _pid_of(running.broker)}
        self._before = {name: _ticks(pid) for name, pid in self._pids.items()}

    def told(self, events: int) -> str:
        """Tell microseconds of CPU an event, part by part."""
        used = {name: _ticks(pid) - self._before[name] for name, pid in self._pids.items()}
        parts = [f"{name} {ticks * 10_000 / events:.0f}" for name, ticks in used.items()]
        return f"CPU microseconds an event: {', '.join(parts)}"


def _cpu_since(before: resource.struct_rusage) -> float:
    """Give microseconds of CPU that children used which ended since."""
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e6 * (now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime)


def _database_bytes(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def measure_bus(options: argparse.Namespace) -> None:
    """Publish through Kafka while one intake and one projector work; until visible in balances."""
    for packed in ((), ("--packed",)):
        rates = []
        for _ in range(options.runs):
            with cluster() as running, events_file(options.events) as path, ExitStack() as stack:
                settings = running.settings(running.databases(1))
                running.make_topics(settings)
                roles = [
                    stack.enter_context(RoleProcess(role, settings, running.folder))
                    for role in ("serve", "intake", "project")
                ]
                look = _Look(settings)
                clocks = _Clocks(running, roles)
                empty = _database_bytes(settings["postgres"]["urls"][0])
                began = time.perf_counter()
                # The roles are not waited for before the end: what is counted is the publisher's.
                idle = resource.getrusage(resource.RUSAGE_CHILDREN)
                producing = threading.Thread(target=running.publish, args=(settings, path, *packed))
                producing.start()
                _segments(look, options.events, began)
                look.wait(options.events, folded=True)
                rates.append(options.events / (time.perf_counter() - began))
                producing.join()
                print(f"   publisher: {_cpu_since(idle) / options.events:.0f} µs of CPU an event")
                size = _database_bytes(settings["postgres"]["urls"][0]) - empty
                print("  ", clocks.told(options.events), flush=True)
                print(f"   {size / options.events:.0f} B an event in the database", flush=True)
                _check(roles[0], options.events)
        how = "packed by payer" if packed else "one event a message"
        print(f"{options.events:,} events through Kafka, {how}: {median(rates)} events/s visible")


def _segments(look: _Look, events: int, began: float) -> None:
    """Tell the rate of every tenth on the way."""
    step = events // SEGMENTS
    last = began
    for upto in range(step, events, step):
        look.until_folded(upto)
        now = time.perf_counter()
        print(f"   {upto:,}: {step / (now - last):,.0f} events/s", flush=True)
        last = now


def _check(process: RoleProcess, events: int) -> None:
    assert process.calls is not None
    total = _status(process.calls).total
    assert (events, 0) == (total.received, total.rejected), total
    if events <= 150_000:
        breaches = process.calls.breaches()
        assert not breaches, breaches


def measure_topics(options: argparse.Namespace) -> None:
    """Tell what an event takes in each topic, and what relaying it costs."""
    for packed in ((), ("--packed",)):
        with cluster() as running, events_file(options.events) as path, ExitStack() as stack:
            settings = running.settings(running.databases(1))
            running.make_topics(settings)
            running.publish(settings, path, *packed)
            how = "packed by payer" if packed else "one event a message"
            size = running.topic_bytes(settings["kafka"]["topics"]["usage_events"])
            print(f"usage.events, {how}: {size / options.events:.0f} B an event", flush=True)
            service = stack.enter_context(RoleProcess("serve", settings, running.folder))
            with RoleProcess("intake", settings, running.folder):
                _Look(settings).wait(options.events, folded=False)
            relay = stack.enter_context(RoleProcess("relay", settings, running.folder))
            clocks = _Clocks(running, [relay])
            began = time.perf_counter()
            assert service.calls is not None
            while not _relayed(service.calls):
                time.sleep(LOOK_SECONDS)
            rate = options.events / (time.perf_counter() - began)
            size = running.topic_bytes("ledger.events")
            print(f"ledger.events: {size / options.events:.0f} B an event, {rate:,.0f} events/s")
            print("  ", clocks.told(options.events), flush=True)


def _relayed(calls: Calls) -> bool:
    status = _status(calls)
    positions = [tail.position.number for tail in status.tails if tail.name == "relay"]
    return positions == [status.head.number]


def measure_parts(options: argparse.Namespace) -> None:
    """Fill the topic first; then take it in by one intake, by two on two shards, and fold it."""
    intake: dict[int, list[float]] = {1: [], 2: []}
    folds = []
    with cluster() as running, events_file(options.events, payers=2_500) as path:
        for _ in range(options.runs):
            for shards in (1, 2):
                settings = running.settings(running.databases(shards))
                running.make_topics(settings)
                running.publish(settings, path)
                with ExitStack() as stack:
                    look, began = _Look(settings), time.perf_counter()
                    intakes = [
                        RoleProcess("intake", settings, running.folder) for _ in range(shards)
                    ]
                    with ThreadPoolExecutor() as pool:
                        list(pool.map(stack.enter_context, intakes))
                    look.wait(1, folded=False)
                    clocks, first = _Clocks(running, intakes), time.perf_counter()
                    look.wait(options.events, folded=False)
                    ended = time.perf_counter()
                    intake[shards].append(options.events / (ended - first))
                    print(
                        f"   {shards} intake: first event after {first - began:.1f} s, then"
                        f" {intake[shards][-1]:,.0f} events/s",
                        flush=True,
                    )
                    print("  ", clocks.told(options.events), flush=True)
                if shards == 1:
                    folds.append(_folding(settings, running.folder))
    print(f"one intake, one shard, topic filled before: {median(intake[1])} events/s")
    print(f"two intakes, two shards: {median(intake[2])} events/s")
    ratios = [two / one for one, two in zip(intake[1], intake[2], strict=True)]
    print(f"two of one, in pairs: {median(ratios)}")
    print(f"one projector, nothing else running: {median(folds)} events/s")


def _folding(settings: dict[str, Any], folder: Path) -> float:
    look = _Look(settings)
    with RoleProcess("project", settings, folder):
        before = look.until_folded(1, FIRST_LOOK_SECONDS)
        began = time.perf_counter()
        look.wait(0, folded=True)
        return (look().head - before) / (time.perf_counter() - began)


def measure_growth(options: argparse.Namespace) -> None:
    """Fill the topic first; then tell what an event costs while the log grows behind it."""
    marks = [mark for mark in GROWTH_MARKS if mark < options.events] + [options.events]
    with (
        cluster() as running,
        events_file(options.events, payers=2_500) as path,
        ExitStack() as stack,
    ):
        settings = running.settings(running.databases(1))
        running.make_topics(settings)
        running.publish(settings, path)
        roles = [
            stack.enter_context(RoleProcess(role, settings, running.folder))
            for role in ("serve", "intake", "project")
        ]
        look = _Look(settings)
        look.wait(1, folded=False)
        done = 0
        for mark in marks:
            clocks, began = _Clocks(running, roles), time.perf_counter()
            at = look.until_folded(mark)
            rate = (at - done) / (time.perf_counter() - began)
            print(f"{done:,} to {at:,} in the log: {rate:,.0f} events/s visible")
            print("  ", clocks.told(at - done), flush=True)
            done = at
        look.wait(options.events, folded=True)
        _check(roles[0], options.events)


def measure_freshness(options: argparse.Namespace) -> None:
    """Publish at a steady rate, and time single notes from publishing to GetBalance."""
    latencies: list[float] = []
    with cluster() as running, ExitStack() as stack:
        settings = running.settings(running.databases(1))
        running.make_topics(settings)
        roles = [
            stack.enter_context(RoleProcess(role, settings, running.folder))
            for role in ("serve", "intake", "project")
        ]
        publisher = stack.enter_context(
            Publisher(
                running.broker.bootstrap_servers,
                source="/benchmark",
                topic=settings["kafka"]["topics"]["usage_events"],
            )
        )
        flows, stop = threading.Event(), threading.Event()
        load = threading.Thread(target=_steady_load, args=(running, settings, flows, stop))
        load.start()
        flows.wait()
        assert roles[0].calls is not None
        _probe(roles[0].calls, publisher)  # the first one waits for the group to form
        end = time.perf_counter() + FRESHNESS_SECONDS
        while time.perf_counter() < end:
            latencies.append(_probe(roles[0].calls, publisher))
            time.sleep(PROBE_SECONDS)
        stop.set()
        load.join()
    print(
        f"{len(latencies)} notes beside {FRESHNESS_EVENTS_A_SECOND:,} events/s, from publishing to"
        f" GetBalance: median {percentile(latencies, 0.5):.0f} ms,"
        f" p99 {percentile(latencies, 0.99):.0f} ms, worst {max(latencies):.0f} ms"
    )
    del options


def _probe(calls: Calls, publisher: Publisher) -> float:
    payer = f"team:{uuid.uuid4()}"
    request = usage_pb2.GetBalanceRequest(attribution_id=payer)
    began = time.perf_counter()
    publisher.publish(
        credit_note_issued(
            attribution_id=payer,
            credits=1,
            description="fresh",
            effective_time=dt.datetime.now(dt.UTC),
        )
    )
    while calls.usage.GetBalance(request).credits == 0:
        time.sleep(0.002)
    return (time.perf_counter() - began) * 1000


def _steady_load(
    running: Cluster, settings: dict[str, Any], flows: threading.Event, stop: threading.Event
) -> None:
    """Publish made-up events, a twentieth of a second's worth at a time."""
    each = FRESHNESS_EVENTS_A_SECOND // 20
    total = FRESHNESS_EVENTS_A_SECOND * (FRESHNESS_SECONDS + 60)
    with (
        events_file(total) as path,
        path.open("rb") as lines,
        Publisher(
            running.broker.bootstrap_servers,
            source="/load",
            topic=settings["kafka"]["topics"]["usage_events"],
        ) as publisher,
    ):
        due = time.perf_counter()
        while not stop.is_set():
            for line in itertools.islice(lines, each):
                publisher.send(message_of(line.rstrip(b"\n")))
            flows.set()
            due += 0.05
            time.sleep(max(due - time.perf_counter(), 0))
