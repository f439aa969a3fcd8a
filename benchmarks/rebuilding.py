"""Folding the whole log anew, every projection together and each alone."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.common import events_file, median
from cli.serving import collect_garbage_rarely
from ledger.application import publish_configured_prices
from ledger.clock import SystemClock
from ledger.core import Core, Work
from ledger.folding import fold_stored
from ledger.intake import read_lines, take
from ledger.settings import load_settings
from persistence.sqlite import SQLiteStore

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
