"""What a store keeps of erasures.

A row of personal data that is erased stays in its place: its salt becomes a mark that names the
erasure, its fields become zeros. So `check` tells what was erased from what was lost, and no other
row moves within the file of a database that would leave a copy behind (decision 63).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

# A salt that begins so names an erasure: its position in the log follows. A random one begins so
# once in 2**64 rows.
MARK = bytes(8)
# A dead letter whose bytes are gone; its digest and counts stay, so that it still repeats.
ERASED = "erased"

# States of an erasure.
ERASING, SCRUBBING = "erasing", "scrubbing"


class Personal(NamedTuple):
    """The erasable part of an event. `commitment` in the event is SHA-256(salt + fields)."""

    position: int
    salt: bytes
    fields: bytes  # msgpack; zeros once erased

    @property
    def erased_by(self) -> int:
        """Give the position of the erasure that took the fields; 0 while they are there."""
        return int.from_bytes(self.salt[len(MARK) :]) if self.salt.startswith(MARK) else 0


def mark_of(erasure: int) -> bytes:
    """Give what stands in the place of a salt; `erasure` is the position of its request."""
    return MARK + erasure.to_bytes(8)


class ErasureRow(NamedTuple):
    """An erasure that is not finished in this shard, and how far it is."""

    user: bytes
    number: int
    position: int  # of the request; what lies before it in the log is to be erased
    looked_at: int  # up to where the log has been looked at
    letters_through: int  # newest dead letter when it was asked for
    letter: int  # up to which dead letters have been looked at
    personal_rows: int
    dead_letters: int
    texts: bytes  # msgpack of the texts that are looked for; empty once every row is erased
    state: str


class Letter(NamedTuple):
    """A dead letter as a search needs it."""

    id: int
    kind: str
    original: bytes
    reason: str


class Sentence(NamedTuple):
    """Why something waits or has failed, kept beside the log; `key` is its row's in `table`."""

    table: str
    key: bytes | str | int
    text: str


class ErasureReads(Protocol):
    """What transactions and readers tell of erasures."""

    def erasure(self, user: bytes) -> ErasureRow | None:
        """Give a user's erasure that is not finished."""

    def erasures(self) -> list[ErasureRow]:
        """Give the erasures that are not finished, by user."""

    def newest_letter(self) -> int:
        """Give the highest number of a dead letter; 0 without any."""

    def sentences(self) -> list[Sentence]:
        """Give why billing waits, and what webhooks and jobs have failed of."""


class ErasureWrites(Protocol):
    """What a transaction does to erase."""

    def put_erasure(self, row: ErasureRow) -> None:
        """Keep how far an erasure is."""

    def end_erasure(self, user: bytes) -> None:
        """Forget an erasure that is finished."""

    def erase_personal(self, positions: Sequence[int], erasure: int) -> int:
        """Overwrite rows of personal data with a mark; give how many still held something."""

    def erase_dead_letters(self, ids: Sequence[int], reason: str) -> int:
        """Take the bytes out of dead letters; give how many still had them."""

    def erase_sentences(self, sentences: Sequence[Sentence]) -> None:
        """Overwrite what they say."""

    def scrub_pages(self) -> None:
        """Leave no copy of what was erased in the database's pages.

        Rows of personal data leave none: they are overwritten where they stand. Dead letters and
        webhooks that were retried or forgotten before may have left some, so it is done although
        nothing was found in them now.
        """


class ErasureSearch(Protocol):
    """What a reader finds of a user."""

    def events_naming(self, user: bytes, *, after: int, through: int) -> list[tuple[str, str]]:
        """Give (topic, stream) of events in (after, through] that may name a user."""

    def personal_between(self, *, after: int, through: int) -> list[Personal]:
        """Give the rows of events in (after, through] that still hold something."""

    def personal_among(self, positions: Sequence[int]) -> dict[int, Personal]:
        """Give rows by position, erased ones, too."""

    def letters(self, *, after: int, through: int, limit: int) -> list[Letter]:
        """Give dead letters that have their bytes, by number."""

    def marks(self) -> dict[int, int]:
        """Count erased rows by the position of their erasure."""
