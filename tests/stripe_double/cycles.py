"""How a subscription goes from cycle to cycle, and how it ends."""

from __future__ import annotations

from dataclasses import replace

from tests.stripe_double.invoice_lines import licensed_line
from tests.stripe_double.invoices import collect, open_draft, take_pending, void
from tests.stripe_double.records import ClosedCycle, Invoice, Line, Subscription, UsageSpan
from tests.stripe_double.subscriptions import (
    INCOMPLETE_SECONDS,
    cycle_end,
    set_status,
    tell_subscription,
)
from tests.stripe_double.usage import aggregate
from tests.stripe_double.world import World


def begin_subscription(world: World, subscription: Subscription) -> None:
    """Start the first cycle; what is billed in advance is charged at once."""
    advance = _licensed_lines(world, subscription)
    subscription.status = "incomplete" if sum(one.amount for one in advance) else "active"
    world.subscriptions[subscription.id] = subscription
    world.emit("customer.subscription.created", tell_subscription(world, subscription))
    _await_end(world, subscription)
    if not advance:
        return
    start = subscription.created
    invoice = open_draft(
        world,
        customer=subscription.customer,
        subscription=subscription.id,
        reason="subscription_create",
        period=(start, start),
        usage=(),
        fixed=advance,
        cycle=0,
        grace_seconds=0,
    )
    if invoice.status == "open" and not invoice.attempts:
        # Money is asked for here even where other invoices are left open.
        collect(world, invoice)
    if subscription.status == "incomplete":
        ends = world.now + INCOMPLETE_SECONDS
        world.clock.at(ends, lambda: _give_up(world, subscription, invoice))


def _licensed_lines(world: World, subscription: Subscription) -> list[Line]:
    return [
        licensed_line(world, subscription, item)
        for item in subscription.items
        if item.quantity is not None
    ]


def _give_up(world: World, subscription: Subscription, invoice: Invoice) -> None:
    if subscription.status != "incomplete":
        return
    subscription.ended_at = world.now
    set_status(world, subscription, "incomplete_expired")
    if invoice.status == "open":
        void(world, invoice)


def _await_end(world: World, subscription: Subscription) -> None:
    cycle = subscription.cycle
    end = subscription.items[0].period_end

    def act() -> None:
        is_open = subscription.ended_at is None and subscription.cycle == cycle
        if is_open and subscription.items[0].period_end == end:
            _end_cycle(world, subscription)

    world.clock.at(end, act)


def open_spans(
    world: World, subscription: Subscription, end: int | None = None
) -> tuple[UsageSpan, ...]:
    """Give the open cycle's metered spans: to its end, or to a second that counts, too."""
    return tuple(
        UsageSpan(
            subscription.id,
            item.id,
            item.price,
            item.period_start,
            item.period_end if end is None else end,
            item.usage_start,
            item.period_end if end is None else end + 1,
        )
        for item in subscription.items
        if world.prices[item.price].meter is not None
    )


def _has_usage(world: World, customer: str, spans: tuple[UsageSpan, ...]) -> bool:
    """Tell whether anything would be billed, by what was received, aggregated yet or not."""
    for span in spans:
        meter = world.meters[world.prices[span.price].meter or ""]
        events = world.usage.received(meter.id, customer, span.usage_start, span.usage_end)
        if aggregate(meter, events) > 0:
            return True
    return False


def _bill(
    world: World, subscription: Subscription, spans: tuple[UsageSpan, ...], fixed: list[Line]
) -> None:
    """Make the draft of a cycle; in flexible mode an empty one is not made."""
    customer = subscription.customer
    fixed = fixed + take_pending(world, customer, subscription.id, subscription.currency)
    invoice = None
    if fixed or _has_usage(world, customer, spans):
        invoice = _draft(world, subscription, spans, fixed).id
    cycle = subscription.cycle
    world.closed_cycles.append(ClosedCycle(subscription.id, customer, cycle, spans, invoice))


def _draft(
    world: World, subscription: Subscription, spans: tuple[UsageSpan, ...], fixed: list[Line]
) -> Invoice:
    ended = subscription.ended_at is not None
    settings = world.settings
    grace = settings.grace_seconds
    if ended and settings.final_grace_seconds is not None:
        grace = settings.final_grace_seconds
    span = spans[0] if spans else None
    start = span.start if span else subscription.items[0].period_start
    return open_draft(
        world,
        customer=subscription.customer,
        subscription=subscription.id,
        reason="subscription_update" if ended else "subscription_cycle",
        period=(start, span.end if span else world.now),
        usage=spans,
        fixed=fixed,
        cycle=subscription.cycle,
        grace_seconds=grace,
    )


def _end_cycle(world: World, subscription: Subscription) -> None:
    spans = open_spans(world, subscription)
    if subscription.cancel_at_period_end:
        _set_ended(world, subscription)
        _bill(world, subscription, spans, [])
        _say_deleted(world, subscription)
        return
    ended_cycle = {"items": tell_subscription(world, subscription)["items"]}
    for item in subscription.items:
        item.period_start = item.usage_start = item.period_end
        price = world.prices[item.price]
        item.period_end = cycle_end(
            subscription.anchor, price, subscription.cycle + 1 - subscription.cycles_before
        )
    _bill(world, subscription, spans, _licensed_lines(world, subscription))
    subscription.cycle += 1
    told = tell_subscription(world, subscription)
    world.emit("customer.subscription.updated", told, ended_cycle)
    _await_end(world, subscription)


def move_anchor(world: World, subscription: Subscription) -> None:
    """Bill the open cycle up to now, without this second, and count cycles from now on."""
    now = world.now
    if subscription.items[0].period_start < now:
        open_now = open_spans(world, subscription, now)
        spans = tuple(replace(span, usage_end=now) for span in open_now)
        _bill(world, subscription, spans, [])
        subscription.cycle += 1
    subscription.moved_anchor = now
    subscription.cycles_before = subscription.cycle - 1
    for item in subscription.items:
        item.period_start = now
        item.usage_start = max(item.usage_start, now)
        item.period_end = cycle_end(now, world.prices[item.price], 1)
    _await_end(world, subscription)


def _set_ended(world: World, subscription: Subscription) -> None:
    subscription.status = "canceled"
    subscription.ended_at = world.now
    subscription.canceled_at = subscription.canceled_at or world.now


def _say_deleted(world: World, subscription: Subscription) -> None:
    world.emit("customer.subscription.deleted", tell_subscription(world, subscription))


def end_subscription(world: World, subscription: Subscription, *, invoices: bool) -> None:
    """End it now; unless a last invoice is asked for, usage of the open cycle is discarded."""
    spans = open_spans(world, subscription, world.now)
    _set_ended(world, subscription)
    if invoices:
        _bill(world, subscription, spans, [])
    else:
        world.closed_cycles.append(
            ClosedCycle(
                subscription.id,
                subscription.customer,
                subscription.cycle,
                spans,
                None,
                discarded=True,
            )
        )
    _say_deleted(world, subscription)
