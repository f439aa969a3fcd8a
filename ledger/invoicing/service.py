"""Billing as one: what calls, webhooks, jobs and operators ask of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from billing import GatewayError, GatewaySettings, Secret
from events.readable import attribution_id
from ledger.commands.cost_centers import begin_period
from ledger.directory import Directory
from ledger.errors import (
    LedgerError,
    NotFoundError,
    StartRefusedError,
    TroubleError,
    UnavailableError,
)
from ledger.invoicing.accounts import account_of
from ledger.invoicing.comparison import Comparison
from ledger.invoicing.customers import Customers
from ledger.invoicing.disputes import Disputes
from ledger.invoicing.holds import Holds
from ledger.invoicing.overview import payer_standing
from ledger.invoicing.prices import Prices
from ledger.invoicing.repair import Repair
from ledger.invoicing.reports import Reports
from ledger.invoicing.runs import NOT_ASKED, Outcome, Patience, Runs
from ledger.invoicing.settlements import Settlements
from ledger.invoicing.subscriptions import Subscriptions
from ledger.invoicing.told import is_hopeless, told
from ledger.invoicing.troubles import Troubles, looked_after, reason_of
from ledger.invoicing.webhooks import Webhooks
from ledger.queries import Queries

if TYPE_CHECKING:
    from aggregates import BillingAccount
    from billing.gateway import Gateway
    from ledger.application import Ledger
    from ledger.settings import StripeSettings
    from ledger.shards import Shard
    from persistence import Trouble

# Payers looked after at once: each waits for Stripe, which takes a thousand requests a second.
AT_ONCE = 16

log = logging.getLogger(__name__)


class Billing:
    """The use cases of billing."""

    def __init__(self, ledger: Ledger, gateway: Gateway, directory: Directory) -> None:
        """Bill a ledger's payers through this gateway; the directory blocks who disputes."""
        self._ledger = ledger
        self.gateway = gateway
        self.customers = Customers(ledger, gateway)
        self.prices = Prices(ledger, gateway, self.customers)
        self.reports = Reports(ledger, gateway)
        self.holds = Holds(ledger, gateway, self.customers)
        self.subscriptions = Subscriptions(
            ledger, gateway, self.customers, self.holds, self.reports.report_the_rest
        )
        self.settlements = Settlements(ledger, gateway)
        self._repair = Repair(ledger, gateway, self.settlements)
        self.disputes = Disputes(ledger, gateway, directory)
        self.webhooks = Webhooks(ledger, self, _webhook_secrets(ledger.settings.stripe))
        self.comparison = Comparison(ledger, gateway)
        self.troubles = Troubles(ledger)
        self.runs = Runs(ledger)
        gateway.count_by(ledger.instruments.stripe_requests.add)

    async def close(self) -> None:
        """Close the connections to Stripe."""
        await self.webhooks.stop()
        await self.gateway.close()

    async def reconcile(self, author: str) -> Outcome:
        """Report the usage of every payer, go on with what is unfinished, and hear what was missed.

        One payer's failure is kept and does not stop the others.
        """
        run, patience = self.runs.begin(), self.runs.patience()

        async def do(shard: Shard, payer: bytes, known: Trouble | None) -> None:
            if patience.is_over:
                reason = await self._put_off(payer, known, author)
            else:
                reason = await self._reason_to_wait(payer, patience, author)
            await self.troubles.keep(shard, payer, reason, known)
            run.count(reason)

        try:
            await self._each(do)
            run.lacks = await self._catch_up(author)
        except Exception as error:
            await self.runs.end(run, error)
            raise
        return await self.runs.end(run)

    async def _each(self, do: Callable[[Shard, bytes, Trouble | None], Awaitable[None]]) -> None:
        """Do something of every payer, of several at once, since each waits for Stripe.

        Never twice of one payer at once. The first error ends it.
        """
        slots = asyncio.Semaphore(AT_ONCE)
        errors: list[BaseException] = []
        running: set[asyncio.Task[None]] = set()

        async def one(shard: Shard, payer: bytes, known: Trouble | None) -> None:
            try:
                await do(shard, payer, known)
            except BaseException as error:
                errors.append(error)
                raise
            finally:
                slots.release()

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            if not task.cancelled():
                task.exception()  # it is among the errors

        # No TaskGroup: callers know errors, not groups of them.
        try:
            async for shard, payer, known in self._payers():
                await slots.acquire()
                if errors:
                    break
                task = asyncio.create_task(one(shard, payer, known))
                running.add(task)
                task.add_done_callback(ended)
            if running:
                await asyncio.wait(set(running), return_when=asyncio.FIRST_EXCEPTION)
        finally:
            left = list(running)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if errors:
            raise errors[0]

    async def _put_off(self, payer: bytes, known: Trouble | None, author: str) -> str:
        """Do what needs no Stripe; say why the rest waits, if there is any."""
        try:
            shard = await self._ledger.placing.place_one(payer)
            await shard.decide(partial(begin_period, payer=payer), author)
            account = await account_of(self._ledger, payer)
            bound = account.subscription
            is_reporting = bound is not None and account.is_active and not account.is_cancelling
            if is_reporting:
                await self.reports.request(payer, author)
            standing = await payer_standing(self._ledger, payer)
        except LedgerError as error:
            log.warning("billing: %s", error)
            return reason_of(error)
        is_unfinished = account.wanted is not None or (bound is not None and not is_reporting)
        if standing.waiting_credits or is_unfinished:
            return NOT_ASKED
        return "" if known is None else known.reason

    async def _reason_to_wait(self, payer: bytes, patience: Patience, author: str) -> str:
        """Do what is to be done of a payer; say why it cannot be done, if that is so."""
        try:
            await self._reconcile_one(payer, author)
        except LedgerError as error:
            log.warning("billing: %s", error)
            patience.failed(error)
            return reason_of(error)
        except Exception as error:
            log.exception("a payer's usage could not be reported")
            return reason_of(error)
        return ""

    async def _catch_up(self, author: str) -> str:
        """Do what webhooks would have asked for that never came; say why not, if that is so.

        The next run lists them again.
        """
        try:
            await self.webhooks.catch_up(author)
        except GatewayError as error:
            reason = str(told(error, "events that nobody heard of are listed"))
            log.warning("billing: %s", reason)
            return reason
        return ""

    async def _reconcile_one(self, payer: bytes, author: str) -> None:
        account = await self.subscriptions.go_on(payer, author)
        if account.holds:
            await self.holds.release_expired(payer, author)
        shard = await self._ledger.placing.place_one(payer)
        await shard.decide(partial(begin_period, payer=payer), author)
        was_cycle_open, trouble = await self._repaired(payer, account, author)
        await self._reported(payer, account, author, was_cycle_open=was_cycle_open)
        if trouble is not None:
            raise trouble

    async def _repaired(
        self, payer: bytes, account: BillingAccount, author: str
    ) -> tuple[bool, TroubleError | None]:
        """Repair; say whether a cycle's books were open, and what is in the way of an invoice.

        Usage is reported all the same.
        """
        was_cycle_open, trouble = False, None
        if account.ended:
            try:
                await self._repair.of_ended(payer, author)
            except TroubleError as error:
                trouble = error
        if account.subscription is not None and account.is_active:
            try:
                was_cycle_open = await self._repair.of_bound(payer, author)
            except TroubleError as error:
                was_cycle_open, trouble = True, error
        return was_cycle_open, trouble

    async def _reported(
        self, payer: bytes, account: BillingAccount, author: str, *, was_cycle_open: bool
    ) -> None:
        if account.subscription is None or not account.is_active:
            return
        # Once a cycle, for nobody may ever tell that a subscription has ended.
        if was_cycle_open and await self.subscriptions.note_end(payer, author):
            return
        if not account.is_cancelling:
            await self._report(payer, author)

    async def _report(self, payer: bytes, author: str) -> None:
        """Report, and look whether there is anybody left to report on, where it does not work."""
        try:
            is_delivered = await self.reports.report(payer, author)
        except NotFoundError:
            # The customer was deleted, say, and its subscription with it.
            if not await self.subscriptions.note_end(payer, author):
                raise
        else:
            if not is_delivered:
                await self.subscriptions.note_end(payer, author)

    async def compare_all(self, author: str) -> None:
        """Compare what was delivered of every payer with Stripe's sums; differences are logged.

        UnavailableError when some could not be compared and may be, later.
        """
        put_off = 0

        async def compare(shard: Shard, payer: bytes, known: Trouble | None) -> None:
            nonlocal put_off
            try:
                difference = await self._difference(payer, author)
            except LedgerError as error:
                put_off += not is_hopeless(error)
                difference = reason_of(error)
            if difference:
                log.error("%s: %s", attribution_id(payer), difference)
                await self.troubles.keep(shard, payer, difference, known)

        await self._each(compare)
        if put_off:
            raise UnavailableError(f"the usage of {put_off} payers cannot be compared now")

    async def _difference(self, payer: bytes, author: str) -> str:
        """Say in what Stripe's sum differs, or why there is none."""
        try:
            return await self.reports.compare(payer, author)
        except NotFoundError as error:
            # The customer was deleted, say: once the subscription has ended, its last books tell.
            return "" if await self.subscriptions.note_end(payer, author) else str(error)

    async def _payers(self) -> AsyncIterator[tuple[Shard, bytes, Trouble | None]]:
        """Give every payer whose account wants something, or who is on STRIPE, and its trouble.

        What is written of payers of whom nothing is wanted any more is forgotten on the way.
        """
        for shard in self._ledger.shards:
            after, is_last = b"", False
            while not is_last:
                page = await shard.read(partial(looked_after, after=after))
                for payer in page.troubles.keys() - set(page.payers):
                    await self.troubles.forget(shard, payer)
                for payer in page.payers:
                    yield shard, payer, page.troubles.get(payer)
                after, is_last = (page.payers or [after])[-1], page.is_last

    async def page(self, *, after: bytes, limit: int) -> list[bytes]:
        """Give payers that have to do with Stripe, in order, behind one."""
        found: set[bytes] = set()
        for shard in self._ledger.shards:
            found |= set(await shard.read(partial(_billed, after=after, limit=limit)))
        return sorted(found)[:limit]


def _billed(queries: Queries, after: bytes, limit: int) -> list[bytes]:
    return queries.reader.billed_payers(after=after, limit=limit)


def open_gateway(settings: StripeSettings) -> Gateway | None:
    """Open the way to Stripe; None without credentials. StartRefusedError says what to change."""
    if settings.secret_key_file is None:
        return None
    try:
        from billing.gateway import Gateway  # noqa: PLC0415  # Stripe's library is an extra
    except ImportError as error:
        raise StartRefusedError(
            "stripe.secret_key_file is set, but Stripe's library is not installed:"
            " pip install 'usage-ledger[billing]'"
        ) from error
    try:
        return Gateway(
            GatewaySettings(
                secret_key=read_secret(settings.secret_key_file, "stripe.secret_key_file"),
                base_url=settings.url,
                timeout_seconds=settings.timeout / 1_000,
                retries=settings.retries,
            )
        )
    except ValueError as error:  # the others were looked at with the settings
        raise StartRefusedError(f"stripe.url: {error}") from error


def _webhook_secrets(settings: StripeSettings) -> tuple[Secret, ...]:
    if settings.webhook_secret_file is None:
        return ()
    return read_secrets(settings.webhook_secret_file, "stripe.webhook_secret_file")


def read_secrets(path: Path, setting: str) -> tuple[Secret, ...]:
    """Read secrets from their file, one a line."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        raise StartRefusedError(f"{setting} names a file that holds no secret") from None
    secrets = tuple(Secret(line.strip()) for line in text.splitlines() if line.strip())
    if not secrets:
        raise StartRefusedError(f"{setting} names an empty file")
    return secrets


def read_secret(path: Path, setting: str) -> Secret:
    """Read the one secret of a file."""
    secrets = read_secrets(path, setting)
    if len(secrets) > 1:
        raise StartRefusedError(f"{setting} names a file of more than one line")
    return secrets[0]
