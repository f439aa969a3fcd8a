"""Places at which a test can kill the process, as power loss would.

Named in the code, chosen by environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

VARIABLE = "USAGE_LEDGER_FAILPOINT"  # `name` or `name:n`: die when the name is passed the n-th time
# Between what is recorded and what is asked of Stripe.
OF_BILLING = (
    "customer-requested",
    "customer-made",
    "hold-placed",
    "subscription-requested",
    "card-set",
    "hold-verified",
    "subscription-made",
    "subscription-renewed",
    "subscription-created",
    "subscription-activated",
    "cancel-requested",
    "subscription-cancelled",
    "subscription-ended",
    "report-requested",
    "report-stamped",
    "report-sent",
    "report-delivered",
    "invoice-settled",
)
# Of the follower that keeps the tree over the log.
OF_THE_TREE = (
    "tree-grown",  # tiles are written, and not committed
    "tree-kept",  # they are committed, and the follower does not know it yet
)
# Of a generation of the projections that is built, promoted or taken back, and dropped.
OF_GENERATIONS = (
    "rebuild-begun",  # its tables are there
    "rebuild-folding",  # a batch is folded, and not committed
    "rebuild-folded",
    "rebuild-compared",
    "comparison-kept",
    "before-change",  # another one is served, once this is committed
    "after-change",
    "before-drop",
    "dropping",  # some rows are gone
    "replay-folding",  # into a fresh file: a batch is folded, and not committed
    "replay-folded",
)
# Between the steps of an erasure.
OF_ERASURE = ("erasure-requested", "erased-rows", "erased-letters", "erased")
# Of evidence packs, written and taken over by commands of their own.
OF_PACKS = (
    "pack-events-written",  # a stretch of the log is in the pack, more is to come
    "pack-folded",
    "pack-written",  # all of it, beside its place
    "pack-in-place",
    "pack-events-imported",  # in the transaction
    "pack-shard-written",  # all of a shard, not committed
    "pack-shard-imported",  # committed, and nobody was told
)
# Of the follower that keeps sums of entries.
OF_THE_SUMS = (
    "sums-written",  # of a batch, and not committed
    "sums-kept",  # they are committed, and the follower does not know it yet
)
# Of the commands that make, list and exchange keys.
OF_KEYS = (
    "key-written",  # beside its place
    "key-in-place",  # under both names
    "key-list-written",
    "key-list-in-place",
)
OF_ROTATION = (
    *OF_KEYS,
    "key-exchanged",  # the new one is in the place of the old one
    "key-has-signed",
)
NAMES = (
    "between-works",  # of one group
    "in-reset",  # a cost center was reset, its group goes on
    "in-import",  # a batch of an import was decided, its group goes on
    "before-append",
    "after-append",
    "before-fold",  # of each projection
    "after-fold",
    "before-fold-commit",  # of the projector
    "after-fold-commit",
    "before-intake-position",  # a batch of the bus begins
    "after-intake-position",
    "intake-polled",  # records came from the bus
    "intake-read",  # ... and were read into lines
    "intake-taken",  # a batch of the bus is durable, and the consumer does not know it yet
    "intake-committed",  # ... and the bus was told
    "after-deliver",  # a batch was handed to another system, its position not yet moved
    "live-folded",  # a batch of the Faust worker: nothing of it is written
    "live-alerted",  # its alerts are on their topic
    "live-written",  # its states are in the changelog, nothing is acknowledged
    "before-commit",
    "after-commit",  # durable, but nobody was told
    "before-checkpoint",
    "after-checkpoint",
    "after-clear",  # the read model is empty, to be folded anew
    "catching-up",  # a batch was folded at start
    "before-close",
    *OF_BILLING,
    *OF_THE_TREE,
    *OF_GENERATIONS,
    *OF_ERASURE,
    *OF_PACKS,
    *OF_THE_SUMS,
    *OF_ROTATION,
)

# Passed only where processes share a store or a bus feeds the ledger.
OF_THE_CLUSTER = (
    "before-fold-commit",
    "after-fold-commit",
    "before-intake-position",
    "after-intake-position",
    "intake-polled",
    "intake-read",
    "intake-taken",
    "intake-committed",
    "after-deliver",
    "live-folded",
    "live-written",
    "live-alerted",
)


def failpoint_of_environment() -> Callable[[str], None]:
    """Give the function that the code calls at every failpoint.

    Without the variable it does nothing.
    """
    chosen = os.environ.get(VARIABLE, "")
    if not chosen:
        return lambda _name: None
    name, _, count = chosen.partition(":")
    if name not in NAMES:
        raise ValueError(f"{VARIABLE}={chosen!r}: one of {', '.join(NAMES)}")
    left = int(count or 1)

    def die_at(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return die_at
