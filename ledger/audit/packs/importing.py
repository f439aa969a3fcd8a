"""Taking a pack of everything over into an empty ledger: the same events, tree and heads.

A shard is one transaction, in which its tree is computed anew and held to its heads: all of it is
there afterwards, or nothing. Shards come last first, so that a ledger of which only a part is there
has no first shard; the same command goes on where it was interrupted.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from events import (
    CostCenterImported,
    CostCenterOpened,
    CreditNoteIssued,
    EntryImported,
    UnreadableEventError,
    UserErasureRequested,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    decode,
)
from ledger.audit.keys import KeyList
from ledger.audit.leaves import leaf_of
from ledger.audit.notes import Note, NoteError, parse_note
from ledger.audit.packs import told
from ledger.audit.packs.layout import Count, PackError, Shard, folder_of
from ledger.audit.packs.personal import PersonalFields
from ledger.audit.packs.reading import Pack
from ledger.audit.packs.rows import EventLine
from ledger.audit.tiles import Edge, Subtrees
from ledger.folding import fold_stored
from ledger.stores import OpenStore
from persistence import (
    TREE_TAIL,
    Act,
    Head,
    StreamEvent,
    Transaction,
    WritableStore,
)

PAGE = 5_000
# What is recorded in the shard in which its payer lives, and nowhere else.
_LIVING = (
    CostCenterImported,
    CostCenterOpened,
    CreditNoteIssued,
    EntryImported,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
)


class HeadLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head as a line."""

    number: Count
    size: Count
    signed_at: Count
    key_name: str
    author: str
    note: str
    consistency: list[str]


class Imported(NamedTuple):
    """What became of a shard."""

    shard: int
    events: int
    heads: int
    was_there: bool  # an import that was interrupted had done it


class Progress(NamedTuple):
    """How far a shard is: events taken over, then folded."""

    shard: int
    step: str
    done: int
    size: int


Tell = Callable[[Progress], None]


def import_pack(
    pack: Pack,
    keys: KeyList,
    stores: Sequence[OpenStore],
    *,
    author: str = "",
    tell: Tell = lambda _progress: None,
    failpoint: Callable[[str], None] = lambda _name: None,
) -> list[Imported]:
    """Take a pack over; PackError says why it or the ledger is not fit for it.

    `author` is who is written down beside the log, whose events keep their authors.
    """
    manifest = pack.manifest
    if manifest.payer is not None:
        raise PackError(
            f"{pack.path} is of {manifest.payer} alone: only a whole ledger is taken over"
        )
    numbers = [shard.shard for shard in manifest.shards]
    if numbers != list(range(len(stores))):
        raise PackError(
            f"{pack.path} has {len(numbers)} shards, the ledger {len(stores)}: set shards.count, or"
            " postgres.urls, to as many"
        )
    pack.check_files()
    imported: list[Imported] = []
    for shard in reversed(manifest.shards):
        store = stores[shard.shard].store
        each = _Shard(pack, shard, keys, tell, failpoint)
        imported.append(each.take_over(store, author))
        failpoint("pack-shard-imported")
    for shard in manifest.shards:
        _fold(stores[shard.shard].store, shard, tell)
    return imported[::-1]


class _Shard:
    """One shard of a pack, and the ledger that it goes into."""

    def __init__(
        self,
        pack: Pack,
        shard: Shard,
        keys: KeyList,
        tell: Tell,
        failpoint: Callable[[str], None],
    ) -> None:
        self._pack = pack
        self._shard = shard
        self._keys = keys
        self._tell = tell
        self._failpoint = failpoint
        self._folder = folder_of(shard.shard)
        if shard.origin != f"{pack.manifest.ledger}/{shard.shard}":
            raise PackError(
                f"shard {shard.shard} of {pack.manifest.ledger} is said to be {shard.origin}"
            )
        self._heads = self._read_heads()
        self._personal = PersonalFields(pack, shard)
        self._erasures: set[int] = set()  # positions of requests to erase
        self._living: set[bytes] = set()  # payers whose usage lies here

    def take_over(self, store: WritableStore, author: str) -> Imported:
        """Write the shard in one transaction, unless it is there."""
        shard, events, heads = self._shard.shard, self._shard.events, len(self._heads)
        with store.transaction() as transaction:
            holdings = transaction.packs.holdings()
            if self._is_there(transaction, holdings):
                return Imported(shard, events, heads, was_there=True)
            if holdings:
                raise PackError(
                    f"shard {shard} of the ledger is not empty: it has rows in"
                    f" {', '.join(holdings)}; name one that was never started"
                )
            detail = f"{self._shard.size:,} events of {self._shard.origin}"
            now = int(time.time() * 1_000)
            transaction.add_act(Act(now, author, "import-pack", detail))
            transaction.packs.rename_tree(self._shard.origin)
            if not self._shard.size:
                return Imported(shard, 0, 0, was_there=False)
            self._write_events(transaction)
            self._write_heads(transaction)
            told.write_recorded_ids(self._pack, self._shard, transaction)
            told.write_deliveries(self._pack, self._shard, transaction)
            told.refuse_elsewhere(self._pack, self._shard, self._living)
            if shard == 0:
                told.write_placement(self._pack, transaction)
            self._failpoint("pack-shard-written")
        return Imported(shard, events, heads, was_there=False)

    def _is_there(self, transaction: Transaction, holdings: Sequence[str]) -> bool:
        """Say whether the ledger is what an import of this pack leaves, and nothing more."""
        state = transaction.tree.state()
        if (state.origin, state.size) != (self._shard.origin, self._shard.size):
            return False
        if not state.size:
            return not holdings  # an empty shard that has its name has been taken over
        root = Subtrees(transaction.tree.tiles).root(state.size)
        return (
            base64.b64encode(root).decode() == self._shard.root
            and transaction.head == self._shard.last_position
        )

    # Heads -------------------------------------------------------------------------------------

    def _read_heads(self) -> list[tuple[HeadLine, Note]]:
        """Read the heads, in their order, and refuse those that are not to be believed."""
        if not self._shard.size:
            return []
        name = f"{self._folder}/heads.jsonl"
        heads: list[tuple[HeadLine, Note]] = []
        for page in self._pack.pages(name, HeadLine, PAGE):
            heads += [(line, self._believed(line)) for line in page]
        if not heads or heads[0][0].note != self._shard.head:
            raise PackError(f"{name} does not begin with the head in the manifest")
        heads.sort(key=lambda each: each[0].number)
        if [line.number for line, _ in heads] != list(range(1, len(heads) + 1)):
            raise PackError(f"{name} lacks a head, or has one twice")
        checkpoint = heads[-1][1].checkpoint
        if checkpoint[:2] != (self._shard.origin, self._shard.size):
            raise PackError(f"{name} does not end with the head of the pack")
        return heads

    def _believed(self, line: HeadLine) -> Note:
        name = f"head {line.number} of shard {self._shard.shard}"
        try:
            note = parse_note(line.note)
        except NoteError as error:
            raise PackError(f"{name} is no signed head: {error}") from None
        trust = self._keys.judge(note)
        if trust.objection:
            raise PackError(f"{name}, of {note.checkpoint.size:,} events: {trust.objection}")
        signers = [signature.key_name for signature in note.signatures]
        if note.checkpoint.origin != self._shard.origin or line.key_name not in signers:
            raise PackError(f"{name} says something else than its signed note")
        return note

    def _write_heads(self, transaction: Transaction) -> None:
        for line, note in self._heads:
            _, size, root, recorded_at = note.checkpoint
            transaction.tree.add_head(
                Head(
                    line.number,
                    size,
                    root,
                    recorded_at,
                    line.signed_at,
                    line.key_name,
                    line.author,
                    line.note,
                )
            )

    # Events ------------------------------------------------------------------------------------

    def _write_events(self, transaction: Transaction) -> None:
        """Write events and their tree, and compare its root with every head on the way."""
        edge, position = Edge(0, {}), 0
        roots = self._roots()
        name = f"{self._folder}/events.jsonl"
        for page in self._pack.pages(name, EventLine, PAGE):
            events: list[StreamEvent] = []
            commitments: dict[int, bytes] = {}
            for number, line in enumerate(page, edge.size):
                events.append(self._event(line, number, commitments))
            if events[0].position != position + 1 or events[-1].position != position + len(events):
                raise PackError(
                    f"{name} has a gap between positions {position:,} and {events[-1].position:,}:"
                    " no store takes such a log"
                )
            transaction.packs.restore(events)
            transaction.tree.resize(expected=edge.size, size=edge.size + len(events))
            edge = self._grow(transaction, edge, events, roots)
            position = events[-1].position
            self._personal.write(transaction, commitments)
            self._tell(Progress(self._shard.shard, "events", edge.size, self._shard.size))
            self._failpoint("pack-events-imported")
        if (edge.size, position) != (self._shard.size, self._shard.last_position):
            raise PackError(f"{name} ends after {edge.size:,} of {self._shard.size:,} events")
        self._personal.finish(transaction, self._erasures)
        transaction.advance_tail(TREE_TAIL, expected=0, position=position)

    def _roots(self) -> dict[int, bytes]:
        """Give what the log must lead to, by size: the heads, and the last of retired keys."""
        roots = {note.checkpoint.size: note.checkpoint.root for _, note in self._heads}
        for key in self._keys.keys:
            for last in key.retired.last_heads if key.retired is not None else ():
                if last.origin == self._shard.origin and last.size > self._shard.size:
                    raise PackError(
                        f'retired key "{key.name}" signed a head of {last.size:,} events, and the'
                        f" pack has {self._shard.size:,}: it is of an older state, or of a log that"
                        " was cut"
                    )
                if (
                    last.origin == self._shard.origin
                    and roots.setdefault(last.size, last.root) != last.root
                ):
                    raise PackError(
                        f"the head of {last.size:,} events is not the last one of retired key"
                        f' "{key.name}"'
                    )
        return roots

    def _event(self, line: EventLine, number: int, commitments: dict[int, bytes]) -> StreamEvent:
        where = f"leaf {number:,} of shard {self._shard.shard}"
        if line.leaf != number:
            raise PackError(f"{where} is missing, or stands elsewhere")
        try:
            event = decode(line.topic, line.state)
        except UnreadableEventError as error:
            raise PackError(f"{where}: {error}") from error
        if event.recorded_at != line.recorded_ms:
            raise PackError(f"{where} says another time than its bytes")
        if isinstance(event, UserErasureRequested):
            self._erasures.add(line.position)
        elif isinstance(event, _LIVING):
            self._living.add(event.payer)
        commitment = getattr(event, "commitment", b"")
        if commitment:
            commitments[line.position] = commitment
        return StreamEvent(line.position, line.stream, line.version, line.topic, line.state)

    def _grow(
        self,
        transaction: Transaction,
        edge: Edge,
        events: Sequence[StreamEvent],
        roots: dict[int, bytes],
    ) -> Edge:
        """Add leaves up to each head, and there compare."""
        end = edge.size + len(events)
        for size in (*sorted(size for size in roots if edge.size < size < end), end):
            some = events[: size - edge.size]
            events = events[size - edge.size :]
            edge, tiles = edge.grown(
                [leaf_of(each) for each in some], [each.position for each in some]
            )
            transaction.tree.put(tiles)
            if size in roots and edge.root() != roots[size]:
                raise PackError(
                    f"the events of shard {self._shard.shard} do not lead to the head of"
                    f" {size:,} events: one of the first {size:,} was changed"
                )
        return edge


def _fold(store: WritableStore, shard: Shard, tell: Tell) -> None:
    """Fold what was taken over, so that the ledger can answer at once."""
    position = min(store.progress().standing.values())
    while position < shard.last_position:
        position = fold_stored(store, position)
        store.checkpoint()
        tell(Progress(shard.shard, "folded", position, shard.last_position))
