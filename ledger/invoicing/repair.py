"""What no webhook told: invoices that are final and not settled, and cycles that had none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aggregates import BillingAccount, EndedSubscription
from billing import GatewayError, Invoice
from ledger.commands import settlements as commands
from ledger.errors import TroubleError
from ledger.invoicing.accounts import account_of, prices_of
from ledger.invoicing.periods import StripePeriods
from ledger.invoicing.settlements import (
    Settlements,
    UncountableError,
    is_final,
    usage_period,
    usage_prices,
)
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

# A draft is final an hour after its cycle by default, and three days at the latest.
GRACE_MS = 4 * 86_400_000


class Repair:
    """Looks after the cycles whose books are open, without being told."""

    def __init__(self, ledger: Ledger, gateway: Gateway, settlements: Settlements) -> None:
        """Look after a ledger's cycles."""
        self._ledger = ledger
        self._gateway = gateway
        self._settlements = settlements
        self._periods = StripePeriods(ledger, gateway)

    async def of_bound(self, payer: bytes, author: str) -> bool:
        """Settle final invoices and close the books of empty cycles of the bound subscription.

        False when no cycle's books were open. TroubleError when one of the invoices, which the
        others do not wait for, cannot be settled.
        """
        account = await account_of(self._ledger, payer)
        if account.subscription is None:
            return False
        return await self._one(payer, account.subscription.subscription_id, author)

    async def of_ended(self, payer: bytes, author: str) -> None:
        """Settle the last invoices of subscriptions that have ended.

        Where none comes, because Stripe was told to forget open usage, nobody is billed for it.
        """
        shard = await self._ledger.placing.place_one(payer)
        unsettled: list[EndedSubscription] = await shard.decide(
            partial(commands.unsettled_subscriptions, payer=payer), author
        )
        for one in unsettled:
            await self._one(payer, one.subscription_id, author)

    async def _one(self, payer: bytes, subscription_id: str, author: str) -> bool:
        unclosed = await self._unclosed(payer, subscription_id, author)
        if not unclosed:
            return False
        try:
            seen = [
                invoice
                async for invoice in self._gateway.invoices_of(
                    created_from=unclosed[0][0] // 1_000, subscription_id=subscription_id
                )
            ]
        except GatewayError as error:
            raise told(error, "invoices are listed") from error
        trouble: TroubleError | None = None
        for invoice in reversed(seen):
            if is_final(invoice):
                try:
                    await self._settlements.settle(payer, invoice, author)
                except UncountableError as error:
                    trouble = trouble or error
        await self._close_empty(payer, subscription_id, seen, author)
        if trouble is not None:
            raise trouble
        return True

    async def _unclosed(
        self, payer: bytes, subscription_id: str, author: str
    ) -> list[tuple[int, int]]:
        shard = await self._ledger.placing.place_one(payer)
        cycles: list[tuple[int, int]] = await shard.decide(
            partial(commands.unclosed_cycles, payer=payer, subscription_id=subscription_id), author
        )
        return cycles

    async def _close_empty(
        self, payer: bytes, subscription_id: str, seen: list[Invoice], author: str
    ) -> None:
        """Close cycles that ended long ago and for which Stripe makes no invoice any more."""
        now = self._ledger.now()
        unclosed = await self._unclosed(payer, subscription_id, author)
        late = [(start, end) for start, end in unclosed if now - end > GRACE_MS]
        account = await account_of(self._ledger, payer)
        if not late or not await self._are_stripes_cycles(payer, account, subscription_id, author):
            return
        shard = await self._ledger.placing.place_one(payer)
        for cycle in late:
            billing = await self._billing(payer, account, seen, cycle)
            if billing is None:
                await shard.decide(
                    partial(
                        commands.close_without_invoice,
                        payer=payer,
                        subscription_id=subscription_id,
                        period_start=cycle[0],
                        period_end=cycle[1],
                    ),
                    author,
                )
            elif await self._settlements.is_settled(payer, billing):
                raise TroubleError(
                    f"invoice {billing.invoice_id} bills usage of a period that is none of"
                    f" subscription {subscription_id}: the books of its cycles stay open"
                )

    async def _are_stripes_cycles(
        self, payer: bytes, account: BillingAccount, subscription_id: str, author: str
    ) -> bool:
        """Look whether Stripe has the cycles that were counted; the next run sees others, if not.

        The invoice of a cycle that was moved may still be to come.
        """
        if isinstance(account.known(subscription_id), EndedSubscription):
            return True
        found = await self._periods.look(subscription_id)
        if found.is_dead:
            return False  # its end is not noted yet, and its last cycle is a shorter one
        if found.item is None:
            raise TroubleError(
                f"subscription {subscription_id} has not exactly one price: its cycles are unknown"
            )
        return not await self._periods.follow(payer, found, author)

    async def _billing(
        self, payer: bytes, account: BillingAccount, seen: list[Invoice], cycle: tuple[int, int]
    ) -> Invoice | None:
        """Give an invoice that bills, or may come to bill, usage of a cycle, and is not counted.

        One that is settled within the cycle is counted when its books are closed.
        """
        prices = prices_of(self._ledger, account)
        for invoice in seen:
            period = usage_period(invoice, prices | usage_prices(invoice))
            if period is None or not _overlaps(period, cycle):
                continue
            is_within = cycle[0] <= period[0] and period[1] <= cycle[1]
            if not (is_within and await self._settlements.is_settled(payer, invoice)):
                return invoice
        return None


def _overlaps(period: tuple[int, int], cycle: tuple[int, int]) -> bool:
    # A cycle may be of no length, in the second in which its subscription ended.
    return period[0] < max(cycle[1], cycle[0] + 1) and cycle[0] < max(period[1], period[0] + 1)
