"""A balance: usage by days, what runs, credit notes, invoices, and what was voided."""

from __future__ import annotations

from collections.abc import Sequence

from events.readable import attribution_id, time_text
from ledger.audit.why.basis import Basis
from ledger.audit.why.cursors import Place, integer, raw
from ledger.audit.why.folders import Folder, Page
from ledger.audit.why.numbers import (
    BALANCE,
    CREDIT_NOTES,
    DAY,
    INVOICES,
    RUNNING,
    USAGE,
    VOIDED,
    Number,
)
from ledger.audit.why.others import other_numbers, voided_note
from ledger.audit.why.usage import is_void, life_number, life_with, lives_of
from ledger.errors import FailedPreconditionError
from persistence import UsageRow
from projections import BUCKET_MS, DAILY, OtherEntry, Void

_DAY_MS = BUCKET_MS[DAILY]
_FOREVER = 2**62
OF_KIND = {CREDIT_NOTES: "credit_note", INVOICES: "invoice"}
TITLES = {CREDIT_NOTES: "credit notes", INVOICES: "invoices and write-offs"}


class BalanceFolder(Folder):
    """What a payer owes."""

    kind, holds_folders = BALANCE, True

    def __init__(self, basis: Basis) -> None:
        """Explain the payer of the snapshot."""
        self._basis = basis
        folders: list[Folder] = [UsageFolder(basis), RunningFolder(basis)]
        folders += [OthersFolder(basis, kind) for kind in OF_KIND]
        folders.append(VoidedFolder(basis))
        self._folders = [folder for folder in folders if folder.whole().part_count]

    def whole(self) -> Number:
        """Give the balance."""
        payer = self._basis.payer
        cents = self._basis.reader.balance(payer)
        title = f"balance of {attribution_id(payer)}"
        return Number(BALANCE, title, cents, payer, part_count=len(self._folders))

    def page(self, after: Place, limit: int) -> Page:  # noqa: ARG002  # there are five at most
        """Give all of them."""
        return Page(self._folders, None)


class UsageFolder(Folder):
    """Entries of instances that have ended, by day."""

    kind, holds_folders = USAGE, True

    def __init__(self, basis: Basis) -> None:
        """Explain the payer of the snapshot."""
        self._basis = basis
        self._days, self._count, self._cents = basis.why.days_total(basis.payer)

    def whole(self) -> Number:
        """Give the sum of all days."""
        title = f"{_counted(self._count, 'ended instance')}, by day"
        return Number(USAGE, title, self._cents, self._basis.payer, part_count=self._days)

    def page(self, after: Place, limit: int) -> Page:
        """Give days, newest first."""
        before = integer(after, 0) if after else _FOREVER
        days = self._basis.why.days(self._basis.payer, before=before, limit=limit + 1)
        behind = (days[limit - 1].day,) if len(days) > limit else None
        return Page(
            [DayFolder(self._basis, day, count, cents) for day, count, cents in days[:limit]],
            behind,
        )


class DayFolder(Folder):
    """Entries dated on one day."""

    kind, holds_folders = DAY, False

    def __init__(self, basis: Basis, day: int, count: int, cents: int) -> None:
        """Explain a day, counted from 1970 in UTC."""
        self._basis = basis
        self.key = (day,)
        self._day, self._count, self._cents = day, count, cents

    def whole(self) -> Number:
        """Give the day's sum."""
        title = time_text(self._day * _DAY_MS)[:10]
        effective = self._day * _DAY_MS
        return Number(
            DAY,
            f"{title}, {_counted(self._count, 'entry', 'entries')}",
            self._cents,
            self._basis.payer,
            part_count=self._count,
            effective=effective,
        )

    def page(self, after: Place, limit: int) -> Page:
        """Give entries by time."""
        key = (integer(after, 0), raw(after, 1)) if after else (self._day * _DAY_MS, b"")
        found = self._basis.reader.usage_after(
            self._basis.payer, key=key, ascending=True, limit=limit + 1
        )
        rows = [row for row in found if row.effective < (self._day + 1) * _DAY_MS]
        behind = _dated(rows[limit - 1]) if len(rows) > limit else None
        return Page(usage_numbers(self._basis, rows[:limit]), behind)


class RunningFolder(Folder):
    """What running instances have accrued."""

    kind, holds_folders = RUNNING, False

    def __init__(self, basis: Basis) -> None:
        """Explain the payer of the snapshot."""
        self._basis = basis
        self._count, self._cents = basis.reader.running_totals(basis.payer, b"")

    def whole(self) -> Number:
        """Give what they have accrued."""
        accrual = self._basis.accrual
        title = (
            f"{_counted(self._count, 'running instance')}, accrued to {time_text(accrual.instant)}"
        )
        return Number(
            RUNNING,
            title,
            self._cents,
            self._basis.payer,
            part_count=self._count,
            effective=accrual.instant,
        )

    def page(self, after: Place, limit: int) -> Page:
        """Give entries by id."""
        last = raw(after, 0) if after else b""
        basis = self._basis
        rows = basis.reader.running_after(basis.payer, basis.accrual, after=last, limit=limit + 1)
        behind = (rows[limit - 1].entry_id,) if len(rows) > limit else None
        return Page(usage_numbers(basis, rows[:limit]), behind)


class OthersFolder(Folder):
    """Credit notes, or invoices and write-offs."""

    holds_folders = False

    def __init__(self, basis: Basis, kind: str) -> None:
        """Explain those of one kind."""
        self._basis = basis
        self.kind = kind
        totals = basis.why.others_totals(basis.payer)
        self._count, self._cents = totals.get(OF_KIND[kind], (0, 0))

    def whole(self) -> Number:
        """Give their sum."""
        title, payer = TITLES[self.kind], self._basis.payer
        return Number(self.kind, title, self._cents, payer, part_count=self._count)

    def page(self, after: Place, limit: int) -> Page:
        """Give entries, newest first."""
        before = (integer(after, 0), raw(after, 1)) if after else None
        rows = self._basis.why.others(
            self._basis.payer, OF_KIND[self.kind], before=before, limit=limit + 1
        )
        behind = _dated(rows[limit - 1]) if len(rows) > limit else None
        return Page((other_numbers(self._basis, rows[:limit])), behind)


class VoidedFolder(Folder):
    """What was voided: it counts 0, and its events say why."""

    kind, holds_folders = VOIDED, False

    def __init__(self, basis: Basis) -> None:
        """Explain the payer of the snapshot."""
        self._basis = basis
        self._count = basis.why.voids_count(basis.payer)

    def whole(self) -> Number:
        """Give 0."""
        return Number(VOIDED, "voided", 0, self._basis.payer, part_count=self._count)

    def page(self, after: Place, limit: int) -> Page:
        """Give what was voided, newest first."""
        before = integer(after, 0) if after else _FOREVER
        rows = self._basis.reader.voids(self._basis.payer, before=before, limit=limit + 1)
        voids = [row.void for row in rows[:limit]]
        behind = (voids[-1].position,) if len(rows) > limit else None
        return Page(voided_numbers(self._basis, voids), behind)


def usage_numbers(basis: Basis, rows: Sequence[UsageRow]) -> list[Number]:
    """Explain entries that count; FailedPreconditionError where rows and events differ."""
    streams = basis.instances(row.instance for row in rows)
    numbers: list[Number] = []
    for row in rows:
        life = lives_of(streams[row.instance])[-1]
        number = life_number(basis, life, basis.accrual)
        is_running = row.stopping is None and row.stopped is None
        if is_void(life) or (not is_running and number.cents != row.cents):
            raise FailedPreconditionError(
                f"the events of {number.title} make {number.cents} cents, and its entry has"
                f" {row.cents}: run `usage-ledger check --fold-log`"
            )
        numbers.append(number)
    return numbers


def voided_numbers(basis: Basis, voids: Sequence[Void]) -> list[Number]:
    """Explain what was voided."""
    streams = basis.instances(void.instance for void in voids if void.instance)
    notes = [void for void in voids if not void.instance]
    issued = basis.events([void.made_position for void in notes])
    said = basis.events([void.position for void in notes])
    numbers: list[Number] = []
    for void in voids:
        if void.instance:
            life = life_with(streams[void.instance], void.position)
            numbers.append(life_number(basis, life, basis.accrual))
        else:
            numbers.append(voided_note(void, issued[void.made_position], said[void.position]))
    return numbers


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _dated(row: UsageRow | OtherEntry) -> Place:
    return row.effective, row.entry_id
