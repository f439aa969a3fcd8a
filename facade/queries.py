"""QueryService: what the usage API does not answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

import grpc

from facade import answers
from facade.boundary import Context, answering, unary
from facade.translate import timestamp
from ledger.application import Ledger
from ledger.commands.credit_notes import payer_of
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.replay import compare_with_log
from ledger.views import (
    StatusRows,
    attribution_id,
    uuid_text,
)
from usage_ledger.v1 import publishing_pb2
from usage_ledger.v1 import queries_pb2 as pb

PAYERS_MAX = 10_000  # in one GetBalances
PAGE_DEFAULT, PAGE_MAX = 50, 1_000
TAIL_BATCH = 500  # events in one answer of TailLog
STOP_WAITS_MS = 3_600_000  # a stop without a start is suspect after this
_INT64_MAX = 2**63 - 1


def page_size(asked: int) -> int:
    """Check a page size."""
    if not 0 <= asked <= PAGE_MAX:
        raise InvalidArgumentError(f"page_size {asked}: must be 0 to {PAGE_MAX}")
    return asked or PAGE_DEFAULT


def read_cursor(cursor: str, length: int) -> bytes | None:
    """Read a cursor of ours; None for the first page."""
    if not cursor:
        return None
    try:
        key = base64.urlsafe_b64decode(cursor.encode("ascii"))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != length:
        raise InvalidArgumentError(f"cursor {cursor[:80]!r}: use next_cursor of the page before")
    return key


def write_cursor(key: bytes) -> str:
    """Write a cursor."""
    return base64.urlsafe_b64encode(key).decode("ascii")


class QueryServicer:
    """Reads; no call here ever writes."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger
        self._queries = ledger.queries

    async def get_balances(
        self, request: pb.GetBalancesRequest, _context: Context
    ) -> pb.GetBalancesResponse:
        """Answer many balances."""
        if len(request.attribution_ids) > PAYERS_MAX:
            raise InvalidArgumentError(
                f"{len(request.attribution_ids)} attribution_ids: at most {PAYERS_MAX} in one call"
            )
        payers = [payer_of(text) for text in request.attribution_ids]
        self._queries.refuse_if_paused("balances")
        found = self._queries.reader.balances(payers)
        return pb.GetBalancesResponse(
            balances=[
                pb.Balance(attribution_id=text, credit_cents=found.get(payer, 0))
                for text, payer in zip(request.attribution_ids, payers, strict=True)
            ]
        )

    async def list_cost_centers(
        self, request: pb.ListCostCentersRequest, _context: Context
    ) -> pb.ListCostCentersResponse:
        """List cost centers by attribution ID."""
        size = page_size(request.page_size)
        after = read_cursor(request.cursor, 16) or b""
        self._queries.refuse_if_paused("cost-centers", "balances")
        rows = self._queries.reader.cost_centers(after=after, limit=size + 1)
        return pb.ListCostCentersResponse(
            cost_centers=[
                pb.CostCenterDetails(
                    cost_center=answers.details_of(row),
                    cycle_number=row.cycle_number,
                    balance_cents=balance,
                )
                for row, balance in rows[:size]
            ],
            next_cursor=write_cursor(rows[size - 1][0].payer) if len(rows) > size else "",
        )

    async def get_invoice_draft(
        self, request: pb.GetInvoiceDraftRequest, _context: Context
    ) -> pb.GetInvoiceDraftResponse:
        """Answer a payer's open cycle."""
        payer = payer_of(request.attribution_id)
        self._queries.refuse_if_paused("invoice-drafts", "instances", "balances", "cost-centers")
        return pb.GetInvoiceDraftResponse(
            invoice_draft=answers.draft(payer, self._queries.draft(payer))
        )

    async def list_entries(
        self, request: pb.ListEntriesRequest, _context: Context
    ) -> pb.ListEntriesResponse:
        """List entries of every kind."""
        payer = payer_of(request.attribution_id)
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, 24)
        key = None if raw is None else (int.from_bytes(raw[:8], signed=True), raw[8:])
        self._queries.refuse_if_paused("instances")
        rows = self._queries.entries(payer, key=key, ascending=request.ascending, limit=size + 1)
        response = pb.ListEntriesResponse(
            entries=[answers.entry(payer, row) for row in rows[:size]]
        )
        if len(rows) > size:
            last = rows[size - 1]
            response.next_cursor = write_cursor(
                last.effective.to_bytes(8, signed=True) + last.entry_id
            )
        return response

    async def get_instance(
        self, request: pb.GetInstanceRequest, _context: Context
    ) -> pb.GetInstanceResponse:
        """Open one workspace instance."""
        self._queries.refuse_if_paused("instances", "invoice-drafts")
        return answers.instance(self._queries, request.workspace_instance_id)

    async def list_suspect_instances(
        self, request: pb.ListSuspectInstancesRequest, _context: Context
    ) -> pb.ListSuspectInstancesResponse:
        """List instances that run long, and stops without a start."""
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, 32) or bytes(32)
        runs_since, stopped_since = self._since()
        rows = self._queries.reader.suspects(
            runs_since=runs_since,
            stopped_since=stopped_since,
            after=(raw[:16], raw[16:]),
            limit=size + 1,
        )
        kinds = pb.SuspectInstance
        return pb.ListSuspectInstancesResponse(
            instances=[
                pb.SuspectInstance(
                    workspace_instance_id=uuid_text(row.instance),
                    attribution_id=attribution_id(row.payer),
                    reason=kinds.REASON_RUNS_LONG
                    if row.runs_long
                    else kinds.REASON_STOP_WITHOUT_START,
                    since=timestamp(row.since),
                )
                for row in rows[:size]
            ],
            next_cursor=write_cursor(rows[size - 1].payer + rows[size - 1].entry_id)
            if len(rows) > size
            else "",
        )

    def _since(self) -> tuple[int, int]:
        now = self._queries.now()
        return now - self._ledger.settings.max_expected_runtime, now - STOP_WAITS_MS

    async def list_dead_letters(
        self, request: pb.ListDeadLettersRequest, _context: Context
    ) -> pb.ListDeadLettersResponse:
        """List dead letters, newest first."""
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, 8)
        before = _INT64_MAX if raw is None else min(int.from_bytes(raw), _INT64_MAX)
        rows = self._queries.reader.dead_letters(before=before, limit=size + 1)
        return pb.ListDeadLettersResponse(
            dead_letters=[answers.dead_letter(letter, name) for letter, name in rows[:size]],
            next_cursor=write_cursor(rows[size - 1][0].id.to_bytes(8)) if len(rows) > size else "",
        )

    async def get_dead_letter(
        self, request: pb.GetDeadLetterRequest, _context: Context
    ) -> pb.GetDeadLetterResponse:
        """Answer one dead letter with its bytes."""
        found = self._queries.reader.dead_letter(request.id)
        if found is None:
            raise NotFoundError(f"dead letter {request.id} is not kept: retried, or never there")
        return answers.dead_letter_with_bytes(*found)

    async def tail_log(
        self, request: pb.TailLogRequest, _context: Context
    ) -> AsyncIterator[pb.TailLogResponse]:
        """Give recorded events in order; wait for more if asked to."""
        if request.from_position < 0 or request.last < 0 or request.limit < 0:
            raise InvalidArgumentError("from_position, last and limit must not be negative")
        reader = self._queries.reader
        after = request.from_position - 1
        if request.from_position == 0:
            after = max(self._ledger.core.head - request.last, 0)
        left = request.limit or _INT64_MAX
        appended = asyncio.Event()
        while left > 0:
            appended.clear()
            events = reader.log(after=after, limit=min(TAIL_BATCH, left))
            if events:
                after = events[-1].position
                left -= len(events)
                yield pb.TailLogResponse(events=[answers.log_event(event) for event in events])
            elif not request.follow:
                return
            else:
                # A short wait closes the gap between reading and beginning to listen.
                # Awaited right here: a task that is cancelled before it began leaves it behind.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await self._ledger.appended(appended)

    async def check(self, request: pb.CheckRequest, _context: Context) -> pb.CheckResponse:
        """Recompute the laws on a connection and a thread of its own."""
        results = await asyncio.to_thread(self._audit, request.fold_log)
        return pb.CheckResponse(
            laws=[
                pb.LawResult(law=law, checked=checked, breaches=breaches)
                for law, checked, breaches in results
            ]
        )

    def _status_rows(self, runs_since: int, stopped_since: int) -> StatusRows:
        """Count on a connection and a thread of its own: some counts read whole indexes."""
        queries = self._ledger.new_queries()
        try:
            return queries.reader.status(runs_since=runs_since, stopped_since=stopped_since)
        finally:
            queries.reader.close()

    def _audit(self, fold_log: bool) -> list[tuple[str, int, list[str]]]:  # noqa: FBT001
        queries = self._ledger.new_queries()
        try:
            laws = list(queries.reader.audit())
            if fold_log:
                laws += compare_with_log(queries.reader)
            return laws
        finally:
            queries.reader.close()

    async def get_status(
        self, _request: pb.GetStatusRequest, _context: Context
    ) -> pb.GetStatusResponse:
        """Tell how the ledger is."""
        ledger, now = self._ledger, self._queries.now()
        rows = await asyncio.to_thread(self._status_rows, *self._since())
        newest_prices = ledger.core.prices.newest
        interval = ledger.settings.ledger_interval
        ran = {job.name: job for job in rows.jobs}
        response = pb.GetStatusResponse(
            version=version("usage-ledger"),
            head=publishing_pb2.Position(number=rows.head),
            newest_recorded=timestamp(rows.clock.newest_recorded if rows.head else None),
            projections=[
                pb.ProjectionStatus(
                    name=p.name,
                    version=p.version,
                    position=publishing_pb2.Position(number=p.position),
                    paused=f"at {p.pause.position}: {p.pause.reason}" if p.pause else "",
                )
                for p in rows.projections
            ],
            total=answers.counts("", rows.total),
            deliveries=[answers.counts(name, counts) for name, counts in rows.deliveries],
            dead_letters=rows.dead_letters,
            cost_centers=rows.cost_centers,
            running_instances=rows.running,
            ended_instances=rows.entries,
            accrued_to=timestamp(rows.accrual.instant if rows.accrual.position else None),
            runs_long=rows.runs_long,
            stops_without_start=rows.stops_without_start,
            price_revision=newest_prices.revision if newest_prices else 0,
            resets_held=self._queries.resets_held(now),
            writes_refused=ledger.writer.refused,
            ledger_interval=answers.duration(interval),
        )
        for job in self._ledger.jobs:
            last = ran.get(job.name)
            response.jobs.append(
                pb.JobStatus(
                    name=job.name,
                    enabled=job.enabled,
                    every=answers.duration(job.every_ms),
                    last_started=timestamp(last.last_started if last else None),
                    last_finished=timestamp(last.last_finished if last else None),
                    last_error=last.last_error if last else "",
                    next=timestamp(job.next_ms if job.enabled else None),
                )
            )
        return response


def handler(servicer: QueryServicer) -> grpc.GenericRpcHandler:
    """Give the service's calls."""
    return grpc.method_handlers_generic_handler(
        "usage_ledger.v1.QueryService",
        {
            "GetBalances": unary(pb.GetBalancesRequest, servicer.get_balances),
            "ListCostCenters": unary(pb.ListCostCentersRequest, servicer.list_cost_centers),
            "GetInvoiceDraft": unary(pb.GetInvoiceDraftRequest, servicer.get_invoice_draft),
            "ListEntries": unary(pb.ListEntriesRequest, servicer.list_entries),
            "GetInstance": unary(pb.GetInstanceRequest, servicer.get_instance),
            "ListSuspectInstances": unary(
                pb.ListSuspectInstancesRequest, servicer.list_suspect_instances
            ),
            "ListDeadLetters": unary(pb.ListDeadLettersRequest, servicer.list_dead_letters),
            "GetDeadLetter": unary(pb.GetDeadLetterRequest, servicer.get_dead_letter),
            "GetStatus": unary(pb.GetStatusRequest, servicer.get_status),
            "TailLog": answering(pb.TailLogRequest, servicer.tail_log),
            "Check": unary(pb.CheckRequest, servicer.check),
        },
    )
