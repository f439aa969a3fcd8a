"""Looking whether what is stored of a tree fits together: quick, and with one event of the log.

Whether the log is what the tree says is found by `verifying`.
"""

from __future__ import annotations

from typing import NamedTuple

from events import UnreadableEventError, recorded_time
from ledger.audit.leaves import leaf_of
from ledger.audit.tiles import Edge, Subtrees, TreeBrokenError, edge_keys
from persistence import Reader, TreeState

# How a fault begins that a look does not find, but the next head would be signed over.
BY_SIGNING = "the next head is not to be signed: "


class Looked(NamedTuple):
    """A tree that fits together."""

    state: TreeState
    position: int  # up to which events are in it
    edge: Edge
    recorded_at: int  # of the newest of them; 0 without one


def look(reader: Reader) -> Looked:
    """Look at a tree; TreeBrokenError says what does not fit."""
    with reader.snapshot():
        state, position = reader.tree.state(), reader.tree.position()
        if bool(state.size) != bool(position):
            raise TreeBrokenError(
                f"the tree has {state.size:,} leaves, but follows the log at position {position:,}"
            )
        edge = Edge.of(state.size, reader.tree.tiles(edge_keys(state.size)))
        recorded_at = _compare_with_log(reader, state, position) if state.size else 0
        _compare_with_heads(reader, state, position)
    return Looked(state, position, edge, recorded_at)


def _compare_with_log(reader: Reader, state: TreeState, position: int) -> int:
    """Compare the newest leaf with its event; give when that was recorded."""
    stored = reader.log(after=position - 1, limit=1)
    try:
        hashed = leaf_of(stored[0]) if stored and stored[0].position == position else b""
    except UnreadableEventError:
        raise TreeBrokenError(f"the event at position {position:,} is damaged") from None
    if hashed != Subtrees(reader.tree.tiles).hash_of(0, state.size - 1):
        raise TreeBrokenError(f"the event at position {position:,} is not the one in the tree")
    return recorded_time(stored[0].state)


def _compare_with_heads(reader: Reader, state: TreeState, position: int) -> None:
    """Compare the tree with the newest head; while it is built anew, with the newest it covers."""
    newest = reader.tree.newest_head()
    if newest is None:
        return
    if newest.size > state.size:
        if not reader.log(after=position, limit=1):
            raise TreeBrokenError(
                f"head {newest.number} covers {newest.size:,} events, but the log has only"
                f" {state.size:,}"
            )
        newest = reader.tree.newest_head_within(state.size)
    if newest is not None and Subtrees(reader.tree.tiles).root(newest.size) != newest.root:
        raise TreeBrokenError(
            f"the tree is not the one that head {newest.number}, of {newest.size:,} events, was"
            " signed for"
        )
