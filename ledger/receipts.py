"""Receipts of several shards as one, and how a dead letter is named outside its shard."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.intake import Receipt, Reject
from persistence import Counts

_SHARD_BITS = 48  # of a dead letter's number outside; those of the first shard are as they are kept
_LETTER_MASK = (1 << _SHARD_BITS) - 1


def letter_outside(number: int, letter_id: int) -> int:
    """Give the number by which the outside knows a dead letter of a shard."""
    return number << _SHARD_BITS | letter_id


def shard_and_letter(outside: int) -> tuple[int, int]:
    """Give the shard of a dead letter, and its number there."""
    return outside >> _SHARD_BITS, outside & _LETTER_MASK


def in_shard(receipt: Receipt, number: int) -> Receipt:
    """Name the dead letters of a shard's receipt as the outside knows them."""
    if number:
        for reject in receipt.rejects:
            reject.dead_letter_id = letter_outside(number, reject.dead_letter_id)
    receipt.positions = {number: receipt.position}
    return receipt


def joined(receipts: Sequence[Receipt]) -> Receipt:
    """Add the receipts of one batch's parts up."""
    counts = Counts()
    rejects: list[Reject] = []
    positions: dict[int, int] = {}
    for receipt in receipts:
        counts = counts.plus(receipt.counts)
        rejects += receipt.rejects
        positions |= receipt.positions
    rejects.sort(key=lambda reject: reject.line)
    first = min(positions)
    return Receipt(counts, rejects, positions[first], positions)
