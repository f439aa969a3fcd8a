"""Making a pack: the events that signed heads cover, what proves them, and what follows from them.

Only the log is read beside a service that goes on, in pages and without a snapshot, for it is only
ever added to. Entries and balances are folded from the pack's own events into a scratch store: they
are what the ledger answered at those heads, whatever was recorded since.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from events import PriceListPublished, UserErasureRequested
from events.readable import attribution_id, time_text
from ledger.audit.keys import KeyList
from ledger.audit.packs import beside, describing
from ledger.audit.packs.columns import (
    ENTRIES,
    EVENTS,
    PRICES,
    Column,
    as_csv,
    as_json,
    names_of,
)
from ledger.audit.packs.drawing import Batch, Drawing, Drawn
from ledger.audit.packs.layout import (
    FORMAT,
    README,
    SCHEMA,
    SQL,
    Manifest,
    PackError,
    Shard,
    Totals,
    folder_of,
)
from ledger.audit.packs.parquet import Parquet
from ledger.audit.packs.rows import (
    Sums,
    entry_row,
    event_line,
    event_row,
    payer_line,
    price_rows,
)
from ledger.audit.packs.writing import Lines, Table, Writing
from ledger.clock import SystemClock
from ledger.folding import fold_events_at_once
from ledger.queries import Queries
from persistence import Head, Reader
from persistence.sqlite import Scratch
from projections import Accrual

PAGE = 5_000  # rows written at a time
NO_KEYS = KeyList(())
END = 2**62  # behind every position
_EFFECTIVE, _CENTS = (names_of(ENTRIES).index(name) for name in ("effective_time", "credit_cents"))


class Wanted(NamedTuple):
    """What a pack is to hold."""

    payer: bytes | None = None  # None: everything
    period_from: int | None = None  # ms; None: since the beginning
    period_to: int | None = None  # ms, left out; None: without an end
    head: int = 0  # which head, in a pack of one shard; 0: the newest
    more_heads: Sequence[int] = ()  # of the same shard, to be shown, too
    with_personal: bool = False


class Progress(NamedTuple):
    """How many events of the log were passed, and how many there are to pass."""

    shard: int
    passed: int
    size: int


class Exported(NamedTuple):
    """What was written."""

    path: Path
    manifest: Manifest
    behind: int  # events of the log that no head covers yet: they are not in the pack


def export(
    readers: Sequence[Reader],
    wanted: Wanted,
    target: Path,
    *,
    made_by: str,
    keys: KeyList = NO_KEYS,
    archive: bool = False,
    durable: bool = True,
    tell: Callable[[Progress], None] = lambda _progress: None,
    failpoint: Callable[[str], None] = lambda _name: None,
) -> Exported:
    """Write a pack; PackError says why it cannot be.

    `keys`: the ledger's own list, if it is known: what it lets nobody believe is not packed.
    """
    shards = _shards(readers, wanted)
    erasures = _Erasures(readers) if wanted.with_personal else None
    writing = Writing(target, archive=archive, failpoint=failpoint, durable=durable)
    try:
        exporting = _Exporting(wanted, keys, writing, tell, failpoint)
        for number in shards:
            exporting.add(number, readers[number])
        return exporting.finish(readers, made_by, erasures)
    except BaseException:
        writing.abandon()
        raise


class _Erasures:
    """Erasures while personal fields are read: a copy of them would go on in no other ledger."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        """Look before anything is read; refuse a copy of what is about to be erased."""
        self._readers = readers
        self._looked_at = [reader.packs.last_position() for reader in readers]
        self._refuse_running()

    def refuse(self) -> None:
        """Look again, when all is read: what was asked for meanwhile may have come too late."""
        self._refuse_running()
        for reader, position in zip(self._readers, self._looked_at, strict=True):
            if reader.packs.streams_of(UserErasureRequested.TOPIC, after=position, up_to=END):
                raise PackError("a user was erased while the pack was made: make it again")

    def _refuse_running(self) -> None:
        if any(reader.erasures() for reader in self._readers):
            raise PackError(
                "a user is being erased: `usage-ledger erase list` says how far that is; export"
                " personal fields when it is done"
            )


def _shards(readers: Sequence[Reader], wanted: Wanted) -> list[int]:
    if wanted.payer is None:
        return list(range(len(readers)))
    number = readers[0].placement(wanted.payer)
    if number is None:
        raise PackError(f"nothing was ever recorded for {attribution_id(wanted.payer)}")
    return [number]


class _Tables:
    """One table in the forms that there are of it."""

    def __init__(self, writing: Writing, name: str, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._lines = Lines(writing.file(f"{name}.jsonl"))
        self._table = Table(writing.file(f"{name}.csv"), names_of(columns))
        self._parquet = Parquet(writing.file(f"{name}.parquet"), columns)

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        self._lines.add(as_json(self._columns, row) for row in rows)
        self._table.add(as_csv(self._columns, row) for row in rows)
        self._parquet.add(rows)

    def close(self) -> None:
        for each in (self._lines, self._table, self._parquet):
            each.close()


class _Exporting:
    """A pack that grows shard by shard."""

    def __init__(
        self,
        wanted: Wanted,
        keys: KeyList,
        writing: Writing,
        tell: Callable[[Progress], None],
        failpoint: Callable[[str], None],
    ) -> None:
        self._wanted = wanted
        self._keys = keys
        self._writing = writing
        self._tell = tell
        self._failpoint = failpoint
        self._entries = _Tables(writing, "entries", ENTRIES)
        self._prices = _Tables(writing, "prices", PRICES)
        self._payers = Lines(writing.file("payers.jsonl"))
        self._has_prices = False
        self._shards: list[Shard] = []
        self._totals = Totals(0, 0, 0, 0, 0, 0)
        self._behind = 0

    def add(self, number: int, reader: Reader) -> None:
        """Add a shard."""
        state = reader.tree.state()
        head = beside.head_of(reader, self._wanted.head)
        if head is None:
            if reader.log(after=0, limit=1):
                raise PackError(
                    f"no head of shard {number} is signed yet: `usage-ledger heads sign`"
                )
            self._shards.append(Shard(number, state.origin, 0, "", None, 0, 0, None))
            return
        beside.refuse_retired(reader, head, self._keys)
        folder = folder_of(number)
        beside.write_heads(self._writing, folder, reader, head, self._wanted)
        with (
            self._writing.scratch_folder() as scratch_folder,
            closing(Scratch(scratch_folder)) as scratch,
        ):
            drawing = Drawing(reader, head, self._wanted.payer)
            events = self._write_events(number, reader, head, drawing, scratch)
            reconciled = self._write_folded(number, scratch)
        self._failpoint("pack-folded")
        if self._wanted.payer is None:
            self._behind += beside.write_intake(
                self._writing, folder, reader, drawing.last_position
            )
        root = base64.b64encode(head.root).decode()
        self._shards.append(
            Shard(
                number,
                state.origin,
                head.size,
                root,
                head.note,
                events,
                drawing.last_position,
                time_text(reconciled.instant) if reconciled.position else None,
            )
        )

    def _write_events(
        self, number: int, reader: Reader, head: Head, drawing: Drawing, scratch: Scratch
    ) -> int:
        folder = folder_of(number)
        lines = Lines(self._writing.file(f"{folder}/events.jsonl"))
        parquet = Parquet(self._writing.file(f"{folder}/events.parquet"), EVENTS)
        proof = self._writing.file(f"{folder}/proof.bin")
        proof.add_rows(0)
        personal = beside.PersonalFile(self._writing, folder, reader, self._wanted)
        count = 0
        for batch in drawing.batches():
            lines.add(event_line(each) for each in batch.events)
            parquet.add([event_row(number, each) for each in batch.events])
            proof.write(b"".join(batch.hashes))
            proof.add_rows(len(batch.hashes))
            personal.add(batch.events)
            if not self._has_prices:
                self._write_prices(batch.events)
            self._fold(scratch, batch)
            count += len(batch.events)
            self._tell(Progress(number, batch.done, drawing.size))
            self._failpoint("pack-events-written")
        personal.refuse_unasked(head, drawing.last_position)
        for each in (lines, parquet, proof, personal):
            each.close()
        self._has_prices = True  # every shard has the same
        return count

    @staticmethod
    def _fold(scratch: Scratch, batch: Batch) -> None:
        if batch.events:
            with scratch.store.transaction() as transaction:
                fold_events_at_once(transaction, [each.stored for each in batch.events])
            scratch.store.checkpoint()

    def _write_prices(self, events: Sequence[Drawn]) -> None:
        for each in events:
            if isinstance(each.event, PriceListPublished):
                self._prices.add(list(price_rows(each.event, each.stored.position)))

    def _write_folded(self, number: int, scratch: Scratch) -> Accrual:
        """Write entries and balances as they were folded."""
        paused = scratch.store.progress().paused
        if paused:
            name, pause = next(iter(paused.items()))
            raise PackError(
                f"projection {name!r} cannot be folded at position {pause.position}:"
                f" {pause.reason.strip().splitlines()[-1]}"
            )
        accrual = scratch.reader.accrual()
        sums: dict[bytes, Sums] = {}
        rows: list[tuple[Any, ...]] = []
        queries = Queries(scratch.reader, SystemClock(), dict)
        payers = scratch.payers()
        waiting = next(payers, None)

        def write_payers(until: bytes | None) -> None:
            """Write those up to the one whose entries come next; their entries are summed."""
            nonlocal waiting
            while waiting is not None and (until is None or waiting < until):
                self._write_payer(number, waiting, sums.pop(waiting, Sums()), queries)
                waiting = next(payers, None)

        for entry in scratch.entries(accrual):
            payer = entry.payer
            write_payers(payer)
            row = entry_row(number, entry, accrual)
            before = sums.get(payer, Sums())
            sums[payer], is_in_period = self._summed(before, row)
            if is_in_period:
                rows.append(row)
            if len(rows) == PAGE:
                self._entries.add(rows)
                rows = []
        write_payers(None)
        self._entries.add(rows)
        return accrual

    def _summed(self, sums: Sums, row: Sequence[Any]) -> tuple[Sums, bool]:
        effective, cents = row[_EFFECTIVE], row[_CENTS]
        begin, end = self._wanted.period_from, self._wanted.period_to
        if begin is not None and effective < begin:
            return sums._replace(carried=sums.carried + cents), False
        if end is not None and effective >= end:
            return sums._replace(later=sums.later + cents), False
        return sums._replace(entries=sums.entries + 1, period=sums.period + cents), True

    def _write_payer(self, number: int, payer: bytes, sums: Sums, queries: Queries) -> None:
        if self._wanted.payer not in {None, payer}:
            return  # an earlier life of an instance, voided: nothing of it counts
        draft = queries.draft(payer)
        balance = draft.rows.balance_cents
        if balance != sums.carried + sums.period + sums.later:
            raise PackError(f"the balance of {attribution_id(payer)} is not the sum of its entries")
        self._payers.add([payer_line(number, payer, sums, draft)])
        totals = self._totals
        self._totals = Totals(
            totals.payers + 1,
            totals.entries + sums.entries,
            totals.carried_cents + sums.carried,
            totals.period_cents + sums.period,
            totals.later_cents + sums.later,
            totals.balance_cents + balance,
        )

    def finish(
        self, readers: Sequence[Reader], made_by: str, erasures: _Erasures | None
    ) -> Exported:
        """Write what describes it all, and move the pack to its place."""
        wanted = self._wanted
        for each in (self._entries, self._prices, self._payers):
            each.close()
        if wanted.payer is None:
            beside.write_placement(self._writing, readers[0])
        self._writing.put(SCHEMA, describing.schema_bytes())
        self._writing.put(README, describing.README_TEXT)
        self._writing.put(SQL, describing.SQL_TEXT)
        begin, end = wanted.period_from, wanted.period_to
        manifest = Manifest(
            FORMAT,
            readers[0].tree.state().origin.rpartition("/")[0],
            made_by,
            None if wanted.payer is None else attribution_id(wanted.payer),
            None if begin is None else time_text(begin),
            None if end is None else time_text(end),
            wanted.with_personal,
            self._totals,
            self._shards,
            self._writing.files_written(),
        )
        self._writing.finish(manifest)
        if erasures is not None:
            erasures.refuse()
        return Exported(self._writing.put_in_place(), manifest, self._behind)
