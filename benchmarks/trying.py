"""Other rules over a whole history, by the command that users run, beside an idle service."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.common import events_file, fresh_service, median, publish

ROUNDING = ("--rounding", "minute-up")


def measure(options: argparse.Namespace) -> None:
    """Fold it by another rounding; then one payer alone."""
    with (
        events_file(options.events, payers=max(options.events // 500, 1)) as path,
        fresh_service() as service,
    ):
        publish(service, path)
        service.calls.reconcile()
        where = ("--data-dir", str(service.data_dir), "--json", "--top", "1")
        only: tuple[str, ...] = ()
        for name in ("everybody", "one payer"):
            rates, peaks = [], []
            for _ in range(options.runs):
                answer, seconds, mib = _asked([*ROUNDING, *where, *only])
                rates.append(answer["events"] / seconds)
                peaks.append(mib)
            print(f"what-if of {name}, {answer['events']:,} events: {median(rates)} events/s")
            print(f"   memory: at most {max(peaks):,.0f} MiB")
            only = ("--payer", answer["payers"][0]["attribution_id"])


def _asked(arguments: Sequence[str]) -> tuple[Any, float, float]:
    """Run the command; give its answer, how long it took, and its peak of memory in MiB."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "cli.main", "what-if", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return json.loads(told), time.perf_counter() - began, usage.ru_maxrss / 1024
