"""Trying other rules on the whole history, read batch by batch beside whatever goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from events import LedgerEvent, UsageReconciled
from events.readable import attribution_id
from ledger.audit.rules import Rules
from ledger.audit.what_if import Account, Shown, WhatIf
from ledger.folding import decoded
from persistence import Reader, StreamEvent

BATCH = 5_000  # events in memory at once
BREACHES_SHOWN = 100

Tell = Callable[[int, int], None]  # events that were folded, of how many


class Outcome(NamedTuple):
    """What would be, payer by payer, the largest difference first."""

    accounts: list[Account]
    events: int
    # Balances that were compared with those that the ledger shows, and where the two differ: the
    # recorded side of every number stands on the same fold.
    compared: int
    breaches: list[str]


def try_rules(
    readers: Sequence[Reader],
    rules: Rules,
    shown: Shown,
    tell: Tell = lambda _done, _of: None,
    *,
    batch: int = BATCH,
) -> Outcome:
    """Fold every shard's log as it was recorded and by other rules; nothing is written.

    The log is cut where the shown balances stand, and what was recorded never changes: so no long
    snapshot is held, in whose way a write-ahead log would grow.
    """
    cuts = [_cut(reader, shown) for reader in readers]
    events = sum(end for end, _ in cuts)
    accounts: list[Account] = []
    compared, breaches, done = 0, list[str](), 0
    for reader, (end, live) in zip(readers, cuts, strict=True):
        fold = WhatIf(rules, shown, reader)
        position = 0
        while stored := reader.log(after=position, limit=min(batch, end - position)):
            position = stored[-1].position
            fold.fold([each for each in decoded(_of(stored, shown)) if _is_of(each.event, shown)])
            tell(done + position, events)
        done += end
        of_shard = fold.finish()
        accounts += of_shard.values()
        if live is not None:
            compared += len(live | of_shard)
            breaches += _differing(of_shard, live)
    accounts.sort(key=_largest_first)
    return Outcome(accounts, events, compared, breaches[:BREACHES_SHOWN])


def _cut(reader: Reader, shown: Shown) -> tuple[int, dict[bytes, int] | None]:
    """Give where the log is cut, and the balances there; None while they are behind the others."""
    with reader.snapshot():
        serves = reader.serves()
        end = reader.stands_at(serves)
        if "balances" in reader.paused(serves):
            return end, None
        if shown.payers:
            return end, reader.balances(sorted(shown.payers))
        rows = reader.rows_of("balances")
        return end, {row[0]: row[2] + row[3] for row in rows}  # type: ignore[misc,operator]  # integers


def _of(stored: Sequence[StreamEvent], shown: Shown) -> Sequence[StreamEvent]:
    """Leave out what cannot be of these payers, before anything is decoded."""
    if not shown.payers:
        return stored
    return [
        each
        for each in stored
        if each.topic == UsageReconciled.TOPIC or any(payer in each.state for payer in shown.payers)
    ]


def _is_of(event: LedgerEvent, shown: Shown) -> bool:
    payer = getattr(event, "payer", None)
    return not shown.payers or payer is None or payer in shown.payers


def _differing(accounts: dict[bytes, Account], live: dict[bytes, int]) -> list[str]:
    texts = []
    for payer in sorted(accounts.keys() | live.keys()):
        folded = accounts[payer].balance.recorded if payer in accounts else 0
        if folded != live.get(payer, 0):
            texts.append(
                f"{attribution_id(payer)}: balance {live.get(payer, 0)} cents, log {folded} cents"
            )
    return texts


def _largest_first(account: Account) -> tuple[int, int, bytes]:
    return -abs(account.usage.difference), -abs(account.balance.difference), account.payer
