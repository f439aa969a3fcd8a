"""QueryService: what the usage API does not answer."""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import AsyncIterator, Sequence
from functools import partial

from facade import answers
from facade.boundary import Calls, Context, answering, unary
from facade.status import status
from facade.translate import timestamp
from ledger import inspection
from ledger.application import Ledger
from ledger.audit.status import trees
from ledger.commands.credit_notes import payer_of
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.invoicing.overview import billed_draft
from ledger.queries import Queries
from ledger.shards import Shard
from ledger.views import (
    CostCenterRow,
    OtherRow,
    SuspectRow,
    UsageRow,
    attribution_id,
    uuid_text,
)
from usage_ledger.v1 import queries_pb2 as pb

PAYERS_MAX = 10_000  # in one GetBalances
PAGE_DEFAULT, PAGE_MAX = 50, 1_000
TAIL_BATCH = 500  # events in one answer of TailLog
FOLLOW_SECONDS = 1.0  # how long a follower listens before it looks again
STOP_WAITS_MS = 3_600_000  # a stop without a start is suspect after this
_INT64_MAX = 2**63 - 1


def page_size(asked: int) -> int:
    """Check a page size."""
    if not 0 <= asked <= PAGE_MAX:
        raise InvalidArgumentError(f"page_size {asked}: must be 0 to {PAGE_MAX}")
    return asked or PAGE_DEFAULT


def read_cursor(cursor: str, length: int | None) -> bytes | None:
    """Read a cursor of ours, of any length where that is None; None for the first page."""
    if not cursor:
        return None
    try:
        key = base64.urlsafe_b64decode(cursor.encode("ascii"))
    except (binascii.Error, ValueError):
        key = b""
    if not key or (length is not None and len(key) != length):
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

    async def get_balances(
        self, request: pb.GetBalancesRequest, _context: Context
    ) -> pb.GetBalancesResponse:
        """Answer many balances."""
        if len(request.attribution_ids) > PAYERS_MAX:
            raise InvalidArgumentError(
                f"{len(request.attribution_ids)} attribution_ids: at most {PAYERS_MAX} in one call"
            )
        payers = [payer_of(text) for text in request.attribution_ids]
        found: dict[bytes, int] = {}
        for number, here in (await self._ledger.placing.find_all(payers)).items():
            found |= await self._ledger.shards[number].read(partial(_balances, payers=here))
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
        found = await self._ledger.read_all(partial(_cost_centers, after=after, limit=size + 1))
        rows = list(heapq.merge(*found, key=lambda row: row[0].payer))
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
        draft, billed = await self._ledger.read(
            payer, lambda queries: (queries.draft(payer), billed_draft(queries, payer))
        )
        response = pb.GetInvoiceDraftResponse(invoice_draft=answers.draft(payer, draft))
        if billed is not None:
            response.billed.CopyFrom(answers.billed(billed))
        return response

    async def list_entries(
        self, request: pb.ListEntriesRequest, _context: Context
    ) -> pb.ListEntriesResponse:
        """List entries of every kind."""
        payer = payer_of(request.attribution_id)
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, 24)
        key = None if raw is None else (int.from_bytes(raw[:8], signed=True), raw[8:])

        def ask(queries: Queries) -> list[UsageRow | OtherRow]:
            return queries.entries(payer, key=key, ascending=request.ascending, limit=size + 1)

        rows = await self._ledger.read(payer, ask)
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
        payer = payer_of(request.attribution_id) if request.attribution_id else None
        shard = await self._ledger.placing.of_instance(request.workspace_instance_id, payer)
        return await shard.read(
            partial(_instance, instance_id=request.workspace_instance_id, shard=shard.number)
        )

    async def list_suspect_instances(
        self, request: pb.ListSuspectInstancesRequest, _context: Context
    ) -> pb.ListSuspectInstancesResponse:
        """List instances that run long, and stops without a start."""
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, 32) or bytes(32)
        runs_since, stopped_since = self._since()

        def ask(queries: Queries) -> list[SuspectRow]:
            return queries.reader.suspects(
                runs_since=runs_since,
                stopped_since=stopped_since,
                after=(raw[:16], raw[16:]),
                limit=size + 1,
            )

        found = await self._ledger.read_all(ask)
        rows = list(heapq.merge(*found, key=lambda row: (row.payer, row.entry_id)))
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
        now = self._ledger.now()
        return now - self._ledger.settings.max_expected_runtime, now - STOP_WAITS_MS

    async def list_dead_letters(
        self, request: pb.ListDeadLettersRequest, _context: Context
    ) -> pb.ListDeadLettersResponse:
        """List dead letters, newest first."""
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, 8)
        before = _INT64_MAX if raw is None else min(int.from_bytes(raw), _INT64_MAX)
        rows = await self._ledger.dead_letters.page(before=before, limit=size + 1)
        return pb.ListDeadLettersResponse(
            dead_letters=[answers.dead_letter(letter, name) for letter, name in rows[:size]],
            next_cursor=write_cursor(rows[size - 1][0].id.to_bytes(8)) if len(rows) > size else "",
        )

    async def get_dead_letter(
        self, request: pb.GetDeadLetterRequest, _context: Context
    ) -> pb.GetDeadLetterResponse:
        """Answer one dead letter with its bytes."""
        found = await self._ledger.dead_letters.find(request.id)
        if found is None:
            raise NotFoundError(f"dead letter {request.id} is not kept: retried, or never there")
        return answers.dead_letter_with_bytes(*found)

    async def tail_log(
        self, request: pb.TailLogRequest, _context: Context
    ) -> AsyncIterator[pb.TailLogResponse]:
        """Give recorded events in order; wait for more if asked to."""
        if request.from_position < 0 or request.last < 0 or request.limit < 0:
            raise InvalidArgumentError("from_position, last and limit must not be negative")
        shard = self._shard(request.shard)
        after = request.from_position - 1
        if request.from_position == 0:
            after = max(shard.head - request.last, 0)
        left = request.limit or _INT64_MAX
        while left > 0:
            events = await shard.read(
                partial(_log, after=after, limit=min(TAIL_BATCH, left), shard=shard.number)
            )
            if events:
                after = events[-1].position.number
                left -= len(events)
                yield pb.TailLogResponse(events=events)
            elif not request.follow:
                return
            else:
                await shard.appended(after, FOLLOW_SECONDS)

    def _shard(self, number: int) -> Shard:
        if number >= len(self._ledger.shards):
            raise InvalidArgumentError(
                f"shard {number}: there are {len(self._ledger.shards)}, numbered from 0"
            )
        return self._ledger.shards[number]

    async def check(self, request: pb.CheckRequest, _context: Context) -> pb.CheckResponse:
        """Recompute the laws on connections and threads of their own."""
        results = await inspection.check(self._ledger.shards, fold_log=request.fold_log)
        return pb.CheckResponse(
            laws=[
                pb.LawResult(law=law, checked=checked, breaches=breaches)
                for law, checked, breaches in results
            ]
        )

    async def get_status(
        self, _request: pb.GetStatusRequest, _context: Context
    ) -> pb.GetStatusResponse:
        """Tell how the ledger is."""
        runs_since, stopped_since = self._since()
        rows = await inspection.status(
            self._ledger.shards, runs_since=runs_since, stopped_since=stopped_since
        )
        return status(self._ledger, rows, await trees(self._ledger.shards))


def _balances(queries: Queries, payers: Sequence[bytes]) -> dict[bytes, int]:
    queries.refuse_if_paused("balances")
    return queries.reader.balances(payers)


def _cost_centers(queries: Queries, after: bytes, limit: int) -> list[tuple[CostCenterRow, int]]:
    queries.refuse_if_paused("cost-centers", "balances")
    return queries.reader.cost_centers(after=after, limit=limit)


def _instance(queries: Queries, instance_id: str, shard: int) -> pb.GetInstanceResponse:
    queries.refuse_if_paused("instances", "invoice-drafts")
    return answers.instance(queries, instance_id, shard)


def _log(queries: Queries, after: int, limit: int, shard: int) -> list[pb.LogEvent]:
    return answers.log_events(queries, queries.reader.log(after=after, limit=limit), shard)


def handler(servicer: QueryServicer) -> Calls:
    """Give the service's calls."""
    return Calls(
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
