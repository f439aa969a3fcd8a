"""Holds on cards: placed to see that a card is good, and released whatever becomes of them."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from billing import GatewayError, Hold, StripeMissingError, intent_key
from events.readable import attribution_id
from ledger.commands import holds as commands
from ledger.errors import LedgerError
from ledger.invoicing.accounts import account_of, marker
from ledger.invoicing.customers import CLOCKS_APART_SECONDS, KEY_SECONDS, Customers
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

HOLD_MARK = "hold"

log = logging.getLogger(__name__)


class Holds:
    """The use cases of holds."""

    def __init__(self, ledger: Ledger, gateway: Gateway, customers: Customers) -> None:
        """Place holds for a ledger's customers."""
        self._ledger = ledger
        self._gateway = gateway
        self._customers = customers

    async def place(self, payer: bytes, author: str) -> Hold:
        """Ask for a hold, which the payer's browser then confirms."""
        try:
            await self._customers.of_payer(payer, author)
        except LedgerError as error:
            raise type(error)(f"Failed to find stripe customer: {error}") from error
        given_up, failed = None, None
        while True:
            shard = await self._ledger.placing.place_one(payer)
            wanted: commands.HoldWanted = await shard.command(
                partial(
                    commands.request_hold,
                    payer=payer,
                    known_seconds=KEY_SECONDS,
                    given_up=given_up,
                ),
                author,
            )
            hold = await self._make(payer, wanted, author)
            if isinstance(hold, Hold):
                break
            if failed is not None:
                raise hold  # of a second key, too: Stripe is broken
            given_up, failed = wanted.number, hold
        self._ledger.failpoint("hold-placed")
        await shard.command(
            partial(
                commands.hold_placed,
                payer=payer,
                number=wanted.number,
                payment_intent_id=hold.hold_id,
            ),
            author,
        )
        return hold

    async def _make(
        self, payer: bytes, wanted: commands.HoldWanted, author: str
    ) -> Hold | LedgerError:
        """Ask Stripe for it; an error is given, not raised, where its key gives nothing else."""
        name = attribution_id(payer)
        mark = marker(HOLD_MARK, payer, wanted.number)
        try:
            return await self._gateway.create_hold(
                key=intent_key("create-hold", name, generation=wanted.number),
                customer_id=wanted.customer_id,
                currency=wanted.currency,
                marker=mark,
            )
        except GatewayError as error:
            failure = told(error, "Failed to create a payment intent to for playing a hold.")
            if isinstance(error, StripeMissingError):
                await self._customers.note_deleted(wanted.customer_id, author)
            if not error.is_stored_failure:
                raise failure from error
        start = wanted.asked_at // 1_000 - CLOCKS_APART_SECONDS
        try:
            placed = await self._gateway.holds_of(wanted.customer_id, created_from=start)
        except GatewayError as error:
            raise failure from error
        return next((one for one in placed if one.marker == mark), failure)

    async def release_expired(self, payer: bytes, author: str) -> None:
        """Release holds that nobody has used in time."""
        account = await account_of(self._ledger, payer)
        expiry = self._ledger.settings.stripe.hold_expiry
        used = "" if account.wanted is None else account.wanted.payment_intent_id
        for hold_id, placed_at in account.holds.items():
            if hold_id != used and self._ledger.now() - placed_at >= expiry:
                await self.release(payer, hold_id, "expired", author)

    async def release(self, payer: bytes, hold_id: str, cause: str, author: str) -> None:
        """Release a hold; one that cannot be released now is released by a later run."""
        try:
            await self._gateway.cancel_hold(hold_id)
        except GatewayError as error:
            # It expires by itself after a week; the next run tries again.
            log.warning("hold %s could not be released: %s", hold_id, error)
            return
        shard = await self._ledger.placing.place_one(payer)
        await shard.command(
            partial(commands.hold_released, payer=payer, payment_intent_id=hold_id, cause=cause),
            author,
        )
