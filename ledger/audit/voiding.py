"""Voiding: a workspace instance or a credit note is found not to count, with a reason."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ledger import commands
from ledger.commands.credit_notes import payer_of
from ledger.errors import FailedPreconditionError
from ledger.queries import Queries
from ledger.shards import Shard
from persistence import AUDIT, VoidRow

if TYPE_CHECKING:
    from ledger.application import Ledger


class Voided(NamedTuple):
    """Whose it was, and where the log says so."""

    payer: bytes
    shard: int
    position: int


async def void_instance(
    ledger: Ledger, instance_id: str, *, attribution: str, reason: str, author: str
) -> Voided:
    """Void an instance; `attribution`, unless empty, says whose it must be."""
    payer = payer_of(attribution) if attribution else None
    shard = await ledger.placing.of_instance(instance_id, payer)
    await _refuse_unfinished(shard)
    act = partial(commands.void_instance, instance_id=instance_id, reason=reason, payer=payer)
    was_of, position = await shard.command(act, author)
    return Voided(was_of, shard.number, position)


async def void_credit_note(
    ledger: Ledger, attribution: str, entry_id: str, *, reason: str, author: str
) -> Voided:
    """Void a credit note, issued by call, published or imported."""
    payer = payer_of(attribution)
    shard = await ledger.placing.find(payer)
    await _refuse_unfinished(shard)
    act = partial(commands.void_credit_note, payer=payer, entry_id=entry_id, reason=reason)
    position = await shard.decide(act, author)
    return Voided(payer, shard.number, position)


async def _refuse_unfinished(shard: Shard) -> None:
    """Write no void while a role may run that cannot read it."""
    if await asyncio.to_thread(shard.store.finished_schema) < AUDIT:
        raise FailedPreconditionError(
            "nothing can be voided before migrations are finished: run `usage-ledger migrate"
            " --finish` once every role is of this version"
        )


async def list_voids(
    ledger: Ledger, payer: bytes, *, before: int, limit: int
) -> tuple[list[VoidRow], int]:
    """Give what was voided of a payer, newest first, and the shard that says so."""
    shard = await ledger.placing.find(payer)
    ask = partial(_voids, payer=payer, before=before, limit=limit)
    return await shard.read(ask), shard.number


def _voids(queries: Queries, payer: bytes, before: int, limit: int) -> list[VoidRow]:
    queries.refuse_if_paused("instances")
    return queries.reader.voids(payer, before=before, limit=limit)
