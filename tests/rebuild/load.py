"""Callers that write and read as fast as they can, and count what fails."""

from __future__ import annotations

import itertools
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import grpc

from tests.harness import Calls
from tests.oracle.events import payer_of
from tests.oracle.synthetic import synthetic_lines
from usage.v1 import usage_pb2
from usage_ledger.v1 import audit_corrections_pb2, queries_pb2

BLOCK_LINES = 200
INSTANCES = 1_000_000  # more than any test publishes
PAYERS = 200
# A transaction that was to be waited for takes a tenth of a second; a machine with two cores and
# five callers may need some more.
SLOWEST_SECONDS_MAX = 10.0


Work = Callable[[Calls], Iterator[None]]  # makes a call in each step


class Load:
    """`with Load(target) as load:`; afterwards nothing may have failed."""

    def __init__(
        self,
        target: str,
        *,
        name: str = "",
        block_lines: int = BLOCK_LINES,
        pause_seconds: float = 0.0,
    ) -> None:
        """Prepare; with a pause between the calls of each caller. Each name has its own payers.

        One caller publishes blocks of so many lines, unless there are none.
        """
        self._block_lines = block_lines
        self._seed = zlib.crc32(name.encode())
        self._target = target
        self._pause = pause_seconds
        self._stopping = threading.Event()
        self.calls = 0
        self.published = 0
        self.failed: list[str] = []
        self.slowest = 0.0
        self._lock = threading.Lock()
        payers = [payer_of(f"load {name} {number}") for number in range(2)]
        works = [*map(_notes, payers), _reads(payers)]
        if block_lines:
            works.append(self._publish)
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    def _run(self, work: Work) -> None:
        calls = Calls(self._target)
        try:
            steps = work(calls)
            while not self._stopping.is_set():
                began = time.monotonic()
                next(steps)
                took = time.monotonic() - began
                with self._lock:
                    self.calls += 1
                    self.slowest = max(self.slowest, took)
                time.sleep(self._pause)
        except grpc.RpcError as error:
            self.failed.append(f"{error.code()}: {error.details()}")
        except AssertionError as error:
            self.failed.append(str(error))
        finally:
            calls.close()

    def _publish(self, calls: Calls) -> Iterator[None]:
        lines = synthetic_lines(self._seed, INSTANCES, PAYERS, running_share=0.02)
        for number in itertools.count():
            block = list(itertools.islice(lines, self._block_lines))
            receipt = calls.publish(block, delivery="load")
            assert len(block) == receipt.recorded, f"{receipt}"
            self.published += receipt.recorded
            if number % 10 == 5:
                calls.reconcile()
            if number % 5 == 2:
                void(calls, _stopped(block)[:2])
            yield

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def wait_for(self, calls: int) -> None:
        """Return after so many more calls."""
        wanted = self.calls + calls
        deadline = time.monotonic() + 60
        while self.calls < wanted and not self.failed:
            assert time.monotonic() < deadline, f"{self.calls} calls, {wanted} wanted"
            time.sleep(0.02)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if error is None:
            self.check()

    def check(self) -> None:
        """Nothing failed so far, and nobody waited for long."""
        assert [] == self.failed, f"after {self.calls} calls"
        assert self.slowest < SLOWEST_SECONDS_MAX


def _notes(payer: str) -> Work:
    """Write a note and read the balance that it made, again and again."""

    def work(calls: Calls) -> Iterator[None]:
        owed = calls.balance_cents(payer)
        while True:
            request = usage_pb2.AddUsageCreditNoteRequest(
                attribution_id=payer, credits=1, description="load"
            )
            calls.usage.AddUsageCreditNote(request)
            owed -= 100
            found = calls.balance_cents(payer)
            assert owed == found, f"{payer} owes {found}, and was told {owed}"
            yield

    return work


def _reads(payers: list[str]) -> Work:
    """Read what takes several statements, each answer in one state."""

    def work(calls: Calls) -> Iterator[None]:
        request = queries_pb2.GetBalancesRequest(attribution_ids=payers)
        while True:
            for payer in payers:
                draft = calls.draft(payer)
                assert draft.total_cents == draft.credit_note_cents, f"{payer}: {draft}"
                yield
                calls.usage.ListUsage(usage_pb2.ListUsageRequest(attribution_id=payer))
                yield
            calls.queries.GetBalances(request)
            yield

    return work


def _stopped(lines: Sequence[bytes]) -> list[str]:
    """Name the instances that are final once these lines are taken in."""
    events = [json.loads(line) for line in lines]
    return [event["subject"] for event in events if event["type"].endswith(".stopped.v1")]


def void(calls: Calls, instances: Sequence[str]) -> None:
    """Let instances count for nothing any more."""
    for instance in instances:
        request = audit_corrections_pb2.VoidInstanceRequest(
            workspace_instance_id=instance, reason="a test"
        )
        calls.audit.VoidInstance(request)


def fill(calls: Calls, events: int) -> None:
    """Publish so many events of a past that the load does not touch, and void some of it."""
    lines = synthetic_lines(5, -(-events // 3), 60, running_share=0.05)
    past = list(itertools.islice(lines, events))
    calls.publish(past, delivery="past")
    calls.reconcile()
    void(calls, _stopped(past)[::97])
