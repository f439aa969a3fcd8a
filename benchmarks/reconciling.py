"""ReconcileUsage over many instances, stopped and running, and the first balance after it."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.common import events_file, fresh_service, median, publish


def _starts_only(path: Path) -> str:
    """Keep the starts of a file, so that everything runs; give a payer of it."""
    lines = [line for line in path.read_bytes().splitlines() if b".started.v1" in line]
    path.write_bytes(b"\n".join(lines) + b"\n")
    payer: str = json.loads(lines[0])["data"]["attributionId"]
    return payer


def measure(options: argparse.Namespace) -> None:
    """Reconcile stopped instances twice, then running ones of one payer and of 1,000."""
    count = options.entries
    for name, payers, running in (
        ("stopped, one payer", 1, False),
        ("running, one payer", 1, True),
        ("running, 1,000 payers", 1_000, True),
    ):
        with events_file(count * 3, payers=payers) as path, fresh_service() as service:
            payer = _starts_only(path) if running else ""
            publish(service, path)
            reconciles, balances = [], []
            for _ in range(options.runs):
                began = time.perf_counter()
                service.calls.reconcile()
                reconciles.append((time.perf_counter() - began) * 1000)
                if payer:
                    began = time.perf_counter()
                    service.calls.balance_cents(payer)
                    balances.append((time.perf_counter() - began) * 1000)
            print(f"ReconcileUsage, {count:,} {name}: {median(reconciles)} ms", end="")
            print(f"; next GetBalance {median(balances)} ms" if balances else "")
