"""What can be asked of an explanation: a balance, an entry, a line, an invoice, more parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from events.readable import attribution_id, uuid_bytes, uuid_text
from ledger.audit.why.balance import (
    BalanceFolder,
    DayFolder,
    OthersFolder,
    RunningFolder,
    UsageFolder,
    VoidedFolder,
    voided_numbers,
)
from ledger.audit.why.basis import Basis
from ledger.audit.why.cursors import Cursor, integer, text, wrong_cursor
from ledger.audit.why.cycles import OF_CYCLE, CycleFolder, CycleOthersFolder, cycle_numbered
from ledger.audit.why.folders import Folder, Opening
from ledger.audit.why.invoices import BilledFolder, SentFolder, StripeInvoiceFolder
from ledger.audit.why.lines import LineFolder, lines_of
from ledger.audit.why.numbers import (
    BALANCE,
    BILLED,
    CREDIT_NOTES,
    CYCLE,
    DAY,
    DRAFT_LINE,
    INVOICES,
    RUNNING,
    SENT,
    STRIPE_INVOICE,
    USAGE,
    VOIDED,
    Explanation,
    Number,
)
from ledger.audit.why.others import other_number
from ledger.audit.why.steps import tell_causes
from ledger.audit.why.usage import instance_number
from ledger.commands.settlements import invoice_stream
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.identifiers import parse_uuid
from ledger.queries import Queries
from persistence import CycleRow
from projections import OWN_PERIOD


def payer_balance(queries: Queries, payer: bytes, size: int) -> Explanation:
    """Explain what a payer owes."""
    with queries.reader.snapshot():
        basis = Basis(queries, payer)
        number = Opening(basis, size).opened(BalanceFolder(basis))
        if not number.part_count:
            number.remarks = ["Nothing of this payer is an entry."]
        return _explanation(basis, number)


def entry_of_instance(queries: Queries, instance_id: str) -> Explanation:
    """Explain the entry of an instance; NotFoundError when nothing of it is recorded."""
    parsed = parse_uuid(instance_id)
    if parsed is None:
        raise InvalidArgumentError(f"workspace_instance_id {instance_id[:80]!r}: must be a UUID")
    with queries.reader.snapshot():
        events = queries.reader.stream(f"instance:{parsed}")
        basis = Basis(queries, b"")
        known = basis.instances([uuid_bytes(parsed)])[uuid_bytes(parsed)]
        if not events or not known:
            raise NotFoundError(
                f"workspace instance {parsed}: no event of it is recorded; `usage-ledger"
                " dead-letters list` shows what was rejected, and an entry has an ID of its own"
                " that `entries list` shows"
            )
        return _explanation(basis, instance_number(basis, uuid_bytes(parsed)))


def entry_of_payer(queries: Queries, payer: bytes, entry_id: str, size: int) -> Explanation:
    """Explain an entry of any kind by its id; NotFoundError when the payer has none like that."""
    parsed = parse_uuid(entry_id)
    if parsed is None:
        raise InvalidArgumentError(f"entry_id {entry_id[:80]!r}: must be a UUID")
    with queries.reader.snapshot():
        basis = Basis(queries, payer)
        return _explanation(basis, _entry(basis, uuid_bytes(parsed), size))


def _entry(basis: Basis, entry_id: bytes, size: int) -> Number:
    other = basis.why.other(basis.payer, entry_id)
    if other is not None:
        number = other_number(basis, other, basis.event(other.position))
        opening = Opening(basis, size)
        number.beside = [opening.closed(folder) for folder in _beside(basis, number)]
        return number
    instance = basis.why.instance_of(basis.payer, entry_id)
    if instance is not None:
        return instance_number(basis, instance)
    void = basis.why.void_of_note(basis.payer, entry_id)
    if void is None:
        raise NotFoundError(
            f"entry {uuid_text(entry_id)} of {attribution_id(basis.payer)} is not there: `entries"
            " list` and `entries voided` show the IDs of a payer; an instance has another ID than"
            " its entry"
        )
    return voided_numbers(basis, [void])[0]


def _beside(basis: Basis, number: Number) -> list[Folder]:
    """Give what an entry follows from: the cycle of a write-off, the invoice of a settlement."""
    if number.cycle is not None:
        return [CycleFolder(basis, cycle_numbered(basis, number.cycle))]
    invoice = basis.reader.invoice(number.invoice_id) if number.invoice_id else None
    return [] if invoice is None else [StripeInvoiceFolder(basis, invoice)]


def draft_line(
    queries: Queries,
    payer: bytes,
    workspace_class: str,
    *,
    late_for: int | None,
    cycle_number: int | None,
    size: int,
) -> Explanation:
    """Explain a line of a cycle, of the open one if no number is given."""
    with queries.reader.snapshot():
        basis = Basis(queries, payer)
        cycle = cycle_numbered(basis, cycle_number)
        period = OWN_PERIOD if late_for is None else late_for
        lines = lines_of(basis, cycle)
        amount = lines.get((workspace_class, period))
        if amount is None:
            there = ", ".join(
                name if late == OWN_PERIOD else f"{name} (late, for cycle {late})"
                for name, late in sorted(lines)
            )
            raise NotFoundError(
                f"cycle {cycle.number} of {attribution_id(payer)} has no line"
                f" {workspace_class[:80]!r}{'' if late_for is None else f' for cycle {late_for}'}:"
                f" it has {there or 'none'}"
            )
        folder = LineFolder(basis, cycle, workspace_class, period, amount)
        return _explanation(basis, Opening(basis, size).opened(folder))


def settled_invoice(queries: Queries, invoice_id: str, size: int) -> Explanation | None:
    """Explain a settled invoice; None when this shard has not settled it."""
    with queries.reader.snapshot():
        invoice = queries.reader.invoice(invoice_id)
        if invoice is None:
            return None
        basis = Basis(queries, invoice.payer)
        folder, opening = StripeInvoiceFolder(basis, invoice), Opening(basis, size)
        number = opening.opened(folder)
        number.beside = [opening.closed(each) for each in folder.beside()]
        return _explanation(basis, number)


def more_parts(queries: Queries, cursor: Cursor, size: int) -> Explanation:
    """Open the number that a cursor names; FailedPreconditionError if it has moved since."""
    with queries.reader.snapshot():
        basis = Basis(queries, cursor.payer)
        basis.refuse_moved(cursor)
        return _explanation(basis, Opening(basis, size).opened(_folder(basis, cursor), cursor))


_OF_PAYER: dict[str, Callable[[Basis], Folder]] = {
    BALANCE: BalanceFolder,
    USAGE: UsageFolder,
    RUNNING: RunningFolder,
    CREDIT_NOTES: partial(OthersFolder, kind=CREDIT_NOTES),
    INVOICES: partial(OthersFolder, kind=INVOICES),
    VOIDED: VoidedFolder,
}


def _folder(basis: Basis, cursor: Cursor) -> Folder:
    """Find the number of a cursor again."""
    kind, key = cursor.kind, cursor.key
    if kind in _OF_PAYER:
        return _OF_PAYER[kind](basis)
    if kind == DAY:
        return _day(basis, integer(key, 0))
    if kind == SENT:
        return SentFolder(basis, text(key, 0), integer(key, 1), integer(key, 2))
    if kind in (STRIPE_INVOICE, BILLED):
        return _invoice(basis, text(key, 0), kind)
    return _of_cycle(basis, cycle_numbered(basis, integer(key, 0)), cursor)


def _day(basis: Basis, number: int) -> Folder:
    for day, count, cents in basis.why.days(basis.payer, before=number + 1, limit=1):
        if day == number:
            return DayFolder(basis, day, count, cents)
    raise wrong_cursor()


def _invoice(basis: Basis, invoice_id: str, kind: str) -> Folder:
    invoice = basis.reader.invoice(invoice_id)
    if invoice is None or invoice.payer != basis.payer:
        raise wrong_cursor()
    if kind == STRIPE_INVOICE:
        return StripeInvoiceFolder(basis, invoice)
    return BilledFolder(basis, invoice, basis.stream(invoice_stream(invoice_id))[0])


def _of_cycle(basis: Basis, cycle: CycleRow, cursor: Cursor) -> Folder:
    kind, key = cursor.kind, cursor.key
    if kind == CYCLE:
        return CycleFolder(basis, cycle)
    if kind == DRAFT_LINE:
        workspace_class, late_for = text(key, 1), integer(key, 2)
        amount = lines_of(basis, cycle).get((workspace_class, late_for))
        if amount is not None:
            return LineFolder(basis, cycle, workspace_class, late_for, amount)
    if kind in (OF_CYCLE + CREDIT_NOTES, OF_CYCLE + INVOICES):
        return CycleOthersFolder(basis, cycle, kind.removeprefix(OF_CYCLE))
    raise wrong_cursor()


def _explanation(basis: Basis, number: Number) -> Explanation:
    tell_causes(basis, number)
    accrued_to = basis.accrual.instant if basis.accrual.position else None
    return Explanation(basis.position, accrued_to, number)
