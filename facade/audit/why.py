"""Explanations of AuditService: why a number is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from facade.audit.explanations import explanation
from facade.boundary import Call, Context, unary
from facade.queries import page_size
from facade.translate import must_be_stripe_id
from ledger.application import Ledger
from ledger.audit import why
from ledger.commands.credit_notes import payer_of
from ledger.errors import InvalidArgumentError, NotFoundError
from usage_ledger.v1 import audit_why_pb2 as pb


class WhyServicer:
    """The five calls. Each reads on a connection of its own: some look at many events."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    async def explain_balance(
        self, request: pb.ExplainBalanceRequest, _context: Context
    ) -> pb.ExplainBalanceResponse:
        """Open a balance."""
        payer, size = payer_of(request.attribution_id), page_size(request.page_size)
        shard = await self._ledger.placing.find(payer)
        found = await shard.read_long(partial(why.payer_balance, payer=payer, size=size))
        return pb.ExplainBalanceResponse(explanation=explanation(found, shard.number))

    async def explain_entry(
        self, request: pb.ExplainEntryRequest, _context: Context
    ) -> pb.ExplainEntryResponse:
        """Open an entry."""
        size = page_size(request.page_size)
        payer = payer_of(request.attribution_id) if request.attribution_id else None
        match request.WhichOneof("entry"):
            case "workspace_instance_id":
                instance = request.workspace_instance_id
                shard = await self._ledger.placing.of_instance(instance, payer)
                ask = partial(why.entry_of_instance, instance_id=instance)
            case "entry_id":
                if payer is None:
                    raise InvalidArgumentError(
                        "attribution_id is missing: an entry is found by its ID among one payer's"
                    )
                shard = await self._ledger.placing.find(payer)
                ask = partial(why.entry_of_payer, payer=payer, entry_id=request.entry_id, size=size)
            case _:
                raise InvalidArgumentError(
                    "entry is missing: give an entry_id or a workspace_instance_id"
                )
        found = await shard.read_long(ask)
        return pb.ExplainEntryResponse(explanation=explanation(found, shard.number))

    async def explain_draft_line(
        self, request: pb.ExplainDraftLineRequest, _context: Context
    ) -> pb.ExplainDraftLineResponse:
        """Open a line of a cycle."""
        payer, size = payer_of(request.attribution_id), page_size(request.page_size)
        if request.late_for < 0:
            raise InvalidArgumentError(
                f"late_for {request.late_for}: must be the number of a cycle, or missing"
            )
        shard = await self._ledger.placing.find(payer)
        ask = partial(
            why.draft_line,
            payer=payer,
            workspace_class=request.workspace_class,
            late_for=request.late_for if request.HasField("late_for") else None,
            cycle_number=request.cycle_number if request.HasField("cycle_number") else None,
            size=size,
        )
        found = await shard.read_long(ask)
        return pb.ExplainDraftLineResponse(explanation=explanation(found, shard.number))

    async def explain_invoice(
        self, request: pb.ExplainInvoiceRequest, _context: Context
    ) -> pb.ExplainInvoiceResponse:
        """Open a settled invoice of Stripe's."""
        invoice, size = request.invoice_id, page_size(request.page_size)
        must_be_stripe_id("invoice_id", invoice, "invoice_id is missing")
        for shard in self._ledger.shards:
            found = await shard.read_long(
                partial(why.settled_invoice, invoice_id=invoice, size=size)
            )
            if found is not None:
                return pb.ExplainInvoiceResponse(explanation=explanation(found, shard.number))
        raise NotFoundError(
            f"invoice {invoice}: it is not settled here; `usage-ledger billing reconcile` looks for"
            " it at Stripe, and an open one can only be explained by the lines of the draft"
        )

    async def explain_parts(
        self, request: pb.ExplainPartsRequest, _context: Context
    ) -> pb.ExplainPartsResponse:
        """Open parts that an explanation left closed."""
        size, cursor = page_size(request.page_size), why.read_cursor(request.cursor)
        shard = await self._ledger.placing.find(cursor.payer)
        found = await shard.read_long(partial(why.more_parts, cursor=cursor, size=size))
        return pb.ExplainPartsResponse(explanation=explanation(found, shard.number))


def methods(ledger: Ledger) -> Mapping[str, Call]:
    """Give this part's calls."""
    servicer = WhyServicer(ledger)
    return {
        "ExplainBalance": unary(pb.ExplainBalanceRequest, servicer.explain_balance),
        "ExplainEntry": unary(pb.ExplainEntryRequest, servicer.explain_entry),
        "ExplainDraftLine": unary(pb.ExplainDraftLineRequest, servicer.explain_draft_line),
        "ExplainInvoice": unary(pb.ExplainInvoiceRequest, servicer.explain_invoice),
        "ExplainParts": unary(pb.ExplainPartsRequest, servicer.explain_parts),
    }
