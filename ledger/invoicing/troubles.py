"""Why payers' billing does not go on: kept in the store, so that any process can tell, any time.

It lies in the shard of the payer, beside the rows that the status shows with it, and not in the
log: no number depends on it. A trouble is written when it comes, changes or goes, and else now and
then: a run looks at every payer, and most have none.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from events.readable import attribution_id
from ledger.errors import LedgerError
from persistence import StoreUnavailableError, Trouble

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.queries import Queries
    from ledger.shards import Shard

PAGE = 200  # payers looked at together
REASON_CHARS_MAX = 500  # a sentence of ours and one of Stripe's
# What stays the same is not written down again before so long: a run is due once an hour, and
# whoever calls ReconcileInvoices again and again must not write a row for each payer each time.
SAID_AGAIN_MS = 5 * 60_000

_BEHIND_ALL = b"\xff" * 17  # behind the bytes of every payer

log = logging.getLogger(__name__)


class LookedAfter(NamedTuple):
    """Payers of a shard that billing looks after, by payer, and what troubles are written down.

    Also troubles of payers that it does not look after any more.
    """

    payers: list[bytes]
    troubles: dict[bytes, Trouble]
    is_last: bool


def looked_after(queries: Queries, after: bytes) -> LookedAfter:
    """Give the payers behind one, as many as are looked at together."""
    reader = queries.reader
    with reader.snapshot():
        payers = reader.billed_payers(after=after, limit=PAGE)
        is_last = len(payers) < PAGE
        # Those of others were left since the last run, so they are few.
        written = reader.troubles(after=after, upto=_BEHIND_ALL if is_last else payers[-1])
    return LookedAfter(payers, {trouble.payer: trouble for trouble in written}, is_last)


def reason_of(error: Exception) -> str:
    """Give what is kept of an error: a sentence of ours, or where to look."""
    told = str(error) if isinstance(error, LedgerError) else f"{type(error).__name__}, see the log"
    return told[:REASON_CHARS_MAX]


class Troubles:
    """Keeps what runs of payers came to."""

    def __init__(self, ledger: Ledger) -> None:
        """Keep it in a ledger's shards."""
        self._ledger = ledger

    async def keep(self, shard: Shard, payer: bytes, reason: str, known: Trouble | None) -> None:
        """Keep why a payer's run failed; with no reason it did not. `known` is what is written."""
        now = self._ledger.now()
        if not reason:
            if known is not None:
                await self.forget(shard, payer)
            return
        reason = reason[:REASON_CHARS_MAX]
        is_said = known is not None and known.reason == reason
        if is_said and known is not None and 0 <= now - known.tried_at < SAID_AGAIN_MS:
            return
        try:
            await shard.beside(lambda transaction: transaction.add_trouble(payer, reason, now=now))
        except (LedgerError, StoreUnavailableError) as error:
            # It is in the log, and the next run says it again.
            log.warning("the trouble of %s is not kept: %s", attribution_id(payer), error)

    async def forget(self, shard: Shard, payer: bytes) -> None:
        """Forget a payer's trouble: a run succeeded, or none looks after the payer any more."""
        try:
            await shard.beside(lambda transaction: transaction.remove_trouble(payer))
        except (LedgerError, StoreUnavailableError) as error:
            log.warning("the trouble of %s is not taken back: %s", attribution_id(payer), error)
