"""Two clocks, plainly: the log is cut off, and what is left is gone through from its beginning.

It reads events and nothing else, knows no table and keeps no sum. It is slow, and short enough to
be compared with the sentences of docs/time-travel.md by eye.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from events import (
    BillingCycleClosed,
    BillingCycleStarted,
    CostCenterImported,
    CostCenterOpened,
    CreditNoteIssued,
    CreditNoteVoided,
    EntryImported,
    InvoiceCorrected,
    InvoiceSettled,
    LedgerEvent,
    Recorded,
    SpendingLimitSet,
    UsageReconciled,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceStopping,
    WorkspaceInstanceVoided,
)

OWN = None  # the open cycle's own period


@dataclass(frozen=True, kw_only=True)
class Item:
    """An entry of an instance as it counts at a moment."""

    life: int  # position of its start
    instance: str
    user: bytes
    workspace_class: str
    dated: int
    cents: int
    seconds: int
    running: bool
    draft: bool


@dataclass(frozen=True, kw_only=True)
class Other:
    """An invoice or a credit note."""

    position: int
    kind: str
    dated: int
    cents: int


@dataclass(frozen=True, kw_only=True)
class Draft:
    cycle: int
    carried_cents: int
    lines: tuple[tuple[str, int | None, int, int, int], ...]  # class, late for, count, cents, s
    notes: tuple[int, int]
    invoices: tuple[int, int]
    voided_notes: tuple[tuple[int | None, int, int], ...]

    @property
    def total_cents(self) -> int:
        lines = sum(cents for _, _, _, cents, _ in self.lines)
        return self.carried_cents + lines + self.notes[1] + self.invoices[1]


@dataclass
class Life:
    """One life of an instance, as far as the log tells."""

    payer: bytes
    instance: str
    position: int = 0
    user: bytes = b""
    workspace_class: str = ""
    rate: str = ""
    started: int | None = None
    stopping: int | None = None
    stopped: int | None = None
    charged: tuple[int, int] | None = None  # date and cents of an entry that was taken over

    @property
    def end(self) -> int | None:
        """Where its entry is dated."""
        if self.charged is not None:
            return self.charged[0]
        return self.stopping if self.stopping is not None else self.stopped

    def correct(self, end: int) -> None:
        """An operator says when it ended."""
        if self.stopping is not None:
            self.stopping = end
        self.stopped = end
        if self.charged is not None:
            cents = self.charged[1] if self.started is None else self.priced(end)[0]
            self.charged = end, cents

    def priced(self, until: int) -> tuple[int, int]:
        """Cents and seconds from the start on."""
        assert self.started is not None
        milliseconds = max(until - self.started, 0)
        seconds = math.floor(Fraction(milliseconds, 1000) + Fraction(1, 2))
        cents = Fraction(self.rate) * 100 * seconds / 60
        return math.floor(cents + Fraction(1, 2)), seconds


@dataclass
class Log:
    """All that a log, cut off, says of one payer."""

    payer: bytes
    events: Sequence[Recorded]
    lives: list[Life] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    reconciled: tuple[int, int] | None = None  # position and instant
    boundaries: list[tuple[int, int, int | None, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        current: dict[str, Life] = {}
        notes: dict[str, Other] = {}
        for stream, version, event, position in self.events:
            if isinstance(event, UsageReconciled):
                self.reconciled = position, event.instant
            if getattr(event, "payer", None) != self.payer:
                continue
            if stream.startswith("instance:"):
                self._instance(current, stream.removeprefix("instance:"), event, position)
            elif isinstance(event, CreditNoteVoided):
                del notes[stream]
            elif (other := _other(event, position)) is not None:
                notes[f"{stream}:{version}" if isinstance(event, InvoiceCorrected) else stream] = (
                    other
                )
            self._boundary(event, position)
        self.lives = list(current.values())
        self.others = list(notes.values())

    def _instance(
        self, current: dict[str, Life], instance: str, event: LedgerEvent, position: int
    ) -> None:
        life = current.setdefault(instance, Life(self.payer, instance))
        match event:
            case WorkspaceInstanceStarted() | WorkspaceInstanceImported():
                life.position, life.user = position, event.user
                life.workspace_class, life.rate = event.workspace_class, event.rate
                life.started = event.started_time
                if isinstance(event, WorkspaceInstanceImported):
                    life.stopping, life.stopped = event.stopping_time, event.stopped_time
                    if event.credit_cents is not None:
                        life.charged = event.effective_time, event.credit_cents
            case WorkspaceInstanceStopping():
                life.stopping = event.stopping_time
            case WorkspaceInstanceStopped():
                life.stopped = event.stopped_time
            case WorkspaceInstanceEnded():
                life.correct(event.ended_time)
            case WorkspaceInstanceVoided():
                del current[instance]

    def _boundary(self, event: LedgerEvent, position: int) -> None:
        match event:
            case CostCenterOpened():
                self.boundaries.append((position, 1, event.cycle_start, event.recorded_at))
            case BillingCycleStarted() | CostCenterImported():
                start = (
                    event.history[-1].cycle_start
                    if isinstance(event, CostCenterImported)
                    else event.cycle_start
                )
                self.boundaries.append((position, event.cycle_number, start, event.recorded_at))

    # The moment --------------------------------------------------------------------------------

    def items(self, as_of: int | None) -> list[Item]:
        """Every entry of an instance that counts."""
        found = []
        for life in self.lives:
            if not life.position:
                continue  # its start is not known
            end = life.end
            if end is not None and (as_of is None or end <= as_of):
                found.append(self._ended(life, end, as_of))
            elif life.started is not None:
                running = self._running(life, as_of)
                found += [] if running is None else [running]
        return found

    def _ended(self, life: Life, end: int, as_of: int | None) -> Item:
        seconds = 0 if life.started is None else life.priced(end)[1]
        cents = life.charged[1] if life.charged is not None else life.priced(end)[0]
        stopped = life.stopped
        is_final = stopped is not None and (as_of is None or stopped <= as_of)
        return _item(life, end, cents, seconds, running=False, draft=not is_final)

    def _running(self, life: Life, as_of: int | None) -> Item | None:
        assert life.started is not None
        if as_of is not None:
            if life.started > as_of:
                return None
            until = as_of
        else:
            if self.reconciled is None or life.position > self.reconciled[0]:
                return None
            until = self.reconciled[1]
        return _item(life, until, *life.priced(until), running=True, draft=True)

    def others_by(self, as_of: int | None) -> list[Other]:
        return [other for other in self.others if as_of is None or other.dated <= as_of]

    def balance(self, as_of: int | None) -> int:
        items = sum(item.cents for item in self.items(as_of))
        return items + sum(other.cents for other in self.others_by(as_of))

    def terms(self, as_of: int | None) -> tuple[int, str, int, int] | None:
        """Limit, strategy, start of the cycle, next billing; None without a cost center."""
        terms: tuple[int, str, int, int] | None = None
        for _, _, event, _ in self.events:
            if getattr(event, "payer", None) != self.payer:
                continue
            if as_of is not None and event.recorded_at > as_of:
                if isinstance(event, CostCenterImported) and terms is None:
                    terms = _taken_over(event, as_of)
                    if terms is not None:
                        return terms
                continue
            match event:
                case CostCenterOpened() | BillingCycleStarted():
                    terms = (
                        event.spending_limit,
                        event.strategy,
                        event.cycle_start,
                        event.next_billing,
                    )
                case SpendingLimitSet():
                    assert terms is not None
                    terms = (event.spending_limit, *terms[1:])
                case CostCenterImported():
                    last = event.history[-1]
                    terms = (
                        last.spending_limit,
                        last.strategy,
                        last.cycle_start,
                        event.next_billing,
                    )
        return terms

    def draft(self, as_of: int | None) -> Draft:
        """What is there at the moment, less what was there at the boundary."""
        decided = [b for b in self.boundaries if as_of is None or b[3] <= as_of]
        position, number, start, _ = decided[-1] if decided else (0, 0, None, 0)
        then = Log(self.payer, [event for event in self.events if event.position <= position])
        before = {item.life: item for item in then.items(None)}
        now = {item.life: item for item in self.items(as_of)}

        def late_for(dated: int) -> int | None:
            if start is None or dated >= start:
                return OWN
            for _, earlier, begun, _ in reversed(decided[:-1]):
                if begun is not None and begun <= dated:
                    return earlier
            return 0

        lines: dict[tuple[str, int | None], list[int]] = {}
        for life in before.keys() | now.keys():
            was, item = before.get(life), now.get(life)
            for line in _lines_of(was, item, late_for):
                sums = lines.setdefault(line[:2], [0, 0, 0])
                for index, value in enumerate(line[2:]):
                    sums[index] += value
        notes, invoices, voided = self._changed_others(then, as_of, late_for)
        return Draft(
            cycle=number,
            carried_cents=then.balance(None),
            lines=tuple(
                sorted(((*key, *sums) for key, sums in lines.items()), key=repr)  # type: ignore[misc]
            ),
            notes=notes,
            invoices=invoices,
            voided_notes=tuple(
                sorted(((period, *gone) for period, gone in voided.items()), key=repr)
            ),
        )

    def _changed_others(
        self, then: Log, as_of: int | None, late_for: Callable[[int], int | None]
    ) -> tuple[tuple[int, int], tuple[int, int], dict[int | None, tuple[int, int]]]:
        before = {other.position: other for other in then.others}
        now = {other.position: other for other in self.others_by(as_of)}
        known = {other.position for other in self.others}
        sums = {"credit_note": [0, 0], "invoice": [0, 0]}
        voided: dict[int | None, tuple[int, int]] = {}
        for position in now.keys() - before.keys():
            sums[now[position].kind][0] += 1
            sums[now[position].kind][1] += now[position].cents
        for position in before.keys() - now.keys():
            gone = before[position]
            sums[gone.kind][0] += 1
            sums[gone.kind][1] -= gone.cents
            if position not in known:
                period = late_for(gone.dated)
                count, cents = voided.get(period, (0, 0))
                voided[period] = count + 1, cents - gone.cents
        notes, invoices = sums["credit_note"], sums["invoice"]
        return (notes[0], notes[1]), (invoices[0], invoices[1]), voided


def _lines_of(
    was: Item | None, item: Item | None, late_for: Callable[[int], int | None]
) -> Iterable[tuple[str, int | None, int, int, int]]:
    if item is None:
        assert was is not None
        yield was.workspace_class, late_for(was.dated), 1, -was.cents, -was.seconds
        return
    cents, seconds = (0, 0) if was is None else (was.cents, was.seconds)
    unchanged = was is not None and not was.running
    if unchanged and (cents, seconds) == (item.cents, item.seconds):
        return
    period = OWN if item.running else late_for(item.dated)
    yield item.workspace_class, period, 1, item.cents - cents, item.seconds - seconds


def _item(life: Life, dated: int, cents: int, seconds: int, *, running: bool, draft: bool) -> Item:
    return Item(
        life=life.position,
        instance=life.instance,
        user=life.user,
        workspace_class=life.workspace_class,
        dated=dated,
        cents=cents,
        seconds=seconds,
        running=running,
        draft=draft,
    )


def _other(event: LedgerEvent, position: int) -> Other | None:
    kind, dated, cents = "invoice", 0, 0
    match event:
        case CreditNoteIssued():
            kind, dated, cents = "credit_note", event.effective_time, event.credit_cents
            return Other(position=position, kind=kind, dated=dated, cents=cents)
        case EntryImported():
            kind, dated, cents = event.kind, event.effective_time, event.credit_cents
            return Other(position=position, kind=kind, dated=dated, cents=cents)
        case BillingCycleClosed():
            dated, cents = event.closed_at, event.write_off_cents
        case InvoiceSettled() | InvoiceCorrected():
            dated, cents = event.effective_time, event.credit_cents
    return Other(position=position, kind=kind, dated=dated, cents=cents) if cents else None


def _taken_over(event: CostCenterImported, as_of: int) -> tuple[int, str, int, int] | None:
    known = [terms for terms in event.history if terms.created <= as_of]
    if not known:
        return None
    last = known[-1]
    assert last.next_billing is not None
    return last.spending_limit, last.strategy, last.cycle_start, last.next_billing


def cut_by_position(events: Sequence[Recorded], position: int) -> list[Recorded]:
    return [event for event in events if event.position <= position]


def cut_by_time(events: Sequence[Recorded], time: int) -> list[Recorded]:
    kept: list[Recorded] = []
    for recorded in events:
        if recorded.event.recorded_at > time:
            break
        kept.append(recorded)
    return kept
