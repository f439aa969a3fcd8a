"""Two clocks of AuditService: answers as of a time, as known at another, and what lies between."""

from __future__ import annotations

from collections.abc import Mapping

from facade import answers
from facade.audit.moments import (
    answered,
    difference,
    difference_page,
    moment_of,
    usage_range,
)
from facade.boundary import Call, Context, unary
from facade.queries import page_size, read_cursor, write_cursor
from ledger.application import Ledger
from ledger.audit import clocks
from ledger.audit.clocks import At, Moment
from ledger.audit.cuts import KnownAt
from ledger.audit.differences import write_place
from ledger.audit.listing import Usage
from ledger.commands.credit_notes import payer_of
from ledger.queries import check_user
from usage_ledger.v1 import audit_clocks_pb2 as pb

_LISTING_PLACE_BYTES = 8 + 8 + 16  # cut, date, entry


class ClocksServicer:
    """The five calls; none of them ever writes."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    async def get_balance_at(
        self, request: pb.GetBalanceAtRequest, _context: Context
    ) -> pb.GetBalanceAtResponse:
        """Answer a balance."""
        payer, moment = payer_of(request.attribution_id), moment_of(request.moment)
        cents, of = await clocks.ask(self._ledger, payer, moment, At.balance)
        return pb.GetBalanceAtResponse(moment=answered(of), credit_cents=cents)

    async def get_cost_center_at(
        self, request: pb.GetCostCenterAtRequest, _context: Context
    ) -> pb.GetCostCenterAtResponse:
        """Answer a cost center's terms."""
        payer, moment = payer_of(request.attribution_id), moment_of(request.moment)
        row, of = await clocks.ask(self._ledger, payer, moment, At.cost_center)
        response = pb.GetCostCenterAtResponse(moment=answered(of))
        if row is not None:
            response.cost_center.CopyFrom(answers.details_of(row))
            response.cycle_number = row.cycle_number
        return response

    async def get_invoice_draft_at(
        self, request: pb.GetInvoiceDraftAtRequest, _context: Context
    ) -> pb.GetInvoiceDraftAtResponse:
        """Answer the cycle that was open."""
        payer, moment = payer_of(request.attribution_id), moment_of(request.moment)
        draft, of = await clocks.ask(self._ledger, payer, moment, At.draft)
        return pb.GetInvoiceDraftAtResponse(
            moment=answered(of), invoice_draft=answers.draft(payer, draft)
        )

    async def list_usage_at(
        self, request: pb.ListUsageAtRequest, _context: Context
    ) -> pb.ListUsageAtResponse:
        """List a page of usage."""
        moment = moment_of(request.moment)
        asked = usage_range(request, moment)
        size = page_size(request.page_size)
        payer, user = payer_of(request.attribution_id), check_user(request.user_id)
        raw = read_cursor(request.cursor, _LISTING_PLACE_BYTES)
        key: tuple[int, bytes] | None = None
        if raw is not None:
            moment = at_position(moment, int.from_bytes(raw[:8]))
            key = int.from_bytes(raw[8:16], signed=True), raw[16:]

        def list_page(at: At) -> Usage:
            start, end = asked.of(at.cut.recorded_at)
            return at.usage(
                user=user,
                start=start,
                end=end,
                key=key,
                ascending=request.ascending,
                limit=size + 1,
            )

        usage, of = await clocks.ask(self._ledger, payer, moment, list_page)
        response = pb.ListUsageAtResponse(
            moment=answered(of),
            entries=[answers.entry(payer, row) for row in usage.rows[:size]],
            total=usage.total,
            credit_cents=usage.cents,
        )
        if len(usage.rows) > size:
            last = usage.rows[size - 1]
            place = of.cut.position.to_bytes(8) + last.effective.to_bytes(8, signed=True)
            response.next_cursor = write_cursor(place + last.entry_id)
        return response

    async def compare_moments(
        self, request: pb.CompareMomentsRequest, _context: Context
    ) -> pb.CompareMomentsResponse:
        """Give a page of what lies between two balances."""
        payer = payer_of(request.attribution_id)
        moments = moment_of(request.first, "first."), moment_of(request.second, "second.")
        size = page_size(request.page_size)
        page = difference_page(request.cursor)
        if page is not None:
            first, second = map(at_position, moments, page.positions)
            moments = first, second
        found = await clocks.compare(
            self._ledger, payer, moments, after=None if page is None else page.place, limit=size
        )
        first_of, second_of = found.answers
        return pb.CompareMomentsResponse(
            first=answered(first_of),
            second=answered(second_of),
            first_balance_cents=found.balances[0],
            second_balance_cents=found.balances[1],
            differences=[difference(each, first_of.shard) for each in found.page.differences],
            next_cursor=""
            if found.page.place is None
            else write_cursor(
                write_place(found.page.place, (first_of.cut.position, second_of.cut.position))
            ),
        )


def at_position(moment: Moment, position: int) -> Moment:
    """Let a later page be of the cut that the first one was of."""
    return moment._replace(known_at=KnownAt(position=position))


def methods(ledger: Ledger) -> Mapping[str, Call]:
    """Give this part's calls."""
    servicer = ClocksServicer(ledger)
    return {
        "GetBalanceAt": unary(pb.GetBalanceAtRequest, servicer.get_balance_at),
        "ListUsageAt": unary(pb.ListUsageAtRequest, servicer.list_usage_at),
        "GetCostCenterAt": unary(pb.GetCostCenterAtRequest, servicer.get_cost_center_at),
        "GetInvoiceDraftAt": unary(pb.GetInvoiceDraftAtRequest, servicer.get_invoice_draft_at),
        "CompareMoments": unary(pb.CompareMomentsRequest, servicer.compare_moments),
    }
