"""Running instances and usage entries: what became of every instance, folded from its events.

This fold comes first: the others take the changes that it tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from events import (
    CreditNoteVoided,
    LedgerEvent,
    Recorded,
    UsageReconciled,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
    WorkspaceInstanceVoided,
)
from events.money import runtime_seconds
from projections._entry_rows import EntryRows
from projections.entries import (
    CREDIT_NOTE,
    WORKSPACE_INSTANCE,
    accrue,
    accrued,
    entry_id_of,
    other_entry_of,
)
from projections.rows import (
    Accrual,
    AccrualKey,
    Amount,
    Entry,
    EntryChange,
    OpenInstance,
    Rows,
    Told,
    Void,
    VoidedInstance,
)

_STREAM_PREFIX = len("instance:")

Key = tuple[bytes, bytes]  # payer, entry id


class InstanceFold:
    """Folds a run of events in memory; `flush` writes the outcome."""

    def __init__(self, rows: Rows) -> None:
        """Start with nothing folded."""
        self._rows = rows
        self.accrual = rows.accrual()
        self.told = Told()
        self._open: dict[Key, OpenInstance | None] = {}
        self._stored: set[Key] = set()  # which of them the store has a row of
        self._dirty: set[Key] = set()
        self._entries = EntryRows(rows)
        self._accruals: dict[AccrualKey, Amount] = {}

    def fold(self, batch: Sequence[Recorded]) -> None:
        """Fold events that are neither reconciles nor cycle boundaries."""
        entry_ids = self._load(batch)
        for recorded in batch:
            stream, _, event, position = recorded
            fold = self._FOLDS.get(type(event))
            if fold is not None:
                fold(self, event, stream, entry_ids[stream], position)
            elif isinstance(event, CreditNoteVoided):
                self._voided_note(event, position)
            else:
                other = other_entry_of(recorded)
                if other is not None:
                    self._entries.add_other(other)
                    self.told.others.append(other)

    def _load(self, batch: Sequence[Recorded]) -> dict[str, bytes]:
        """Load what the store has of the batch's instances; give their entry ids by stream."""
        entry_ids: dict[str, bytes] = {}
        wanted: list[Key] = []
        for stream, version, event, _ in batch:
            if type(event) not in self._FOLDS:
                continue
            entry_id = entry_ids.get(stream)
            if entry_id is None:
                entry_id = entry_ids[stream] = entry_id_of(stream[_STREAM_PREFIX:])
            key = event.payer, entry_id  # type: ignore[attr-defined]  # events of instances have one
            if key in self._open:
                continue
            if version > 1:  # the first event of a stream cannot have a row
                wanted.append(key)
            self._open[key] = None
        if wanted:
            found = self._rows.open_instances(wanted)
            self._open.update(found)
            self._stored.update(found)
        return entry_ids

    def _started(
        self, event: WorkspaceInstanceStarted, stream: str, entry_id: bytes, position: int
    ) -> None:
        key = event.payer, entry_id
        known = self._open[key]
        row = OpenInstance(
            event.payer,
            entry_id,
            bytes.fromhex(stream[_STREAM_PREFIX:].replace("-", "")),
            event.user,
            event.workspace_class,
            event.workspace_type,
            event.workspace_id,
            event.creation_time,
            event.started_time,
            known.stopping if known else None,
            known.stopped if known else None,
            event.rate,
            position,
            known.heard_at if known else event.recorded_at,
        )
        self._dirty.add(key)
        self._open[key] = row
        if known is not None:
            self._leave(row, position, was_running=False)

    def _stop_row(self, stream: str, payer: bytes, entry_id: bytes, heard_at: int) -> OpenInstance:
        """Give the row that a stop falls on, a new one when the stop comes first."""
        key = payer, entry_id
        row = self._open[key]
        if row is None:
            instance = bytes.fromhex(stream[_STREAM_PREFIX:].replace("-", ""))
            row = OpenInstance(
                payer, entry_id, instance, b"", "", "", "", None, None, None, None, "", 0, heard_at
            )
            self._open[key] = row
        self._dirty.add(key)
        return row

    def _stopping(
        self, event: WorkspaceInstanceStopping, stream: str, entry_id: bytes, position: int
    ) -> None:
        if event.corrects is not None:
            before = self._entries.at((event.payer, entry_id), event.corrects)
            self._correct(
                before, event.stopping_time, before.stopped, event.stopping_time, position
            )
            return
        row = self._stop_row(stream, event.payer, entry_id, event.recorded_at)
        row.stopping = event.stopping_time
        if row.started is not None:
            self._leave(row, position, was_running=True)

    def _stopped(
        self, event: WorkspaceInstanceStopped, stream: str, entry_id: bytes, position: int
    ) -> None:
        row = self._stop_row(stream, event.payer, entry_id, event.recorded_at)
        row.stopped = event.stopped_time
        if not row.start_position:  # neither its start nor what another ledger charged is known
            return
        if row.stopping is None:
            self._leave(row, position, was_running=True)
        else:  # priced at its stopping time already: only final from now on
            self._finish(row, position)

    def _finish(self, row: OpenInstance, position: int) -> None:
        assert row.stopping is not None
        key = row.payer, row.entry_id
        self._open[key] = None
        entry = self._entries.at(key, row.stopping)
        entry.stopped = row.stopped
        entry.draft, entry.final_position = False, position
        self._entries.change(entry)

    def _ended(
        self,
        event: WorkspaceInstanceEnded,
        stream: str,  # noqa: ARG002  # as all of these are called
        entry_id: bytes,
        position: int,
    ) -> None:
        key = event.payer, entry_id
        row = self._open[key]
        if row is not None:
            self._dirty.add(key)
            if row.stopping is None:
                row.stopped = event.ended_time
                self._leave(row, position, was_running=True)
                return
            self._open[key] = None
        assert event.corrects is not None
        before = self._entries.at(key, event.corrects)
        stopping = None if before.stopping is None else event.ended_time
        self._correct(before, stopping, event.ended_time, event.ended_time, position)

    def _imported(
        self, event: WorkspaceInstanceImported, stream: str, entry_id: bytes, position: int
    ) -> None:
        row = OpenInstance(
            event.payer,
            entry_id,
            bytes.fromhex(stream[_STREAM_PREFIX:].replace("-", "")),
            event.user,
            event.workspace_class,
            event.workspace_type,
            event.workspace_id,
            event.creation_time,
            event.started_time,
            event.stopping_time,
            event.stopped_time,
            event.rate,
            position,
            event.recorded_at,
        )
        key = event.payer, entry_id
        if event.credit_cents is None:
            self._open[key] = row
            self._dirty.add(key)
            return
        end = event.effective_time
        seconds = 0 if row.started is None else runtime_seconds(row.started, end)
        entry = _entry(row, end, Amount(1, event.credit_cents, seconds), position)
        if entry.draft:  # stopping, not stopped: its stop is still to come
            row.stopping = end  # where that stop finds the entry, whatever the other ledger said
            self._open[key] = row
            self._dirty.add(key)
        self._entries.add(entry)
        self.told.changes.append(EntryChange(position, None, entry, was_running=False))

    def _leave(self, row: OpenInstance, position: int, *, was_running: bool) -> None:
        """Turn an instance whose start and end are both known into an entry."""
        assert row.started is not None
        end = row.stopping if row.stopping is not None else row.stopped
        assert end is not None
        entry = _entry(row, end, accrued(row.rate, row.started, end), position)
        self._entries.add(entry)
        if row.stopped is not None:
            self._open[row.payer, row.entry_id] = None
        if was_running and row.start_position < self.accrual.position:
            self._unaccrue(row, accrued(row.rate, row.started, self.accrual.instant))
        self.told.changes.append(EntryChange(position, None, entry, was_running))

    def _unaccrue(self, row: OpenInstance, amount: Amount) -> None:
        key = row.payer, row.user, row.workspace_class
        count, cents, seconds = self._accruals.get(key, (0, 0, 0))
        self._accruals[key] = Amount(count - 1, cents - amount.cents, seconds - amount.seconds)
        running_cents = self.told.running_cents
        running_cents[row.payer] = running_cents.get(row.payer, 0) - amount.cents

    def _correct(
        self, before: Entry, stopping: int | None, stopped: int | None, end: int, position: int
    ) -> None:
        amount = Amount(1, before.cents, before.seconds)
        if before.started is not None:
            amount = accrued(before.rate, before.started, end)
        after = _copy(before)
        after.effective, after.stopping, after.stopped = end, stopping, stopped
        after.cents, after.seconds = amount.cents, amount.seconds
        after.draft, after.changed_position = stopped is None, position
        if before.draft and not after.draft:
            after.final_position = position
        self._entries.change(after)
        self._entries.supersede(before, position)
        self.told.changes.append(EntryChange(position, before, after, was_running=False))

    def _voided(
        self, event: WorkspaceInstanceVoided, stream: str, entry_id: bytes, position: int
    ) -> None:
        """Take away what there is of the instance; whatever follows begins it anew."""
        key = event.payer, entry_id
        row = self._open[key]
        if row is not None:
            self._open[key] = None
            self._dirty.add(key)
        entry, effective, cents = None, event.corrects, 0
        if event.corrects is not None:
            entry = self._entries.take(key, event.corrects)
            cents = entry.cents
        elif row is not None and row.started is not None:
            if row.start_position < self.accrual.position:
                amount = accrued(row.rate, row.started, self.accrual.instant)
                self._unaccrue(row, amount)
                cents = amount.cents
            entry = _entry(row, row.started, Amount(1, 0, 0), position)
        if entry is not None:
            ran = effective is None
            self._entries.supersede(entry, position, ran=ran)
            self.told.voided.append(VoidedInstance(entry, ran))
        self._entries.add_void(
            Void(
                event.payer,
                position,
                WORKSPACE_INSTANCE,
                entry_id,
                bytes.fromhex(stream[_STREAM_PREFIX:].replace("-", "")),
                b"" if entry is None else entry.user,
                effective,
                cents,
                0 if entry is None else entry.start_position,
            )
        )

    # By type: of classes like these, `isinstance` is slow to say no.
    _FOLDS: ClassVar[
        dict[type[LedgerEvent], Callable[[InstanceFold, Any, str, bytes, int], None]]
    ] = {
        WorkspaceInstanceStarted: _started,
        WorkspaceInstanceStopping: _stopping,
        WorkspaceInstanceStopped: _stopped,
        WorkspaceInstanceEnded: _ended,
        WorkspaceInstanceImported: _imported,
        WorkspaceInstanceVoided: _voided,
    }

    def _voided_note(self, event: CreditNoteVoided, position: int) -> None:
        note = self._entries.take_other((event.payer, event.effective_time, event.entry_id))
        self.told.voided_notes.append(note)
        self._entries.add_void(
            Void(
                note.payer,
                position,
                CREDIT_NOTE,
                note.entry_id,
                b"",
                note.user,
                note.effective,
                note.cents,
                note.position,
            )
        )

    def reconcile(self, event: UsageReconciled, position: int) -> dict[bytes, int]:
        """Accrue everything that runs to a new instant; give each payer's new running cents.

        Everything folded before must have been flushed.
        """
        running = dict.fromkeys(self._rows.accrued_payers(), 0)
        self.accrual = Accrual(event.instant, position)
        amounts = accrue(self._rows.scan_running(position), event.instant)
        self._rows.replace_accruals(self.accrual, amounts)
        for key, amount in amounts.items():
            running[key[0]] = running.get(key[0], 0) + amount.cents
        return running

    def flush(self) -> None:
        """Write what was folded and forget it."""
        put, removed = [], []
        for key in self._dirty:
            row = self._open[key]
            if row is not None:
                put.append(row)
            elif key in self._stored:
                removed.append(key)
        self._rows.write_instances(put=put, removed=removed)
        self._entries.flush()
        if self._accruals:
            self._rows.add_accruals(self._accruals)
        self._open, self._stored, self._dirty = {}, set(), set()
        self._accruals = {}
        self.told = Told()


def _entry(row: OpenInstance, end: int, amount: Amount, position: int) -> Entry:
    return Entry(
        row.start_position,
        row.payer,
        end,
        row.entry_id,
        row.user,
        row.instance,
        row.workspace_class,
        row.workspace_type,
        row.workspace_id,
        row.creation,
        row.started,
        row.stopping,
        row.stopped,
        row.rate,
        amount.cents,
        amount.seconds,
        row.stopped is None,
        position,
        position,
        0 if row.stopped is None else position,
    )


def _copy(entry: Entry) -> Entry:
    return Entry(*[getattr(entry, name) for name in Entry.__struct_fields__])
