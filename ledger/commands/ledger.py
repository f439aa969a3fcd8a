"""Facts for the whole ledger: accrual instants, price lists, confirmed clocks."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from aggregates import FALLBACK_RATE
from events import ClockConfirmed, PriceListPublished, UsageReconciled
from ledger.errors import StartRefusedError
from ledger.group import Group

RECONCILED_STREAM = "usage-reconciled"
PRICES_STREAM = "price-list"
CLOCK_STREAM = "clock"


def reconcile_usage(group: Group, *, from_time: int, to_time: int, ledger_interval_ms: int) -> None:
    """Accrue everything that runs to now."""
    event = UsageReconciled(
        group.recorded_at, group.author, group.now, from_time, to_time, ledger_interval_ms
    )
    group.append_next(RECONCILED_STREAM, event)


def confirm_clock(group: Group) -> None:
    """Record that an operator found the clock right, so that resets go on."""
    group.append_next(CLOCK_STREAM, ClockConfirmed(group.recorded_at, group.author, group.now))


def rate_text(rate: Decimal) -> str:
    """Write a rate in its shortest exact form."""
    text = format(rate, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def publish_prices(
    group: Group, *, revision: int, rates: Mapping[str, Decimal], in_force_from: int | None
) -> str:
    """Record the configured list if its revision is new; give a warning when it is not used."""
    configured = {name: rate_text(rate) for name, rate in sorted(rates.items())}
    newest = group.context.prices.newest
    if newest is not None and newest.revision == revision:
        if newest.credits_per_minute != configured or newest.fallback != FALLBACK_RATE:
            raise StartRefusedError(
                f"prices.revision {revision} is in the log with other rates: raise prices.revision"
                f" to bring the new rates into force, or restore the rates of revision {revision}"
            )
        return ""
    if newest is not None and newest.revision > revision:
        return (
            f"prices.revision {revision} is lower than {newest.revision} in the log:"
            f" the log's rates stay in force"
        )
    since = None if newest is None else group.now if in_force_from is None else in_force_from
    event = PriceListPublished(
        group.recorded_at, group.author, revision, since, configured, FALLBACK_RATE
    )
    group.append_next(PRICES_STREAM, event)
    return ""
