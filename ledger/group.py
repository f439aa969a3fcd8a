"""One transaction of the writer: decisions on a state that includes the group's earlier ones.

Events are collected in memory, appended in one go, folded, and committed together. Commands decide
before they append, so one that fails has changed nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from aggregates import BillingAccount, CostCenter, PriceBook, WorkspaceInstance
from events import (
    FreeCreditClaimed,
    LedgerEvent,
    PriceListPublished,
    Recorded,
    StripeIdClaimed,
    decode,
)
from events.readable import attribution_id
from ledger.clock import Clock, now_ms
from ledger.errors import UnavailableError
from ledger.folding import fold_events
from persistence import EventKey, Inboxed, Personal, Transaction
from projections import ReadModel

UNFLUSHED_MAX = (
    1_000  # events kept in memory before they are appended: a waiting command waits for them
)
FOLDED_INLINE_MAX = 20_000  # events that a decision on a balance folds itself: about half a second
STATES_MAX = 20_000  # aggregates kept between groups; each is below 1 KiB
SALT_BYTES = 16

_msgpack = msgspec.msgpack.Encoder().encode


class MisplacedError(Exception):
    """An event was about to be appended to a shard where its payer does not live."""


class Caches:
    """Aggregate states kept between groups; emptied whenever a transaction did not commit."""

    def __init__(self) -> None:
        """Start empty."""
        self.instances: dict[str, WorkspaceInstance] = {}
        self.cost_centers: dict[str, CostCenter] = {}
        self.billing_accounts: dict[str, BillingAccount] = {}
        self.sources: dict[str, int] = {}
        self.deliveries: dict[str, int] = {}
        self.placed: dict[bytes, None] = {}  # payers whose placement is stored
        self.warned_classes: set[str] = set()  # without a rate; kept, for each is told once

    def clear(self) -> None:
        """Forget everything."""
        for cache in self._caches():
            cache.clear()

    def _caches(self) -> Sequence[dict[Any, Any]]:
        return (
            self.instances,
            self.cost_centers,
            self.billing_accounts,
            self.sources,
            self.deliveries,
            self.placed,
        )

    def forget(self, stream: str) -> None:
        """Forget one aggregate, for another process has added to its stream."""
        self.instances.pop(stream, None)
        self.cost_centers.pop(stream, None)
        self.billing_accounts.pop(stream, None)

    def trim(self) -> None:
        """Forget what came in first, beyond the limit."""
        for cache in self._caches():
            excess = len(cache) - STATES_MAX
            if excess > 0:
                for key in list(cache)[:excess]:
                    del cache[key]


class Context(NamedTuple):
    """What a group needs beside the store."""

    clock: Clock
    entropy: Callable[[int], bytes]  # random bytes for salts and ids
    prices: PriceBook
    last_recorded: int
    before_fold: Callable[[str], None] | None
    failpoint: Callable[[str], None]
    is_shared: bool  # whether other processes append and a projector folds
    shard: int


class Group:
    """The work of one transaction."""

    def __init__(self, transaction: Transaction, caches: Caches, context: Context) -> None:
        """Begin at the log's end. Recorded times never go back, whatever the clock does."""
        self.transaction = transaction
        self.caches = caches
        self.context = context
        self.now = now_ms(context.clock)
        self.recorded_at = max(self.now, context.last_recorded)
        self.author = ""  # of the piece of work being decided
        self._next = transaction.head + 1
        self._pending: list[Recorded] = []
        self._unfolded: list[Recorded] = []
        self._inbox: dict[EventKey, tuple[bytes, int]] = {}
        self._personal: list[Personal] = []
        self._versions: dict[str, int] = {}
        self._unplaced: list[bytes] = []
        self.published_prices: list[PriceListPublished] = []
        self._is_shared = context.is_shared
        self.standing, self.paused = transaction.standing()

    @property
    def appended(self) -> int:
        """Count the events decided on so far, to tell whether a failed command left any."""
        return self._next

    # Loading -----------------------------------------------------------------------------------

    def load_instances(self, streams: Sequence[str]) -> None:
        """Bring workspace instances into memory, with one statement for all that are not there."""
        known = self.caches.instances
        missing = list({stream for stream in streams if stream not in known})
        if not missing:
            return
        stored = self.transaction.streams(missing)
        for stream in missing:
            state = known[stream] = WorkspaceInstance()
            for event in stored.get(stream, ()):
                state.apply(decode(event.topic, event.state))

    def instance(self, stream: str) -> WorkspaceInstance:
        """Give a workspace instance's state."""
        self.load_instances((stream,))
        return self.caches.instances[stream]

    def cost_center(self, payer: bytes) -> CostCenter:
        """Give a cost center's state; version 0 when it was never opened."""
        stream = cost_center_stream(payer)
        state = self.caches.cost_centers.get(stream)
        if state is None:
            state = self.caches.cost_centers[stream] = CostCenter()
            for event in self.stream(stream):
                state.apply(event.event)
        return state

    def billing_account(self, payer: bytes) -> BillingAccount:
        """Give the state of a payer's account at Stripe; version 0 when there is none."""
        stream = billing_stream(payer)
        state = self.caches.billing_accounts.get(stream)
        if state is None:
            state = self.caches.billing_accounts[stream] = BillingAccount()
            for event in self.stream(stream):
                state.apply(event.event)
        return state

    def stream(self, stream: str) -> list[Recorded]:
        """Load a stream, with what the group has added to it."""
        stored = self.transaction.streams([stream]).get(stream, [])
        loaded = [Recorded(stream, e.version, decode(e.topic, e.state), e.position) for e in stored]
        return loaded + [recorded for recorded in self._pending if recorded[0] == stream]

    def source_number(self, source: str) -> int:
        """Give the number of a source of events."""
        number = self.caches.sources.get(source)
        if number is None:
            number = self.caches.sources[source] = self.transaction.source_number(source)
        return number

    def delivery(self, name: str) -> int:
        """Give the number of a source of delivery."""
        number = self.caches.deliveries.get(name)
        if number is None:
            number = self.caches.deliveries[name] = self.transaction.delivery(name)
        return number

    def inbox(self, keys: Sequence[EventKey]) -> dict[EventKey, Inboxed]:
        """Find recorded events, this group's included."""
        found = self.transaction.inbox([key for key in keys if key not in self._inbox])
        for key in keys:
            pending = self._inbox.get(key)
            if pending is not None:
                found[key] = Inboxed(*pending)
        return found

    # Deciding ----------------------------------------------------------------------------------

    def append(self, stream: str, version: int, event: LedgerEvent) -> int:
        """Add an event to its stream as the given version; give its position."""
        position = self._next
        self._pending.append(Recorded(stream, version, event, position))
        self._next += 1
        payer = getattr(event, "payer", None)
        if payer is not None and payer not in self.caches.placed:
            self._place(payer, event)
        if isinstance(event, PriceListPublished):
            self.published_prices.append(event)
        return position

    def _place(self, payer: bytes, event: LedgerEvent) -> None:
        """Note that a payer lives here, before its first event is stored.

        Also with one shard: the day a second one is opened, nobody may be placed anew. Elsewhere
        than in the first shard, which keeps the placements, the router has placed the payer.
        """
        if self.context.shard == 0 and not isinstance(event, FreeCreditClaimed | StripeIdClaimed):
            self._unplaced.append(payer)
            self.caches.placed[payer] = None

    def append_instance(self, stream: str, state: WorkspaceInstance, event: LedgerEvent) -> int:
        """Add an event to a workspace instance and take it into its state."""
        state.apply(event)
        return self.append(stream, state.version, event)

    def append_cost_center(self, state: CostCenter, event: LedgerEvent, payer: bytes) -> int:
        """Add an event to a cost center and take it into its state."""
        state.apply(event)
        return self.append(cost_center_stream(payer), state.version, event)

    def append_billing(self, state: BillingAccount, event: LedgerEvent) -> int:
        """Add an event to a payer's account and take it into its state."""
        state.apply(event)
        payer: bytes = event.payer  # type: ignore[attr-defined]  # every event of an account has one
        return self.append(billing_stream(payer), state.version, event)

    def append_next(self, stream: str, event: LedgerEvent) -> int:
        """Add an event to a stream that has no aggregate in memory."""
        version = self._versions.get(stream)
        if version is None:
            version = self.transaction.version(stream)
            version += sum(recorded[0] == stream for recorded in self._pending)
        self._versions[stream] = version + 1
        return self.append(stream, version + 1, event)

    def commit_to(self, fields: bytes) -> tuple[bytes, bytes]:
        """Give (salt, commitment) for personal fields; both empty when there are none."""
        if not fields:
            return b"", b""
        salt = self.context.entropy(SALT_BYTES)
        return salt, hashlib.sha256(salt + fields).digest()

    def keep_personal(self, position: int, salt: bytes, fields: bytes) -> None:
        """Keep the erasable fields of the event at a position."""
        if fields:
            self._personal.append(Personal(position, salt, fields))

    def claim(self, key: EventKey, digest: bytes, position: int) -> None:
        """Take a (source, event id) for the event at a position, for ever."""
        self._inbox[key] = digest, position

    def balance(self, payer: bytes) -> int:
        """Give a payer's balance in cents with everything before folded in."""
        self._fold_balances(payer)
        return self.transaction.balance(payer)[0]

    def live_events(self, payer: bytes) -> int:
        """Count a payer's events that were not imported."""
        self._fold_balances(payer)
        return self.transaction.balance(payer)[1]

    def _fold_balances(self, payer: bytes) -> None:
        self.fold()
        for name in ("instances", "balances"):
            if name in self.paused:
                raise UnavailableError(
                    f"the balance of {attribution_id(payer)} is not current: projection {name!r} is"
                    f" paused at position {self.paused[name].position}; see `usage-ledger status`"
                )

    # Writing -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Append what was decided."""
        if not self._pending:
            return
        self.context.failpoint("before-append")
        appended = self.transaction.append(self._pending)
        assert appended[-1].position == self._next - 1, "positions were given out twice"
        if not self._is_shared:
            self._unfolded += appended
        if self._inbox:
            self.transaction.add_inbox(
                [(*key, digest, position) for key, (digest, position) in self._inbox.items()]
            )
        if self._personal:
            self.transaction.add_personal(self._personal)
        if self._unplaced:
            self._store_placements()
        self._pending, self._inbox, self._personal = [], {}, []
        self.context.failpoint("after-append")

    def fold(self) -> None:
        """Append what was decided and fold it into the read model."""
        self.flush()
        if self._is_shared:
            self._fold_shared()
            return
        if not self._unfolded:
            return
        model = ReadModel(
            self.transaction.rows,
            self.transaction.positions,
            self.standing,
            self.paused,
            wrap=self.context.before_fold,
        )
        model.fold(self._unfolded)
        self._unfolded = []
        self.context.failpoint("after-fold")

    def _store_placements(self) -> None:
        placed = self.transaction.place(dict.fromkeys(self._unplaced, self.context.shard))
        for payer, shard in placed.items():
            if shard != self.context.shard:
                raise MisplacedError(
                    f"{attribution_id(payer)} lives in shard {shard}, not {self.context.shard}"
                )
        self._unplaced = []

    def _fold_shared(self) -> None:
        """Fold what the projector has not folded yet, to decide on all that came before.

        The append lock is ours already and the projector never asks for it, so waiting for its
        transaction ends.
        """
        transaction = self.transaction
        transaction.lock_projections()
        standing, self.paused = transaction.standing()
        position = min(
            (at for name, at in standing.items() if name not in self.paused),
            default=transaction.head,
        )
        behind = transaction.head - position
        if behind > FOLDED_INLINE_MAX:
            raise UnavailableError(
                f"the projections are {behind} events behind the log: try again when they have"
                " caught up; see `usage-ledger status`"
            )
        while position < transaction.head:
            stored = transaction.log(after=position, limit=FOLDED_INLINE_MAX)
            fold_events(transaction, stored, self.context.before_fold)
            position = stored[-1].position
        self.standing, self.paused = transaction.standing()
        self.context.failpoint("after-fold")

    def finish(self) -> None:
        """Write what is left; folding it is the projector's where there is one."""
        if self._is_shared:
            self.flush()
        else:
            self.fold()

    def flush_if_large(self) -> None:
        """Keep memory bounded."""
        if len(self._pending) >= UNFLUSHED_MAX:
            self.finish()

    def pack(self, fields: Sequence[object]) -> bytes:
        """Encode personal fields; empty when all of them are."""
        return _msgpack(tuple(fields)) if any(fields) else b""


def cost_center_stream(payer: bytes) -> str:
    """Name a payer's cost center."""
    return "cost-center:" + attribution_id(payer)


def billing_stream(payer: bytes) -> str:
    """Name a payer's account at Stripe."""
    return "billing-account:" + attribution_id(payer)


def cycle_stream(payer: bytes, number: int) -> str:
    """Name one of a payer's cycles; it takes one event only, so no cycle is closed twice."""
    return f"cycle:{attribution_id(payer)}:{number}"
