"""UsageService: translates and nothing else."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from facade.boundary import Calls, Context, author_of, unary
from facade.translate import fill, nanoseconds, text_of
from ledger.application import Ledger
from ledger.commands import Terms, check_credit_note
from ledger.commands.credit_notes import payer_of
from ledger.errors import InvalidArgumentError
from ledger.queries import (
    DESCRIPTION,
    PER_PAGE_DEFAULT,
    PER_PAGE_MAX,
    RANGE_MS_MAX,
    Listing,
    Queries,
    check_user,
    usage_metadata,
)
from ledger.views import OTHER, STRIPE, TIME_MIN, attribution_id, uuid_text
from usage.v1 import usage_pb2 as pb

_STRATEGIES = {
    STRIPE: pb.CostCenter.BILLING_STRATEGY_STRIPE,
    OTHER: pb.CostCenter.BILLING_STRATEGY_OTHER,
}
_NS = 1_000_000


class UsageServicer:
    """The seven calls."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger
        self._operator = ledger.operator
        self._interval = Duration(
            seconds=ledger.settings.ledger_interval // 1000,
            nanos=ledger.settings.ledger_interval % 1000 * _NS,
        )

    async def get_balance(
        self, request: pb.GetBalanceRequest, _context: Context
    ) -> pb.GetBalanceResponse:
        """Answer what a payer owes."""
        payer = payer_of(request.attribution_id)
        cents = await self._ledger.read(payer, lambda queries: queries.balance(payer))
        return pb.GetBalanceResponse(credits=cents / 100)

    async def get_cost_center(
        self, request: pb.GetCostCenterRequest, context: Context
    ) -> pb.GetCostCenterResponse:
        """Answer a cost center, opened on the first read."""
        payer = payer_of(request.attribution_id)
        terms = await self._ledger.cost_centers.get(payer, author_of(context, self._operator))
        return pb.GetCostCenterResponse(cost_center=cost_center(terms, request.attribution_id))

    async def set_cost_center(
        self, request: pb.SetCostCenterRequest, context: Context
    ) -> pb.SetCostCenterResponse:
        """Set limit and strategy; the request's times are read-only."""
        if not request.HasField("cost_center"):
            raise InvalidArgumentError("cost_center is missing")
        wanted = request.cost_center
        payer = payer_of(wanted.attribution_id, field="cost_center.attribution_id")
        if wanted.spending_limit < 0:
            raise InvalidArgumentError(
                f"cost_center.spending_limit {wanted.spending_limit}: must not be negative"
            )
        is_stripe = wanted.billing_strategy == pb.CostCenter.BILLING_STRATEGY_STRIPE
        terms = await self._ledger.cost_centers.set(
            payer,
            spending_limit=wanted.spending_limit,
            strategy=STRIPE if is_stripe else OTHER,
            author=author_of(context, self._operator),
        )
        return pb.SetCostCenterResponse(cost_center=cost_center(terms, wanted.attribution_id))

    async def reconcile_usage(
        self, request: pb.ReconcileUsageRequest, context: Context
    ) -> pb.ReconcileUsageResponse:
        """Accrue what runs to now."""
        start = nanoseconds(request, "from") or 0
        end = nanoseconds(request, "to") or 0
        if end < start:
            raise InvalidArgumentError(
                f"to {text_of(end)} lies before from {text_of(start)}: must be equal or later"
            )
        await self._ledger.reconcile_usage(
            start // _NS, end // _NS, author_of(context, self._operator)
        )
        return pb.ReconcileUsageResponse()

    async def reset_usage(
        self, _request: pb.ResetUsageRequest, context: Context
    ) -> pb.ResetUsageResponse:
        """Start new cycles where they are due."""
        await self._ledger.cost_centers.reset_due(author_of(context, self._operator))
        return pb.ResetUsageResponse()

    async def add_usage_credit_note(
        self, request: pb.AddUsageCreditNoteRequest, context: Context
    ) -> pb.AddUsageCreditNoteResponse:
        """Record a credit note."""
        key = None
        for name, value in context.invocation_metadata() or ():
            if name == "idempotency-key":
                key = value if isinstance(value, str) else value.decode("latin-1")
        note = check_credit_note(
            request.attribution_id, request.credits, request.description, request.user_id, key
        )
        await self._ledger.add_credit_note(note, author_of(context, self._operator))
        return pb.AddUsageCreditNoteResponse()

    async def list_usage(
        self, request: pb.ListUsageRequest, _context: Context
    ) -> pb.ListUsageResponse:
        """List usage entries with totals."""
        start, end = self._range(request)
        per_page, page = request.pagination.per_page, request.pagination.page
        if not 0 <= per_page <= PER_PAGE_MAX:
            raise InvalidArgumentError(
                f"pagination.per_page {per_page}: must be 0 to {PER_PAGE_MAX}"
            )
        if page < 0:
            raise InvalidArgumentError(f"pagination.page {page}: must not be negative")
        payer = payer_of(request.attribution_id)
        user = check_user(request.user_id)

        def ask(queries: Queries) -> Listing:
            return queries.list_usage(
                payer,
                user,
                start=start,
                end=end,
                ascending=request.order == pb.ListUsageRequest.ORDERING_ASCENDING,
                page=page or 1,
                per_page=per_page or PER_PAGE_DEFAULT,
            )

        listing = await self._ledger.read(payer, ask)
        response = pb.ListUsageResponse(
            credits_used=listing.cents / 100, ledger_interval=self._interval
        )
        add = response.usage_entries.add
        attribution = attribution_id(payer)
        for row in listing.rows:
            entry = add(
                id=uuid_text(row.entry_id),
                attribution_id=attribution,
                description=DESCRIPTION,
                credits=row.cents / 100,
                workspace_instance_id=uuid_text(row.instance),
                draft=bool(row.draft),
                metadata=usage_metadata(row),
            )
            fill(entry.effective_time, row.effective)
        pagination = response.pagination
        pagination.per_page = listing.per_page
        pagination.page = listing.page
        pagination.total = listing.total
        pagination.total_pages = listing.total_pages
        return response

    def _range(self, request: pb.ListUsageRequest) -> tuple[int, int]:
        """Check the range as sent, to the nanosecond, then cut it to milliseconds."""
        start, end = nanoseconds(request, "from"), nanoseconds(request, "to")
        if end is None:
            end = (self._ledger.clock.now_ns() // _NS + 1) * _NS
        if start is None:
            start = max(end - RANGE_MS_MAX * _NS, TIME_MIN * _NS)
        if start > end:
            raise InvalidArgumentError(
                f"from {text_of(start)} lies after to {text_of(end)}: must be equal or earlier"
            )
        if end - start > RANGE_MS_MAX * _NS:
            raise InvalidArgumentError(
                f"from {text_of(start)} to {text_of(end)} spans more than 300 days:"
                " ask for 300 days or less at a time"
            )
        return start // _NS, end // _NS


def cost_center(terms: Terms, spelling: str) -> pb.CostCenter:
    """Translate a cost center; it answers with the spelling asked."""
    answer = pb.CostCenter(
        attribution_id=spelling,
        spending_limit=terms.spending_limit,
        billing_strategy=_STRATEGIES[terms.strategy],
    )
    fill(answer.next_billing_time, terms.next_billing)
    fill(answer.billing_cycle_start, terms.cycle_start)
    return answer


def handler(ledger: Ledger) -> Calls:
    """Give the service's calls."""
    servicer = UsageServicer(ledger)
    return Calls(
        "usage.v1.UsageService",
        {
            "GetCostCenter": unary(pb.GetCostCenterRequest, servicer.get_cost_center),
            "SetCostCenter": unary(pb.SetCostCenterRequest, servicer.set_cost_center),
            "ReconcileUsage": unary(
                pb.ReconcileUsageRequest, servicer.reconcile_usage, patient=True
            ),
            "ResetUsage": unary(pb.ResetUsageRequest, servicer.reset_usage),
            "ListUsage": unary(pb.ListUsageRequest, servicer.list_usage),
            "GetBalance": unary(pb.GetBalanceRequest, servicer.get_balance),
            "AddUsageCreditNote": unary(
                pb.AddUsageCreditNoteRequest, servicer.add_usage_credit_note
            ),
        },
    )
