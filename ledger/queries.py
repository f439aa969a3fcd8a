"""The reading side: every answer comes from one committed state and is computed nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from events import EntryImported, InvoiceCorrected, InvoiceSettled, LedgerEvent, decode
from events.causes import NOTE, UNCOLLECTIBLE, UNDONE, VOIDED, base_of
from events.readable import time_text, uuid_text
from ledger.clock import Clock, now_ms
from ledger.commands.cost_centers import resets_held
from ledger.errors import InvalidArgumentError, UnavailableError
from ledger.identifiers import parse_uuid
from persistence import DraftRows, OtherRow, Reader, UsageRow
from projections import OWN_PERIOD, Accrual, Amount, ClockRow, CostCenterRow, Pause, accrued

DESCRIPTION = "Usage collected by automated system."
WRITE_OFF_DESCRIPTION = "Credits"
RANGE_MS_MAX = 300 * 86_400_000
PER_PAGE_DEFAULT, PER_PAGE_MAX = 50, 1_000
OFFSET_MAX = (
    2**62
)  # a page beyond it is empty in any ledger; the product of two int64 may be larger

_unpack = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_quote = json.encoder.encode_basestring


class Listing(NamedTuple):
    """A page of usage, with totals over the whole range."""

    rows: list[UsageRow]
    total: int
    cents: int
    page: int
    per_page: int

    @property
    def total_pages(self) -> int:
        """Count the pages."""
        return -(-self.total // self.per_page)


class DraftLine(NamedTuple):
    """What changed in the open cycle, by class and period."""

    workspace_class: str
    late_for: int  # OWN_PERIOD, or the closed cycle in which it took place
    period: tuple[int | None, int | None]  # of that cycle
    amount: Amount


class DraftVoidedNotes(NamedTuple):
    """Credit notes of closed cycles that were voided in the open one, by period."""

    late_for: int
    period: tuple[int | None, int | None]
    notes: int
    cents: int


class Draft(NamedTuple):
    """A payer's open cycle."""

    rows: DraftRows
    lines: list[DraftLine]
    voided_notes: list[DraftVoidedNotes]  # a part of the cycle's notes
    total_cents: int
    billable_credits: int


def personal_fields(stored: bytes | None) -> tuple[str, ...]:
    """Give the personal fields of an event; none once they are erased, which leaves zeros."""
    return _unpack(stored) if stored and stored[0] else ()


def usage_metadata(row: UsageRow) -> str:
    """Write an entry's metadata as a JSON object, by hand.

    The general encoder costs five times as much.
    """
    name, avatar, context = personal_fields(row.personal) or ("", "", "")
    end = row.stopping if row.stopping is not None else row.stopped
    return (
        f'{{"workspaceId":{_quote(row.workspace_id)},"workspaceType":{_quote(row.workspace_type)},'
        f'"workspaceClass":{_quote(row.workspace_class)},"contextURL":{_quote(context)},'
        f'"creationTime":"{_time(row.creation)}","startTime":"{_time(row.started)}",'
        f'"endTime":"{_time(end)}","stoppedTime":"{_time(row.stopped)}",'
        f'"userId":"{uuid_text(row.user) if row.user else ""}","userName":{_quote(name)},'
        f'"userAvatarURL":{_quote(avatar)}}}'
    )


def personal_text(personal: bytes | None) -> str:
    """Give the text of a personal row that has one; empty once erased."""
    fields = personal_fields(personal)
    return fields[0] if fields else ""


def other_description(row: OtherRow) -> str:
    """Describe an invoice or credit note; empty once erased."""
    fields = personal_fields(row.personal)
    if fields:
        return fields[0]
    return _invoice_description(decode(row.topic, row.state)) if row.kind == "invoice" else ""


def _invoice_description(event: LedgerEvent) -> str:
    match event:
        case InvoiceSettled():
            return f"Invoice {event.invoice_id} finalized in Stripe"
        case InvoiceCorrected():
            return _correction_description(event)
        case EntryImported() if event.commitment:
            return ""  # it had one, which is erased
        case _:
            return WRITE_OFF_DESCRIPTION


def _correction_description(event: InvoiceCorrected) -> str:
    cause = base_of(event.cause)
    if cause == VOIDED:
        said = f"Invoice {event.invoice_id} voided in Stripe"
    elif cause == UNCOLLECTIBLE:
        said = f"Invoice {event.invoice_id} marked uncollectible in Stripe"
    else:
        note = cause.removeprefix(NOTE)
        said = f"Credit note {note} of invoice {event.invoice_id} in Stripe"
    return f"{said}: holds no more" if event.cause.startswith(UNDONE) else said


def other_metadata(row: OtherRow) -> str:
    """Write a credit note's metadata."""
    return json.dumps({"userId": uuid_text(row.user)}) if row.user else ""


def _time(ms: int | None) -> str:
    return "" if ms is None else time_text(ms)


def billable_credits(total_cents: int, invoice_cents: int) -> int:
    """Give the whole credits an invoice over a cycle would carry."""
    return -(-max(0, total_cents - invoice_cents) // 100)


class Queries:
    """Reads on one connection; not for use by several threads at once."""

    def __init__(
        self, reader: Reader, clock: Clock, paused: Callable[[], Mapping[str, Pause]]
    ) -> None:
        """Take a connection; `paused` tells which projections stand still."""
        self.reader = reader
        self.clock = clock
        self._paused = paused

    def refuse_if_paused(self, *names: str) -> None:
        """Answer UNAVAILABLE rather than an old number."""
        paused = self._paused()
        for name in names if paused else ():
            if name in paused:
                raise UnavailableError(
                    f"projection {name!r} is paused at position {paused[name].position};"
                    " see `usage-ledger status`"
                )

    def balance(self, payer: bytes) -> int:
        """Give what a payer owes in cents."""
        self.refuse_if_paused("balances")
        return self.reader.balance(payer)

    def cost_center(self, payer: bytes) -> CostCenterRow | None:
        """Give a cost center; None while there is none."""
        self.refuse_if_paused("cost-centers")
        return self.reader.cost_center(payer)

    def list_usage(
        self,
        payer: bytes,
        user: bytes,
        *,
        start: int,
        end: int,
        ascending: bool,
        page: int,
        per_page: int,
    ) -> Listing:
        """Give a page of usage entries dated in [start, end)."""
        self.refuse_if_paused("instances", "usage-totals")
        reader = self.reader
        offset = min((page - 1) * per_page, OFFSET_MAX)
        with reader.snapshot():
            count, cents = reader.usage_totals(payer, user, start=start, end=end)
            accrual = reader.accrual()
            running = (0, 0)
            if accrual.position and start <= accrual.instant < end:
                running = reader.running_totals(payer, user)
            total = count + running[0]
            rows: list[UsageRow] = []
            if offset < total:
                if running[0]:
                    rows = self._page_with_running(
                        payer,
                        user,
                        accrual,
                        start,
                        end,
                        ascending=ascending,
                        offset=offset,
                        limit=per_page,
                    )
                else:
                    rows = reader.usage_page(
                        payer,
                        user,
                        start=start,
                        end=end,
                        ascending=ascending,
                        offset=offset,
                        limit=per_page,
                    )
        return Listing(rows, total, cents + running[1], page, per_page)

    def _page_with_running(
        self,
        payer: bytes,
        user: bytes,
        accrual: Accrual,
        start: int,
        end: int,
        *,
        ascending: bool,
        offset: int,
        limit: int,
    ) -> list[UsageRow]:
        """Join three stretches.

        Entries before the accrual instant, those dated at it, those after it.
        """
        instant = accrual.instant
        block = (instant, instant + 1)
        edges = [(start, instant), block, (instant + 1, end)]
        rows: list[UsageRow] = []
        for stretch in edges if ascending else reversed(edges):
            low, high = stretch
            if len(rows) == limit:
                break
            count = 0
            if low < high:
                count = self.reader.usage_totals(payer, user, start=low, end=high)[0]
            if stretch is block:
                count += self.reader.running_totals(payer, user)[0]
            if offset >= count:
                offset -= count
                continue
            want = limit - len(rows)
            if stretch is block:
                tied = self.reader.accrued_block(payer, user, accrual, offset=offset, limit=want)
                rows += self._priced(payer, accrual, tied)
            else:
                rows += self.reader.usage_page(
                    payer,
                    user,
                    start=low,
                    end=high,
                    ascending=ascending,
                    offset=offset,
                    limit=want,
                )
            offset = 0
        return rows

    def _priced(self, payer: bytes, accrual: Accrual, rows: Sequence[UsageRow]) -> list[UsageRow]:
        """Price the running entries of a stretch at the accrual instant."""
        running = [row.entry_id for row in rows if row.stopping is None and row.stopped is None]
        rates = self.reader.rates(payer, running)
        priced = []
        for row in rows:
            rate = rates.get(row.entry_id)
            if rate is not None and row.stopping is None and row.started is not None:
                cents = accrued(rate, row.started, accrual.instant).cents
                priced.append(row._replace(cents=cents))
            else:
                priced.append(row)
        return priced

    def entries(
        self,
        payer: bytes,
        *,
        key: tuple[int, bytes] | None,
        ascending: bool,
        limit: int,
    ) -> list[UsageRow | OtherRow]:
        """Give entries of every kind beyond a (time, id), by time, ties by id ascending."""
        self.refuse_if_paused("instances")
        with self.reader.snapshot():
            rows: list[UsageRow | OtherRow] = []
            rows += self.reader.usage_after(payer, key=key, ascending=ascending, limit=limit)
            rows += self.reader.others_after(payer, key=key, ascending=ascending, limit=limit)
            accrual = self.reader.accrual()
            if accrual.position:
                after = _after_block(key, accrual.instant, ascending=ascending)
                if after is not None:
                    running = self.reader.running_after(payer, accrual, after=after, limit=limit)
                    rows += self._priced(payer, accrual, running)
        sign = 1 if ascending else -1
        rows.sort(key=lambda row: (sign * row.effective, row.entry_id))
        return rows[:limit]

    def draft(self, payer: bytes) -> Draft:
        """Give a payer's open cycle."""
        self.refuse_if_paused("invoice-drafts", "instances", "balances", "cost-centers")
        return draft_of(self.reader.draft(payer))

    def resets_held(self, now: int) -> str:
        """Say why resets wait; empty when they do not."""
        return self.resets_held_by(self.reader.clock(), now)

    @staticmethod
    def resets_held_by(row: ClockRow, now: int) -> str:
        """Say why resets wait by what the log knows of the clock; empty when they do not."""
        if not resets_held(row, now):
            return ""
        since = row.newest_recorded if row.suspect_since is None else row.suspect_since
        return (
            f"the clock stands at {time_text(now)}, more than a month past what was recorded before"
            f" {time_text(since)}: wait for two reconciles, or run `usage-ledger reset --confirm`"
        )

    def now(self) -> int:
        """Give the time in ms."""
        return now_ms(self.clock)


def draft_of(rows: DraftRows) -> Draft:
    """Put together what a draft is made of."""
    amounts = dict(rows.lines)
    for workspace_class, amount in rows.accruals.items():
        base = rows.bases.get(workspace_class, Amount(0, 0, 0))
        known = amounts.get((workspace_class, OWN_PERIOD), Amount(0, 0, 0))
        amounts[workspace_class, OWN_PERIOD] = Amount(
            known.count + amount.count,
            known.cents + amount.cents - base.cents,
            known.seconds + amount.seconds - base.seconds,
        )
    lines = [
        DraftLine(workspace_class, late_for, _period(rows, late_for), amount)
        for (workspace_class, late_for), amount in sorted(amounts.items())
    ]
    cycle = rows.cycle
    carried, notes, invoices = (
        (cycle.carried_cents, cycle.note_cents, cycle.invoice_cents) if cycle else (0, 0, 0)
    )
    total = carried + sum(line.amount.cents for line in lines) + notes + invoices
    voided_notes = [
        DraftVoidedNotes(late_for, _period(rows, late_for), count, cents)
        for late_for, (count, cents) in sorted(rows.voided_notes.items())
    ]
    return Draft(rows, lines, voided_notes, total, billable_credits(total, invoices))


def _after_block(key: tuple[int, bytes] | None, instant: int, *, ascending: bool) -> bytes | None:
    """Give the id after which the running block goes on behind a cursor.

    None when it lies before it.
    """
    if key is None:
        return b""
    if key[0] == instant:
        return key[1]
    before = key[0] < instant if ascending else key[0] > instant
    return b"" if before else None


def _period(rows: DraftRows, late_for: int) -> tuple[int | None, int | None]:
    """Give begin and end of a closed cycle: it ends where the next one that has a time begins."""
    if late_for == OWN_PERIOD:
        return None, None
    begin = next((c.start for c in rows.closed if c.number == late_for), None)
    starts = [c.start for c in rows.closed if c.number > late_for and c.start is not None]
    if rows.cycle is not None and rows.cycle.start is not None:
        starts.append(rows.cycle.start)
    return begin, min(starts, default=None)


def check_user(user_id: str) -> bytes:
    """Read a user id filter; empty means all."""
    if not user_id:
        return b""
    user = parse_uuid(user_id)
    if user is None:
        raise InvalidArgumentError(f"user_id {user_id[:80]!r}: must be a UUID or empty")
    return bytes.fromhex(user.replace("-", ""))
