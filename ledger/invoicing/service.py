"""Billing as one: what calls, webhooks, jobs and operators ask of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from billing import GatewayError, GatewaySettings, Secret
from events.readable import attribution_id
from ledger.commands.cost_centers import begin_period
from ledger.directory import Directory
from ledger.errors import LedgerError, StartRefusedError
from ledger.invoicing.comparison import Comparison
from ledger.invoicing.customers import Customers
from ledger.invoicing.disputes import Disputes
from ledger.invoicing.holds import Holds
from ledger.invoicing.reports import Reports
from ledger.invoicing.settlements import Settlements
from ledger.invoicing.subscriptions import Subscriptions
from ledger.invoicing.webhooks import Webhooks
from ledger.queries import Queries

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger
    from ledger.settings import StripeSettings

PAGE = 200  # payers looked at together

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a run of ReconcileInvoices came to."""

    done: int
    failed: int


class Billing:
    """The use cases of billing."""

    def __init__(self, ledger: Ledger, gateway: Gateway, directory: Directory) -> None:
        """Bill a ledger's payers through this gateway; the directory blocks who disputes."""
        self._ledger = ledger
        self.gateway = gateway
        self.customers = Customers(ledger, gateway)
        self.reports = Reports(ledger, gateway)
        self.holds = Holds(ledger, gateway, self.customers)
        self.subscriptions = Subscriptions(
            ledger, gateway, self.customers, self.holds, self.reports.report_the_rest
        )
        self.settlements = Settlements(ledger, gateway)
        self.disputes = Disputes(ledger, gateway, directory)
        self.webhooks = Webhooks(ledger, self, _webhook_secrets(ledger.settings.stripe))
        self.comparison = Comparison(ledger, gateway)
        self.trouble: dict[bytes, str] = {}  # by payer, why its last run failed

    async def close(self) -> None:
        """Close the connections to Stripe."""
        await self.webhooks.stop()
        await self.gateway.close()

    async def reconcile(self, author: str) -> Outcome:
        """Report the usage of every payer, and go on with whatever is unfinished.

        One payer's failure is kept and does not stop the others.
        """
        done = failed = 0
        async for payer in self._payers():
            try:
                await self._reconcile_one(payer, author)
            except LedgerError as error:
                failed += 1
                self.trouble[payer] = str(error)
                log.warning("billing: %s", error)
            except Exception as error:
                failed += 1
                self.trouble[payer] = f"{type(error).__name__}, see the log"
                log.exception("a payer's usage could not be reported")
            else:
                done += 1
                self.trouble.pop(payer, None)
        return Outcome(done, failed)

    async def catch_up(self, author: str) -> None:
        """Do what webhooks would have asked for that never came; trouble is for the next run."""
        try:
            await self.webhooks.catch_up(author)
        except GatewayError as error:
            log.warning("billing: events that nobody heard of are not listed: %s", error)

    async def _reconcile_one(self, payer: bytes, author: str) -> None:
        account = await self.subscriptions.go_on(payer, author)
        if account.holds:
            await self.holds.release_expired(payer, author)
        shard = await self._ledger.placing.place_one(payer)
        await shard.decide(partial(begin_period, payer=payer), author)
        if account.ended:
            await self.settlements.repair_ended(payer, author)
        if account.subscription is not None and account.is_active:
            was_cycle_open = await self.settlements.repair(payer, author)
            # Once a cycle, for nobody may ever tell that a subscription has ended.
            if was_cycle_open and await self.subscriptions.note_end(payer, author):
                return
            if not account.is_cancelling:
                await self.reports.report(payer, author)

    async def compare_all(self, author: str) -> None:
        """Compare what was delivered of every payer with Stripe's sums; differences are logged."""
        async for payer in self._payers():
            difference = await self.reports.compare(payer, author)
            if difference:
                self.trouble[payer] = difference
                log.error("%s: %s", attribution_id(payer), difference)

    async def _payers(self) -> AsyncIterator[bytes]:
        """Give every payer whose account wants something, or who is on STRIPE."""
        for shard in self._ledger.shards:
            after = b""
            while page := await shard.read(partial(_billed, after=after, limit=PAGE)):
                after = page[-1]
                for payer in page:
                    yield payer

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
    except ValueError as error:
        raise StartRefusedError(str(error)) from error


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
