"""A real service (writer, SQLite, gRPC on loopback) in this process, under a test's clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from billing.gateway import Gateway
from facade.server import Service
from jobs import Scheduler
from ledger.application import Ledger
from ledger.audit.following import TreeTail
from ledger.clock import Clock
from ledger.directory import Directory
from ledger.live_folding import live_tail
from ledger.probes import TailProbe
from ledger.settings import Settings, load_settings
from persistence.sqlite import SQLiteStore
from tests.harness.backends import chosen
from tests.harness.clock import ManualClock
from usage.v1 import billing_pb2_grpc, usage_pb2, usage_pb2_grpc
from usage_ledger.v1 import (
    admin_pb2_grpc,
    audit_pb2_grpc,
    publishing_pb2,
    publishing_pb2_grpc,
    queries_pb2,
    queries_pb2_grpc,
)
from usage_ledger.v1.billing_pb2_grpc import BillingStatusServiceStub

START_SECONDS_MAX = 30


def settings_for(data_dir: Path | None, **overrides: Any) -> Settings:
    """Give settings for a test.

    A free port, jobs off unless asked for; no folder means in memory. What the test's backend
    needs is set unless the test sets it.
    """
    jobs = {"ledger_enabled": False, "reset_enabled": False}
    given: dict[str, Any] = {"listen": "127.0.0.1:0", "jobs": jobs}
    given |= chosen().settings(data_dir) | overrides
    if data_dir is None:
        return load_settings(None, **({"store": "memory"} | given))
    return load_settings(None, data_dir=data_dir, **given)


def health_stub(channel: grpc.Channel) -> Any:
    """Give the health service's calls; the library's type stubs leave them out."""
    return health_pb2_grpc.HealthStub(channel)


def reflection_stub(channel: grpc.Channel) -> Any:
    """Give the reflection service's calls; the library's type stubs leave them out."""
    return reflection_pb2_grpc.ServerReflectionStub(channel)


class Calls:
    """Stubs of every service on one channel, and the calls that tests make most."""

    def __init__(self, target: str, channel: grpc.Channel | None = None) -> None:
        """Connect, in plaintext unless a channel is given."""
        self.channel = channel or grpc.insecure_channel(target)
        self.usage = usage_pb2_grpc.UsageServiceStub(self.channel)
        self.billing = billing_pb2_grpc.BillingServiceStub(self.channel)
        self.billing_status = BillingStatusServiceStub(self.channel)
        self.publishing = publishing_pb2_grpc.PublishingServiceStub(self.channel)
        self.queries = queries_pb2_grpc.QueryServiceStub(self.channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.audit = audit_pb2_grpc.AuditServiceStub(self.channel)

    def publish(
        self, lines: Iterable[bytes], *, delivery: str = "", block_lines: int = 500
    ) -> publishing_pb2.Receipt:
        """Publish lines in blocks and add the receipts up."""
        total = publishing_pb2.Receipt()
        for response in self.publishing.Publish(requests_of(list(lines), delivery, block_lines)):
            receipt = response.receipt
            total.received += receipt.received
            total.recorded += receipt.recorded
            total.repeated += receipt.repeated
            total.rejected += receipt.rejected
            total.rejects.extend(receipt.rejects)
            total.position.CopyFrom(receipt.position)
        return total

    def reconcile(self) -> None:
        """Accrue what runs to now."""
        self.usage.ReconcileUsage(usage_pb2.ReconcileUsageRequest())

    def balance_cents(self, attribution_id: str) -> int:
        """Give a balance in cents, as GetBalance answers it."""
        answer = self.usage.GetBalance(usage_pb2.GetBalanceRequest(attribution_id=attribution_id))
        return round(answer.credits * 100)

    def draft(self, attribution_id: str) -> queries_pb2.InvoiceDraft:
        """Give a payer's invoice draft."""
        request = queries_pb2.GetInvoiceDraftRequest(attribution_id=attribution_id)
        return self.queries.GetInvoiceDraft(request).invoice_draft

    def entries(self, attribution_id: str) -> list[queries_pb2.Entry]:
        """Give all entries of a payer, page by page."""
        found: list[queries_pb2.Entry] = []
        cursor = ""
        while True:
            page = self.queries.ListEntries(
                queries_pb2.ListEntriesRequest(
                    attribution_id=attribution_id, cursor=cursor, page_size=7
                )
            )
            found += page.entries
            cursor = page.next_cursor
            if not cursor:
                return found

    def breaches(self) -> list[str]:
        """Run the ledger's own check; give every breach."""
        laws = self.queries.Check(queries_pb2.CheckRequest()).laws
        return [f"{law.law}: {breach}" for law in laws for breach in law.breaches]

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


def requests_of(
    lines: Sequence[bytes], delivery: str, block_lines: int
) -> Iterator[publishing_pb2.PublishRequest]:
    """Give lines as the requests of a publishing call."""
    for start in range(0, len(lines), block_lines):
        block = b"".join(line.rstrip(b"\n") + b"\n" for line in lines[start : start + block_lines])
        yield publishing_pb2.PublishRequest(delivery=delivery, first_line=start + 1, lines=block)


class InProcessService:
    """Starts and stops a service.

    `with InProcessService(settings_for(tmp_path)) as service: service.calls.usage.GetBalance(…)`
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        directory: Directory | None = None,
        gateway: Gateway | None = None,
        before_fold: Callable[[str], None] | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
        live_views: bool = False,
        tree: bool = False,
    ) -> None:
        """Prepare; `before_fold` is called with a projection's name before it folds.

        With `live_views` the log is followed for meters and alerts, with `tree` its tree is kept.
        `gateway` leads to a Stripe.
        """
        self._tree = tree
        self.tree_tails: list[TreeTail] = []
        self._gateway = gateway
        self._failpoint = failpoint
        self._live_views = live_views
        self.settings = settings
        self.clock = clock or ManualClock()
        self._directory = directory
        self._before_fold = before_fold
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.ledger: Ledger
        self.scheduler: Scheduler
        self.calls: Calls

    def __enter__(self) -> Self:
        """Start; the jobs are planned but run only by `run_job`."""
        self._thread.start()
        self.ledger = Ledger(
            self.settings,
            clock=self.clock,
            directory=self._directory,
            gateway=self._gateway,
            before_fold=self._before_fold,
            failpoint=self._failpoint,
        )
        self.scheduler = Scheduler(self.ledger)
        tails = [live_tail(shard) for shard in self.ledger.shards] if self._live_views else []
        self.tree_tails = [TreeTail(shard) for shard in self.ledger.shards] if self._tree else []
        probes = [TailProbe(tail) for tail in self.tree_tails]
        for probe in probes:
            probe.is_needed = False
        self.service = Service(
            self.ledger, [tail.run for tail in (*tails, *self.tree_tails)], probes=probes
        )
        self.wait(self.service.start())
        self.wait(self.scheduler.plan())
        self.target = f"127.0.0.1:{self.service.port}"
        self.calls = Calls(self.target)
        return self

    def wait(self, coroutine: Any) -> Any:
        """Run a coroutine on the service's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_SECONDS_MAX)

    @property
    def sqlite(self) -> SQLiteStore:
        """Give the store of the first shard, for tests that look at the file or break it."""
        store = self.ledger.shards[0].store
        assert isinstance(store, SQLiteStore)
        return store

    def run_job(self, name: str) -> None:
        """Run a job by its name, as the scheduler would."""
        plan = next(plan for plan in self.scheduler.plans if plan.name == name)
        self.wait(self.scheduler.run_once(plan))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut down gracefully."""
        self.calls.close()
        self.wait(self.service.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
