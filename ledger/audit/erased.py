"""What was erased, when and by whom: of one event, of a user, and as laws of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from events import Recorded, UserErased, UserErasureRequested, decode
from events.readable import time_text, uuid_bytes, uuid_text
from ledger.audit.people import ERASURE_PREFIX, erasure_stream
from ledger.queries import personal_fields
from persistence import ERASING, SCRUBBING, Reader

DONE = "done"  # the third state of an erasure, beside those of the store
COUNTED = "counted"  # of one that was only tried out
LISTED_MAX = 100  # erasures that `check` names one by one, the newest
NAMES_READ = 1_000  # streams looked up at a time

Law = tuple[str, int, list[str]]


class Erased(NamedTuple):
    """Why personal fields are not there: their erasure, when it was asked for and by whom."""

    position: int
    at: int
    by: str


class Erasure(NamedTuple):
    """A request and what came of it, over all shards. Times in ms."""

    user: bytes
    number: int
    requested_at: int
    author: str
    reason: str
    personal_rows: int
    dead_letters: int
    state: str
    positions: tuple[tuple[int, int], ...] = ()  # of the request, as (shard, position)
    repeated: bool = False
    failures: int = 0  # only of one that was tried out: what is kept of failures, and holds a text


def erased_of(reader: Reader, recorded: Iterable[Recorded]) -> dict[int, Erased]:
    """Give the erasures that took the personal fields of these events, by position."""
    committing = [each.position for each in recorded if getattr(each.event, "commitment", b"")]
    marks = {
        position: row.erased_by
        for position, row in reader.personal_among(committing).items()
        if row.erased_by
    }
    requests = {position: _request_at(reader, position) for position in set(marks.values())}
    return {
        position: Erased(mark, request.recorded_at, request.author)
        for position, mark in marks.items()
        if (request := requests[mark]) is not None
    }


def _request_at(reader: Reader, position: int) -> UserErasureRequested | None:
    for stored in reader.log(after=position - 1, limit=1):
        event = decode(stored.topic, stored.state)
        if stored.position == position and isinstance(event, UserErasureRequested):
            return event
    return None


class Told(NamedTuple):
    """What one shard tells of a request."""

    number: int
    position: int
    requested: UserErasureRequested
    reason: str
    erased: UserErased | None
    state: str


def told(reader: Reader, user: bytes) -> list[Told]:
    """Give a user's erasures as a shard knows them, oldest first."""
    events = [
        Recorded(e.stream, e.version, decode(e.topic, e.state), e.position)
        for e in reader.stream(erasure_stream(user))
    ]
    done = {each.event.number: each.event for each in events if isinstance(each.event, UserErased)}
    row = reader.erasure(user)
    found = []
    for recorded in events:
        event = recorded.event
        if not isinstance(event, UserErasureRequested):
            continue
        state = DONE if event.number in done else ERASING
        if row is not None and row.number == event.number:
            state = row.state
        found.append(
            Told(
                event.number,
                recorded.position,
                event,
                _reason(reader, recorded.position),
                done.get(event.number),
                state,
            )
        )
    return found


def _reason(reader: Reader, position: int) -> str:
    row = reader.personal(position)
    fields = personal_fields(None if row is None else row.fields)
    return fields[0] if fields else ""


def joined(user: bytes, by_shard: Sequence[Sequence[Told]]) -> list[Erasure]:
    """Add up what the shards tell; the first one has every request, and is finished last."""
    erasures = []
    for first in by_shard[0]:
        same = [
            (shard, each)
            for shard, tells in enumerate(by_shard)
            for each in tells
            if each.number == first.number
        ]
        finished = [each.erased for _, each in same if each.erased is not None]
        waits = any(each.state == SCRUBBING for _, each in same)
        erasures.append(
            Erasure(
                user,
                first.number,
                first.requested.recorded_at,
                first.requested.author,
                first.reason,
                sum(each.personal_rows for each in finished),
                sum(each.dead_letters for each in finished),
                first.state if first.state == ERASING else SCRUBBING if waits else DONE,
                tuple((shard, each.position) for shard, each in same),
            )
        )
    return erasures


def users_erased(reader: Reader, *, after: bytes, limit: int) -> list[bytes]:
    """Give users of whom an erasure was asked for, by their ID."""
    name = erasure_stream(after) if after else ERASURE_PREFIX
    before = ERASURE_PREFIX[:-1] + ";"  # what follows the colon
    return [
        uuid_bytes(stream.removeprefix(ERASURE_PREFIX))
        for stream in reader.stream_names(after=name, before=before, limit=limit)
    ]


def erasure_laws(reader: Reader) -> list[Law]:
    """Compare what a shard's erasures say they took with what is marked; none without any.

    A table of personal data that was restored from a backup brings back what was erased.
    """
    with reader.snapshot():
        marks = reader.marks()
        left_through = reader.packs.personal_left_through()
        brought_back = reader.packs.personal_after(0, 1) if left_through else []
        known = sorted(_all_told(reader), key=lambda each: each[0], reverse=True)
        laws = [
            _law(
                user, each, marks.pop(position, 0), is_newest=is_newest and position > left_through
            )
            for position, user, each, is_newest in known
        ]
    listed, older = laws[:LISTED_MAX], laws[LISTED_MAX:]
    if older:
        checked = sum(law[1] for law in older)
        listed.append(("... and of older erasures", checked, [b for law in older for b in law[2]]))
    if marks:
        texts = [f"{count} rows name position {at}" for at, count in sorted(marks.items())]
        listed.append(("every erased row names its erasure", len(texts), texts))
    if left_through:
        texts = [
            f"there are personal fields at position {row.position}"
            for row in brought_back
            if row.position <= left_through
        ]
        law = f"personal fields up to position {left_through} were not taken over"
        listed.append((law, 1, texts))
    return listed


def _all_told(reader: Reader) -> Iterable[tuple[int, bytes, Told, bool]]:
    after = b""
    while users := users_erased(reader, after=after, limit=NAMES_READ):
        for user in users:
            tells = told(reader, user)
            newest = max((each.number for each in tells if each.erased is not None), default=0)
            for each in tells:
                yield each.position, user, each, each.number >= newest
        after = users[-1]


def _law(user: bytes, each: Told, marked: int, *, is_newest: bool) -> Law:
    """A later erasure takes whatever an earlier one left, or what came back meanwhile."""
    asked = each.requested
    name = (
        f"user {uuid_text(user)}: personal data erased at {time_text(asked.recorded_at)}"
        f" by {asked.author}"
    )
    if each.erased is None:
        return name + ", not finished yet", marked, []
    breaches = []
    if is_newest and marked != each.erased.personal_rows:
        breaches.append(
            f"{each.erased.personal_rows} rows were erased, {marked} are: restoring a backup brings"
            " rows back; erase the user again"
        )
    return name, marked, breaches
