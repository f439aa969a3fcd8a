"""Webhooks: what Stripe told is kept, then done by looking at what is true now.

Only event id, type, object id and time are kept, never the body. So it does not matter in which
order webhooks come or how often; if one is lost, the next ReconcileInvoices finds what it told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from billing import EventNotice, GatewayError, Secret, WebhookRefusedError
from ledger.acts import write_down
from ledger.errors import InvalidArgumentError, LedgerError
from ledger.invoicing.accounts import payer_of_stripe_id
from ledger.invoicing.told import is_hopeless, told
from ledger.invoicing.troubles import reason_of
from persistence import (
    WEBHOOK_DONE,
    WEBHOOK_GIVEN_UP,
    WEBHOOK_IGNORED,
    WEBHOOK_WAITING,
    Webhook,
    WebhookPlace,
    WebhookTallies,
)

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.invoicing.service import Billing

# A webhook that has been hopeless for so long is given up. Stripe itself tries as long to deliver
# one, and whatever lags there, or was set up wrongly here, has been noticed by then.
GIVEN_UP_AFTER_MS = 3 * 86_400_000
NO_METER = "v1.billing.meter.no_meter_found"  # the one kind that is about no object
THIN = "v1."  # kinds that Stripe does not list
ADDRESS = "address"  # a detail: the customer's address changed
BODY_BYTES_MAX = 64 * 1024  # the original's; Stripe's own are far smaller
AT_ONCE = 50
# Stripe lists an event for thirty days.
LISTED_SECONDS = 30 * 86_400
LISTING = "stripe-events"  # among the jobs: how far they were listed
# An event may be listed a while after others that have the same time.
OVERLAP_SECONDS = 3_600

Act = Callable[[str, str], Awaitable[object]]

log = logging.getLogger(__name__)


class Webhooks:
    """The use cases of webhooks. They are kept in the first shard."""

    def __init__(self, ledger: Ledger, billing: Billing, secrets: Sequence[Secret]) -> None:
        """Do what webhooks ask of billing; none can be checked without a secret.

        Each destination at Stripe has its own, and a new one comes before an old one goes.
        """
        self._secrets = secrets
        self._ledger = ledger
        self._billing = billing
        self._running: asyncio.Task[None] | None = None
        self._kicked = False
        self._acts: dict[str, Act] = {
            "invoice.finalized": billing.settlements.finalize,
            "invoice.voided": billing.settlements.finalize,
            "invoice.marked_uncollectible": billing.settlements.finalize,
            "invoice.paid": billing.settlements.finalize,
            "credit_note.created": self._credit_note,
            "credit_note.updated": self._credit_note,
            "credit_note.voided": self._credit_note,
            "customer.subscription.created": self._subscription,
            "customer.subscription.deleted": billing.subscriptions.cancel,
            "customer.updated": billing.customers.update_tax_state,
            "customer.deleted": self._customer_deleted,
            "charge.dispute.created": billing.disputes.opened,
            "v1.billing.meter.error_report_triggered": self._meter_trouble,
            NO_METER: self._meter_trouble,
        }

    @property
    def can_be_checked(self) -> bool:
        """Whether there is a secret to check signatures with."""
        return bool(self._secrets)

    async def take(self, body: bytes, signature: str | None) -> bool:
        """Check a delivery and keep it; False when it came before.

        InvalidArgumentError says in a sentence why it is not taken.
        """
        notice = self._checked(body, signature)
        if self.lacks_object(notice):
            raise InvalidArgumentError("the event names no object")
        return await self.keep(notice)

    def is_handled(self, notice: EventNotice) -> bool:
        """Say whether something is done about a webhook of this kind."""
        if notice.type == "customer.updated":
            return notice.changes_address
        return notice.type in self._acts

    def _checked(self, body: bytes, signature: str | None) -> EventNotice:
        from billing.webhooks import verify  # noqa: PLC0415  # Stripe's library is an extra

        now_seconds = self._ledger.now() / 1_000
        refusal = ""
        for secret in self._secrets:
            try:
                return verify(body, signature, secret, now_seconds=now_seconds)
            except WebhookRefusedError as error:
                refusal = str(error)
        raise InvalidArgumentError(refusal)

    def lacks_object(self, notice: EventNotice) -> bool:
        """Say whether nothing can be done about a webhook because it names no object."""
        is_about_one = notice.type != NO_METER
        return is_about_one and self.is_handled(notice) and not notice.object_id

    async def keep(self, notice: EventNotice) -> bool:
        """Keep what Stripe told; False when it was told before."""
        now = self._ledger.now()
        row = Webhook(
            notice.event_id,
            notice.type,
            notice.object_id or "",
            notice.created,
            now,
            ADDRESS if notice.changes_address else "",
            WEBHOOK_WAITING if self.is_handled(notice) else WEBHOOK_IGNORED,
        )
        added: bool = await self._ledger.shards[0].beside(
            lambda transaction: transaction.add_webhook(row)
        )
        return added

    async def catch_up(self, author: str) -> int:
        """Keep what Stripe told and nobody heard, and do it; give how much that was.

        Stripe stops trying after three days, and it may never have begun. What was listed is not
        listed again, by whichever process: a run costs one request if little happened.
        """
        now = self._ledger.now() // 1_000
        listed = await self._listed_until()
        if listed is None:
            # What happened before billing began here was another system's to do.
            listed = now
            await self._keep_listed(now)
        newest, heard = listed, 0
        async for notice in self._billing.gateway.events_since(
            [kind for kind in self._acts if not kind.startswith(THIN)],
            created_from=max(listed - OVERLAP_SECONDS, now - LISTED_SECONDS),
        ):
            newest = max(newest, notice.created)
            if self.is_handled(notice) and not self.lacks_object(notice):
                heard += await self.keep(notice)
        if newest > listed:
            await self._keep_listed(newest)
        while heard and await self.process(author):
            pass
        return heard

    async def _listed_until(self) -> int | None:
        """Give the time of the newest event that was listed, in seconds; None before the first."""
        rows = await self._ledger.shards[0].read(lambda queries: queries.reader.jobs())
        times = [row.last_started for row in rows if row.name == LISTING]
        return times[0] // 1_000 if times and times[0] is not None else None

    async def _keep_listed(self, newest: int) -> None:
        await self._ledger.job_ran(LISTING, started=newest * 1_000, finished=None, error="")

    def kick(self, author: str) -> None:
        """Do what waits soon, without keeping Stripe waiting for it."""
        self._kicked = True
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._process_all(author))

    async def _process_all(self, author: str) -> None:
        try:
            while self._kicked:  # again where one came after the last look
                self._kicked = False
                while await self.process(author):
                    pass
        except Exception:
            log.exception("webhooks could not be processed; the next look tries again")

    async def stop(self) -> None:
        """End what is being done; it waits in the store, and is done again."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def process(self, author: str) -> int:
        """Do what waits and is due; give how many were done."""
        now = self._ledger.now()
        due: list[Webhook] = await self._ledger.shards[0].read(
            lambda queries: queries.reader.waiting_webhooks(now=now, limit=AT_ONCE)
        )
        done = 0
        for webhook in due:
            done += await self._do(webhook, author)
        return done

    async def replay(self, event_id: str, author: str) -> Webhook | None:
        """Do a webhook again, whatever became of it, and give it; None when it is not known."""
        webhook = await self._find(event_id)
        if webhook is None:
            return None
        # What Stripe tells of it need not lead to an event that could name who asked.
        first = self._ledger.shards[0]
        await write_down(self._ledger, first, author, "billing replay", event_id)
        await self._do(webhook, author)
        return await self._find(event_id)

    async def _find(self, event_id: str) -> Webhook | None:
        return await self._ledger.shards[0].read(lambda queries: queries.reader.webhook(event_id))

    async def page(self, *, state: str, before: WebhookPlace | None, limit: int) -> list[Webhook]:
        """Give webhooks, newest first; in any state when that is empty."""
        return await self._ledger.shards[0].read(
            lambda queries: queries.reader.webhooks(state=state, before=before, limit=limit)
        )

    async def counts(self) -> WebhookTallies:
        """Count those that wait, and those that were given up."""
        return await self._ledger.shards[0].read(lambda queries: queries.reader.webhook_tallies())

    async def _do(self, webhook: Webhook, author: str) -> bool:
        act = self._acts.get(webhook.type)
        state, error, hopeless_since = WEBHOOK_IGNORED, "", 0
        if act is not None:
            failure = await self._failure_of(act, webhook, author)
            state = WEBHOOK_DONE
            if failure is not None:
                error = reason_of(failure)
                state, hopeless_since = self._state_after(webhook, failure)
        now = self._ledger.now()
        await self._ledger.shards[0].beside(
            lambda transaction: transaction.webhook_done(
                webhook.event_id, state=state, error=error, now=now, hopeless_since=hopeless_since
            )
        )
        if state == WEBHOOK_GIVEN_UP and webhook.state != WEBHOOK_GIVEN_UP:
            log.error("webhook %s (%s) is given up: %s", webhook.event_id, webhook.type, error)
        return not error

    @staticmethod
    async def _failure_of(act: Act, webhook: Webhook, author: str) -> Exception | None:
        try:
            await act(webhook.object_id, author)
        except LedgerError as failure:
            log.warning("webhook %s (%s): %s", webhook.event_id, webhook.type, failure)
            return failure
        except Exception as failure:
            log.exception("webhook %s (%s) failed", webhook.event_id, webhook.type)
            return failure
        return None

    def _state_after(self, webhook: Webhook, failure: Exception) -> tuple[str, int]:
        """Decide what becomes of a webhook that failed; give since when it is hopeless.

        One that was given up stays so when a try by hand is hopeless, too.
        """
        if not is_hopeless(failure):
            return WEBHOOK_WAITING, 0
        now = self._ledger.now()
        since = webhook.hopeless_since or now
        is_over = now - since >= GIVEN_UP_AFTER_MS
        return (WEBHOOK_GIVEN_UP if is_over else WEBHOOK_WAITING), since

    # What is no call ---------------------------------------------------------------------------

    async def _credit_note(self, credit_note_id: str, author: str) -> None:
        try:
            note = await self._billing.gateway.credit_note(credit_note_id)
        except GatewayError as error:
            raise told(error, f"credit note {credit_note_id} is fetched") from error
        await self._billing.settlements.finalize(note.invoice_id, author)

    async def _subscription(self, subscription_id: str, author: str) -> None:
        """Complete an attempt whose answer was lost."""
        try:
            found = await self._billing.gateway.subscription(subscription_id)
        except GatewayError as error:
            raise told(error, f"subscription {subscription_id} is fetched") from error
        payer = await payer_of_stripe_id(self._ledger, found.customer_id)
        if payer is not None:
            await self._billing.subscriptions.go_on(payer, author)
            await self._billing.subscriptions.end_twin(payer, found)

    async def _customer_deleted(self, customer_id: str, author: str) -> None:
        """Note it, and that Stripe has ended the customer's subscription, which it may not tell."""
        payer = await self._billing.customers.deleted(customer_id, author)
        if payer is not None:
            await self._billing.subscriptions.note_end(payer, author)

    async def _meter_trouble(self, meter_id: str, author: str) -> None:
        """Stripe rejected usage that it had taken: the sums of every customer are compared."""
        log.error("Stripe rejected usage of meter %s: every customer's sums are compared", meter_id)
        await self._billing.compare_all(author)
