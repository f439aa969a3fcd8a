"""What every measurement needs: a service of its own, made-up events, and medians."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.harness import ServiceProcess
from tests.oracle.synthetic import synthetic_lines
from tests.servers.postgres import StartedServer
from usage_ledger.v1 import queries_pb2

EVENTS_AN_INSTANCE = 3


# The server of the measurements on PostgreSQL; None: SQLite.
server: StartedServer | None = None


@contextmanager
def fresh_service() -> Iterator[ServiceProcess]:
    """Run a service over an empty ledger, with default durability and no jobs."""
    if server is not None:
        os.environ["USAGE_LEDGER_STORE"] = "postgres"
        os.environ["USAGE_LEDGER_POSTGRES__URLS"] = server.new_ledger()
    with (
        tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder,
        ServiceProcess(Path(folder) / "ledger") as service,
    ):
        yield service


@contextmanager
def events_file(
    events: int, *, payers: int = 200, running_share: float = 0.0, seed: int = 1
) -> Iterator[Path]:
    """Make a file of events: `payers` payers, two random ids an event, three events an instance."""
    with tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as folder:
        path = Path(folder) / f"events-{events}.ndjson"
        instances = -(-events // EVENTS_AN_INSTANCE)
        lines = synthetic_lines(seed, instances, payers, running_share=running_share)
        with path.open("wb") as file:
            for line in itertools.islice(lines, events):
                file.write(line + b"\n")
        yield path


def publish(service: ServiceProcess, path: Path) -> None:
    """Publish a file with the command that users run; fail on rejects."""
    command = [sys.executable, "-m", "cli.main", "publish", "--target", service.target, str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def memory_mib(service: ServiceProcess, field: str) -> float:
    """Give a process's `VmRSS` (now) or `VmHWM` (peak)."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def cpu_seconds(service: ServiceProcess) -> float:
    """Give the processor time that a process has used."""
    assert service.process is not None
    times = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def disk_bytes(service: ServiceProcess) -> int:
    """Give what the tables of a stopped ledger take on disk."""
    return sum(path.stat().st_size for path in service.data_dir.rglob("*") if path.is_file())


def wal_mib(service: ServiceProcess) -> float:
    """Give the size of the write-ahead log of a running ledger."""
    return sum(path.stat().st_size for path in service.data_dir.glob("*-wal")) / 2**20


def median(values: Sequence[float]) -> str:
    """Write median, minimum and maximum."""
    return f"{statistics.median(values):,.4g} (min {min(values):,.4g}, max {max(values):,.4g})"


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which a share of the values lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def await_folded(service: ServiceProcess) -> None:
    """Wait until whatever follows the log has read it, as where it grows day by day."""
    while True:
        status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
        if all(
            one.position.number == status.head.number
            for one in (*status.projections, *status.tails)
        ):
            return
        time.sleep(0.1)
