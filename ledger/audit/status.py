"""How the trees of a ledger are, as every process of it can tell: from the rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ledger.queries import Queries
from ledger.shards import Shard
from persistence import Head, JobRow, TreeState

JOB = "heads"


class TreeStanding(NamedTuple):
    """A shard's tree and its newest head."""

    state: TreeState
    position: int
    newest_head: Head | None


async def trees(shards: Sequence[Shard]) -> list[TreeStanding]:
    """Tell how every shard's tree is."""
    return [await shard.read(_standing) for shard in shards]


def _standing(queries: Queries) -> TreeStanding:
    reader = queries.reader
    with reader.snapshot():
        tree = reader.tree
        return TreeStanding(tree.state(), tree.position(), tree.newest_head())


def why_heads_are_held(jobs: Sequence[JobRow]) -> str:
    """Say why the last try to sign heads failed; empty when it did not."""
    return next((job.last_error for job in jobs if job.name == JOB), "")
