"""Cost centers and what their cycles hold (section 1, "What a cycle holds"; section 4)."""

from collections.abc import Iterable
from dataclasses import dataclass

from ._entries import (
    Entry,
    balance_as_known,
    instance_entries,
    other_entries,
    voids_of_earlier_notes,
)
from ._facts import (
    CostCenterOpened,
    CycleReset,
    PayerLog,
    ReconcileLog,
    SpendingLimitSet,
    Strategy,
    StrategyChanged,
)
from ._times import add_months

BEFORE_EVERYTHING = -1


@dataclass(frozen=True, kw_only=True)
class CostCenter:
    payer: str
    strategy: Strategy
    spending_limit: int
    cycle_start_ms: int
    next_billing_ms: int
    cycle: int
    anchor_ms: int
    latest_other_limit: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """What the instances of one class added to a cycle.

    `late_for` is the earlier cycle in which they ran.
    """

    workspace_class: str
    late_for: int | None
    instances: int
    seconds: int
    cents: int


@dataclass(frozen=True, kw_only=True)
class InstanceLine:
    """What one instance added to a cycle."""

    instance_id: str
    workspace_class: str
    late_for: int | None
    seconds: int
    cents: int


@dataclass(frozen=True, kw_only=True)
class VoidedNotes:
    """The notes of earlier cycles that were voided in a cycle, by the period they are dated in.

    `late_for` None: in the cycle's own.
    """

    late_for: int | None
    notes: int
    cents: int


@dataclass(frozen=True, kw_only=True)
class InvoiceDraft:
    """A cycle of a payer: the open one, or a closed one as it ended."""

    payer: str
    cycle: int
    carried_cents: int
    lines: tuple[Line, ...]
    credit_notes: int
    credit_note_cents: int
    invoices: int
    invoice_cents: int
    voided_notes: tuple[VoidedNotes, ...] = ()

    @property
    def total_cents(self) -> int:
        """The balance at the end of the cycle, or now."""
        lines = sum(line.cents for line in self.lines)
        return self.carried_cents + lines + self.credit_note_cents + self.invoice_cents

    @property
    def billable_credits(self) -> int:
        """Whole credits, rounded up, of what was owed before the invoices."""
        return -(-max(0, self.total_cents - self.invoice_cents) // 100)


def cost_center_of(log: PayerLog) -> CostCenter | None:
    """The cost center as the whole log says, or None before it is opened."""
    center: CostCenter | None = None
    for _, fact in log:
        match fact:
            case CostCenterOpened():
                center = CostCenter(
                    payer=fact.payer,
                    strategy="OTHER",
                    spending_limit=fact.spending_limit,
                    cycle_start_ms=fact.cycle_start_ms,
                    next_billing_ms=add_months(fact.cycle_start_ms, 1),
                    cycle=1,
                    anchor_ms=fact.cycle_start_ms,
                    latest_other_limit=fact.spending_limit,
                )
            case SpendingLimitSet() | CycleReset() | StrategyChanged():
                assert center is not None, "the first fact of a cost center is its opening"
                center = _after(center, fact)
            case _:
                pass
    return center


def _after(center: CostCenter, fact: SpendingLimitSet | CycleReset | StrategyChanged) -> CostCenter:
    strategy, limit, anchor_ms = center.strategy, center.spending_limit, center.anchor_ms
    start_ms, next_ms, cycle = center.cycle_start_ms, center.next_billing_ms, center.cycle
    match fact:
        case SpendingLimitSet():
            limit = fact.spending_limit
        case CycleReset():
            start_ms, next_ms, cycle = fact.cycle_start_ms, fact.next_billing_ms, cycle + 1
        case StrategyChanged():
            strategy, limit = fact.strategy, fact.spending_limit
            anchor_ms = start_ms = fact.cycle_start_ms
            next_ms, cycle = add_months(anchor_ms, 1), cycle + 1
    return CostCenter(
        payer=center.payer,
        strategy=strategy,
        spending_limit=limit,
        cycle_start_ms=start_ms,
        next_billing_ms=next_ms,
        cycle=cycle,
        anchor_ms=anchor_ms,
        latest_other_limit=limit if strategy == "OTHER" else center.latest_other_limit,
    )


def next_cycle(anchor_ms: int, *, now_ms: int) -> tuple[int, int]:
    """(start, next billing) of the cycle that contains now: anchor + n months, never drifting."""
    months = 1
    while add_months(anchor_ms, months) <= now_ms:
        months += 1
    return add_months(anchor_ms, months - 1), add_months(anchor_ms, months)


@dataclass(frozen=True)
class Span:
    """A cycle as a stretch of the log: positions in (after, upto]."""

    cycle: int
    after: int
    upto: int


def spans_of(log: PayerLog, end_of_log: int) -> tuple[list[Span], list[int | None]]:
    """The cycles of a payer and their nominal starts.

    The start of cycle 0 is None, before everything.

    The boundary fact itself is the last of the cycle that it ends.
    """
    ends: list[int] = []
    starts_ms: list[int | None] = [None]
    for position, fact in log:
        if isinstance(fact, CostCenterOpened | CycleReset | StrategyChanged):
            ends.append(position)
            starts_ms.append(fact.cycle_start_ms)
    edges = [BEFORE_EVERYTHING, *ends, end_of_log]
    return [Span(n, edges[n], edges[n + 1]) for n in range(len(starts_ms))], starts_ms


def period_of(effective_ms: int, *, cycle: int, starts_ms: list[int | None]) -> int:
    """The last of the cycles 0..cycle that had begun, by its nominal start, at this time."""
    period = 0
    for number in range(1, cycle + 1):
        start_ms = starts_ms[number]
        assert start_ms is not None, "only cycle 0 has no start"
        if start_ms <= effective_ms:
            period = number
    return period


def instance_lines_of(
    log: PayerLog, reconciles: ReconcileLog, span: Span, starts_ms: list[int | None]
) -> list[InstanceLine]:
    """What each instance added to the cycle: its entry at the end minus its entry at the start.

    Reading: "running" is the contract's running: neither stopping nor stopped is known. An instance
    that is stopping is dated, so it can be late.
    """
    before = instance_entries(log, reconciles, span.after)
    at_end = instance_entries(log, reconciles, span.upto)
    lines = [
        _taken_back(earlier, span, starts_ms)
        for life, earlier in before.items()
        if life not in at_end
    ]
    for life, entry in at_end.items():
        earlier = before.get(life)
        if not _has_line(earlier, entry):
            continue
        period = period_of(entry.effective_ms, cycle=span.cycle, starts_ms=starts_ms)
        lines.append(
            InstanceLine(
                instance_id=entry.instance_id,
                workspace_class=entry.workspace_class,
                late_for=None if entry.running or period == span.cycle else period,
                seconds=entry.seconds - (earlier.seconds if earlier else 0),
                cents=entry.cents - (earlier.cents if earlier else 0),
            )
        )
    return lines


def _taken_back(earlier: Entry, span: Span, starts_ms: list[int | None]) -> InstanceLine:
    """What was voided has a line of what it was at the start, in the period it was dated in then.

    Reading: what was running was dated at the accrual instant.
    """
    period = period_of(earlier.effective_ms, cycle=span.cycle, starts_ms=starts_ms)
    return InstanceLine(
        instance_id=earlier.instance_id,
        workspace_class=earlier.workspace_class,
        late_for=None if period == span.cycle else period,
        seconds=-earlier.seconds,
        cents=-earlier.cents,
    )


def _has_line(earlier: Entry | None, entry: Entry) -> bool:
    if earlier is None or entry.running or earlier.running:
        return True
    return (earlier.cents, earlier.seconds) != (entry.cents, entry.seconds)


def invoice_draft_of(
    payer: str, log: PayerLog, reconciles: ReconcileLog, span: Span, starts_ms: list[int | None]
) -> InvoiceDraft:
    others = other_entries(log, after=span.after, upto=span.upto)
    voided = voids_of_earlier_notes(log, after=span.after, upto=span.upto)
    notes = [entry.cents for entry in others if entry.kind == "credit_note"]
    notes += [-note.cents for note in voided]
    invoices = [entry.cents for entry in others if entry.kind == "invoice"]
    return InvoiceDraft(
        payer=payer,
        cycle=span.cycle,
        carried_cents=balance_as_known(log, reconciles, span.after),
        lines=_by_class(instance_lines_of(log, reconciles, span, starts_ms)),
        credit_notes=len(notes),
        credit_note_cents=sum(notes),
        invoices=len(invoices),
        invoice_cents=sum(invoices),
        voided_notes=_by_period(
            [
                (period_of(note.effective_ms, cycle=span.cycle, starts_ms=starts_ms), -note.cents)
                for note in voided
            ],
            span.cycle,
        ),
    )


def _by_period(voided: Iterable[tuple[int, int]], cycle: int) -> tuple[VoidedNotes, ...]:
    """Own cycle first, then the earlier ones."""
    groups: dict[int, list[int]] = {}
    for period, cents in voided:
        groups.setdefault(-1 if period == cycle else period, []).append(cents)
    return tuple(
        VoidedNotes(late_for=None if period == -1 else period, notes=len(cents), cents=sum(cents))
        for period, cents in sorted(groups.items())
    )


def _by_class(instance_lines: Iterable[InstanceLine]) -> tuple[Line, ...]:
    """One line per class and period, in the order of class, own cycle first, then the late ones."""
    groups: dict[tuple[str, int], list[InstanceLine]] = {}
    for line in instance_lines:
        key = (line.workspace_class, -1 if line.late_for is None else line.late_for)
        groups.setdefault(key, []).append(line)
    return tuple(
        Line(
            workspace_class=workspace_class,
            late_for=None if late_for == -1 else late_for,
            instances=len(group),
            seconds=sum(line.seconds for line in group),
            cents=sum(line.cents for line in group),
        )
        for (workspace_class, late_for), group in sorted(groups.items())
    )
