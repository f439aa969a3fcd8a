"""Opening, setting and resetting cost centers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aggregates import CostCenter, Period, month_at
from events import (
    OTHER,
    STRIPE,
    BillingCycleClosed,
    BillingCycleStarted,
    FreeCreditClaimed,
    UnsettledUsageKept,
)
from events.readable import uuid_text
from ledger.commands.settlements import unsettled_cents
from ledger.errors import InvalidArgumentError, UnavailableError
from ledger.group import Group, cycle_stream
from projections import LEAP_MS, ClockRow

INT32_MAX = 2**31 - 1


class Terms(NamedTuple):
    """A cost center as callers see it. Times in ms, limit in credits."""

    payer: bytes
    spending_limit: int
    strategy: str
    cycle_start: int
    next_billing: int
    cycle_number: int


class Opening(NamedTuple):
    """What a new cost center gets."""

    for_teams: int
    for_users: int
    # Streams of the first member's claim to free credits; empty when nobody may claim.
    claims: Sequence[str] = ()


def terms_of(state: CostCenter) -> Terms:
    """Give a cost center as callers see it."""
    return Terms(
        state.payer,
        state.spending_limit,
        state.strategy,
        state.cycle_start,
        state.next_billing,
        state.cycle_number,
    )


def open_cost_center(group: Group, payer: bytes, opening: Opening) -> Terms:
    """Give the payer's cost center.

    Open it if there is none, reset it first if its cycle has ended.
    """
    state = group.cost_center(payer)
    if not state.version:
        limit = _first_limit(group, payer, opening)
        opened = state.open(
            payer, limit, now=group.now, recorded_at=group.recorded_at, author=group.author
        )
        group.append_cost_center(state, opened, payer)
    else:
        reset_cost_center(group, payer)
    return terms_of(state)


def _first_limit(group: Group, payer: bytes, opening: Opening) -> int:
    """Give the free credits' limit to the first cost center that a member brings them to."""
    if opening.claims and claim(group, payer, opening.claims):
        return opening.for_users
    return opening.for_teams


def claim(group: Group, payer: bytes, claims: Sequence[str]) -> bool:
    """Claim free credits for a cost center; say whether it has them.

    Nothing is claimed when another cost center has one of the claims.
    """
    claimed = {stream: group.stream(stream) for stream in claims}
    for stored in claimed.values():
        first = stored[0].event if stored else None
        if isinstance(first, FreeCreditClaimed) and first.payer != payer:
            return False
    for stream, stored in claimed.items():
        if not stored:
            group.append(stream, 1, FreeCreditClaimed(group.recorded_at, group.author, payer))
    return True


def resets_held(row: ClockRow, now: int) -> bool:
    """Say whether the clock stands so far past the log that resets wait for a second opinion."""
    if not row.newest_recorded:
        return False  # an empty log has no time to be far past of
    if now - row.newest_recorded > LEAP_MS:
        return True
    return row.suspect_since is not None and now >= row.suspect_since


def _refuse_if_paused(group: Group, name: str) -> None:
    """Refuse to decide on rows that do not hold everything before this command."""
    group.fold()
    if name in group.paused:
        raise UnavailableError(
            f"resets wait: projection {name!r} is paused at position"
            f" {group.paused[name].position}; see `usage-ledger status`"
        )


def _resets_held(group: Group) -> bool:
    _refuse_if_paused(group, "clock")
    return resets_held(group.transaction.rows.clock(), group.now)


def due_cost_centers(group: Group, *, after: bytes, limit: int) -> list[bytes]:
    """Give payers, in order, whose cycle has ended and may be reset."""
    if _resets_held(group):
        return []
    _refuse_if_paused(group, "cost-centers")
    return group.transaction.due_cost_centers(group.now, limit, after)


def reset_cost_center(group: Group, payer: bytes) -> bool:
    """Start the next cycle if the last one has ended; say whether it did."""
    state = group.cost_center(payer)
    if not state.due(group.now) or _resets_held(group):
        return False
    balance = group.balance(payer)
    closed, started = state.reset(
        balance, now=group.now, recorded_at=group.recorded_at, author=group.author
    )
    _turn(group, state, closed, started)
    return True


def _turn(
    group: Group, state: CostCenter, closed: BillingCycleClosed, started: BillingCycleStarted
) -> None:
    group.append(cycle_stream(state.payer, closed.cycle_number), 1, closed)
    group.append_cost_center(state, started, state.payer)


def set_cost_center(
    group: Group, payer: bytes, *, spending_limit: int, strategy: str, opening: Opening
) -> Terms:
    """Set limit and strategy; a change of strategy starts a new cycle now."""
    if not 0 <= spending_limit <= INT32_MAX:
        raise InvalidArgumentError(f"spending_limit {spending_limit}: must not be negative")
    open_cost_center(group, payer, opening)
    state = group.cost_center(payer)
    if state.strategy == strategy:
        set_limit(group, payer, spending_limit)
    elif strategy == STRIPE:
        move_to_stripe(group, payer, spending_limit=spending_limit)
    else:
        assert strategy == OTHER
        move_to_other(group, payer, default_limit=opening.for_teams)
    return terms_of(state)


def set_limit(group: Group, payer: bytes, spending_limit: int) -> None:
    """Change the limit, if it is another one."""
    state = group.cost_center(payer)
    if state.spending_limit != spending_limit:
        event = state.set_limit(spending_limit, recorded_at=group.recorded_at, author=group.author)
        group.append_cost_center(state, event, payer)


def move_to_stripe(group: Group, payer: bytes, *, spending_limit: int) -> None:
    """Move a cost center from OTHER to STRIPE; what it owes is forgiven, a credit stays.

    What an earlier subscription reported and no invoice has settled yet is not forgiven. With a
    subscription its cycle is Stripe's.
    """
    state = group.cost_center(payer)
    account = group.billing_account(payer)
    balance = group.balance(payer)
    unsettled = unsettled_cents(group, payer, account) if account.ever_bound else 0
    turn = state.upgrade(
        balance,
        unsettled,
        spending_limit,
        now=group.now,
        recorded_at=group.recorded_at,
        author=group.author,
        period=_period_at_stripe(group, payer),
    )
    _turn(group, state, *turn)
    if unsettled:
        kept = UnsettledUsageKept(group.recorded_at, group.author, payer, unsettled)
        group.append_billing(account, kept)


def move_to_other(group: Group, payer: bytes, *, default_limit: int) -> None:
    """Move a cost center from STRIPE to OTHER, with the latest limit it had there."""
    state = group.cost_center(payer)
    turn = state.downgrade(
        group.balance(payer),
        default_limit,
        now=group.now,
        recorded_at=group.recorded_at,
        author=group.author,
    )
    _turn(group, state, *turn)


def begin_period(group: Group, payer: bytes) -> bool:
    """Begin the next cycle of a cost center under STRIPE, if the last has ended; say whether."""
    state = group.cost_center(payer)
    if not state.has_ended(group.now):
        return False
    _begin(group, state, _period_at_stripe(group, payer) or month_at(state.anchor, group.now))
    return True


def follow_period(group: Group, payer: bytes) -> None:
    """Let the cycle of a cost center under STRIPE end when Stripe's does."""
    state = group.cost_center(payer)
    period = _period_at_stripe(group, payer)
    if state.strategy == STRIPE and period is not None and state.next_billing != period.end:
        _begin(group, state, period)


def _period_at_stripe(group: Group, payer: bytes) -> Period | None:
    """Give the period of the bound subscription that holds now; None without one.

    Our clock may be behind Stripe's: what Stripe told of has begun.
    """
    subscription = group.billing_account(payer).subscription
    if subscription is None:
        return None
    return subscription.periods.at(max(group.now, subscription.periods.newest_told))


def _begin(group: Group, state: CostCenter, period: Period) -> None:
    turn = state.begin_period(
        group.balance(state.payer),
        now=group.now,
        recorded_at=group.recorded_at,
        author=group.author,
        period=period,
    )
    _turn(group, state, *turn)


def claims_of(user: bytes, email_hmac: str) -> list[str]:
    """Name the streams of a member's claim to free credits."""
    streams = ["free-credit:user:" + uuid_text(user)]
    if email_hmac:
        streams.append("free-credit:email:" + email_hmac)
    return streams
