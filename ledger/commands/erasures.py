"""Erasing personal data, step by step: what is asked for is recorded before a row is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from events import UserErased, UserErasureRequested
from events.readable import time_text
from ledger.audit.people import Needles, erasure_stream
from ledger.group import Group
from persistence import ERASING, SCRUBBING, ErasureRow

_texts = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class ErasureAsked(NamedTuple):
    """A checked request; `number` counts the requests of a user from 1."""

    user: bytes
    number: int
    reason: str
    texts: tuple[str, ...]
    author: str


def request_erasure(group: Group, asked: ErasureAsked) -> bool:
    """Record a request in the first shard; False if another one was there before it.

    Processes that look at the same time all choose the same number. One that comes second must not
    take the first one's request for its own: author, reason and texts may be others, and so is what
    lies before it in the log.
    """
    row = group.transaction.erasure(asked.user)
    is_under_way = row is not None and row.state == ERASING
    if is_under_way or _was_requested(group, asked):
        return False
    begin_erasure(group, asked)
    return True


def _was_requested(group: Group, asked: ErasureAsked) -> bool:
    return any(
        isinstance(recorded.event, UserErasureRequested) and recorded.event.number == asked.number
        for recorded in group.stream(erasure_stream(asked.user))
    )


def begin_erasure(group: Group, asked: ErasureAsked) -> ErasureRow | None:
    """Record the request in this shard, unless it is there; None once it is done here.

    The author is who asked for it, whoever goes on with it.
    """
    if _was_requested(group, asked):
        known = group.transaction.erasure(asked.user)
        return known if known is not None and known.number == asked.number else None
    fields = group.pack((asked.reason,))
    salt, commitment = group.commit_to(fields)
    event = UserErasureRequested(
        group.recorded_at, asked.author, asked.user, asked.number, commitment
    )
    position = group.append_next(erasure_stream(asked.user), event)
    group.keep_personal(position, salt, fields)
    row = ErasureRow(
        asked.user,
        asked.number,
        position,
        0,
        group.transaction.newest_letter(),
        0,
        0,
        0,
        msgspec.msgpack.encode(asked.texts),
        ERASING,
    )
    group.transaction.put_erasure(row)
    return row


def erase_rows(
    group: Group, user: bytes, number: int, *, positions: Sequence[int], looked_at: int
) -> ErasureRow | None:
    """Erase rows of personal data and note up to where the log has been looked at."""
    row = _unfinished(group, user, number)
    if row is None:
        return None
    erased = group.transaction.erase_personal(positions, row.position)
    return _moved(
        group,
        row._replace(
            looked_at=max(row.looked_at, looked_at), personal_rows=row.personal_rows + erased
        ),
    )


def erase_letters(
    group: Group, user: bytes, number: int, *, ids: Sequence[int], letter: int
) -> ErasureRow | None:
    """Take the bytes out of dead letters and note up to which they have been looked at."""
    row = _unfinished(group, user, number)
    if row is None:
        return None
    asked = _request(group, row)
    reason = (
        f"erased at {time_text(asked.recorded_at)} by {asked.author}: its bytes are gone, so it"
        " cannot be tried again; publish the event anew if it is still to count"
    )
    erased = group.transaction.erase_dead_letters(ids, reason)
    return _moved(
        group, row._replace(letter=max(row.letter, letter), dead_letters=row.dead_letters + erased)
    )


def finish_erasure(group: Group, user: bytes, number: int) -> ErasureRow | None:
    """Record that every row of this shard is erased; what was looked for is forgotten."""
    row = _unfinished(group, user, number)
    if row is None:
        return None
    _erase_sentences(group, row)
    author = _request(group, row).author
    event = UserErased(group.recorded_at, author, user, number, row.personal_rows, row.dead_letters)
    group.append_next(erasure_stream(user), event)
    row = _moved(group, row._replace(texts=b"", state=SCRUBBING))
    group.transaction.scrub_pages()
    return row


def _erase_sentences(group: Group, row: ErasureRow) -> None:
    """Overwrite what is kept beside the log of failures, where it names somebody."""
    needles = Needles(row.user, _texts(row.texts))
    found = [
        sentence
        for sentence in group.transaction.sentences()
        if needles.are_in_fields(sentence.text.encode())
    ]
    group.transaction.erase_sentences(found)


def end_erasure(group: Group, user: bytes, number: int) -> None:
    """Forget what was to be done: nothing of it is left."""
    row = group.transaction.erasure(user)
    if row is not None and row.number == number and row.state == SCRUBBING:
        group.transaction.end_erasure(user)


def _unfinished(group: Group, user: bytes, number: int) -> ErasureRow | None:
    """Give how far it is; None when another process has finished it."""
    row = group.transaction.erasure(user)
    return row if row is not None and (row.number, row.state) == (number, ERASING) else None


def _request(group: Group, row: ErasureRow) -> UserErasureRequested:
    for recorded in group.stream(erasure_stream(row.user)):
        if recorded.position == row.position:
            assert isinstance(recorded.event, UserErasureRequested)
            return recorded.event
    raise AssertionError("an erasure is under way that nobody has asked for")


def _moved(group: Group, row: ErasureRow) -> ErasureRow:
    group.transaction.put_erasure(row)
    return row
