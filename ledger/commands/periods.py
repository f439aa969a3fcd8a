"""Where Stripe's billing periods are others than those that were counted."""

from __future__ import annotations

from aggregates import BillingAccount, month_from
from events import SubscriptionPeriodTold
from ledger.commands.cost_centers import follow_period
from ledger.group import Group


def note_period(group: Group, payer: bytes, subscription_id: str, *, start: int, end: int) -> bool:
    """Note what Stripe tells of a period, if that is news; say whether. Times in ms.

    Later periods are counted from it, and the cost center's cycle follows. What lies before the
    subscription's beginning is not its own.
    """
    account = group.billing_account(payer)
    known = account.known(subscription_id)
    if known is None or not known.periods.first_start <= start < end:
        return False
    if known.periods.has(start, end) or (start, end) in known.periods.told:
        return False
    _tell(group, account, payer, subscription_id, (start, end))
    if account.is_active and account.subscription is not None:
        follow_period(group, payer)
    return True


def note_last_period(
    group: Group, payer: bytes, subscription_id: str, *, period: tuple[int, int], ended_at: int
) -> None:
    """Note the last period of a subscription that has ended, as Stripe tells it.

    Where it began in the second in which it ended, nothing else tells that it did begin.
    """
    account = group.billing_account(payer)
    known = account.known(subscription_id)
    start, end = period
    if known is None or start < known.periods.first_start:
        return
    counted = known.periods.at(start)
    if counted.start == start and (start != ended_at or known.periods.is_told(start)):
        return
    if end <= ended_at:
        # That is where the subscription ended, which may be in the middle of the period.
        end = max(month_from(start).end, ended_at + 1_000)
    _tell(group, account, payer, subscription_id, (start, end))


def _tell(
    group: Group, account: BillingAccount, payer: bytes, subscription_id: str, told: tuple[int, int]
) -> None:
    event = SubscriptionPeriodTold(group.recorded_at, group.author, payer, subscription_id, *told)
    group.append_billing(account, event)
