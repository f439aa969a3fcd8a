"""Every question that an `Oracle` answers; none of them changes it."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from . import _cycles
from ._arguments import payer_argument, uuid_argument
from ._cycles import CostCenter, InstanceLine, InvoiceDraft
from ._entries import Entry, all_entries, balance_as_known, instance_entries
from ._facts import PayerLog, ReconcileLog
from ._intake import DeadLetter, Intake, Receipt
from ._listing import UsagePage, page_of, range_ms
from .refused import CallError


def name_based_id(instance_id: str) -> str:
    """The entry id of an instance unless the test hands in the product's.

    Reading: the contract names no namespace; this takes the nil UUID.
    """
    return str(uuid.uuid5(uuid.UUID(int=0), instance_id))


class Answers:
    """The log of one ledger and what can be asked of it. Instants are nanoseconds since 1970."""

    def __init__(self, *, entry_id: Callable[[str], str] = name_based_id) -> None:
        self._entry_id = entry_id
        self._length = 0
        self._logs: dict[str, PayerLog] = {}
        self._reconciles: ReconcileLog = []
        self._intake = Intake()
        self.dead_letters: dict[bytes, DeadLetter] = {}
        self.receipts: dict[str, Receipt] = {}

    def payers(self) -> list[str]:
        """Every payer with at least one fact, in the order of their first."""
        return list(self._logs)

    def instance_ids(self) -> list[str]:
        """Every instance with at least one fact, listed or not."""
        return list(self._intake.by_instance)

    def balance_cents(self, payer: str) -> int:
        return balance_as_known(self._log(payer), self._reconciles, self._length)

    def entries(self, payer: str) -> list[Entry]:
        """All entries of all kinds, by effective time, then instances by id before the others."""
        entries = all_entries(self._log(payer), self._reconciles, self._length)
        named = [self._named(entry) for entry in entries]
        return sorted(named, key=lambda each: (each.effective_ms, not each.entry_id, each.entry_id))

    def entry_of(self, instance_id: str) -> Entry | None:
        """The entry of one instance, or None where it is not listed."""
        facts = self._intake.by_instance.get(instance_id)
        if not facts:
            return None
        log = self._log(facts[0].payer)
        for entry in instance_entries(log, self._reconciles, self._length).values():
            if entry.instance_id == instance_id:
                return self._named(entry)
        return None

    def list_usage(
        self,
        payer: str,
        now_ns: int,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        user_id: str = "",
        order: Literal["ascending", "descending"] = "descending",
        per_page: int = 0,
        page: int = 0,
    ) -> UsagePage:
        """ListUsage. Raises CallError, in the contract's order of checks."""
        first_ms, end_ms = range_ms(now_ns, from_ns=from_ns, to_ns=to_ns)
        if not 0 <= per_page <= 1000:
            raise CallError("INVALID_ARGUMENT", "per_page")
        if page < 0:
            raise CallError("INVALID_ARGUMENT", "page")
        log = self._log(payer)
        user = uuid_argument(user_id, "user_id")
        entries = instance_entries(log, self._reconciles, self._length).values()
        chosen = [
            self._named(entry)
            for entry in entries
            if first_ms <= entry.effective_ms < end_ms and (not user or entry.user_id == user)
        ]
        return page_of(chosen, order=order, per_page=per_page or 50, page=page or 1)

    def cost_center(self, payer: str) -> CostCenter | None:
        """The cost center as recorded: neither opened nor reset on the way."""
        return _cycles.cost_center_of(self._log(payer))

    def invoice_draft(self, payer: str, *, cycle: int | None = None) -> InvoiceDraft:
        """The open cycle, or a closed one as it ended."""
        log = self._log(payer)
        spans, starts_ms = _cycles.spans_of(log, self._length)
        span = spans[-1 if cycle is None else cycle]
        return _cycles.invoice_draft_of(
            payer_argument(payer), log, self._reconciles, span, starts_ms
        )

    def instance_lines(self, instance_id: str) -> dict[int, InstanceLine]:
        """What the instance added to each cycle in which it has a line."""
        facts = self._intake.by_instance.get(instance_id)
        if not facts:
            return {}
        return self.lines_by_instance(facts[0].payer).get(instance_id, {})

    def lines_by_instance(self, payer: str) -> dict[str, dict[int, InstanceLine]]:
        """As `instance_lines`, for every instance of the payer that ever was listed.

        Lives of one instance in one cycle are added up.
        """
        log = self._log(payer)
        spans, starts_ms = _cycles.spans_of(log, self._length)
        lines: dict[str, dict[int, InstanceLine]] = {}
        for span in spans:
            for line in _cycles.instance_lines_of(log, self._reconciles, span, starts_ms):
                by_cycle = lines.setdefault(line.instance_id, {})
                known = by_cycle.get(span.cycle)
                by_cycle[span.cycle] = line if known is None else _added(known, line)
        return lines

    def _log(self, payer: str) -> PayerLog:
        return self._logs.get(payer_argument(payer), [])

    def _opened(self, payer: str) -> CostCenter:
        center = self.cost_center(payer)
        assert center is not None, "it was opened just now"
        return center

    def _named(self, entry: Entry) -> Entry:
        if entry.kind != "workspace_instance":
            return entry
        return replace(entry, entry_id=self._entry_id(entry.instance_id))


def _added(one: InstanceLine, other: InstanceLine) -> InstanceLine:
    return replace(one, seconds=one.seconds + other.seconds, cents=one.cents + other.cents)
