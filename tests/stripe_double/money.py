"""The money check: what was reported and what was invoiced, cycle by cycle, in whole credits."""

from __future__ import annotations

from dataclasses import dataclass

from tests.stripe_double.cycles import open_spans
from tests.stripe_double.records import ClosedCycle
from tests.stripe_double.usage import aggregate
from tests.stripe_double.world import World

# What is owed, or was; a draft is not yet, a void one was never.
OWED: frozenset[str] = frozenset({"open", "paid", "uncollectible"})


@dataclass(frozen=True, slots=True)
class CycleMoney:
    """One cycle of one subscription, [start, end) in seconds.

    `reported`: accepted events stamped in it, whether an invoice holds them or not.
    `invoiced`: the quantities of the metered lines of its invoice, 0 unless it is owed.
    """

    customer: str
    subscription: str
    cycle: int
    start: int
    end: int
    reported: int
    invoiced: int
    amount_cents: int
    invoice: str | None
    status: str | None
    discarded: bool


def cycles(world: World, customer: str | None = None) -> list[CycleMoney]:
    """Give all cycles with metered items, closed ones first; open ones have invoiced nothing."""
    closed = list(world.closed_cycles)
    for one in world.subscriptions.values():
        if one.ended_at is None:
            spans = open_spans(world, one)
            closed.append(ClosedCycle(one.id, one.customer, one.cycle, spans, None))
    return [_cycle(world, one) for one in closed if one.usage and customer in {None, one.customer}]


def _cycle(world: World, closed: ClosedCycle) -> CycleMoney:
    reported = 0
    for span in closed.usage:
        meter = world.meters[world.prices[span.price].meter or ""]
        bounds = (span.usage_start, span.usage_end)
        reported += aggregate(meter, world.usage.received(meter.id, closed.customer, *bounds))
    invoice = world.invoices[closed.invoice] if closed.invoice is not None else None
    lines = (invoice.lines or []) if invoice is not None and invoice.status in OWED else []
    metered = [line for line in lines if line.kind == "metered"]
    return CycleMoney(
        closed.customer,
        closed.subscription,
        closed.cycle,
        closed.usage[0].start,
        closed.usage[0].end,
        reported,
        sum(line.quantity for line in metered),
        sum(line.amount for line in metered),
        closed.invoice,
        invoice.status if invoice is not None else None,
        closed.discarded,
    )


def invoiced_credits(world: World, customer: str) -> int:
    """Sum what was invoiced to a customer."""
    return sum(one.invoiced for one in cycles(world, customer))
