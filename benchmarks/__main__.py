"""Runs the measurements that docs/performance.md reports."""

from __future__ import annotations

import argparse

from benchmarks import (
    calls,
    clocks,
    cluster,
    common,
    explaining,
    packs,
    proofs,
    publishing,
    rebuilding,
    reconciling,
    trying,
)
from tests.servers.postgres import started_server

MEASUREMENTS = {
    "publish": publishing.measure,
    "call-while-publishing": publishing.measure_calls,
    "reads": calls.measure_reads,
    "notes": calls.measure_notes,
    "reconcile": reconciling.measure,
    "rebuild": rebuilding.measure,
    "replay": rebuilding.measure_replay,
    "what-if": trying.measure,
    "bus": cluster.measure_bus,
    "bus-parts": cluster.measure_parts,
    "bus-growth": cluster.measure_growth,
    "topics": cluster.measure_topics,
    "freshness": cluster.measure_freshness,
    "tree-cost": proofs.measure_cost,
    "proofs": proofs.measure_proofs,
    "verify": proofs.measure_verify,
    "clocks": clocks.measure,
    "clocks-cost": clocks.measure_cost,
    "why": explaining.measure,
    "why-index": explaining.measure_index,
    "packs": packs.measure,
}


def main() -> None:
    """Run the measurements that were named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measurement", choices=[*MEASUREMENTS, "all"])
    parser.add_argument("--events", type=int, default=150_000, help="events to publish")
    parser.add_argument("--entries", type=int, default=100_000, help="entries in one payer")
    parser.add_argument("--runs", type=int, default=5, help="runs; the median is printed")
    parser.add_argument("--file", help="publish this file instead of made-up events")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    if options.store == "postgres":
        with started_server() as common.server:
            common.server.stop()
            common.server.start(**cluster.SERVER)
            _measure(options)
    else:
        _measure(options)


def _measure(options: argparse.Namespace) -> None:
    chosen = MEASUREMENTS if options.measurement == "all" else {options.measurement: None}
    for name in chosen:
        print(f"== {name}", flush=True)
        MEASUREMENTS[name](options)


if __name__ == "__main__":
    main()
