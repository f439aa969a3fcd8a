"""Proofs out of the stored tree: that an event is in the log, and that one head begins another.

What is handed out is checked first. A proof that leads to another root than the head's is no proof,
and says that something was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from events import UnreadableEventError
from ledger.arrivals import event_key
from ledger.audit.leaves import leaf_of
from ledger.audit.merkle import (
    consistency_spans,
    inclusion_spans,
    is_consistent,
    root_by_inclusion,
)
from ledger.audit.tiles import TILE_HASHES, Subtrees, TreeBrokenError
from ledger.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ledger.queries import Queries
from persistence import Head, Reader, StreamEvent


class EventProof(NamedTuple):
    """That an event is a leaf of the tree that a head was signed for."""

    origin: str
    event: StreamEvent
    leaf: int
    head: Head
    hashes: list[bytes]


class Point(NamedTuple):
    """A tree of some size; `head` where one was asked for by its number."""

    size: int
    root: bytes
    head: Head | None


class ConsistencyProof(NamedTuple):
    """That the first tree begins the second."""

    origin: str
    first: Point
    second: Point
    hashes: list[bytes]


class ByHead(NamedTuple):
    """A tree by the number of its head."""

    number: int


class BySize(NamedTuple):
    """A tree by its size."""

    size: int


_NUL = "\0"  # stands in no text that was recorded, and no database is asked for it

Find = Callable[[Reader], int | None]  # an event's position


def at_position(position: int) -> Find:
    """Find an event by its position, counted from 1."""
    return lambda _reader: position if position > 0 else None


def in_stream(stream: str, version: int) -> Find:
    """Find an event by its place in its stream."""

    def find(reader: Reader) -> int | None:
        event = None if _NUL in stream else reader.tree.event(stream, version)
        return None if event is None else event.position

    return find


def published_as(source: str, event_id: str) -> Find:
    """Find an event by what it was published as."""
    key = event_key(event_id)
    return lambda reader: None if _NUL in source else reader.tree.recorded_as(source, key)


def prove_event(queries: Queries, find: Find, *, head: int = 0) -> EventProof | None:
    """Prove an event to be in a head, the newest unless given; None when there is no such event.

    FailedPreconditionError when no such head covers it, or something was changed.
    """
    reader = queries.reader
    with reader.snapshot():
        position = find(reader)
        stored = [] if position is None else reader.log(after=position - 1, limit=1)
        if not stored or stored[0].position != position:
            return None
        signed = _head(reader, head) if head else reader.tree.newest_head()
        if signed is None:
            raise FailedPreconditionError(
                "no head was signed yet, so nothing can be proved: `usage-ledger heads sign`"
            )
        leaf = _leaf_number(reader, position)
        if leaf is None or leaf >= signed.size:
            raise FailedPreconditionError(
                f"head {signed.number} covers {signed.size:,} events, and the event at position"
                f" {position:,} came later: `usage-ledger heads sign` covers it"
            )
        with _changes_told():
            hashes = _inclusion(reader, stored[0], leaf, signed)
        return EventProof(reader.tree.state().origin, stored[0], leaf, signed, hashes)


def _inclusion(reader: Reader, event: StreamEvent, leaf: int, head: Head) -> list[bytes]:
    subtrees = Subtrees(reader.tree.tiles)
    try:
        hashed = leaf_of(event)
    except UnreadableEventError:
        raise TreeBrokenError(f"the event at position {event.position:,} is damaged") from None
    hashes = subtrees.hashes(inclusion_spans(leaf, head.size))
    if root_by_inclusion(hashed, leaf, head.size, hashes) == head.root:
        return hashes
    if subtrees.hash_of(0, leaf) != hashed:
        raise TreeBrokenError(
            f"the event at position {event.position:,} is not the one in the tree"
        )
    raise TreeBrokenError(f"the tree is not the one that head {head.number} was signed for")


def _leaf_number(reader: Reader, position: int) -> int | None:
    """Count the events before one; None when it is not in the tree yet."""
    tile = reader.tree.tile_at(position)
    if tile is None:
        return None
    return tile.number * TILE_HASHES + reader.tree.events_before(
        position, since=tile.first_position
    )


def prove_consistency(
    queries: Queries, first: ByHead | BySize, second: ByHead | BySize
) -> ConsistencyProof:
    """Prove that one tree begins another.

    NotFoundError for a head that there is not; InvalidArgumentError for sizes that cannot be
    compared; FailedPreconditionError when something was changed.
    """
    reader = queries.reader
    with reader.snapshot(), _changes_told():
        state = reader.tree.state()
        subtrees = Subtrees(reader.tree.tiles)
        one, two = (_point(reader, subtrees, each, state.size) for each in (first, second))
        if one.size > two.size:
            raise InvalidArgumentError(
                f"first has {one.size:,} events and second {two.size:,}: name the smaller one first"
            )
        hashes = subtrees.hashes(consistency_spans(one.size, two.size))
        if not is_consistent(one.size, one.root, two.size, two.root, hashes):
            wrong = next(each for each in (one, two) if subtrees.root(each.size) != each.root)
            assert wrong.head is not None, "what has no head was computed just now"
            raise TreeBrokenError(
                f"the tree is not the one that head {wrong.head.number} was signed for"
            )
        return ConsistencyProof(state.origin, one, two, hashes)


def _point(reader: Reader, subtrees: Subtrees, which: ByHead | BySize, size: int) -> Point:
    if isinstance(which, ByHead):
        head = _head(reader, which.number)
        if head.size > size:
            raise FailedPreconditionError(
                f"head {head.number} covers {head.size:,} events, and the tree has {size:,}: it is"
                " being built anew"
            )
        return Point(head.size, head.root, head)
    if not 0 < which.size <= size:
        raise InvalidArgumentError(f"size {which.size:,}: the tree has {size:,} events, from 1 on")
    return Point(which.size, subtrees.root(which.size), None)


def _head(reader: Reader, number: int) -> Head:
    head = reader.tree.head(number)
    if head is None:
        newest = reader.tree.newest_head()
        raise NotFoundError(
            f"head {number} is not there: the newest is {newest.number if newest else 'none yet'}"
        )
    return head


@contextmanager
def _changes_told() -> Iterator[None]:
    """Turn what does not fit together into what the caller is told."""
    try:
        yield
    except TreeBrokenError as error:
        raise FailedPreconditionError(
            f"{error}: `usage-ledger verify` finds what was changed"
        ) from error
