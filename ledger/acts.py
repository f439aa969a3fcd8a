"""What operators do beside the log: no event tells it, so its author is written down with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from persistence import Act, Transaction

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.shards import Shard

log = logging.getLogger(__name__)


async def write_down(ledger: Ledger, shard: Shard, author: str, what: str, detail: str) -> None:
    """Write down what is about to be done, where that takes more than one transaction."""
    act = Act(ledger.now(), author, what, detail)
    await shard.beside(lambda transaction: transaction.add_act(act))


async def rebuild_tree(ledger: Ledger, shard: Shard, author: str) -> None:
    """Let a shard's tree be computed anew by whoever keeps it; log and heads stay."""
    act = Act(ledger.now(), author, "rebuild-tree", f"shard {shard.number}")

    def clear(transaction: Transaction) -> None:
        transaction.tree.clear()
        transaction.add_act(act)

    await shard.beside(clear)
    log.warning("%s has the tree of shard %d built anew", author, shard.number)
