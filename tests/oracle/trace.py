"""Real job logs (Standard Workload Format) as usage events.

A job becomes an instance, its user or group the payer, its processors decide the class.
"""

import gzip
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ._times import NS_PER_S, text_of
from .events import instance_event, line_of, named_uuid, payer_of

NASA = "NASA-iPSC-1993-3.1-cln.swf.gz"
ATLAS = "LLNL-Atlas-2006-2.1-cln.swf.gz"
FOLDER_VARIABLE = "USAGE_LEDGER_TRACES"

# Columns of the format, counted from 0.
NUMBER, SUBMITTED, WAITED, RAN, PROCESSORS, USER, GROUP = 0, 1, 2, 3, 4, 11, 12
COLUMNS = 18
CREATED_BEFORE_START_S = 5


@dataclass(frozen=True)
class Job:
    """One finished job; times in whole seconds since 1970."""

    number: int
    start_s: int
    end_s: int
    processors: int
    user: str
    payer: str

    @property
    def stopped_s(self) -> int:
        """The machine is gone some seconds after the job's end."""
        return self.end_s + 5 + self.number % 40


def trace_file(name: str) -> Path | None:
    """Where the trace lies, or None: then the test has to skip and say so."""
    repository = Path(__file__).resolve().parents[2]
    folder = os.environ.get(FOLDER_VARIABLE) or repository.parent / "shared" / "traces"
    path = Path(folder) / name
    return path if path.is_file() else None


def read_jobs(
    path: Path, *, payer: Literal["user", "group"] = "user", limit: int | None = None
) -> list[Job]:
    """The jobs of the log that ran, in its order."""
    jobs: list[Job] = []
    epoch_s = 0
    payer_column = USER if payer == "user" else GROUP
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as rows:
        for row in rows:
            if row.startswith(";"):
                name, _, value = row.lstrip("; ").partition(":")
                if name == "UnixStartTime":
                    epoch_s = int(value.split()[0])
                continue
            cells = row.split()
            if len(cells) < COLUMNS or float(cells[RAN]) < 0:
                continue
            numbers = [int(float(cell)) for cell in cells[: PROCESSORS + 1]]
            start_s = epoch_s + numbers[SUBMITTED] + max(0, numbers[WAITED])
            jobs.append(
                Job(
                    number=numbers[NUMBER],
                    start_s=start_s,
                    end_s=start_s + numbers[RAN],
                    processors=numbers[PROCESSORS],
                    user=cells[USER],
                    payer=cells[payer_column],
                )
            )
    return jobs[:limit]


def class_of(processors: int) -> str:
    """Small, large, or one that no price list knows."""
    if processors <= 8:
        return "default"
    return "g1-large" if processors <= 64 else "cluster-xxl"


def shift_to_end_at(jobs: Sequence[Job], end_ns: int) -> int:
    """The shift in seconds that puts the last event on this instant."""
    return end_ns // NS_PER_S - max(job.stopped_s for job in jobs)


def trace_lines(jobs: Iterable[Job], *, name: str, shift_s: int = 0) -> list[bytes]:
    """Three events a job, all in the order of their times."""
    timed = [event for job in jobs for event in _events_of(job, name, shift_s)]
    timed.sort(key=lambda pair: pair[0])
    return [line for _, line in timed]


def _events_of(job: Job, name: str, shift_s: int) -> Iterator[tuple[int, bytes]]:
    instance_id = named_uuid(name, job.number)
    payer = payer_of((name, job.payer))
    source = f"/traces/{name}"
    start_ns, end_ns, stopped_ns = (
        (at_s + shift_s) * NS_PER_S for at_s in (job.start_s, job.end_s, job.stopped_s)
    )
    started = instance_event(
        "started",
        start_ns,
        instance_id=instance_id,
        payer=payer,
        source=source,
        more={
            "workspaceId": f"{name}-{job.number}",
            "workspaceClass": class_of(job.processors),
            "workspaceType": "regular",
            "contextUrl": f"https://example.org/{name}/{job.number}",
            "userId": named_uuid(name, "user", job.user),
            "userName": f"user{job.user}",
            "creationTime": text_of(start_ns - CREATED_BEFORE_START_S * NS_PER_S),
        },
    )
    yield start_ns, line_of(started)
    stopping = instance_event(
        "stopping", end_ns, instance_id=instance_id, payer=payer, source=source
    )
    yield end_ns, line_of(stopping)
    stopped = instance_event(
        "stopped", stopped_ns, instance_id=instance_id, payer=payer, source=source
    )
    yield stopped_ns, line_of(stopped)


def with_repeats(lines: Iterable[bytes], *, every: int) -> Iterator[bytes]:
    """Every so many-th line twice, one after the other."""
    for index, line in enumerate(lines):
        yield line
        if index % every == 0:
            yield line


def shuffled(lines: Iterable[bytes], *, window: int, seed: int = 1) -> list[bytes]:
    """Out of order: a line overtakes others by at most `window` places."""
    rng = random.Random(seed)
    delayed = [(index + rng.random() * window, line) for index, line in enumerate(lines)]
    delayed.sort(key=lambda pair: pair[0])
    return [line for _, line in delayed]
