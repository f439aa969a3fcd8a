"""An alternative history: one payer's sums as they were recorded, and as they would be.

Instances are folded by the same fold as the read model's. What it tells of each entry is priced a
second time by the rules of the alternative. Recorded facts of other hands stay as they are: credit
notes, entries and charges that were taken over, what Stripe invoiced. What a reset or a move to
STRIPE writes off follows from the alternative balance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import msgspec

from aggregates import RESET, UPGRADE, write_off_of_upgrade
from events import (
    BillingCycleClosed,
    BillingCycleStarted,
    CostCenterImported,
    CostCenterOpened,
    CreditNoteVoided,
    LedgerEvent,
    Recorded,
    SpendingLimitSet,
    UnsettledUsageKept,
    UsageReconciled,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStopping,
    WorkspaceInstanceVoided,
)
from events.money import charge
from events.readable import attribution_id
from ledger.audit.rules import Rules
from ledger.audit.running import Running
from ledger.errors import FailedPreconditionError
from ledger.folding import decoded
from persistence import Reader
from projections import Accrual, Entry, EntryChange, OpenInstance, OtherEntry, Rows
from projections.corrections import is_correction
from projections.entries import CREDIT_NOTE
from projections.instances import InstanceFold

_TERMS = (CostCenterOpened, BillingCycleStarted, CostCenterImported, SpendingLimitSet)
_CUTS = frozenset({UsageReconciled, BillingCycleClosed, *_TERMS})
# Behind the event that moves a payer to STRIPE lies the next cycle's, then what is not settled.
UNSETTLED_WITHIN = 2


class Both(msgspec.Struct, gc=False):
    """Cents as recorded, and as they would be."""

    recorded: int = 0
    what_if: int = 0

    def add(self, recorded: int, what_if: int) -> None:
        """Add to both."""
        self.recorded += recorded
        self.what_if += what_if

    @property
    def difference(self) -> int:
        """Give what it would be more."""
        return self.what_if - self.recorded


class Account(msgspec.Struct):
    """A payer's sums. `balance` is of the whole history, the others of the time that is shown."""

    payer: bytes
    spending_limit: int = 0
    balance: Both = msgspec.field(default_factory=Both)
    classes: dict[str, Both] = {}
    instances: dict[str, int] = {}
    written_off: Both = msgspec.field(default_factory=Both)
    note_cents: int = 0
    invoice_cents: int = 0

    @property
    def usage(self) -> Both:
        """Sum the classes."""
        total = Both()
        for both in self.classes.values():
            total.add(both.recorded, both.what_if)
        return total


class Shown(NamedTuple):
    """Which entries are shown: dated in [start, end), of these payers or of all."""

    start: int
    end: int
    payers: frozenset[bytes] = frozenset()


class WhatIf:
    """Folds one shard's log, batch after batch, keeping what runs and the sums of payers."""

    def __init__(self, rules: Rules, shown: Shown, reader: Reader) -> None:
        """`reader` loads what a correction of a final entry needs."""
        self._rules = rules
        self._shown = shown
        self._reader = reader
        self._rows = Running()
        self._fold = InstanceFold(cast("Rows", self._rows))
        self._accrual = Accrual(0, 0)
        self.accounts: dict[bytes, Account] = {}

    def fold(self, batch: Sequence[Recorded]) -> None:
        """Take the events that follow the last batch; those of other payers may be left out."""
        start = 0
        for index, recorded in enumerate(batch):
            event = recorded.event
            if type(event) not in _CUTS:
                continue
            self._run(batch[start:index])
            start = index + 1
            if isinstance(event, UsageReconciled):
                self._accrual = Accrual(event.instant, recorded.position)
            elif isinstance(event, BillingCycleClosed):
                self._closed(event, recorded.position)
            else:
                self._terms(event)
        self._run(batch[start:])

    def finish(self) -> dict[bytes, Account]:
        """Add what runs, accrued to the last reconcile; give the accounts."""
        is_shown = self._shown.start <= self._accrual.instant < self._shown.end
        for payer, rows in self._rows.open.items():
            account = self._account(payer)
            for row, cents, what_if in self._accrued(rows.values()):
                account.balance.add(cents, what_if)
                if is_shown:
                    self._show(account, row.workspace_class, 1, cents, what_if)
        return self.accounts

    def _account(self, payer: bytes) -> Account:
        account = self.accounts.get(payer)
        if account is None:
            account = self.accounts[payer] = Account(payer)
        return account

    # Usage -------------------------------------------------------------------------------------

    def _run(self, run: Sequence[Recorded]) -> None:
        if not run:
            return
        # A charge of another ledger is no price of ours: by position, where it is or was one.
        charged = {
            recorded.position
            for recorded in run
            if type(recorded.event) is WorkspaceInstanceImported
            and recorded.event.credit_cents is not None
        }
        was_charged = self._prepare_corrections(run)
        fold = self._fold
        fold.fold(run)
        told = fold.told
        fold.flush()
        for change in told.changes:
            self._changed(
                change,
                is_charged=change.position in charged,
                was_charged=change.position in was_charged,
            )
        for other in told.others:
            self._other(other, 1)
        for entry, was_running in told.voided:
            if not was_running:
                self._add(entry, -1, is_charged=entry.start_position in was_charged)
        for note in told.voided_notes:
            self._other(note, -1)

    def _changed(self, change: EntryChange, *, is_charged: bool, was_charged: bool) -> None:
        self._add(change.after, 1, is_charged=is_charged)
        if change.before is not None:
            self._add(change.before, -1, is_charged=was_charged)

    def _add(self, entry: Entry, sign: int, *, is_charged: bool) -> None:
        """Add an entry to its payer's sums, or take it away."""
        account = self._account(entry.payer)
        cents = sign * entry.cents
        what_if = cents if is_charged else sign * self._priced(entry)
        account.balance.add(cents, what_if)
        if self._shown.start <= entry.effective < self._shown.end:
            self._show(account, entry.workspace_class, sign, cents, what_if)

    def _priced(self, entry: Entry) -> int:
        """Give what an entry that ended would cost."""
        if entry.started is None:
            return entry.cents  # without a start there is nothing to be priced
        rules = self._rules
        rate = rules.rate(entry.workspace_class, entry.started, entry.rate)
        return charge(rate, entry.started, entry.effective, rules.rounding)[1]

    @staticmethod
    def _show(account: Account, name: str, count: int, recorded: int, what_if: int) -> None:
        both = account.classes.get(name)
        if both is None:
            both = account.classes[name] = Both()
            account.instances[name] = 0
        both.add(recorded, what_if)
        account.instances[name] += count

    def _accrued(self, rows: Iterable[OpenInstance]) -> Iterable[tuple[OpenInstance, int, int]]:
        """Price what runs and was recorded before the last reconcile up to its instant."""
        instant, position = self._accrual
        rules = self._rules
        for row in rows:
            started = row.started
            if started is None or row.stopping is not None or row.start_position >= position:
                continue
            rate = rules.rate(row.workspace_class, started, row.rate)
            yield (
                row,
                charge(row.rate, started, instant)[1],
                charge(rate, started, instant, rules.rounding)[1],
            )

    def _prepare_corrections(self, run: Sequence[Recorded]) -> set[int]:
        """Load what this run corrects or takes away: final entries from their instances' streams.

        Give the positions of those corrections that replace a charge of another ledger, and of
        those charges that are voided.
        """
        self._rows.notes = {
            (event.payer, event.effective_time, event.entry_id): _voided_note(event)
            for _, _, event, _ in run
            if isinstance(event, CreditNoteVoided)
        }
        correcting = [recorded for recorded in run if _corrects(recorded.event)]
        if not correcting:
            return set()
        stored = self._reader.streams(sorted({each.originator_id for each in correcting}))
        was_charged = set()
        for recorded in correcting:
            before = [
                each
                for each in decoded(stored[recorded.originator_id])
                if each.originator_version < recorded.originator_version
            ]
            rows = Running(keeps_final=True)
            fold = InstanceFold(cast("Rows", rows))
            fold.fold(before)
            fold.flush()
            for key, entry in rows.entries.items():
                self._rows.entries.setdefault(key, entry)
            charge_at = 0
            for each in before:
                charge_at = _charge_at(each, charge_at)
            if charge_at:
                is_void = isinstance(recorded.event, WorkspaceInstanceVoided)
                was_charged.add(charge_at if is_void else recorded.position)
        return was_charged

    # Everything else ---------------------------------------------------------------------------

    def _other(self, other: OtherEntry, sign: int) -> None:
        account = self._account(other.payer)
        cents = sign * other.cents
        account.balance.add(cents, cents)
        if not self._shown.start <= other.effective < self._shown.end:
            return
        if other.kind == CREDIT_NOTE:
            account.note_cents += cents
        else:
            account.invoice_cents += cents

    def _terms(self, event: LedgerEvent) -> None:
        match event:
            case CostCenterOpened() | BillingCycleStarted() | SpendingLimitSet():
                self._account(event.payer).spending_limit = event.spending_limit
            case CostCenterImported():
                self._account(event.payer).spending_limit = event.history[-1].spending_limit

    def _closed(self, event: BillingCycleClosed, position: int) -> None:
        """Decide on the write-off as it was decided, on the balance that would be owed."""
        account = self._account(event.payer)
        owed = Both(account.balance.recorded, account.balance.what_if)
        for _, cents, what_if in self._accrued(self._rows.open.get(event.payer, {}).values()):
            owed.add(cents, what_if)
        if owed.recorded != event.balance_cents:
            raise FailedPreconditionError(
                f"position {position}: {attribution_id(event.payer)} owed {event.balance_cents}"
                f" cents when its cycle was closed, and its log adds up to {owed.recorded}: run"
                " `usage-ledger check --fold-log`"
            )
        what_if = 0
        if event.reason == RESET:
            what_if = self._rules.write_off(owed.what_if, account.spending_limit)
        elif event.reason == UPGRADE:
            what_if = write_off_of_upgrade(owed.what_if, self._unsettled(event.payer, position))
        account.balance.add(event.write_off_cents, what_if)
        if self._shown.start <= event.closed_at < self._shown.end:
            account.written_off.add(event.write_off_cents, what_if)

    def _unsettled(self, payer: bytes, position: int) -> int:
        """Give what an earlier subscription had reported and Stripe not settled, as recorded."""
        for recorded in decoded(self._reader.log(after=position, limit=UNSETTLED_WITHIN)):
            event = recorded.event
            if isinstance(event, UnsettledUsageKept) and event.payer == payer:
                return event.unsettled_cents
        return 0


def _charge_at(recorded: Recorded, before: int) -> int:
    """Give the position of another ledger's charge that an instance's entry has; 0 for none."""
    match recorded.event:
        case WorkspaceInstanceImported() as event:
            return recorded.position if event.credit_cents is not None else 0
        case WorkspaceInstanceEnded() | WorkspaceInstanceVoided():
            return 0
        case WorkspaceInstanceStopping() as event if event.corrects is not None:
            return 0
        case _:
            return before


def _corrects(event: LedgerEvent) -> bool:
    """Say whether an event changes or takes away an entry that may be final."""
    return is_correction(event) and getattr(event, "corrects", None) is not None


def _voided_note(event: CreditNoteVoided) -> OtherEntry:
    return OtherEntry(
        event.payer,
        event.effective_time,
        event.entry_id,
        CREDIT_NOTE,
        event.credit_cents,
        b"",
        0,
    )
