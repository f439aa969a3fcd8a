"""What a tree is called: by its ledger and its shard, for ever."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ledger.shards import Shard

PREFIX = "usage-ledger"


def name_trees(shards: Sequence[Shard]) -> None:
    """Name the trees that have no name yet: `usage-ledger/<id of the ledger>/<shard>`.

    The name stands in every head, so that no head can be shown as another ledger's or shard's.
    """
    ledger = ""
    for shard in shards:
        with shard.core.store.beside() as transaction:
            origin = transaction.tree.state().origin
            if not origin:
                ledger = ledger or f"{PREFIX}/{uuid.uuid4()}"
                # Somebody else may have named it meanwhile.
                origin = transaction.tree.name(f"{ledger}/{shard.number}")
        ledger = ledger or origin.rpartition("/")[0]
