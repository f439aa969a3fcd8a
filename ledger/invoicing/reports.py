"""Reporting usage: what the outbox holds is sent in order, each row under one name for ever."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from billing import (
    Delivery,
    GatewayError,
    StripeConflictError,
    StripeCredentialsError,
    StripeMissingError,
    StripeRefusedError,
    StripeTimeoutError,
    StripeUnavailableError,
    usage_key,
)
from events import decode
from ledger.commands import usage_reports as commands
from ledger.commands.usage_reports import ReportKey
from ledger.errors import LedgerError, UnavailableError
from ledger.invoicing.accounts import account_of
from ledger.invoicing.told import told
from ledger.queries import Queries
from projections.billing import CLOSED, LOST, REFUSED

if TYPE_CHECKING:
    from aggregates import BoundSubscription
    from billing.gateway import Gateway
    from ledger.application import Ledger
    from projections.billing import Report

# Stripe knows an identifier for a day at the least. Later it might take a row twice.
RESEND_SECONDS_MAX = 23 * 3_600
MINUTE_SECONDS = 60
# Stripe's words for what is no fault of a report: it is sent again once somebody has mended it.
NOBODYS_FAULT = {
    "archived_meter": "its meter is archived at Stripe",
    "no_meter": "no meter at Stripe has the name of stripe.meter_event_name",
    "timestamp_in_future": "our clock is more than five minutes ahead of Stripe's",
}
# What Stripe has taken is in its sums by then.
SUMMED_SECONDS = 3_600

log = logging.getLogger(__name__)


def minutes_of(start: int, end: int) -> tuple[int, int]:
    """Give the whole minutes around [start, end), ms, in seconds: Stripe adds up by minutes.

    One at the least: a cycle may be of no length, in the second in which its subscription ended.
    """
    end = max(end, start + 1)
    return (
        start // 1_000 // MINUTE_SECONDS * MINUTE_SECONDS,
        -(-end // 1_000 // MINUTE_SECONDS) * MINUTE_SECONDS,
    )


class Resumed(NamedTuple):
    """What became of sending refused reports again."""

    reports: int
    waits_for: str  # why something waits all the same; empty: everything is delivered


class _Fate(Enum):
    """What became of what was sent."""

    DELIVERED = auto()  # or done with: whatever is to be told of it, the invoice tells
    LOST = auto()  # Stripe has not got it, and it is to be reported anew
    WAITS = auto()


class Reports:
    """The use cases of the outbox."""

    def __init__(self, ledger: Ledger, gateway: Gateway) -> None:
        """Send a ledger's outbox through this gateway."""
        self._ledger = ledger
        self._gateway = gateway

    async def report(self, payer: bytes, author: str) -> bool:
        """Put into the outbox what is not reported, and send it; whether all is delivered.

        What turns out to be lost is put there again, at once: an end may come right after this.
        """
        await self.request(payer, author)
        while (fate := await self._send(payer, author)) is _Fate.LOST:
            # What is sent now is not found out about in this run, so this ends.
            await self.request(payer, author)
        return fate is _Fate.DELIVERED

    async def request(self, payer: bytes, author: str) -> None:
        """Put into the outbox what is not reported."""
        settings = self._ledger.settings.stripe
        shard = await self._ledger.placing.place_one(payer)
        await shard.decide(
            partial(
                commands.report_usage,
                payer=payer,
                event_name=settings.meter_event_name,
                meter_id=settings.meter_id,
            ),
            author,
        )
        self._ledger.failpoint("report-requested")

    async def resume(self, payer: bytes, author: str) -> Resumed:
        """Send what Stripe refused again, now that somebody has looked."""
        account = await account_of(self._ledger, payer)
        if account.subscription is None:
            return Resumed(0, "")
        shard = await self._ledger.placing.place_one(payer)
        resumed: int = await shard.decide(partial(commands.resume_reports, payer=payer), author)
        try:
            is_delivered = await self.report(payer, author)
        except LedgerError as error:
            return Resumed(resumed, str(error))
        return Resumed(resumed, "" if is_delivered else await self._why_it_waits(payer, author))

    async def _why_it_waits(self, payer: bytes, author: str) -> str:
        account = await account_of(self._ledger, payer)
        if account.subscription is None:
            return ""
        shard = await self._ledger.placing.place_one(payer)
        waiting: Sequence[Report] = await shard.decide(
            partial(
                commands.open_reports,
                payer=payer,
                subscription_id=account.subscription.subscription_id,
            ),
            author,
        )
        if waiting and waiting[-1].state == REFUSED:
            return f"report {waiting[-1].identifier} was refused by Stripe: {waiting[-1].outcome}"
        return "Stripe's sums will tell whether it has what was sent" if waiting else ""

    async def report_the_rest(self, payer: bytes, author: str) -> bool:
        """Report everything, and see that Stripe has added it up; whether an end may come now.

        An invoice that is made now would lack what Stripe has taken and not added up yet.
        """
        if not await self.report(payer, author):
            return False
        if not await self.compare(payer, author):
            return True
        account = await account_of(self._ledger, payer)
        if account.subscription is None:
            return True  # another call has ended it meanwhile
        newest = await self._ledger.read(
            payer, partial(_newest_word, subscription_id=account.subscription.subscription_id)
        )
        # What is not there by then never comes: the final invoice's shortfall tells.
        return self._ledger.now() - newest > SUMMED_SECONDS * 1_000

    async def _send(self, payer: bytes, author: str) -> _Fate:
        """Send what waits, in order, up to what still waits; LOST when any of it is, or may be.

        LedgerError when Stripe cannot be asked now: the row waits for the next run.
        """
        account = await account_of(self._ledger, payer)
        if account.subscription is None:
            return _Fate.DELIVERED
        subscription_id = account.subscription.subscription_id
        shard = await self._ledger.placing.find(payer)
        waiting: Iterable[Report] = await shard.decide(
            partial(commands.open_reports, payer=payer, subscription_id=subscription_id), author
        )
        fates = {_Fate.DELIVERED}
        for report in waiting:
            fates.add(fate := await self._send_one(payer, account.subscription, report, author))
            if fate is _Fate.WAITS:
                return fate
        return _Fate.LOST if _Fate.LOST in fates else _Fate.DELIVERED

    async def _send_one(
        self, payer: bytes, subscription: BoundSubscription, report: Report, author: str
    ) -> _Fate:
        shard = await self._ledger.placing.place_one(payer)
        key = ReportKey(payer, report.subscription_id, report.seq)
        stamped: Report | None = await shard.decide(partial(commands.stamp_report, key=key), author)
        if stamped is None:
            # It cannot be taken back now, or another run has just found it to be lost, perhaps.
            return _Fate.WAITS if report.state == REFUSED else _Fate.LOST
        assert stamped.stamped is not None
        self._ledger.failpoint("report-stamped")
        if self._ledger.now() > _sent_until(subscription, stamped.stamped):
            return await self._find_out(payer, stamped, author)
        try:
            delivery = await self._gateway.send_usage(
                event_name=stamped.event_name,
                customer_id=stamped.customer_id,
                identifier=stamped.identifier,
                credits=stamped.delta,
                timestamp=stamped.stamped // 1_000,
                key=usage_key(stamped.identifier, attempt=self._ledger.now()),
            )
        except (StripeRefusedError, StripeMissingError) as error:
            log.error("usage report %s is refused: %s", stamped.identifier, error)  # noqa: TRY400
            reason = error.code or "refused"
            if reason in NOBODYS_FAULT:
                raise UnavailableError(
                    f"usage report {stamped.identifier} waits: {NOBODYS_FAULT[reason]}"
                ) from error
            await shard.decide(
                partial(commands.report_rejected, key=key, outcome=REFUSED, reason=reason),
                author,
            )
            return _Fate.WAITS
        except (
            StripeUnavailableError,
            StripeTimeoutError,
            StripeConflictError,
            StripeCredentialsError,
        ) as error:
            raise told(error, f"usage report {stamped.identifier} waits") from error
        self._ledger.failpoint("report-sent")
        outcome = "accepted" if delivery is Delivery.DELIVERED else "repeated"
        await shard.decide(partial(commands.report_delivered, key=key, outcome=outcome), author)
        self._ledger.failpoint("report-delivered")
        return _Fate.DELIVERED

    async def _find_out(self, payer: bytes, report: Report, author: str) -> _Fate:
        """Find by Stripe's sums whether it has a row that is not sent any more.

        All rows before it are known, so the sum of its cycle tells.
        """
        account = await account_of(self._ledger, payer)
        subscription = account.subscription
        if subscription is None or subscription.subscription_id != report.subscription_id:
            return _Fate.WAITS  # it has ended meanwhile: its last invoice tells
        assert report.stamped is not None
        sent_until = _sent_until(subscription, report.stamped)
        if self._ledger.now() - sent_until < SUMMED_SECONDS * 1_000:
            return _Fate.WAITS  # the last try may have come through and not be added up yet
        summed, delivered = await self._sums(payer, subscription, report.stamped, author)
        key = ReportKey(payer, report.subscription_id, report.seq)
        shard = await self._ledger.placing.place_one(payer)
        if summed == delivered + report.delta:
            await shard.decide(partial(commands.report_delivered, key=key, outcome="found"), author)
            return _Fate.DELIVERED
        # Neither with the row nor without it, where Stripe has rejected what it had taken: then
        # the invoice tells. Reported anew, it might be billed twice.
        outcome = LOST if summed == delivered else CLOSED
        reason = f"Stripe has {summed} credits of the cycle, {delivered} without it"
        log.warning("usage report %s is %s: %s", report.identifier, outcome, reason)
        await shard.decide(
            partial(commands.report_rejected, key=key, outcome=outcome, reason=reason), author
        )
        return _Fate.LOST if outcome == LOST else _Fate.DELIVERED

    async def compare(self, payer: bytes, author: str) -> str:
        """Compare what was delivered in the open cycle with Stripe's sum; say what differs.

        Nothing is mended here: what a cycle's invoice lacks is reported again when it is final.
        """
        account = await account_of(self._ledger, payer)
        subscription = account.subscription
        if subscription is None:
            return ""
        summed, delivered = await self._sums(payer, subscription, self._ledger.now(), author)
        if summed == delivered:
            return ""
        return f"Stripe has {summed} credits of the open cycle, {delivered} were delivered"

    async def _sums(
        self, payer: bytes, subscription: BoundSubscription, at: int, author: str
    ) -> tuple[int, int]:
        """Give what Stripe has added up of the cycle of an instant, and what it must have."""
        account = await account_of(self._ledger, payer)
        period = subscription.periods.at(at)
        start, end = minutes_of(period.start, period.end)
        shard = await self._ledger.placing.place_one(payer)
        delivered: int = await shard.decide(
            partial(
                commands.delivered_between,
                payer=payer,
                subscriptions=account.bound_to(subscription.customer_id),
                start=start * 1_000,
                end=end * 1_000,
            ),
            author,
        )
        try:
            summary = await self._gateway.summary(
                meter_id=self._ledger.settings.stripe.meter_id,
                customer_id=subscription.customer_id,
                start=start,
                end=end,
            )
        except GatewayError as error:
            raise told(error, "usage is compared with Stripe's sums") from error
        return int(summary.credits), delivered


def _sent_until(subscription: BoundSubscription, stamped: int) -> int:
    """Give until when a row of a time may be sent, in ms.

    Not for so long that Stripe may have forgotten its name, and not when the cycle in which it
    counts is over: its invoice may be final, and have nothing of what comes now.
    """
    return min(stamped + RESEND_SECONDS_MAX * 1_000, subscription.periods.at(stamped).end)


def _newest_word(queries: Queries, subscription_id: str) -> int:
    """Give when anything was last heard of a subscription's rows, in ms; 0 when nothing was.

    The time under which a row counts may be long before that.
    """
    stream = commands.reports_stream(subscription_id)
    newest = queries.reader.stream(stream, after=queries.reader.version(stream) - 1)
    return decode(newest[-1].topic, newest[-1].state).recorded_at if newest else 0
