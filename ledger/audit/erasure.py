"""Erasing the personal data of a user, shard after shard, in steps that any process can go on with.

The request is recorded in the first shard before anything is touched, and finished there last. So
what a crash cuts off is found there: by the next call for the same user, or by the reset job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from events.readable import uuid_bytes
from ledger import commands
from ledger.audit.erased import COUNTED, Erasure, Told, joined, told, users_erased
from ledger.audit.people import COMMITTING, Needles, committed
from ledger.commands.erasures import ErasureAsked
from ledger.errors import FailedPreconditionError, InvalidArgumentError
from ledger.folding import decoded
from ledger.identifiers import parse_uuid
from ledger.queries import Queries
from ledger.shards import Shard
from persistence import AUDIT, ERASING, SCRUBBING, ErasureRow

if TYPE_CHECKING:
    from ledger.application import Ledger

REASON_CHARS_MAX = 255
TEXTS_MAX = 20
TEXT_CHARS_MIN, TEXT_CHARS_MAX = 3, 255  # shorter ones are in everything
WINDOW = 100_000  # events looked at in one read: about a tenth of a second
STREAMS_READ = 1_000  # loaded at a time
ROWS_MAX = 2_000  # rows erased in one transaction: commands wait for it, some ten milliseconds
LETTERS_MAX = 50  # dead letters looked at together: each may have a megabyte
# A reader that stands in the way of the files is waited for so often, so long; then the job does.
SCRUB_TRIES, SCRUB_PAUSE_SECONDS = 8, 0.25

_texts = msgspec.msgpack.Decoder(tuple[str, ...]).decode
T = TypeVar("T")

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """A checked call."""

    user: bytes
    reason: str
    texts: tuple[str, ...]


class Looked(NamedTuple):
    """How far it is: events of a shard's log that were looked at, of how many."""

    shard: int
    events: int
    of: int


def check_wanted(
    user_id: str, reason: str, texts: Sequence[str], *, needs_reason: bool = True
) -> Wanted:
    """Check a call; InvalidArgumentError says what to change."""
    user = parse_uuid(user_id)
    if user is None:
        raise InvalidArgumentError(f"user_id {user_id[:80]!r}: must be a UUID")
    reason = reason.strip()
    if (needs_reason and not reason) or len(reason) > REASON_CHARS_MAX:
        raise InvalidArgumentError(f"reason: say why, in 1 to {REASON_CHARS_MAX} characters")
    if len(texts) > TEXTS_MAX:
        raise InvalidArgumentError(f"{len(texts)} texts: at most {TEXTS_MAX}")
    for text in texts:
        if len(text.strip()) < TEXT_CHARS_MIN or len(text) > TEXT_CHARS_MAX:
            raise InvalidArgumentError(
                f"texts: one of {len(text)} characters, but they must have"
                f" {TEXT_CHARS_MIN} to {TEXT_CHARS_MAX}"
            )
    return Wanted(uuid_bytes(user), reason, tuple(text.strip() for text in texts))


class Erasures:
    """The use cases of erasing."""

    def __init__(self, ledger: Ledger) -> None:
        """Erase from a ledger."""
        self._ledger = ledger
        self._lock = asyncio.Lock()  # two of one process would do the same work twice

    @property
    def _shards(self) -> Sequence[Shard]:
        return self._ledger.shards

    async def erase(self, wanted: Wanted, author: str) -> AsyncGenerator[Looked | Erasure, None]:
        """Erase a user's personal data; tell how far it is, and at the end what became of it.

        What is under way comes to its end as it was asked for; what this call asks for beyond that
        is another request. With nothing left the last one is told again, and nothing changes.
        """
        async with self._lock:
            await self._refuse_unfinished()
            await self._scrub_waiting(author, wanted.user)
            went_on = False
            while True:
                before = await self._told(wanted.user)
                if before and before[-1].state == ERASING:
                    went_on = True
                    async for looked in self._go_on(wanted.user):
                        yield looked
                    before = await self._told(wanted.user)
                if before and await self._is_nothing_left(wanted):
                    yield before[-1]._replace(repeated=not went_on)
                    return
                number = len(before) + 1
                asked = ErasureAsked(wanted.user, number, wanted.reason, wanted.texts, author)
                request = partial(commands.request_erasure, asked=asked)
                if await self._shards[0].command(request, author):
                    break
                # Another process has asked meanwhile: what it leaves is still to be asked for.
            self._ledger.failpoint("erasure-requested")
            async for looked in self._go_on(wanted.user):
                yield looked
            told = await self._told(wanted.user)
            yield next(each for each in told if each.number == number)

    async def count(self, wanted: Wanted) -> AsyncGenerator[Looked | Erasure, None]:
        """Count what would be erased; nothing changes."""
        rows = letters = failures = 0
        for shard in self._shards:
            # Asked of the store: what this process has heard of the log may be a moment old.
            head = (await asyncio.to_thread(shard.store.progress)).head
            for after, through in _windows(head):
                found = await shard.read_aside(
                    partial(_rows, wanted=wanted, after=after, through=through, before=head + 1)
                )
                rows += len(found)
                yield Looked(shard.number, through, head)
            letters += await shard.read_long(partial(_count_letters, wanted=wanted))
            failures += await shard.read_long(partial(_count_failures, wanted=wanted))
        yield Erasure(
            *(wanted.user, 0, self._ledger.now(), "", "", rows, letters, COUNTED),
            failures=failures,
        )

    async def page(self, *, after: bytes, limit: int) -> list[list[Erasure]]:
        """Give erasures user by user, in the order of their IDs; those of so many users."""
        ask = partial(_users, after=after, limit=limit)
        users = await self._shards[0].read(ask)
        return [await self._told(user) for user in users]

    async def resume(self, author: str) -> None:
        """Finish what was cut off, here or in another process."""
        async with self._lock:
            for row in await self._shards[0].read(_erasures):
                if row.state == ERASING:
                    async for _ in self._go_on(row.user):
                        pass
            await self._scrub_waiting(author)

    async def _scrub_waiting(self, author: str, user: bytes | None = None) -> None:
        """Try again where bytes were left in the files."""
        for shard in self._shards:
            for row in await shard.read(_erasures):
                if row.state == SCRUBBING and user in (None, row.user):
                    await self._scrub(shard, row.user, row.number, author)

    async def _refuse_unfinished(self) -> None:
        for shard in self._shards:
            if await asyncio.to_thread(shard.store.finished_schema) < AUDIT:
                raise FailedPreconditionError(
                    "migrations are not finished: run `usage-ledger migrate --finish` once every"
                    " role is of this version"
                )

    async def _told(self, user: bytes) -> list[Erasure]:
        def ask(queries: Queries) -> list[Told]:
            with queries.reader.snapshot():
                return told(queries.reader, user)

        return joined(user, await self._ledger.read_all(ask))

    async def _is_nothing_left(self, wanted: Wanted) -> bool:
        async for step in self.count(wanted):
            if isinstance(step, Erasure):
                return not (step.personal_rows or step.dead_letters or step.failures)
        raise AssertionError("counting ended without a count")

    async def _go_on(self, user: bytes) -> AsyncIterator[Looked]:
        """Erase in every shard, in the first one last, as the first one says."""
        row = await self._shards[0].read(lambda queries: queries.reader.erasure(user))
        if row is None or row.state != ERASING:
            return  # another process has finished it
        request = (await self._told(user))[-1]
        asked = ErasureAsked(user, row.number, request.reason, _texts(row.texts), request.author)
        for shard in reversed(self._shards):
            async for looked in self._erase_in(shard, asked):
                yield looked

    async def _erase_in(self, shard: Shard, asked: ErasureAsked) -> AsyncIterator[Looked]:
        user, number, author = asked.user, asked.number, asked.author
        row: ErasureRow | None = await shard.command(
            partial(commands.begin_erasure, asked=asked), author
        )
        if row is None or row.state != ERASING:
            return
        last = row.position - 1
        wanted = Wanted(user, "", asked.texts)
        for after, through in _windows(last, after=row.looked_at):
            found = await shard.read_aside(
                partial(_rows, wanted=wanted, after=after, through=through, before=row.position)
            )
            for part in _parts(found, ROWS_MAX) if found else ([],):
                await shard.command(
                    partial(
                        commands.erase_rows,
                        user=user,
                        number=number,
                        positions=part,
                        # Only behind its last row is a window done.
                        looked_at=through if not found or part[-1] == found[-1] else after,
                    ),
                    author,
                )
                self._ledger.failpoint("erased-rows")
            yield Looked(shard.number, through, last)
        await self._erase_letters(shard, row, wanted, author)
        self._ledger.failpoint("erased-letters")
        await shard.command(partial(commands.finish_erasure, user=user, number=number), author)
        self._ledger.failpoint("erased")
        await self._scrub(shard, user, number, author)

    async def _erase_letters(
        self, shard: Shard, row: ErasureRow, wanted: Wanted, author: str
    ) -> None:
        letter = row.letter
        while True:
            found = await shard.read_aside(
                partial(_letters, wanted=wanted, after=letter, through=row.letters_through)
            )
            if found is None:
                return
            ids, letter = found
            await shard.command(
                partial(
                    commands.erase_letters,
                    user=row.user,
                    number=row.number,
                    ids=ids,
                    letter=letter,
                ),
                author,
            )

    async def _scrub(self, shard: Shard, user: bytes, number: int, author: str) -> None:
        """Let the bytes leave the files; where a reader stands in the way, the job tries again."""
        for _ in range(SCRUB_TRIES):
            if await asyncio.to_thread(shard.store.scrub):
                await shard.command(partial(commands.end_erasure, user=user, number=number), author)
                return
            await asyncio.sleep(SCRUB_PAUSE_SECONDS)
        log.warning(
            "the files of shard %d still hold what was erased: a reader needs an older state;"
            " the reset job tries again",
            shard.number,
        )


def _windows(last: int, *, after: int = 0) -> Iterator[tuple[int, int]]:
    while after < last:
        through = min(after + WINDOW, last)
        yield after, through
        after = through


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _users(queries: Queries, *, after: bytes, limit: int) -> list[bytes]:
    return users_erased(queries.reader, after=after, limit=limit)


def _erasures(queries: Queries) -> list[ErasureRow]:
    return queries.reader.erasures()


def _rows(queries: Queries, wanted: Wanted, *, after: int, through: int, before: int) -> list[int]:
    """Give positions below `before` whose personal fields are to go.

    Looked at are events in (after, through]. One that names the user brings its whole stream: what
    comes behind it there need not name anybody.
    """
    reader = queries.reader
    found = reader.events_naming(wanted.user, after=after, through=through)
    streams = sorted({stream for topic, stream in found if topic in COMMITTING})
    positions = {
        position
        for part in _parts(streams, STREAMS_READ)
        for stored in reader.streams(part).values()
        for position, owner in committed(decoded(stored))
        if owner == wanted.user and position < before
    }
    if wanted.texts:
        needles = Needles(wanted.user, wanted.texts)
        positions |= {
            row.position
            for row in reader.personal_between(after=after, through=through)
            if needles.are_in_fields(row.fields)
        }
    held = reader.personal_among(sorted(positions))
    return sorted(position for position, row in held.items() if not row.erased_by)


def _letters(
    queries: Queries, wanted: Wanted, *, after: int, through: int
) -> tuple[list[int], int] | None:
    """Look at the next dead letters; give those that name the user, and up to which it looked."""
    page = queries.reader.letters(after=after, through=through, limit=LETTERS_MAX)
    if not page:
        return None
    needles = Needles(wanted.user, wanted.texts)
    found = [
        letter.id
        for letter in page
        if needles.are_in_letter(letter.original) or needles.are_in_letter(letter.reason.encode())
    ]
    return found, page[-1].id


def _count_letters(queries: Queries, wanted: Wanted) -> int:
    letter, count = 0, 0
    through = queries.reader.newest_letter()
    while found := _letters(queries, wanted, after=letter, through=through):
        ids, letter = found
        count += len(ids)
    return count


def _count_failures(queries: Queries, wanted: Wanted) -> int:
    needles = Needles(wanted.user, wanted.texts)
    return sum(needles.are_in_fields(each.text.encode()) for each in queries.reader.sentences())
