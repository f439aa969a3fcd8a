"""Applies the oracle's operations to the product's synchronous core, and answers its views.

It wires store, core and queries as `ledger.application` does, without sockets, threads and jobs.
The clock stands at each operation's own instant. Chance is counted, so that two ledgers that were
told the same keep the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from events import decode
from events.readable import attribution_id, uuid_text
from ledger.core import Core, Work
from ledger.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    LedgerError,
    NotFoundError,
    StartRefusedError,
    UnavailableError,
)
from ledger.instances import InstanceView, view_instance
from ledger.intake import Batch, Receipt, read_lines
from ledger.queries import Queries
from ledger.rebuilding.shards import serve_own_version
from ledger.settings import load_settings
from ledger.stores import OpenStore
from persistence import Counts, UsageRow
from persistence.sql.generations import redirected
from persistence.sqlite import SQLiteReader, SQLiteStore
from projections import OWN_PERIOD, entry_id_of
from tests.harness.clock import ManualClock
from tests.laws.acts import Act, act_of, due_after, payer_bytes, reset_of, take_of
from tests.oracle import InvoiceDraft, Line, Strategy, VoidedNotes
from tests.oracle.operations import (
    Operation,
    Publish,
    PublishPrices,
    ResetUsage,
)
from tests.oracle.views import CostCenterView, EntryView

AUTHOR = "test"
DELIVERY = ""  # the oracle's name of the only source of delivery
EVERYTHING = 1_000_000  # more rows than any test has
STRATEGIES: dict[str, Strategy] = {"stripe": "STRIPE", "other": "OTHER"}

CODES: dict[type[LedgerError], str] = {
    AlreadyExistsError: "ALREADY_EXISTS",
    FailedPreconditionError: "FAILED_PRECONDITION",
    InvalidArgumentError: "INVALID_ARGUMENT",
    NotFoundError: "NOT_FOUND",
    StartRefusedError: "FAILED_PRECONDITION",
    UnavailableError: "UNAVAILABLE",
}


def product_entry_id(instance_id: str) -> str:
    """The product's id of an instance's entry, to be handed to `Oracle(entry_id=…)`."""
    return uuid_text(entry_id_of(instance_id))


class CountedChance:
    """Stands for `os.urandom`: the same bytes in every run."""

    def __init__(self) -> None:
        self._asked = 0

    def __call__(self, size: int) -> bytes:
        self._asked += 1
        return hashlib.shake_256(str(self._asked).encode()).digest(size)


class ProductLedger:
    """One ledger; `data_dir` None keeps it in memory."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        batch_lines: int = EVERYTHING,
        batches_in_group: int = 1,
        before_fold: Callable[[str], None] | None = None,
    ) -> None:
        """Lines are taken in by batches of `batch_lines`, that many batches in one transaction."""
        self._data_dir = data_dir
        self._batch_lines = batch_lines
        self._batches_in_group = batches_in_group
        self._chance = CountedChance()
        self._commits = 0
        self._lines_told = 0
        self.before_fold = before_fold
        self.clock = ManualClock()
        self._open()

    def _open(self) -> None:
        # Not durable against power loss: nobody pulls the plug of a test.
        self.store = SQLiteStore(self._data_dir, synchronous="off")
        if self._data_dir is not None:
            serve_own_version(
                load_settings(None, data_dir=self._data_dir),
                [OpenStore(self.store, lambda: SQLiteReader(self.store))],
                author="a test",
                failpoint=lambda _name: None,
            )
        self._start()

    def _start(self) -> None:
        self.core = Core(
            self.store,
            self.clock,
            entropy=self._chance,
            before_fold=self.before_fold,
            failpoint=self._passed,
        )
        self.reader = SQLiteReader(self.store)
        self.queries = Queries(self.reader, self.clock, lambda: self.core.paused)

    def _passed(self, failpoint: str) -> None:
        self._commits += failpoint == "after-commit"

    def close(self) -> None:
        self.reader.close()
        self.store.close()

    def reopen(self) -> None:
        """A restart: what the core kept is gone; of a ledger in memory only its store stays."""
        if self._data_dir is None:
            self._start()
            return
        self.close()
        self._open()

    # Operations --------------------------------------------------------------------------------

    def apply(self, operation: Operation) -> object:
        """The answer in the oracle's words; for a batch its counts."""
        self.clock.set_ns(operation.at_ns)
        match operation:
            case Publish(lines=lines):
                return self._publish(lines)
            case ResetUsage():
                return self._reset_usage()
            case _:
                return self.run(act_of(operation))[0]

    def apply_all(self, operations: Sequence[Operation]) -> ProductLedger:
        for operation in operations:
            self.apply(operation)
        return self

    def apply_in_groups(self, operations: Sequence[Operation]) -> ProductLedger:
        """As `apply_all`, with all that happens at one instant in one transaction, if it can be."""
        for (_, together), found in groupby(operations, _group_of):
            group = list(found)
            if not together:
                self.apply_all(group)
                continue
            self.clock.set_ns(group[0].at_ns)
            self.run(*[act for each in group for act in self._acts_of(each)])
        return self

    def run(self, *acts: Act) -> list[object]:
        """Several pieces of work in one transaction: what each answered, or a status code."""
        works = [Work(act, AUTHOR) for act in acts]
        commits = self._commits
        self.core.run(works)
        # More would be the core trying each alone after a mistake of ours, which hides it.
        assert self._commits == commits + 1, "not one transaction"
        return [self._answer(work) for work in works]

    @staticmethod
    def _answer(work: Work) -> object:
        if work.error is None:
            return work.result
        if not isinstance(work.error, LedgerError):
            raise work.error
        return CODES[type(work.error)]

    def _acts_of(self, operation: Operation) -> list[Act]:
        if isinstance(operation, Publish):
            return self._takes(operation.lines)
        return [act_of(operation)]

    def _takes(self, lines: Sequence[bytes]) -> list[Act]:
        batches: list[Batch] = []
        for start in range(0, len(lines), self._batch_lines):
            some = lines[start : start + self._batch_lines]
            batches.append(read_lines(DELIVERY, b"\n".join(some), self._lines_told + 1))
            self._lines_told += len(some)
        return [take_of(batch) for batch in batches]

    def _publish(self, lines: Sequence[bytes]) -> Counts:
        total = Counts()
        takes = self._takes(lines)
        for start in range(0, len(takes), self._batches_in_group):
            for receipt in self.run(*takes[start : start + self._batches_in_group]):
                assert isinstance(receipt, Receipt)
                total = total.plus(receipt.counts)
        return total

    def _reset_usage(self) -> list[str]:
        """As `Ledger.reset_usage`: give the payers that were reset."""
        done: list[str] = []
        after = b""
        while True:
            due = self.run(due_after(after))[0]
            if due == "UNAVAILABLE":  # what it would decide on is paused: nothing was reset
                return done
            assert isinstance(due, list)
            if not due:
                return done
            after = due[-1]
            outcomes = self.run(*[reset_of(payer) for payer in due])
            done += [attribution_id(payer) for payer, did in zip(due, outcomes, strict=True) if did]

    # Views -------------------------------------------------------------------------------------

    def payers(self) -> list[str]:
        """Every payer with at least one event, sorted."""
        events = (decode(e.topic, e.state) for e in self.reader.log(after=0, limit=EVERYTHING))
        payers = {getattr(event, "payer", None) for event in events} - {None}
        return sorted(map(attribution_id, filter(None, payers)))

    def instance_ids(self) -> list[str]:
        streams = {event.stream for event in self.reader.log(after=0, limit=EVERYTHING)}
        return sorted(s.removeprefix("instance:") for s in streams if s.startswith("instance:"))

    def balance_cents(self, payer: str) -> int:
        return self.reader.balance(payer_bytes(payer))

    def counts(self) -> Counts:
        """What became of all that was published."""
        return self.reader.status(runs_since=0, stopped_since=0).total

    def entries(self, payer: str) -> tuple[EntryView, ...]:
        rows = self.queries.entries(payer_bytes(payer), key=None, ascending=True, limit=EVERYTHING)
        return tuple(sorted(map(_entry_view, rows)))

    def cost_center(self, payer: str) -> CostCenterView | None:
        row = self.reader.cost_center(payer_bytes(payer))
        if row is None:
            return None
        return CostCenterView(
            strategy=STRATEGIES[row.strategy],
            spending_limit=row.spending_limit,
            cycle_start_ms=row.cycle_start,
            next_billing_ms=row.next_billing,
        )

    def drafts(self, payer: str) -> tuple[InvoiceDraft, ...]:
        """The closed cycles as they were kept, and the open one."""
        draft = self.queries.draft(payer_bytes(payer))
        closed = [self._closed_draft(payer, cycle.number) for cycle in draft.rows.closed]
        cycle = draft.rows.cycle
        lines = [
            _line(each.workspace_class, each.late_for, tuple(each.amount)) for each in draft.lines
        ]
        if cycle is None:
            carried = notes = note_cents = invoices = invoice_cents = number = 0
        else:
            number, carried = cycle.number, cycle.carried_cents
            notes, note_cents = cycle.note_count, cycle.note_cents
            invoices, invoice_cents = cycle.invoice_count, cycle.invoice_cents
        opened = InvoiceDraft(
            payer=payer,
            cycle=number,
            carried_cents=carried,
            lines=_sorted(lines),
            credit_notes=notes,
            credit_note_cents=note_cents,
            invoices=invoices,
            invoice_cents=invoice_cents,
            voided_notes=_voided_notes(draft.rows.voided_notes),
        )
        assert opened.total_cents == draft.total_cents
        assert opened.billable_credits == draft.billable_credits
        return (*closed, opened)

    def _closed_draft(self, payer: str, number: int) -> InvoiceDraft:
        """No call shows a closed cycle yet, so its rows are read where they are kept."""
        row = self.select(
            "SELECT carried_cents, note_count, note_cents, invoice_count, invoice_cents"
            " FROM closed_cycles WHERE payer = ? AND number = ?",
            (payer_bytes(payer), number),
        )[0]
        lines = self.select(
            "SELECT workspace_class, late_for, count, cents, seconds FROM cycle_lines"
            " WHERE payer = ? AND number = ?",
            (payer_bytes(payer), number),
        )
        return InvoiceDraft(
            payer=payer,
            cycle=number,
            carried_cents=row[0],
            lines=_sorted([_line(each[0], each[1], each[2:]) for each in lines]),
            credit_notes=row[1],
            credit_note_cents=row[2],
            invoices=row[3],
            invoice_cents=row[4],
            voided_notes=_voided_notes(
                {
                    late_for: (count, cents)
                    for late_for, count, cents in self.select(
                        "SELECT late_for, count, cents FROM cycle_voided_notes"
                        " WHERE payer = ? AND number = ?",
                        (payer_bytes(payer), number),
                    )
                }
            ),
        )

    def instance(self, instance_id: str) -> InstanceView:
        return view_instance(self.reader, instance_id)

    def select(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows as the writer sees them, for what no query shows."""
        served = redirected(statement, self.reader.serves())
        return self.store.connection.execute(served, values).fetchall()

    def breaches(self) -> list[str]:
        """What the ledger's own check finds wrong."""
        return [f"{law}: {breach}" for law, _, found in self.reader.audit() for breach in found]


def _group_of(operation: Operation) -> tuple[int, bool]:
    """A price list and the steps of a reset have transactions of their own in the product, too."""
    return operation.at_ns, not isinstance(operation, PublishPrices | ResetUsage)


def _entry_view(row: Any) -> EntryView:
    instance = isinstance(row, UsageRow)
    return EntryView(
        effective_ms=row.effective,
        kind="workspace_instance" if instance else row.kind,
        instance_id=uuid_text(row.instance) if instance else "",
        cents=row.cents,
        draft=bool(row.draft) if instance else False,
        workspace_class=row.workspace_class if instance else "",
        user_id=uuid_text(row.user) if row.user else "",
    )


def _line(workspace_class: str, late_for: int, amount: tuple[int, ...]) -> Line:
    count, cents, seconds = amount
    return Line(
        workspace_class=workspace_class,
        late_for=None if late_for == OWN_PERIOD else late_for,
        instances=count,
        seconds=seconds,
        cents=cents,
    )


def _voided_notes(by_period: Mapping[int, tuple[int, int]]) -> tuple[VoidedNotes, ...]:
    return tuple(
        VoidedNotes(late_for=None if late_for == OWN_PERIOD else late_for, notes=count, cents=cents)
        for late_for, (count, cents) in sorted(by_period.items())
    )


def _sorted(lines: list[Line]) -> tuple[Line, ...]:
    def key(line: Line) -> tuple[str, int]:
        return line.workspace_class, -1 if line.late_for is None else line.late_for

    return tuple(sorted(lines, key=key))
