"""Folding the whole log anew: in the store, into a fresh file, and into a generation beside."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import common
from benchmarks.common import events_file, fresh_service, median, publish
from cli.garbage import collect_garbage_rarely
from ledger.application import publish_configured_prices
from ledger.clock import SystemClock
from ledger.core import Core, Work
from ledger.folding import fold_stored
from ledger.intake import read_lines, take
from ledger.settings import load_settings
from persistence.sqlite import SQLiteStore
from tests.harness import ServiceProcess

BLOCK = 800


def _fill(store: SQLiteStore, path: Path) -> int:
    core = Core(store, SystemClock())
    publish_configured_prices(core, load_settings(None), author="benchmark")
    lines = path.read_bytes().splitlines(keepends=True)
    for start in range(0, len(lines), BLOCK):
        batch = read_lines("file:benchmark", b"".join(lines[start : start + BLOCK]), start + 1)
        work = Work(lambda group, batch=batch: take(group, batch), "benchmark")
        core.run([work])
        assert work.error is None, work.error
    return core.head


def measure(options: argparse.Namespace) -> None:
    """Empty the read model and fold the log again; each payer and user is a key of its own."""
    collect_garbage_rarely()  # as the service does before it folds
    payers = max(options.events // 60, 1)
    with (
        events_file(options.events, payers=payers) as path,
        tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder,
    ):
        store = SQLiteStore(Path(folder) / "ledger")
        head = _fill(store, path)
        rates = []
        for _ in range(options.runs):
            store.clear_read_model()
            began = time.perf_counter()
            position = 0
            while position < head:
                position = fold_stored(store, position)
            rates.append(head / (time.perf_counter() - began))
            store.checkpoint()
        print(f"rebuild of {head:,} events, {payers:,} payers: {median(rates)} events/s")
        _alone(store, head)
        store.close()


def _alone(store: SQLiteStore, head: int) -> None:
    """Time each projection's part of one rebuild: from its turn to the next one's."""
    spent: Counter[str] = Counter()
    running = ["reading", time.perf_counter()]

    def turn(name: str) -> None:
        now = time.perf_counter()
        spent[str(running[0])] += now - float(running[1])
        running[:] = [name, now]

    store.clear_read_model()
    position = 0
    while position < head:
        turn("reading and committing")
        position = fold_stored(store, position, turn)
    turn("end")
    for name, seconds in spent.most_common():
        print(f"   {name}: {seconds:.2f} s, {head / seconds:,.0f} events/s alone")


class _Ran(NamedTuple):
    """What a command told, and what its process took."""

    told: Any
    seconds: float  # with its start
    cpu: float  # seconds of processor
    mib: float  # of memory at most


def measure_replay(options: argparse.Namespace) -> None:
    """Fold the log of a running service into a fresh file, and compare; then rebuild beside it."""
    payers = max(options.events // 60, 1)
    with events_file(options.events, payers=payers) as path, fresh_service() as service:
        publish(service, path)
        common.await_folded(service)
        print(f"{options.events:,} events, {payers:,} payers")
        folds = [_command(service, "replay") for _ in range(options.runs)]
        shards = [ran.told["shards"][0] for ran in folds]
        rates = median([shard["folded"] / shard["seconds"] for shard in shards])
        _tell("replay", folds, options.events, f"{rates} events/s")
        compares = [_command(service, "replay", "--compare") for _ in range(options.runs)]
        assert [[]] * options.runs == [ran.told["differing"] for ran in compares]
        rows = sum(compares[0].told["shards"][0]["rows"].values())
        _tell("with --compare", compares, options.events, f"{rows:,} rows")
        rebuilds = [
            _command(service, "projections", "rebuild", "--promote") for _ in range(options.runs)
        ]
        assert all(ran.told["shards"][0]["promoted"] for ran in rebuilds)
        _tell("a generation built, compared and promoted", rebuilds, options.events, "")


def _command(service: ServiceProcess, *arguments: str) -> _Ran:
    places = [] if common.server is not None else ["--data-dir", str(service.data_dir)]
    command = [sys.executable, "-m", "cli.main", *arguments, "--json", *places]
    began = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert running.stdout is not None
    text = running.stdout.read()
    _, running.returncode, usage = os.wait4(running.pid, 0)
    assert running.returncode == 0, text
    used = usage.ru_utime + usage.ru_stime
    seconds = time.perf_counter() - began
    return _Ran(json.loads(text), seconds, used, usage.ru_maxrss / 1_024)


def _tell(name: str, ran: list[_Ran], events: int, more: str) -> None:
    cpu = median([1e6 * each.cpu / events for each in ran])
    print(
        f"   {name}: {median([each.seconds for each in ran])} s with its start, {more};"
        f" {cpu} µs of processor an event, at most {max(each.mib for each in ran):.0f} MiB;"
        f" load average {os.getloadavg()[0]:.1f}"
    )
