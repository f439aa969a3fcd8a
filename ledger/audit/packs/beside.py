"""What goes into a pack beside the events: heads, personal fields, and what an import needs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from events.readable import attribution_id
from ledger.audit.keys import RETIRED_KEY, KeyList
from ledger.audit.merkle import consistency_spans
from ledger.audit.notes import NoteError, parse_note
from ledger.audit.packs.drawing import BATCH, Drawn
from ledger.audit.packs.layout import PackError
from ledger.audit.packs.writing import Lines, Writing
from ledger.audit.tiles import Subtrees, TreeBrokenError
from persistence import Counts, Head, Reader

if TYPE_CHECKING:
    from ledger.audit.packs.exporting import Wanted

HEADS_PAGE = 500
PACK_DELIVERY = "pack:"  # of the counts in a pack that is older than the log


def head_of(reader: Reader, number: int) -> Head | None:
    """Give a head, the newest for 0; None while there is none."""
    if not number:
        return reader.tree.newest_head()
    head = reader.tree.head(number)
    if head is None:
        raise PackError(f"there is no head {number}: see `usage-ledger heads list`")
    return head


def refuse_retired(reader: Reader, head: Head, keys: KeyList) -> None:
    """Refuse a head that nobody believes: of a retired key, which a thief may have, not its last.

    Keys that are not listed are no matter: another list may have them.
    """
    if not _is_of_retired(head, keys):
        return
    later = (
        each.number
        for page in _pages(partial(_heads_from, reader), head.number)
        for each in page
        if not _is_of_retired(each, keys)
    )
    number = next(later, 0)
    advice = f"take --head {number}" if number else "sign another first, `usage-ledger heads sign`"
    raise PackError(
        f'key "{head.key_name}", which signed head {head.number}, is retired, and of a retired key'
        f" nobody believes any head but its last: {advice}"
    )


def _is_of_retired(head: Head, keys: KeyList) -> bool:
    try:
        trust = keys.judge(parse_note(head.note))
    except NoteError as error:
        raise PackError(f"head {head.number} is no signed head: {error}") from error
    return trust.continued_by is not None or trust.kind == RETIRED_KEY


def write_heads(writing: Writing, folder: str, reader: Reader, head: Head, wanted: Wanted) -> None:
    """Write the pack's head first, then others, each with what shows that its log begins that.

    Of everything these are all heads before, and need no proof: every leaf is there.
    """
    lines = Lines(writing.file(f"{folder}/heads.jsonl"))
    lines.add([_head_line(head, [])])
    if wanted.payer is None:
        for page in _pages(partial(_heads_from, reader), 0):
            lines.add(_head_line(each, []) for each in page if each.number < head.number)
    else:
        subtrees = Subtrees(reader.tree.tiles)
        for each in _chosen(reader, head, wanted):
            lines.add([_head_line(each, _consistency(subtrees, each, head))])
    lines.close()


def _heads_from(reader: Reader, number: int) -> list[Head]:
    return reader.tree.heads(after=number, limit=HEADS_PAGE)


def _pages(read: Any, after: int) -> Iterator[list[Head]]:
    while page := read(after):
        yield page
        after = page[-1].number


def _chosen(reader: Reader, head: Head, wanted: Wanted) -> list[Head]:
    """Choose the last head before the period and in it, and those that were asked for."""
    chosen: dict[int, Head] = {}
    begin, end = wanted.period_from, wanted.period_to
    for limit in (begin, end):
        found = None if limit is None else _last_before(reader, limit)
        if found is not None:
            chosen[found.number] = found
    for number in wanted.more_heads:
        found = head_of(reader, number)
        assert found is not None, "a head that was named is there, or was refused"
        chosen[found.number] = found
    return [each for number, each in sorted(chosen.items()) if number < head.number]


def _last_before(reader: Reader, time: int) -> Head | None:
    last = None
    for page in _pages(partial(_heads_from, reader), 0):
        for each in page:
            if each.recorded_at >= time:
                return last
            last = each
    return last


def _consistency(subtrees: Subtrees, first: Head, second: Head) -> list[bytes]:
    if first.size == second.size:
        return []
    try:
        return subtrees.hashes(consistency_spans(first.size, second.size))
    except TreeBrokenError as error:
        raise PackError(f"the tree is not whole: {error}") from error


def _head_line(head: Head, hashes: Sequence[bytes]) -> dict[str, Any]:
    return {
        "number": head.number,
        "size": head.size,
        "signed_at": head.signed_at,
        "key_name": head.key_name,
        "author": head.author,
        "note": head.note,
        "consistency": [base64.b64encode(each).decode() for each in hashes],
    }


class PersonalFile:
    """Personal fields of the pack's events, where they are wanted; no proof depends on them."""

    def __init__(self, writing: Writing, folder: str, reader: Reader, wanted: Wanted) -> None:
        """Begin a file, or nothing."""
        self._reader = reader
        # A payer's pack does not have the request by which fields were erased.
        self._is_whole = wanted.payer is None
        self._lines: Lines | None = None
        self._erased_by = 0  # position of the newest request that fields were erased by
        if wanted.with_personal:
            self._lines = Lines(writing.file(f"{folder}/personal.jsonl"))

    def add(self, events: Sequence[Drawn]) -> None:
        """Add what is kept for events, given in the order of the log."""
        if self._lines is None or not events:
            return
        positions = {each.stored.position for each in events}
        after, last = events[0].stored.position - 1, events[-1].stored.position
        while page := self._reader.packs.personal_after(after, BATCH):
            own = [row for row in page if row.position in positions]
            if self._is_whole:
                self._erased_by = max(self._erased_by, *(row.erased_by for row in own), 0)
            else:
                own = [row for row in own if not row.erased_by]
            self._lines.add(row._asdict() for row in own)
            after = page[-1].position
            if after >= last:
                break

    def refuse_unasked(self, head: Head, last_position: int) -> None:
        """Refuse erased fields whose request no head covers yet: nobody could be shown why."""
        if self._erased_by > last_position:
            raise PackError(
                f"personal fields were erased behind head {head.number}, and the request is not in"
                " the pack: sign a head first, `usage-ledger heads sign`, and take that one"
            )

    def close(self) -> None:
        """End the file."""
        if self._lines is not None:
            self._lines.close()


def write_intake(writing: Writing, folder: str, reader: Reader, last_position: int) -> int:
    """Write under which ids events were recorded, and the counts; give how many lie behind.

    Counts go on with the log. Where it has gone on behind the head, they are those of the pack.
    """
    lines = Lines(writing.file(f"{folder}/recorded-ids.jsonl"))
    after, count = (-1, b""), 0
    while page := reader.packs.recorded_ids(after=after, limit=BATCH):
        rows = [
            {"source": each.source, "key": each.event_key, "digest": each.digest,
             "position": each.position}
            for each in page
            if each.position <= last_position
        ]  # fmt: skip
        lines.add(rows)
        count += len(rows)
        after = page[-1].source_number, page[-1].event_key
    lines.close()
    with reader.snapshot():
        behind = reader.tree.events_before(2**62, since=last_position + 1)
        deliveries = reader.packs.deliveries()
    if behind:
        deliveries = [(f"{PACK_DELIVERY}{last_position}", Counts(count, count))]
    lines = Lines(writing.file(f"{folder}/deliveries.jsonl"))
    lines.add({"name": name, **counts._asdict()} for name, counts in deliveries)
    lines.close()
    return behind


def write_placement(writing: Writing, reader: Reader) -> None:
    """Write in which shard each payer lives."""
    lines = Lines(writing.file("placement.jsonl"))
    payer = b""
    while page := reader.packs.placements_after(payer, BATCH):
        lines.add({"attribution_id": attribution_id(each), "shard": shard} for each, shard in page)
        payer = page[-1][0]
    lines.close()
