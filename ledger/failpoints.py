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
