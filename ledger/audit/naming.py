"""Naming the first event that is not what was recorded: changed, missing, inserted or reordered.

A tile and the log disagree about a leaf. The next head says who is right: only the true leaf leads
to its root. What became of the event is seen by where the log and the tiles agree again.
"""

from __future__ import annotations

from collections.abc import Sequence

from events import UnreadableEventError
from ledger.audit.findings import Finding, Mark
from ledger.audit.leaves import leaf_of
from ledger.audit.merkle import HASH_BYTES, inclusion_spans, root_by_inclusion
from ledger.audit.tiles import TILE_HASHES, Subtrees, TreeBrokenError
from persistence import Reader, StoreUnavailableError, StreamEvent

WINDOW = 1_024  # events looked through for where log and tiles agree again


def first_difference(one: bytes, other: bytes) -> int:
    """Give the number of the first hash in which two tiles differ, or that one of them lacks."""
    for at in range(0, len(one), HASH_BYTES):
        if one[at : at + HASH_BYTES] != other[at : at + HASH_BYTES]:
            return at // HASH_BYTES
    return len(one) // HASH_BYTES


def name_difference(reader: Reader, leaf: int, before: int, mark: Mark | None) -> Finding:
    """Say what became of the event of a leaf; `before` is the position of the one before it.

    `mark` is the next head that is to be believed, of more events than the leaf's number. The
    finding is of kind `tile` when the event is as recorded.
    """
    there = _events(reader, before)
    wanted = _leaves(reader, leaf)
    actual = [_hash(event) for event in there]
    if actual and mark is not None and _leads_to(reader, actual[0], leaf, mark):
        return _tile(leaf, "was changed" if wanted else "lacks hashes")
    if not wanted:
        return _tile(leaf, "lacks hashes, and no head says what they were")
    if mark is None:
        doubt = "; no head covers it, so it may be the tree that was changed"
    elif _leads_to(reader, wanted[0], leaf, mark):
        doubt = ""
    else:
        doubt = f"; neither it nor the tree there is what {mark.name} was signed for"
    found = _named(there, actual, wanted, before=before, leaf=leaf)
    return found._replace(text=found.text + doubt)


def _tile(leaf: int, what: str) -> Finding:
    return Finding("tile", f"tile 0/{leaf // TILE_HASHES} of the tree {what}", leaf=leaf)


def _named(
    there: Sequence[StreamEvent],
    actual: Sequence[bytes],
    wanted: Sequence[bytes],
    *,
    before: int,
    leaf: int,
) -> Finding:
    """Compare what is there with what was recorded; the first ones differ."""
    if not there:
        where = f"behind position {before:,}" if before > 0 else "at the beginning"
        return Finding("missing", f"leaf {leaf:,}: its event is missing, {where}", leaf=leaf)
    first = there[0]
    shown = (
        f"leaf {leaf:,}: the event at position {first.position:,}, {first.stream} version"
        f" {first.version}, {first.topic},"
    )
    was = wanted.index(actual[0]) if actual[0] in wanted else None
    if wanted[0] not in actual:
        if was is None:
            return Finding("changed", f"{shown} was changed", first.position, leaf)
        return _missing(was, before=before, behind=first.position, leaf=leaf)
    if was is not None:
        what = f"{shown} stands in the place of another: it was leaf {leaf + was:,}"
        return Finding("reordered", what, first.position, leaf)
    count = actual.index(wanted[0])
    more = f", and {count - 1:,} behind it" if count > 1 else ""
    return Finding("inserted", f"{shown} was inserted{more}", first.position, leaf)


def _missing(count: int, *, before: int, behind: int, leaf: int) -> Finding:
    before = max(before, 0)
    gap = behind - before - 1
    which = f"leaf {leaf:,}: its event is" if count == 1 else f"leaf {leaf:,}: {count:,} events are"
    if gap == count:
        place = f"at position {before + 1:,}"
    else:  # positions have gaps, or those behind it were moved up
        place = f"between positions {before:,} and {behind:,}"
    return Finding(
        "missing", f"{which} missing {place}", before + 1 if gap == count else None, leaf
    )


def _events(reader: Reader, before: int) -> list[StreamEvent]:
    """Read the events behind a position; as many as can be read."""
    for limit in (WINDOW, 1):
        try:
            return reader.log(after=before, limit=limit)
        except StoreUnavailableError:
            continue
    return []


def _leaves(reader: Reader, leaf: int) -> list[bytes]:
    """Give what the tiles have from a leaf on."""
    first = leaf // TILE_HASHES
    keys = [(0, number) for number in range(first, first + WINDOW // TILE_HASHES + 1)]
    tiles = reader.tree.tiles(keys)
    found: list[bytes] = []
    for key in keys:
        hashes = tiles[key].hashes if key in tiles else b""
        found += [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        if len(hashes) < TILE_HASHES * HASH_BYTES:
            break
    return found[leaf % TILE_HASHES :][:WINDOW]


def _hash(event: StreamEvent) -> bytes:
    try:
        return leaf_of(event)
    except UnreadableEventError:
        return b""


def _leads_to(reader: Reader, hashed: bytes, leaf: int, mark: Mark) -> bool:
    """Say whether a leaf is the one that a head was signed for."""
    try:
        hashes = Subtrees(reader.tree.tiles).hashes(inclusion_spans(leaf, mark.size))
    except TreeBrokenError:
        return False
    return root_by_inclusion(hashed, leaf, mark.size, hashes) == mark.root
