"""The ports of a store: what a writer's transaction and a reader offer, whatever the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from events import Recorded
from persistence.acts import Act
from persistence.billing import BillingNotes, BillingReads
from persistence.clocks import SealedRows
from persistence.erasures import ErasureReads, ErasureWrites, Personal
from persistence.live import LiveRows
from persistence.packs import PackRows
from persistence.tree import TreeRows
from projections import OtherEntry, Pause, Positions, Rows

EventKey = tuple[int, bytes]  # number of the source, event id as bytes


class Inboxed(NamedTuple):
    """An event that was recorded under a source and id."""

    digest: bytes  # of its content without personal fields
    position: int


class Counts(NamedTuple):
    """received = recorded + repeated + rejected."""

    received: int = 0
    recorded: int = 0
    repeated: int = 0
    rejected: int = 0

    def plus(self, other: Counts) -> Counts:
        """Add two counts."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


class DeadLetter(NamedTuple):
    """A rejected line with its original bytes."""

    id: int
    digest: bytes  # SHA-256 of the whole line
    kind: str  # `event`, `message`, `packed-event`, `oversized`, `import`; `erased`: no bytes
    delivery: int
    line: int
    reason: str
    original: bytes
    size_bytes: int
    first_rejected: int
    last_rejected: int
    times: int


class StreamEvent(NamedTuple):
    """A stored event as it lies in the log."""

    position: int
    stream: str
    version: int
    topic: str
    state: bytes


class SourceKey(NamedTuple):
    """Whose intake position it is: a partition of a topic; a topic made anew has a new id."""

    cluster: str
    topic_id: str
    partition: int


class Progress(NamedTuple):
    """How far the log is written and folded."""

    head: int
    standing: dict[str, int]  # position by projection
    paused: dict[str, Pause]


class FoldingTransaction(Protocol):
    """What folding the log needs of a transaction: all of it is kept, or nothing."""

    @property
    def rows(self) -> Rows:
        """The rows of the read model."""

    @property
    def positions(self) -> Positions:
        """Where projections stand."""

    def standing(self) -> tuple[dict[str, int], dict[str, Pause]]:
        """Give where each projection stands, and which are paused."""

    def log(self, *, after: int, limit: int) -> list[StreamEvent]:
        """Read the log in order."""


class Transaction(
    FoldingTransaction, BillingNotes, BillingReads, ErasureReads, ErasureWrites, Protocol
):
    """The writer's transaction."""

    @property
    def generation(self) -> int:
        """The generation of the read model that is read and written."""

    @property
    def live(self) -> LiveRows:
        """Live meters and alerts."""

    @property
    def tree(self) -> TreeRows:
        """The tree over the log."""

    @property
    def sealed(self) -> SealedRows:
        """Sums of entries as they stood at positions of the log."""

    @property
    def packs(self) -> PackRows:
        """A log that is taken over."""

    @property
    def head(self) -> int:
        """Position of the newest event."""

    def outdated(self) -> list[str]:
        """Name the projections that another version of the folds has filled."""

    def append(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Append to the log and give the events with their positions."""

    def streams(self, ids: Sequence[str]) -> dict[str, list[StreamEvent]]:
        """Load whole streams, each in order; streams without events are left out."""

    def version(self, stream: str) -> int:
        """Give the version of a stream's newest event; 0 without events."""

    def add_act(self, act: Act) -> None:
        """Write down what an operator does beside the log."""

    def source_number(self, source: str) -> int:
        """Give the number of a source, a new one if it is new."""

    def inbox(self, keys: Sequence[EventKey]) -> dict[EventKey, Inboxed]:
        """Find recorded events by source and id."""

    def add_inbox(self, rows: Iterable[tuple[int, bytes, bytes, int]]) -> None:
        """Keep (source, event key, digest, position) of recorded events."""

    def add_personal(self, rows: Iterable[Personal]) -> None:
        """Keep personal rows."""

    def personal(self, position: int) -> Personal | None:
        """Load a personal row; None once erased."""

    def delivery(self, name: str) -> int:
        """Give the number of a source of delivery, a new one if it is new."""

    def delivery_name(self, number: int) -> str:
        """Give the name of a source of delivery."""

    def count(self, delivery: int, counts: Counts) -> None:
        """Add to the counts of a source of delivery (moves between counts may be negative)."""

    def merge_deliveries(self, *, prefix: str, into: str, keep: int) -> int:
        """Add up all but the newest sources of delivery with a prefix; give how many."""

    def dead_letters(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Find the ids of dead letters by the digest of their bytes."""

    def dead_letter(self, letter_id: int) -> DeadLetter | None:
        """Load one dead letter."""

    def add_dead_letter(self, letter: DeadLetter) -> int:
        """Keep a rejected line; its id is given by the store."""

    def dead_letter_repeated(self, ids: Iterable[int], now: int) -> None:
        """Raise the counters of dead letters whose bytes came again."""

    def dead_letter_reason(self, letter_id: int, reason: str, now: int) -> None:
        """Write today's reason to a dead letter that was retried in vain."""

    def remove_dead_letters(self, ids: Iterable[int]) -> None:
        """Forget dead letters."""

    def expired_dead_letters(self, before: int, limit: int) -> list[int]:
        """Give ids of dead letters that were last rejected before a time."""

    def due_cost_centers(self, now: int, limit: int, after: bytes) -> list[bytes]:
        """Give payers, in order, whose non-Stripe cycle has ended by now."""

    def balance(self, payer: bytes) -> tuple[int, int]:
        """Give (balance in cents, live events) as folded so far."""

    def other_entry_of(self, payer: bytes, entry_id: bytes) -> OtherEntry | None:
        """Find an invoice or credit note that counts, by its id, as folded so far."""

    def void_of(self, payer: bytes, entry_id: bytes) -> int | None:
        """Give the position of the newest void of an entry, as folded so far."""

    def job_ran(self, name: str, *, started: int, finished: int | None, error: str) -> None:
        """Keep when a job last ran."""

    def lock_projections(self) -> None:
        """Let nobody else fold until the transaction ends; after the append lock, never before."""

    def resume_projections(self, paused: str) -> None:
        """End the pause of the projections that are paused for this reason."""

    def intake_position(self, key: SourceKey) -> int | None:
        """Give the next offset to take of a source; None before the first."""

    def advance_intake(
        self, key: SourceKey, *, topic: str, expected: int | None, position: int
    ) -> None:
        """Move by compare-and-set; PositionMovedError when the position is not the expected one."""

    def placements(self, payers: Sequence[bytes]) -> dict[bytes, int]:
        """Find the shards of payers; those without one are left out. First shard only."""

    def place(self, payer_to_shard: Mapping[bytes, int]) -> dict[bytes, int]:
        """Place payers that have no shard; give the shards that are now true. First shard only."""

    def tail_position(self, name: str) -> int:
        """Give where a follower of the log stands; 0 at first."""

    def advance_tail(self, name: str, *, expected: int, position: int) -> None:
        """Move by compare-and-set; PositionMovedError when the position is not the expected one."""

    def dead_letters_after(self, letter_id: int, limit: int) -> list[tuple[DeadLetter, str]]:
        """Give dead letters with higher ids, by id, with the names of their deliveries."""


class WritableStore(Protocol):
    """A store for a writer: the only one of an embedded store, one of many of a shared one."""

    @property
    def is_shared(self) -> bool:
        """Say whether other processes may append, fold and hold leases, too."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin with the append lock; commit at the end, or roll back when the block raises."""

    def folding(self) -> AbstractContextManager[Transaction]:
        """Begin with the projections locked and without the append lock: folds and positions only.

        Where the store is not shared it is a `transaction`.
        """

    def beside(self) -> AbstractContextManager[Transaction]:
        """Begin with neither lock: tails, intake positions without events, placement, jobs.

        Where the store is not shared it is a `transaction`.
        """

    def hold_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or renew a lease by the database's clock; False while another holds it."""

    def release_lease(self, name: str, holder: str) -> None:
        """Give a lease back, so that another need not wait for its end."""

    def progress(self) -> Progress:
        """Look how far the log is written and folded: one quick read, no lock, any thread."""

    def serves(self) -> int | None:
        """Give the generation that this version of the folds serves; None while there is none."""

    def finished_schema(self) -> int:
        """Give the newest migration that every role knows; newer forms must not be written yet."""

    def clear_read_model(self, paused: str = "") -> None:
        """Empty every projection, so that the log can be folded anew.

        With a reason all of them are paused until `resume_projections` says otherwise.
        """

    def probe(self) -> None:
        """Write and commit something that changes nothing; StoreUnavailableError when it cannot."""

    def rows_written(self) -> int:
        """Count the rows that were written since the store was opened, of whatever table."""

    def checkpoint(self) -> None:
        """Move committed pages to where they belong, if the store has such a thing."""

    def checkpoint_beside(self) -> None:
        """The same from another thread, while the writer goes on."""

    def scrub(self) -> bool:
        """Let nothing of erased rows stay in the files; False while a reader stands in the way."""

    def close(self) -> None:
        """Close every connection."""
