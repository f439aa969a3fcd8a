"""Disputes of payments: the owners of the organisation are blocked, each once and by itself."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from billing import GatewayError, StripeMissingError
from events.readable import attribution_id, uuid_text
from ledger.commands import disputes as commands
from ledger.directory import OWNER, Directory
from ledger.errors import NotFoundError, TroubleError, UnavailableError
from ledger.identifiers import parse_payer
from ledger.invoicing.accounts import payer_of_stripe_id
from ledger.invoicing.told import told

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger

log = logging.getLogger(__name__)


class Disputes:
    """The use case of disputes."""

    def __init__(self, ledger: Ledger, gateway: Gateway, directory: Directory) -> None:
        """Block through this directory."""
        self._ledger = ledger
        self._gateway = gateway
        self._directory = directory

    async def opened(self, dispute_id: str, author: str) -> None:
        """Block everybody who owns the disputing organisation.

        All are tried; UnavailableError names those who failed, and the next try blocks only them.
        """
        payer, customer_id = await self._payer_of(dispute_id)
        owners = await asyncio.to_thread(self._owners, payer)
        shard = await self._ledger.placing.place_one(payer)
        wanted: list[str] = await shard.command(
            partial(
                commands.open_dispute,
                payer=payer,
                dispute_id=dispute_id,
                customer_id=customer_id,
                owners=owners,
            ),
            author,
        )
        if not owners:
            log.warning(
                "dispute %s of %s: no owners are known, so nobody is blocked",
                dispute_id,
                attribution_id(payer),
            )
        failed = []
        reason = f"User has created a Stripe dispute ID: {dispute_id}"
        for user_id in wanted:
            try:
                await asyncio.to_thread(self._directory.block, user_id, reason)
            except UnavailableError as error:
                log.warning("user %s could not be blocked: %s", user_id, error)
                failed.append(user_id)
                continue
            await shard.command(
                partial(commands.user_blocked, payer=payer, dispute_id=dispute_id, user_id=user_id),
                author,
            )
        if failed:
            raise UnavailableError(f"failed to block users: {', '.join(failed)}")

    def _owners(self, payer: bytes) -> list[str]:
        try:
            members = self._directory.members(payer)
        except UnavailableError as error:
            raise UnavailableError(
                f"failed to lookup team details for team ID: {uuid_text(payer)}: {error}"
            ) from error
        return [member.user_id for member in members if member.role == OWNER]

    async def _payer_of(self, dispute_id: str) -> tuple[bytes, str]:
        try:
            dispute = await self._gateway.dispute(dispute_id)
        except StripeMissingError as error:
            raise NotFoundError(
                f"failed to retrieve dispute ID {dispute_id} from stripe"
            ) from error
        except GatewayError as error:
            raise told(error, f"failed to retrieve dispute ID {dispute_id} from stripe") from error
        customer_id = dispute.customer_id
        if customer_id is None:
            raise TroubleError(
                "dispute did not contain customer of payment intent in expanded fields"
            )
        # Ours is the source; the metadata count for customers that are not bound here.
        payer = await payer_of_stripe_id(self._ledger, customer_id)
        if payer is None:
            if not dispute.attribution_id:
                raise TroubleError(
                    f"Customer {customer_id} object did not contain attribution ID in metadata"
                )
            payer = parse_payer(dispute.attribution_id)
            if payer is None:
                raise TroubleError("failed to parse attribution ID from customer metadata")
        return payer, customer_id
