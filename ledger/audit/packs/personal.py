"""Personal fields of a pack that is taken over: each as its event commits to, or erased."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from ledger.audit.packs.layout import Count, PackError, Shard, folder_of
from ledger.audit.packs.reading import Pack
from persistence import Personal, Transaction


class PersonalLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Personal fields of an event."""

    position: Count
    salt: bytes
    fields: bytes


class PersonalFields:
    """Writes them behind their events; both are in the log's order."""

    def __init__(self, pack: Pack, shard: Shard) -> None:
        """Begin with the first of a shard's fields."""
        self._name = f"{folder_of(shard.shard)}/personal.jsonl"
        self._shard = shard.shard
        self._lines: Iterator[list[PersonalLine]] = iter(())
        if shard.size and pack.manifest.with_personal:
            self._lines = pack.pages(self._name, PersonalLine, 1)
        self._next = self._read()
        # What lies before the first is not in the pack, as the ledger that made it had not got it,
        # or nobody wanted it. What is missing behind it was lost there, and is lost here.
        self._through = shard.last_position if self._next is None else self._next.position - 1
        self._is_left = False
        self._erased_by: set[int] = set()  # positions of requests that erased fields name

    def _read(self) -> PersonalLine | None:
        return next(self._lines, [None])[0]

    def write(self, transaction: Transaction, commitments: dict[int, bytes]) -> None:
        """Write the fields of the events that were just written, by what they commit to."""
        rows: list[Personal] = []
        last = max(commitments, default=0)
        self._is_left |= min(commitments, default=self._through + 1) <= self._through
        while self._next is not None and self._next.position <= last:
            line = self._next
            row = Personal(line.position, line.salt, line.fields)
            committed = commitments.pop(line.position, None)
            if row.erased_by > line.position and committed is not None and not any(line.fields):
                self._erased_by.add(row.erased_by)
            elif hashlib.sha256(line.salt + line.fields).digest() != committed:
                raise PackError(
                    f"personal fields at position {line.position:,} of shard {self._shard} are not"
                    " those that the event commits to"
                )
            rows.append(row)
            self._next = self._read()
        transaction.add_personal(rows)

    def finish(self, transaction: Transaction, erasures: set[int]) -> None:
        """Refuse what no event asks for, and keep what did not come.

        `erasures`: positions of the requests to erase.
        """
        unasked = self._erased_by - erasures
        if unasked:
            raise PackError(
                f"{self._name} has fields that were erased by position {min(unasked):,}, where"
                " nobody asked for that"
            )
        if self._next is not None:
            raise PackError(
                f"{self._name} has fields at position {self._next.position:,}, which no event"
                " commits to"
            )
        if self._is_left:
            transaction.packs.leave_personal(self._through)
