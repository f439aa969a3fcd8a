"""RFC 9162, section 2.1, written down as it stands there: recursive, slow, and sharing no code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """The largest power of two that is smaller."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH, of hashes of leaves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node(root(leaves[:k]), root(leaves[k:]))


def path(number: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if number < k:
        return [*path(number, leaves[:k]), root(leaves[k:])]
    return [*path(number - k, leaves[k:]), root(leaves[:k])]


def consistency(first: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n])."""
    return _subproof(first, leaves, is_whole=True)


def _subproof(first: int, leaves: Sequence[bytes], *, is_whole: bool) -> list[bytes]:
    size = len(leaves)
    if first == size:
        return [] if is_whole else [root(leaves)]
    k = split(size)
    if first <= k:
        return [*_subproof(first, leaves[:k], is_whole=is_whole), root(leaves[k:])]
    return [*_subproof(first - k, leaves[k:], is_whole=False), root(leaves[:k])]
