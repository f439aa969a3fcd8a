"""The arithmetic of hash trees as in RFC 9162, section 2.1: what is hashed, and what proves what.

A span [start, end) names leaves by their numbers; a subtree (height, number) is the perfect one
over the leaves from number * 2^height on. Nothing here reads or writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32

Span = tuple[int, int]
Subtree = tuple[int, int]

_sha256 = hashlib.sha256
EMPTY_ROOT = _sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash what a leaf stands for."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbours into their parent."""
    return _sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: bytes) -> bytes:
    """Give the root over neighbours whose hashes lie one behind the other; a power of two."""
    while len(hashes) > HASH_BYTES:
        pairs = range(0, len(hashes), 2 * HASH_BYTES)
        hashes = b"".join(
            [_sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest() for at in pairs]
        )
    return hashes


def folded(subtrees: Sequence[bytes]) -> bytes:
    """Give the root over perfect subtrees, from the left and each smaller than the one before."""
    if not subtrees:
        return EMPTY_ROOT
    *others, root = subtrees
    for left in reversed(others):
        root = node_hash(left, root)
    return root


def subtrees_of(start: int, end: int) -> list[Subtree]:
    """Cut a span into perfect subtrees, from the left.

    The span begins where a subtree of a tree begins, as every span of a proof does.
    """
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        found.append((height, start >> height))
        start += 1 << height
    return found


def inclusion_spans(leaf: int, size: int) -> list[Span]:
    """Give the spans whose roots prove a leaf's place in a tree of a size, from the leaf up."""
    assert 0 <= leaf < size, "the leaf lies in the tree"
    spans: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if leaf < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(first: int, second: int) -> list[Span]:
    """Give the spans whose roots prove that the tree of one size begins the tree of another."""
    assert 0 < first <= second, "the first tree has leaves, and no more than the second"
    spans: list[Span] = []
    start, end = 0, second
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    # Whoever checks has the first tree's root, unless the walk has turned aside from it.
    if start:
        spans.append((start, end))
    return spans[::-1]


def root_by_inclusion(leaf: bytes, number: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Give the root that a proof of inclusion leads to; None when it leads nowhere."""
    if not 0 <= number < size:
        return None
    at, last, root = number, size - 1, leaf
    for other in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            root = node_hash(other, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, other)
        at, last = at >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Say whether a proof shows that the first tree begins the second."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    # The first tree is itself a subtree of the second: its root need not be in the proof.
    hashes = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not hashes:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    begins = ends = hashes[0]
    for other in hashes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            begins, ends = node_hash(other, begins), node_hash(other, ends)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            ends = node_hash(ends, other)
        at, last = at >> 1, last >> 1
    return last == 0 and begins == first_root and ends == second_root


def _split(size: int) -> int:
    """Give the largest power of two below a size."""
    return 1 << ((size - 1).bit_length() - 1)
