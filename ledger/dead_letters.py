"""Dead letters of every shard: listed, tried again, and forgotten when they are old."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ledger import commands
from ledger.acts import write_down
from ledger.arrivals import RejectedError
from ledger.commands.cost_centers import resets_held
from ledger.group import Group, MisplacedError
from ledger.intake import Reject, decide_event, retry
from ledger.messages import parser_of
from ledger.queries import Queries
from ledger.receipts import letter_outside, shard_and_letter
from persistence import DeadLetter

if TYPE_CHECKING:
    from ledger.application import Ledger

IDS_WRITTEN_MAX = 20  # of those that a call has named
EXPIRED_AT_ONCE = 1_000  # dead letters forgotten in one transaction
IMPORT_PREFIX = "import:"  # of the delivery names of imports: a retry must know the source

Letter = tuple[DeadLetter, str]  # with the name of its delivery


class DeadLetters:
    """The use cases of dead letters."""

    def __init__(self, ledger: Ledger) -> None:
        """Look after the dead letters of a ledger."""
        self._ledger = ledger

    async def page(self, *, before: int, limit: int) -> list[Letter]:
        """Give dead letters with lower numbers: the last shard's first, newest first in each."""
        found: list[Letter] = []
        start, kept = shard_and_letter(before)
        for shard in reversed(self._ledger.shards[: start + 1]):
            below = kept if shard.number == start else (1 << 62)
            page = await shard.read(partial(_letters, before=below, limit=limit - len(found)))
            found += [_outside(letter, shard.number) for letter in page]
            if len(found) >= limit:
                break
        return found

    async def find(self, number: int) -> Letter | None:
        """Give one dead letter with its bytes."""
        shard, kept = shard_and_letter(number)
        if not 0 <= shard < len(self._ledger.shards):
            return None
        found = await self._ledger.shards[shard].read(
            lambda queries: queries.reader.dead_letter(kept)
        )
        return _outside(found, shard) if found else None

    async def begin_retry(self, ids: Sequence[int], author: str) -> None:
        """Write down who is about to try which dead letters again; none: all of them.

        A repeat goes and is no event, and one that is rejected again gets another reason.
        """
        named = ", ".join(map(str, ids[:IDS_WRITTEN_MAX]))
        more = f" and {len(ids) - IDS_WRITTEN_MAX} more" if len(ids) > IDS_WRITTEN_MAX else ""
        first = self._ledger.shards[0]
        await write_down(
            self._ledger, first, author, "dead-letters retry", f"{named}{more}" or "all"
        )

    async def retry(self, letter_id: int, author: str) -> str | Reject | None:
        """Try a dead letter again.

        "" when recorded, "repeated", a reject, or None if there is none.
        """
        number, kept_id = shard_and_letter(letter_id)
        if number >= len(self._ledger.shards):
            return None

        def act(group: Group) -> str | Reject | None:
            letter = group.transaction.dead_letter(kept_id)
            if letter is None:
                return None

            def decide(original: bytes) -> str:
                if letter.kind == "import":
                    source = group.transaction.delivery_name(letter.delivery)
                    return commands.decide_import(
                        group, original, self._ledger.importing(source.removeprefix(IMPORT_PREFIX))
                    )
                return decide_event(group, original, parser_of(letter.kind))

            try:
                return retry(group, letter, decide)
            except RejectedError as error:
                return Reject(letter.line, str(error), letter_id)

        try:
            outcome: str | Reject | None = await self._ledger.shards[number].decide(act, author)
        except MisplacedError as error:
            reason = (
                f"{error}, where this dead letter is kept: publish it again, `usage-ledger"
                f" dead-letters show {letter_id} --raw` writes it"
            )
            outcome = await self._ledger.shards[number].command(
                partial(_kept, reason, letter_id), author
            )
        return outcome

    async def forget_expired(self, author: str) -> int:
        """Forget dead letters older than their retention; the counts stay.

        Not while the clock may have leapt: what is forgotten by a wrong clock is gone.
        """
        before = self._ledger.now() - self._ledger.settings.dead_letters.retention

        def act(group: Group) -> int:
            group.fold()
            if resets_held(group.transaction.rows.clock(), group.now):
                return 0
            ids = group.transaction.expired_dead_letters(before, EXPIRED_AT_ONCE)
            group.transaction.remove_dead_letters(ids)
            return len(ids)

        forgotten = 0
        for shard in self._ledger.shards:
            while count := await shard.decide(act, author):
                forgotten += count
        return forgotten


def _kept(reason: str, letter_id: int, group: Group) -> Reject | None:
    """Keep why a dead letter stays; None if somebody else has retried it meanwhile."""
    _, kept_id = shard_and_letter(letter_id)
    letter = group.transaction.dead_letter(kept_id)
    if letter is None:
        return None
    group.transaction.dead_letter_reason(kept_id, reason, group.recorded_at)
    return Reject(letter.line, reason, letter_id)


def _letters(queries: Queries, before: int, limit: int) -> list[Letter]:
    return queries.reader.dead_letters(before=before, limit=limit)


def _outside(letter: Letter, shard: int) -> Letter:
    return letter[0]._replace(id=letter_outside(shard, letter[0].id)), letter[1]
