"""The processes of a scenario, and what must hold when it is over."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import httpx

from tests.cluster.processes import RoleProcess, wait_until
from tests.harness import Calls
from tests.servers.kafka import Topics
from tests.survival.stream import Stream, Tally, Truth
from usage_ledger.v1 import queries_pb2

# Only a machine that hangs takes so long.
PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 0.2
BALANCES_MAX = 10_000  # in one call
# A group gives the partitions of a dead or paused consumer to others after so long.
SESSION_MS = 1_500

_HAS_PARTITIONS = re.compile(r"intake has partitions \[([0-9, ]*)\]")


def postgres(*urls: str) -> dict[str, Any]:
    """Give the settings of a store in these databases, a shard each."""
    return {"store": "postgres", "postgres": {"urls": list(urls)}}


class NobodyAnswers(Exception):
    """The process that answers calls is not there just now."""


# Raised by a call while a process is killed, or a database is away.
NOT_NOW = (grpc.RpcError, NobodyAnswers, ValueError)  # grpc's for a channel that was closed


class Cluster:
    """A topic, a group of consumers, a ledger, and the processes that a test starts."""

    def __init__(
        self,
        folder: Path,
        servers: str,
        store: dict[str, Any],
        *,
        partitions: int = 4,
        configs: Mapping[str, str] | None = None,
        **kafka: Any,
    ) -> None:
        """Make the topic, with its `configs`.

        `store` names the store in the settings, `kafka` sets more of it.
        """
        self._folder = folder
        self._servers = servers
        self.topics = Topics(servers)
        self.topic = self.topics.create("usage", partitions=partitions, configs=configs)
        self.truth = Truth()
        self._stack = contextlib.ExitStack()
        self._processes: list[RoleProcess] = []
        self._kafka = {
            "bootstrap_servers": servers,
            "group_id": self.topics.name("group"),
            "session_timeout": f"{SESSION_MS}ms",
            "topics": {"usage_events": self.topic},
            # Small, so that a scenario of a few thousand events has many transactions.
            "intake_batch_events": 50,
            **kafka,
        }
        self.store = store
        self._serving: RoleProcess | None = None

    @property
    def calls(self) -> Calls:
        """Give the calls of the process that answers, as long as it does."""
        assert self._serving is not None
        if self._serving.calls is None:
            raise NobodyAnswers
        return self._serving.calls

    def settings(self, *parts: str) -> dict[str, Any]:
        """Give the settings of a process; `parts` are what `serve` does beside answering."""
        return {
            "serve": {"parts": list(parts)},
            "jobs": {"ledger_enabled": False, "reset_enabled": False},
            "kafka": self._kafka,
            **self.store,
        }

    def serve(self, *parts: str) -> RoleProcess:
        """Start what answers; its calls are those of the scenario."""
        self._serving = self.start("serve", *parts)
        return self._serving

    def start(self, role: str, *parts: str, failpoint: str = "", **settings: Any) -> RoleProcess:
        """Start a process; it ends with the scenario, and tells its log when that fails."""
        given = self.settings(*parts) | settings
        process = RoleProcess(role, given, self._folder, failpoint=failpoint)
        self._processes.append(process)
        return self._stack.enter_context(process)

    def logs(self) -> str:
        """Give the end of what each process that lives has said."""
        living = [process for process in self._processes if process.lives]
        return "\n".join(f"==== {each.name} said:\n{each.log[-4_000:]}" for each in living)

    def stream(self) -> Stream:
        """Open a way to send to the topic as it is now."""
        return self._stack.enter_context(Stream(self._servers, self.topic, self.truth))

    def status(self) -> queries_pb2.GetStatusResponse:
        """Ask how the ledger is."""
        return self.calls.queries.GetStatus(queries_pb2.GetStatusRequest())

    def received(self) -> int:
        """Count the events that were taken in so far; of the newest state that can be read."""
        return int(self.status().total.received)

    def breaches(self) -> list[str]:
        """Run `usage-ledger check --fold-log`, which makes every check."""
        laws = self.calls.queries.Check(queries_pb2.CheckRequest(fold_log=True)).laws
        return [f"{law.law}: {breach}" for law in laws for breach in law.breaches]

    def balances(self, payers: Sequence[str]) -> dict[str, int]:
        """Ask for the cents of payers."""
        found: dict[str, int] = {}
        for start in range(0, len(payers), BALANCES_MAX):
            request = queries_pb2.GetBalancesRequest(
                attribution_ids=payers[start : start + BALANCES_MAX]
            )
            for each in self.calls.queries.GetBalances(request).balances:
                found[each.attribution_id] = each.credit_cents
        return found

    def settled(self, *streams: Stream) -> None:
        """Wait until everything that was sent is taken in and folded."""
        for stream in streams:
            stream.flush()
        last = ""

        def is_settled() -> bool:
            nonlocal last
            time.sleep(LOOK_SECONDS)
            try:
                status = self.status()
            except NOT_NOW as error:
                last = str(error)
                return False
            last = f"{status.intake} {status.heads} {status.projections}"
            return _took_all(status, streams) and _folded_all(status)

        try:
            wait_until(is_settled, seconds=PATIENCE_SECONDS, what="all that was sent")
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}\n{self.logs()}") from None

    def assert_accounts(self, *streams: Stream, gone: Sequence[Stream] = ()) -> None:
        """Assert that every message is accounted for, and every number is right.

        Of topics that are gone the counts must still be what they were.
        """
        self.settled(*streams)
        status = self.status()
        told = {each.delivery: each for each in status.deliveries}
        for stream in streams:
            # Nothing is on the topic that the scenario did not send, and nothing is missing there.
            ends = {partition: end for partition, end in stream.ends().items() if end}
            assert dict(stream.messages) == ends
        for stream in (*streams, *gone):
            for partition in sorted(stream.messages):
                delivery = stream.delivery(partition)
                counts = told.pop(delivery)
                tally = Tally(counts.received, counts.recorded, counts.repeated, counts.rejected)
                assert tally.received == tally.recorded + tally.repeated + tally.rejected, delivery
                assert self.truth.counts(delivery) == tally, delivery
        assert {} == told, "counts of a partition that nobody sent to"
        expected = self.truth.balances()
        assert expected == self.balances(list(expected))
        assert status.total.recorded == sum(
            self.truth.counts(stream.delivery(partition)).recorded
            for stream in (*streams, *gone)
            for partition in stream.messages
        )
        assert [] == self.breaches()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def _took_all(status: queries_pb2.GetStatusResponse, streams: Iterable[Stream]) -> bool:
    stands: dict[tuple[str, str, int], int] = {}
    for row in status.intake:
        key = row.cluster, row.topic_id, row.partition
        stands[key] = min(stands.get(key, row.offset), row.offset)
    return all(
        stands.get((stream.cluster_id, stream.topic_id, partition)) == messages
        for stream in streams
        for partition, messages in stream.messages.items()
    )


def _folded_all(status: queries_pb2.GetStatusResponse) -> bool:
    heads = {head.shard: head.number for head in status.heads}
    return all(each.position.number == heads[each.position.shard] for each in status.projections)


def readiness(process: RoleProcess) -> tuple[int, str]:
    """Ask a process that answers HTTP whether it is ready: status and text."""
    found = re.search(r"answers HTTP at \S*?:(\d+)$", process.log, re.MULTILINE)
    assert found is not None, process.log
    answer = httpx.get(f"http://127.0.0.1:{found[1]}/readyz", timeout=60)
    return answer.status_code, answer.text


def holds_partitions(process: RoleProcess) -> str:
    """Give the partitions that an intake was given last, as it logged them."""
    found = _HAS_PARTITIONS.findall(process.log)
    return found[-1] if found else ""


class Flow:
    """Sends lines beside the test, some at a time, until it has sent all or is told to stop."""

    def __init__(
        self,
        stream: Stream,
        lines: Iterable[bytes],
        *,
        at_once: int = 50,
        pause: float = 0.05,
        packed: int = 1,
    ) -> None:
        """`with` starts it, and waits until it ends."""
        self._stream = stream
        self._lines = iter(lines)
        self._at_once = at_once
        self._pause = pause
        self._packed = packed
        self._enough = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="flow")
        self.sent = 0

    def _run(self) -> None:
        try:
            while not self._enough.is_set():
                some = list(islice(self._lines, self._at_once))
                if not some:
                    return
                self._stream.send(some, packed=self._packed)
                self.sent += len(some)
                self._enough.wait(self._pause)
        except Exception as error:  # noqa: BLE001  # told to the test by `stop` or at its end
            self._error = error

    def more(self, events: int) -> None:
        """Return when so many more events were sent."""
        wanted = self.sent + events
        wait_until(
            lambda: self.sent >= wanted or self._error or not self._thread.is_alive(),
            seconds=PATIENCE_SECONDS,
            what="more events",
        )

    @property
    def is_over(self) -> bool:
        """Tell whether everything was sent."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Send no more."""
        self._enough.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._enough.set()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error


def new_seed() -> int:
    """Choose a seed for a scenario; it is shown when the test fails."""
    seed = time.time_ns() % 10**6
    sys.stdout.write(f"seed {seed}\n")
    return seed


def eventually(holds: Callable[[], Any], what: str) -> None:
    """Wait with a patience that no slow machine exhausts."""

    def look() -> Any:
        try:
            return holds()
        except NOT_NOW:
            return False

    wait_until(look, seconds=PATIENCE_SECONDS, what=what)
