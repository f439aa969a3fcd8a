"""One proof for many leaves: what lies between them, as few hashes as there can be.

Leaves that are shown and perfect subtrees between them follow each other in the order of the log.
Whoever has both climbs to the root with a stack of a few dozen hashes, whatever the size.
"""

from __future__ import annotations

from ledger.audit.merkle import Subtree, folded, node_hash


def gap_subtrees(start: int, end: int) -> list[Subtree]:
    """Cut the leaves [start, end) into perfect subtrees of the tree, from the left."""
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        if start:  # a subtree begins where its number says
            height = min(height, (start & -start).bit_length() - 1)
        found.append((height, start >> height))
        start += 1 << height
    return found


class Climb:
    """Perfect subtrees, put together from the left."""

    def __init__(self) -> None:
        """Begin with no leaf."""
        self.size = 0
        self._subtrees: list[tuple[int, bytes]] = []  # height and root, each lower than the last

    def add(self, height: int, root: bytes) -> None:
        """Take the next subtree, a leaf being one of height 0; it begins where the last ended."""
        assert self.size % (1 << height) == 0, "a subtree begins where its number says"
        self.size += 1 << height
        subtrees = self._subtrees
        while subtrees and subtrees[-1][0] == height:
            root = node_hash(subtrees.pop()[1], root)
            height += 1
        subtrees.append((height, root))

    def root(self) -> bytes:
        """Give the root of the tree."""
        return folded([root for _, root in self._subtrees])
