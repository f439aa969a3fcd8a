"""The events of a pack, drawn from a shard's log in order, with what proves them all at once.

Of a payer these are its own events, and what holds for everybody: prices, reconciles, the clock. An
instance that was voided for another payer before comes with its earlier life, or nobody could see
that its stream is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from events import (
    ClockConfirmed,
    LedgerEvent,
    PriceListPublished,
    UnreadableEventError,
    UsageReconciled,
    WorkspaceInstanceVoided,
    decode,
)
from ledger.audit.leaves import leaf_of
from ledger.audit.merkle import Subtree
from ledger.audit.packs.layout import PackError
from ledger.audit.packs.multiproof import Climb, gap_subtrees
from ledger.audit.tiles import Subtrees, TreeBrokenError
from persistence import Head, Reader, StreamEvent

BATCH = 5_000  # events read at a time
STRETCH = 200_000  # positions looked through at a time for voids
BEGINNING = -(2**62)  # before every position

_FACTS = frozenset(each.TOPIC for each in (ClockConfirmed, PriceListPublished, UsageReconciled))


class Drawn(NamedTuple):
    """An event of a pack."""

    leaf: int
    stored: StreamEvent
    event: LedgerEvent


class Batch(NamedTuple):
    """What a stretch of the log gave."""

    events: list[Drawn]
    hashes: list[bytes]  # of what lies between, one behind the other
    done: int  # leaves of the shard passed so far


class Drawing:
    """Draws what a head covers from one shard."""

    def __init__(self, reader: Reader, head: Head, payer: bytes | None) -> None:
        """Draw a payer's events, or with None all."""
        self._reader = reader
        self._head = head
        self._payer = payer
        self._lives = {} if payer is None else self._shared_lives(payer)
        self._climb = Climb()
        self.size = head.size
        self.last_position = 0

    def batches(self) -> Iterator[Batch]:
        """Give the events in the order of the log; PackError if they are not what was signed."""
        size, after, index = self._head.size, BEGINNING, 0
        while index < size:
            stored = self._reader.log(after=after, limit=min(BATCH, size - index))
            if not stored:
                raise PackError(
                    f"the log has {index:,} of the {size:,} events that head {self._head.number}"
                    " covers: see `usage-ledger verify`"
                )
            drawn = list(self._drawn(index, stored))
            index, after = index + len(stored), stored[-1].position
            yield Batch(drawn, self._prove(drawn, until=index, size=size), index)
        self.last_position = after
        if self._climb.root() != self._head.root:
            raise PackError(
                f"the log is not what head {self._head.number}, of {size:,} events, was signed for:"
                " see `usage-ledger verify`"
            )

    def _drawn(self, index: int, stored: Sequence[StreamEvent]) -> Iterator[Drawn]:
        for leaf, event in enumerate(stored, start=index):
            try:
                if self._may_belong(event):
                    known = decode(event.topic, event.state)
                    if self._belongs(event, known):
                        yield Drawn(leaf, event, known)
            except UnreadableEventError as error:
                raise PackError(f"the event at position {event.position:,}: {error}") from error

    def _may_belong(self, stored: StreamEvent) -> bool:
        """Say quickly what cannot be the payer's: its bytes are not among those of the event."""
        payer = self._payer
        return (
            payer is None
            or payer in stored.state
            or stored.topic in _FACTS
            or stored.stream in self._lives
        )

    def _belongs(self, stored: StreamEvent, event: LedgerEvent) -> bool:
        if self._payer is None or stored.topic in _FACTS:
            return True
        if getattr(event, "payer", None) == self._payer:
            return True
        return stored.version <= self._lives.get(stored.stream, 0)

    def _prove(self, drawn: Sequence[Drawn], *, until: int, size: int) -> list[bytes]:
        """Climb over a batch; give the hashes of what lies between its events."""
        gaps: list[tuple[int, int]] = []
        at = self._climb.size
        for each in drawn:
            gaps.append((at, each.leaf))
            at = each.leaf + 1
        gaps.append((at, size) if until == size else (at, at))
        cut = [gap_subtrees(*gap) for gap in gaps]
        found = iter(self._roots([subtree for subtrees in cut for subtree in subtrees]))
        hashes: list[bytes] = []
        for number, subtrees in enumerate(cut):
            for height, _ in subtrees:
                hashes.append(next(found))
                self._climb.add(height, hashes[-1])
            if number < len(drawn):
                self._climb.add(0, leaf_of(drawn[number].stored))
        return hashes

    def _roots(self, subtrees: Sequence[Subtree]) -> list[bytes]:
        try:
            return Subtrees(self._reader.tree.tiles).hashes(
                [(number << height, (number + 1) << height) for height, number in subtrees]
            )
        except TreeBrokenError as error:
            raise PackError(f"the tree is not whole: {error}") from error

    def _shared_lives(self, payer: bytes) -> dict[str, int]:
        """Find instances that others had before: up to which version their streams belong here."""
        position = self._reader.tree.position()
        voided: list[str] = []
        for after in range(0, position, STRETCH):
            voided += self._reader.packs.streams_of(
                WorkspaceInstanceVoided.TOPIC, after=after, up_to=min(after + STRETCH, position)
            )
        lives: dict[str, int] = {}
        for at in range(0, len(voided), BATCH):
            for stream, stored in self._reader.streams(voided[at : at + BATCH]).items():
                own = [each.version for each in stored if _payer_of(each) == payer]
                if own and own[0] > 1:
                    lives[stream] = own[-1]
        return lives


def _payer_of(stored: StreamEvent) -> bytes | None:
    return getattr(decode(stored.topic, stored.state), "payer", None)
