"""What one explanation reads: one snapshot, cut where the rows stand in the log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from events import PriceListPublished, Recorded, decode
from events.readable import uuid_text
from ledger.audit.why.cursors import Cursor, Key, Place, new_cursor
from ledger.audit.why.numbers import Price
from ledger.commands.ledger import PRICES_STREAM
from ledger.errors import FailedPreconditionError
from ledger.queries import Queries
from persistence import CycleRow, StreamEvent
from projections import Accrual

NEEDED = ("instances", "usage-totals", "balances", "invoice-drafts", "billing")
_MARK_BYTES = 8
_FIRST_CYCLE = CycleRow(0, None, 0, None, 0, 0, 0, 0, 0, 0, 0)  # as it is before its first row
_encode = msgspec.msgpack.Encoder().encode


class Basis:
    """Reads for one payer. Only inside a snapshot of the reader."""

    def __init__(self, queries: Queries, payer: bytes) -> None:
        """Stand where the rows stand; UnavailableError while one of the folds is paused."""
        queries.refuse_if_paused(*NEEDED)
        self.queries = queries
        self.reader = queries.reader
        self.why = queries.reader.why
        self.payer = payer
        self.position = self.reader.stands_at(self.reader.serves())
        self.accrual = self.reader.accrual()
        self._mark: bytes | None = None
        self._prices: list[Recorded] | None = None
        self._cycles: list[CycleRow] | None = None
        self._reconciles: dict[int, Recorded] = {}

    # The log -----------------------------------------------------------------------------------

    def streams(self, names: Iterable[str]) -> Mapping[str, list[Recorded]]:
        """Give streams up to where the rows stand: the log may be ahead of them."""
        found = self.reader.streams(list(dict.fromkeys(names)))
        return {
            name: [recorded_of(event) for event in events if event.position <= self.position]
            for name, events in found.items()
        }

    def stream(self, name: str) -> list[Recorded]:
        """Give one stream; empty when there is none."""
        return self.streams([name]).get(name, [])

    def instances(self, instances: Iterable[bytes]) -> Mapping[bytes, list[Recorded]]:
        """Give the streams of instances."""
        names = {instance: f"instance:{uuid_text(instance)}" for instance in instances}
        found = self.streams(names.values())
        return {instance: found.get(name, []) for instance, name in names.items()}

    def events(self, positions: Sequence[int]) -> Mapping[int, Recorded]:
        """Give events by their positions."""
        return {at: recorded_of(event) for at, event in self.why.events(positions).items()}

    def event(self, position: int) -> Recorded:
        """Give the event at a position."""
        return self.events([position])[position]

    def reconcile(self, accrual: Accrual) -> Recorded:
        """Give the event of a reconcile: running instances share it."""
        known = self._reconciles.get(accrual.position)
        if known is None:
            known = self._reconciles[accrual.position] = self.event(accrual.position)
        return known

    def price(self, revision: int, workspace_class: str, rate: str) -> Price:
        """Find the list that a rate was taken from."""
        if self._prices is None:
            self._prices = self.stream(PRICES_STREAM)
        for recorded in self._prices:
            event = recorded.event
            assert isinstance(event, PriceListPublished)
            if event.revision != revision:
                continue
            listed = event.credits_per_minute.get(workspace_class)
            if rate == (event.fallback if listed is None else listed):
                since = event.in_force_from
                return Price(revision, recorded.position, since, workspace_class, listed is None)
        return Price(revision, None, None, workspace_class, is_fallback=False)

    # The payer ---------------------------------------------------------------------------------

    @property
    def cycles(self) -> list[CycleRow]:
        """Give the payer's cycles, the open one last; without any row of them it is number 0."""
        if self._cycles is None:
            self._cycles = self.why.cycles(self.payer) or [_FIRST_CYCLE]
        return self._cycles

    def accrual_after(self, cycle: CycleRow) -> Accrual:
        """Give the accrual at the end of a cycle, or now."""
        at = self.cycles.index(cycle) + 1
        if at == len(self.cycles):
            return self.accrual
        return accrual_before(self.cycles[at])

    @property
    def mark(self) -> bytes:
        """Give what changes whenever the payer's numbers do."""
        if self._mark is None:
            told = _encode(self.why.mark(self.payer))
            self._mark = hashlib.blake2b(told, digest_size=_MARK_BYTES).digest()
        return self._mark

    def cursor(
        self,
        kind: str,
        key: Key,
        after: Place = (),
        *,
        earlier: tuple[int, int] = (0, 0),
    ) -> Cursor:
        """Make a cursor that holds as long as the payer's numbers stay as they are."""
        return new_cursor(self.payer, kind, key, after, *earlier, self.position, self.mark)

    def refuse_moved(self, cursor: Cursor) -> None:
        """Refuse a cursor of another state: parts of two states do not add up."""
        if cursor.mark != self.mark:
            raise FailedPreconditionError(
                f"the payer's numbers have moved since position {cursor.position}, at which this"
                f" explanation holds (they now stand at {self.position}): ask for the number again"
                " and open the new cursor"
            )


def accrual_before(cycle: CycleRow) -> Accrual:
    """Give the accrual at the boundary that began a cycle."""
    if cycle.accrued_to is None:
        return Accrual(0, 0)
    return Accrual(cycle.accrued_to, cycle.accrual_position)


def recorded_of(event: StreamEvent) -> Recorded:
    """Decode a stored event."""
    decoded = decode(event.topic, event.state)
    return Recorded(event.stream, event.version, decoded, event.position)
