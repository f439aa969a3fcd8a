"""Explanations of a payer with many entries, and what the index they need costs intake."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.common import events_file, percentile
from cli.serving import collect_garbage_rarely
from ledger.application import publish_configured_prices
from ledger.audit import why
from ledger.clock import SystemClock
from ledger.commands import reconcile_usage
from ledger.core import Core, Work
from ledger.intake import Batch, read_lines, take
from ledger.queries import Queries
from ledger.settings import load_settings
from persistence.sqlite import SQLiteReader, SQLiteStore

BLOCK = 800  # lines in a transaction
ASKED = 200  # times
SIZE = 50  # parts of a number, as the call answers without a size
Ask = Callable[[], object]


def _do(core: Core, act: Callable[..., object]) -> None:
    work = Work(act, "benchmark")
    core.run([work])
    assert work.error is None, work.error


def _fill(store: SQLiteStore, path: Path) -> float:
    """Take a file in; give events a second."""
    core = Core(store, SystemClock())
    publish_configured_prices(core, load_settings(None), author="benchmark")
    batches: list[Batch] = []
    lines = path.read_bytes().splitlines(keepends=True)
    for start in range(0, len(lines), BLOCK):
        block = b"".join(lines[start : start + BLOCK])
        batches.append(read_lines("file:benchmark", block, start + 1))
    began = time.process_time()
    for batch in batches:
        _do(core, lambda group, batch=batch: take(group, batch))
    rate = len(lines) / (time.process_time() - began)
    _do(
        core,
        lambda group: reconcile_usage(group, from_time=0, to_time=0, ledger_interval_ms=3_600_000),
    )
    store.checkpoint()
    return rate


def measure(options: argparse.Namespace) -> None:
    """Ask for balance, entry and line of one payer that has everything."""
    collect_garbage_rarely()
    with (
        events_file(3 * options.entries, payers=1, running_share=0.01) as path,
        tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder,
        closing(SQLiteStore(Path(folder) / "ledger")) as store,
    ):
        _fill(store, path)
        reader = SQLiteReader(store)
        queries = Queries(reader, SystemClock(), dict)
        (payer,) = (row[0] for row in reader.rows_of("balances") if isinstance(row[0], bytes))
        entries = reader.usage_totals(payer, b"", start=-(2**62), end=2**62)[0]
        middle = reader.usage_page(
            payer, b"", start=0, end=2**62, ascending=True, offset=entries // 2, limit=1
        )[0]
        line = queries.draft(payer).lines[0].workspace_class
        ask_line = partial(why.draft_line, late_for=None, cycle_number=None, size=SIZE)
        asked: dict[str, Ask] = {
            "balance": lambda: why.payer_balance(queries, payer, SIZE),
            "instance": lambda: why.entry_of_instance(queries, middle.instance.hex()),
            "entry by its ID": lambda: why.entry_of_payer(
                queries, payer, middle.entry_id.hex(), SIZE
            ),
            "draft line": lambda: ask_line(queries, payer, line),
        }
        print(f"one payer of {entries:,} entries; load average {os.getloadavg()[0]:.1f}")
        for name, ask in asked.items():
            _tell(name, ask)
        reader.close()


def _tell(name: str, ask: Ask) -> None:
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        ask()
        took.append(1_000 * (time.perf_counter() - began))
    print(
        f"   {name}: median {statistics.median(took):.2f} ms, p99 {percentile(took, 0.99):.2f} ms"
    )


def measure_index(options: argparse.Namespace) -> None:
    """Take the same file in with and without the index of the inbox by position, in pairs."""
    collect_garbage_rarely()
    costs, rates = [], []
    with events_file(options.events) as path:
        for run in range(options.runs):
            one: dict[bool, float] = {}
            for has_index in (True, False) if run % 2 else (False, True):
                with (
                    tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder,
                    closing(SQLiteStore(Path(folder) / "ledger")) as store,
                ):
                    if not has_index:
                        store.connection.execute("DROP INDEX inbox_by_position")
                        store.connection.commit()
                    one[has_index] = _fill(store, path)
            costs.append(100 * (one[False] / one[True] - 1))
            rates.append(one[True])
    each = ", ".join(f"{cost:.1f}" for cost in costs)
    print(f"{options.events:,} events, {options.runs} pairs")
    print(f"   with the index {statistics.median(rates):,.0f} events/s of processor")
    print(f"   it costs {statistics.median(costs):.1f} % of the processor ({each})")
