"""Cost centers of every shard: opened, set and reset where their payers live."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING

from ledger import commands
from ledger.commands.cost_centers import Opening, Terms
from ledger.directory import Directory, NoDirectory
from ledger.errors import UnavailableError
from ledger.free_credit import claims_for
from ledger.group import Group
from ledger.shards import Shard

if TYPE_CHECKING:
    from ledger.application import Ledger

RESETS_AT_ONCE = 200  # cost centers handed to the writer together by one reset run

log = logging.getLogger(__name__)


class CostCenters:
    """The use cases of cost centers."""

    def __init__(self, ledger: Ledger, directory: Directory) -> None:
        """Ask this directory what a new cost center gets."""
        self._ledger = ledger
        self._directory = directory

    async def opening_in(self, shard: Shard, payer: bytes, author: str) -> Opening:
        """Give what a new cost center gets, with its free credits claimed.

        Where there is one, the directory is not asked and nothing is claimed.
        """
        if await shard.read(lambda queries: queries.reader.cost_center(payer)) is None:
            return await self._granted(shard, payer, await self._opening(payer), author)
        limits = self._ledger.settings.default_spending_limit
        return Opening(limits.for_teams, limits.for_users)

    async def _opening(self, payer: bytes) -> Opening:
        """Ask the directory, before any write, what a new cost center gets."""
        limits = self._ledger.settings.default_spending_limit
        claims: list[str] = []
        if not isinstance(self._directory, NoDirectory):
            claims = await asyncio.to_thread(
                claims_for, self._directory, self._ledger.email_hmac(), payer
            )
        return Opening(limits.for_teams, limits.for_users, claims)

    async def _granted(self, shard: Shard, payer: bytes, opening: Opening, author: str) -> Opening:
        """Claim free credits in the first shard, where everybody's claims lie.

        There the claim is part of the transaction that opens the cost center; for another shard it
        comes first. The same cost center claiming again has it.
        """
        if shard.number == 0 or not opening.claims:
            return opening
        granted: bool = await self._ledger.shards[0].command(
            functools.partial(commands.claim, payer=payer, claims=opening.claims), author
        )
        return Opening(opening.for_users if granted else opening.for_teams, opening.for_users)

    async def get(self, payer: bytes, author: str) -> Terms:
        """Give a cost center, opened on the first read and reset when its cycle has ended."""
        row = await self._ledger.read(payer, lambda queries: queries.cost_center(payer))
        if row is not None and (row.strategy == "stripe" or row.next_billing > self._ledger.now()):
            return Terms(
                payer,
                row.spending_limit,
                row.strategy,
                row.cycle_start,
                row.next_billing,
                row.cycle_number,
            )
        opening = Opening(0, 0) if row is not None else await self._opening(payer)
        shard = await self._ledger.placing.place_one(payer)
        opening = await self._granted(shard, payer, opening, author)
        terms: Terms = await shard.decide(
            lambda group: commands.open_cost_center(group, payer, opening), author
        )
        return terms

    async def set(self, payer: bytes, *, spending_limit: int, strategy: str, author: str) -> Terms:
        """Set limit and strategy."""
        shard = await self._ledger.placing.place_one(payer)
        opening = await self.opening_in(shard, payer, author)
        terms: Terms = await shard.decide(
            lambda group: commands.set_cost_center(
                group, payer, spending_limit=spending_limit, strategy=strategy, opening=opening
            ),
            author,
        )
        return terms

    async def reset_due(self, author: str) -> tuple[int, int]:
        """Reset every cost center whose cycle has ended.

        Give how many were reset and how many failed.
        """
        done = failed = 0
        for shard in self._ledger.shards:
            shard_done, shard_failed = await self._reset_shard(shard, author)
            done, failed = done + shard_done, failed + shard_failed
        return done, failed

    async def _reset_shard(self, shard: Shard, author: str) -> tuple[int, int]:
        done = failed = 0
        after = b""
        while True:
            due: list[bytes] = await shard.decide(
                functools.partial(commands.due_cost_centers, after=after, limit=RESETS_AT_ONCE),
                author,
            )
            if not due:
                return done, failed
            after = due[-1]
            outcomes = await asyncio.gather(
                *[self._reset(shard, payer, author) for payer in due], return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, UnavailableError):
                    raise outcome
                if isinstance(outcome, BaseException):
                    failed += 1
                    log.error("a cost center could not be reset", exc_info=outcome)
                else:
                    done += bool(outcome)

    @staticmethod
    async def _reset(shard: Shard, payer: bytes, author: str) -> bool:
        def act(group: Group) -> bool:
            done = commands.reset_cost_center(group, payer)
            group.context.failpoint("in-reset")
            return done

        reset: bool = await shard.decide(act, author)
        return reset
