"""Signed heads: on a schedule and on demand, over a tree that fits together, by a listed key.

What cannot be signed is told and tried again; intake, reads and the tree itself go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from ledger.audit.keys import UNLISTED, KeysError, Signer, load_signer
from ledger.audit.looking import BY_SIGNING, Looked, look
from ledger.audit.notes import Checkpoint, NoteError, parse_note
from ledger.audit.tiles import Subtrees, TreeBrokenError
from ledger.clock import Clock, now_ms
from ledger.errors import FailedPreconditionError
from ledger.queries import Queries
from ledger.settings import Settings
from ledger.shards import Shard
from persistence import Head, PositionMovedError, Reader, Transaction

# So long a demand waits for the tree to take in what was recorded before it.
CATCH_UP_SECONDS = 5.0
LOOK_SECONDS = 0.05
TRIES = 5  # when other processes sign at the same time


class _Next(NamedTuple):
    """The head that a shard has now, or is to have."""

    head: Head | None  # None while the log is empty
    is_new: bool
    had_fault: bool  # whether something was known to be wrong, which is not any more


class _UnlistedError(Exception):
    """The newest head is by a key that the list lacks: the list may be old, and the tree whole."""


class _NotToBeSignedError(TreeBrokenError):
    """The tree fits together, and not with what the newest head or the list of keys says."""


class Heads:
    """Signs the heads of a ledger's shards."""

    def __init__(self, shards: Sequence[Shard], settings: Settings, clock: Clock) -> None:
        """Read keys when they are needed, and anew each time."""
        self._shards = shards
        self._settings = settings
        self._clock = clock
        self.trouble = ""  # why the last try failed
        self._lock = asyncio.Lock()  # else one that was late would tell what another has mended

    async def sign_due(self, author: str) -> None:
        """Sign what was recorded since the newest heads, where a key is meant to."""
        if not self._is_wanted and not await self._were_signed():
            self.trouble = ""
            return
        await self._sign_all(author)

    @property
    def _is_wanted(self) -> bool:
        settings = self._settings
        return settings.audit.signing_key_file is not None or settings.signing_key_path.exists()

    async def _were_signed(self) -> bool:
        newest = [
            await shard.read(lambda queries: queries.reader.tree.newest_head())
            for shard in self._shards
        ]
        return any(newest)

    async def sign(self, author: str) -> tuple[list[tuple[Shard, Head]], int]:
        """Sign all that was recorded before; give the newest heads, and how many events they lack.

        FailedPreconditionError when there is no key, or a tree is broken.
        """
        wanted = {shard.number: shard.head for shard in self._shards}
        until = time.monotonic() + CATCH_UP_SECONDS
        for shard in self._shards:
            await _until_followed(shard, wanted[shard.number], until)
        heads = await self._sign_all(author)
        covered = {shard.number: head.size for shard, head in heads}
        lacking = 0
        for shard in self._shards:
            recorded = await shard.read(partial(_events_up_to, position=wanted[shard.number]))
            lacking += max(recorded - covered.get(shard.number, 0), 0)
        return heads, lacking

    async def _sign_all(self, author: str) -> list[tuple[Shard, Head]]:
        async with self._lock:
            try:
                signed = await self._try_all(author)
            except Exception as error:
                self.trouble = str(error)
                raise
            self.trouble = ""
            return signed

    async def _try_all(self, author: str) -> list[tuple[Shard, Head]]:
        """Sign every shard that can be; then say which could not."""
        signed: list[tuple[Shard, Head]] = []
        objections: list[str] = []
        try:
            for shard in self._shards:
                try:
                    head = await self._sign(shard, author)
                except FailedPreconditionError as error:
                    objections.append(str(error))
                else:
                    signed += [] if head is None else [(shard, head)]
        except KeysError as error:
            raise FailedPreconditionError(f"no head is signed: {error}") from error
        if objections:
            raise FailedPreconditionError("; ".join(objections))
        return signed

    async def _sign(self, shard: Shard, author: str) -> Head | None:
        """Sign a shard's head unless the newest is it; None while the log is empty."""

        def next_head(queries: Queries) -> _Next:
            # Read anew for each try, and as late as can be: another process may exchange the key.
            signer = load_signer(self._settings.signing_key_path, self._settings.keys_path)
            return self._next(queries.reader, signer, author)

        was_unlisted = False
        for _ in range(TRIES):
            try:
                found = await shard.read_aside(next_head)
            except _UnlistedError as error:
                # Since the list was read another process may have listed its key, and signed.
                if was_unlisted:
                    raise FailedPreconditionError(
                        f"no head of shard {shard.number} is signed: {error}, which"
                        f" {self._settings.keys_path} does not list: if another process signs with"
                        " it, put its key and its list here, too"
                    ) from error
                was_unlisted = True
                continue
            except TreeBrokenError as error:
                mark = BY_SIGNING if isinstance(error, _NotToBeSignedError) else ""
                await shard.beside(partial(_keep_fault, fault=f"{mark}{error}"))
                raise FailedPreconditionError(
                    f"the tree of shard {shard.number} is broken, and is not signed: {error}"
                ) from error
            if found.had_fault:  # it was mended
                await shard.beside(partial(_keep_fault, fault=""))
            if found.head is None or not found.is_new:
                return found.head
            try:
                await shard.beside(partial(_keep_head, head=found.head))
            except PositionMovedError:
                continue
            return found.head
        raise FailedPreconditionError("others sign heads at the same time: try again")

    def _next(self, reader: Reader, signer: Signer, author: str) -> _Next:
        """Give the next head, or the newest where that covers everything."""
        with reader.snapshot():
            found = look(reader)
            size = found.state.size
            newest = reader.tree.newest_head()
            if newest is not None:
                _refuse_forged(newest, signer)
            if newest is not None and newest.size > size:
                raise FailedPreconditionError(
                    f"the tree is being built anew: {size:,} of the {newest.size:,} events that"
                    f" head {newest.number} covers are in it"
                )
            had_fault = bool(found.state.fault)
            _refuse_cut(reader, found, signer)
            if size == 0:
                return _Next(None, is_new=False, had_fault=had_fault)
            if newest is not None and (newest.size, newest.key_name) == (size, signer.name):
                return _Next(newest, is_new=False, had_fault=had_fault)
            checkpoint = _checkpoint(reader, found)
        number = 1 if newest is None else newest.number + 1
        now = now_ms(self._clock)
        note = signer.sign(checkpoint)
        _, size, root, recorded_at = checkpoint
        head = Head(number, size, root, recorded_at, now, signer.name, author, note)
        return _Next(head, is_new=True, had_fault=had_fault)


def _checkpoint(reader: Reader, found: Looked) -> Checkpoint:
    size = found.state.size
    root = Subtrees(reader.tree.tiles).root(size)
    return Checkpoint(found.state.origin, size, root, found.recorded_at)


def _refuse_forged(newest: Head, signer: Signer) -> None:
    """Refuse to go on from a head that nobody has signed: whatever it is over would be signed."""
    try:
        note = parse_note(newest.note)
        objection, kind, _ = signer.keys.judge(note)
    except NoteError as error:
        raise _NotToBeSignedError(f"head {newest.number} is no signed head: {error}") from None
    if kind == UNLISTED:
        raise _UnlistedError(f'the newest one, head {newest.number}, is by "{newest.key_name}"')
    if objection:
        raise _NotToBeSignedError(f"head {newest.number} is not to be believed: {objection}")
    if note.checkpoint[1:3] != (newest.size, newest.root):
        raise _NotToBeSignedError(
            f"the row of head {newest.number} says something else than its note"
        )


def _refuse_cut(reader: Reader, found: Looked, signer: Signer) -> None:
    """Refuse to sign a log that does not go on from what retired keys have signed.

    Whoever cuts a log back takes its heads with it; the list of keys lies elsewhere.
    """
    origin, size = found.state.origin, found.state.size
    lasts = [
        (key.name, last)
        for key in signer.keys.keys
        for last in (key.retired.last_heads if key.retired is not None else ())
        if last.origin == origin and last.size
    ]
    for name, last in lasts:
        if last.size <= size:
            if Subtrees(reader.tree.tiles).root(last.size) != last.root:
                raise _NotToBeSignedError(
                    f"the log of the first {last.size:,} events is not the one that retired key"
                    f' "{name}" has signed{_WHAT_THEN}'
                )
        elif reader.log(after=found.position, limit=1):
            raise FailedPreconditionError(
                f'the tree has {size:,} of the {last.size:,} events that retired key "{name}" has'
                " signed: more of the log is to come"
            )
        else:
            raise _NotToBeSignedError(
                f'retired key "{name}" has signed a head of {last.size:,} events, but the log has'
                f" only {size:,}{_WHAT_THEN}"
            )


_WHAT_THEN = (
    ": it was cut, or restored to an older state. Restore what is newer, or tell auditors which"
    " head is the last that holds, and write it in the place of that key's last head of this tree,"
    ' under "last_heads" in audit.keys_file'
)


def _events_up_to(queries: Queries, position: int) -> int:
    """Count the events up to a position: those in the tree, and those behind it."""
    reader = queries.reader
    with reader.snapshot():
        size, at = reader.tree.state().size, reader.tree.position()
        return size + reader.tree.events_before(position + 1, since=at + 1)


def _keep_fault(transaction: Transaction, fault: str) -> None:
    transaction.tree.find_fault(fault)


def _keep_head(transaction: Transaction, head: Head) -> None:
    transaction.tree.add_head(head)


async def _until_followed(shard: Shard, position: int, until: float) -> None:
    """Return when the tree has everything up to a position, or at the time."""
    while await shard.read(lambda queries: queries.reader.tree.position()) < position:
        if time.monotonic() > until:
            return
        await asyncio.sleep(LOOK_SECONDS)
