"""Live state: one payer's meters and its alerts, folded together from its events.

One state and not two, so that a balance and what runs can never be of different positions. It is
bounded by what is not final: what runs, what is stopping, stops that wait for their start. An entry
that is final is only a part of a sum, and an event that corrects one, or voids an instance, comes
with its `Correction`.

An event at or before the state's position changes nothing, so a reader may hand in repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

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
from projections import meters
from projections.alerts import Alert, Spending, fold_terms, reached
from projections.corrections import Correction
from projections.entries import accrued
from projections.meters import Meters

LIVE_VERSION = 2  # of state and folds; raise it when one of them changes
_STREAM_PREFIX = len("instance:")


class LiveFoldError(Exception):
    """An event cannot be folded into the state; whoever reads must stop, not skip."""


class Lot(msgspec.Struct, array_like=True):
    """Running instances of one class and rate: instance -> start."""

    workspace_class: str
    rate: str
    accrued: dict[bytes, int] = {}  # those that the last reconcile has counted
    fresh: dict[bytes, int] = {}  # those recorded since


class Stops(msgspec.Struct, array_like=True, gc=False):
    """Stops of an instance whose start is not known yet."""

    stopping: int | None = None
    stopped: int | None = None


class LiveState(msgspec.Struct, array_like=True):
    """One payer. `shard` and `position` say which event was the last to change it."""

    payer: bytes
    shard: int
    position: int = 0
    recorded_at: int = 0
    booked_cents: int = 0
    running_cents: int = 0  # what running instances had accrued at `accrued_to`
    accrued_to: int = 0
    lots: list[Lot] = []
    waiting: dict[bytes, Stops] = {}
    # Booked already, with their stop still to come: a stop of any other instance that does not run
    # waits for a start. The version in the stream does not tell, for an instance may begin anew.
    stopping: dict[bytes, None] = {}
    meters: Meters = msgspec.field(default_factory=Meters)
    spending: Spending = msgspec.field(default_factory=Spending)

    @property
    def balance_cents(self) -> int:
        """Give what the payer owes."""
        return self.booked_cents + self.running_cents


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LiveState)


def encode_state(state: LiveState) -> bytes:
    """Give the bytes that tables keep; `LIVE_VERSION` is theirs."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> LiveState:
    """Load what `encode_state` gave."""
    return _decoder.decode(data)


def payer_of(event: LedgerEvent) -> bytes | None:
    """Give whose live state an event changes; None when it changes nobody's, or everybody's.

    A claim of free credits may lie in another shard than its payer: it must move no position.
    """
    return event.payer if type(event) in _FOLDS else None  # type: ignore[attr-defined]


def is_for_everybody(event: LedgerEvent) -> bool:
    """Say whether an event changes every payer of its shard that has something running."""
    return isinstance(event, UsageReconciled)


def fold(
    state: LiveState, recorded: Recorded, correction: Correction | None = None
) -> Sequence[Alert]:
    """Take one event of the payer, or for everybody, into its state; give the alerts it raises.

    LiveFoldError when the event does not fit. The state is then of no use.
    """
    stream, _, event, position = recorded
    if position <= state.position:
        return ()
    if isinstance(event, UsageReconciled):
        if not state.lots:
            return ()
        _reconcile(state, event.instant)
    elif isinstance(event, _INSTANCE_EVENTS):
        instance = bytes.fromhex(stream[_STREAM_PREFIX:].replace("-", ""))
        _INSTANCE_FOLDS[type(event)](state, event, instance, correction)
    else:
        other = _OTHER_FOLDS.get(type(event))
        if other is None:
            return ()
        other(state, event)
    state.position, state.recorded_at = position, event.recorded_at
    spending = state.spending
    balance = state.booked_cents + state.running_cents
    thresholds = reached(spending, balance) if spending.spending_limit else ()
    if not thresholds:
        return ()
    return [
        Alert(
            state.payer,
            spending.cycle,
            threshold,
            balance,
            spending.spending_limit,
            state.shard,
            position,
            event.recorded_at,
        )
        for threshold in thresholds
    ]


def _reconcile(state: LiveState, instant: int) -> None:
    """Everything that runs was recorded before this event: all of it is accrued to the instant."""
    cents = 0
    for lot in state.lots:
        lot.accrued.update(lot.fresh)
        lot.fresh = {}
        rate = lot.rate
        cents += sum([accrued(rate, started, instant).cents for started in lot.accrued.values()])
    state.running_cents, state.accrued_to = cents, instant


# Workspace instances ---------------------------------------------------------------------------


def _started(
    state: LiveState,
    event: WorkspaceInstanceStarted,
    instance: bytes,
    _correction: Correction | None,
) -> None:
    started, workspace_class, now = event.started_time, event.workspace_class, event.recorded_at
    meters.place(state.meters, workspace_class, started, now, started=1)
    stops = state.waiting.pop(instance, None)
    if stops is None:
        _run(state, instance, workspace_class, event.rate, started)
        return
    end = stops.stopping if stops.stopping is not None else stops.stopped
    assert end is not None
    cents = accrued(event.rate, started, end).cents
    state.booked_cents += cents
    meters.place(state.meters, workspace_class, end, now, ended=1, cents=cents)
    if stops.stopped is None:
        state.stopping[instance] = None


def _run(state: LiveState, instance: bytes, workspace_class: str, rate: str, started: int) -> None:
    for lot in state.lots:
        if lot.rate == rate and lot.workspace_class == workspace_class:
            break
    else:
        lot = Lot(workspace_class, rate)
        state.lots.append(lot)
    lot.fresh[instance] = started
    meters.run(state.meters, workspace_class, rate, 1)


def _taken(state: LiveState, instance: bytes) -> tuple[Lot, int] | None:
    """Take an instance out of what runs; give its lot and its start, or None if it does not run."""
    for index, lot in enumerate(state.lots):
        started = lot.fresh.pop(instance, None)
        if started is None:
            started = lot.accrued.pop(instance, None)
            if started is None:
                continue
            state.running_cents -= accrued(lot.rate, started, state.accrued_to).cents
        if not lot.fresh and not lot.accrued:
            del state.lots[index]
        meters.run(state.meters, lot.workspace_class, lot.rate, -1)
        return lot, started
    return None


def _leave(state: LiveState, instance: bytes, end: int, recorded_at: int) -> bool:
    """Turn a running instance into an entry; say whether it ran."""
    taken = _taken(state, instance)
    if taken is None:
        return False
    lot, started = taken
    cents = accrued(lot.rate, started, end).cents
    state.booked_cents += cents
    meters.place(state.meters, lot.workspace_class, end, recorded_at, ended=1, cents=cents)
    return True


def _stopping(
    state: LiveState,
    event: WorkspaceInstanceStopping,
    instance: bytes,
    correction: Correction | None,
) -> None:
    if event.corrects is not None:
        _correct(state, event, event.corrects, event.stopping_time, correction)
    elif _leave(state, instance, event.stopping_time, event.recorded_at):
        state.stopping[instance] = None
    else:
        stops = state.waiting.setdefault(instance, Stops())
        stops.stopping = event.stopping_time


def _stopped(
    state: LiveState,
    event: WorkspaceInstanceStopped,
    instance: bytes,
    _correction: Correction | None,
) -> None:
    if instance in state.stopping:  # its entry is booked, and only final from now on
        del state.stopping[instance]
    elif not _leave(state, instance, event.stopped_time, event.recorded_at):
        stops = state.waiting.setdefault(instance, Stops())
        stops.stopped = event.stopped_time


def _ended(
    state: LiveState,
    event: WorkspaceInstanceEnded,
    instance: bytes,
    correction: Correction | None,
) -> None:
    if event.corrects is not None:
        state.stopping.pop(instance, None)
        _correct(state, event, event.corrects, event.ended_time, correction)
    elif not _leave(state, instance, event.ended_time, event.recorded_at):
        raise LiveFoldError(f"{event.TOPIC}: the instance {instance.hex()} does not run")


def _imported(
    state: LiveState,
    event: WorkspaceInstanceImported,
    instance: bytes,
    _correction: Correction | None,
) -> None:
    workspace_class, now = event.workspace_class, event.recorded_at
    if event.started_time is not None:
        meters.place(state.meters, workspace_class, event.started_time, now, started=1)
    if event.credit_cents is None:
        assert event.started_time is not None
        _run(state, instance, workspace_class, event.rate, event.started_time)
        return
    state.booked_cents += event.credit_cents
    if event.stopped_time is None:
        state.stopping[instance] = None
    meters.place(
        state.meters,
        workspace_class,
        event.effective_time,
        now,
        ended=1,
        cents=event.credit_cents,
    )


def _voided(
    state: LiveState,
    event: WorkspaceInstanceVoided,
    instance: bytes,
    correction: Correction | None,
) -> None:
    if correction is None:
        raise LiveFoldError(f"{event.TOPIC} takes an instance away, and does not say what it was")
    _taken(state, instance)
    state.waiting.pop(instance, None)
    state.stopping.pop(instance, None)
    workspace_class = correction.workspace_class
    if event.corrects is not None:
        cents = correction.before_cents
        state.booked_cents -= cents
        meters.take_back(
            state.meters, workspace_class, event.corrects, correction.dated_at, ended=1, cents=cents
        )
    if correction.started is not None:
        meters.take_back(
            state.meters, workspace_class, correction.started, correction.started_at, started=1
        )


def _correct(
    state: LiveState,
    event: LedgerEvent,
    dated: int,
    end: int,
    correction: Correction | None,
) -> None:
    if correction is None:
        raise LiveFoldError(f"{event.TOPIC} corrects an entry, and does not say what it cost")
    workspace_class, before_cents, after_cents, dated_at, *_ = correction
    state.booked_cents += after_cents - before_cents
    meters.take_back(state.meters, workspace_class, dated, dated_at, ended=1, cents=before_cents)
    meters.place(state.meters, workspace_class, end, event.recorded_at, ended=1, cents=after_cents)


# Everything else -------------------------------------------------------------------------------


def _book(
    state: LiveState, event: CreditNoteIssued | EntryImported | InvoiceSettled | InvoiceCorrected
) -> None:
    state.booked_cents += event.credit_cents


def _take_back(state: LiveState, event: CreditNoteVoided) -> None:
    state.booked_cents -= event.credit_cents


def _close(state: LiveState, event: BillingCycleClosed) -> None:
    state.booked_cents += event.write_off_cents


def _terms(state: LiveState, event: LedgerEvent) -> None:
    fold_terms(state.spending, event)


_INSTANCE_FOLDS: dict[type, Callable[[LiveState, Any, bytes, Correction | None], None]] = {
    WorkspaceInstanceStarted: _started,
    WorkspaceInstanceStopping: _stopping,
    WorkspaceInstanceStopped: _stopped,
    WorkspaceInstanceEnded: _ended,
    WorkspaceInstanceImported: _imported,
    WorkspaceInstanceVoided: _voided,
}
_OTHER_FOLDS: dict[type, Callable[[LiveState, Any], None]] = {
    CreditNoteIssued: _book,
    CreditNoteVoided: _take_back,
    EntryImported: _book,
    InvoiceSettled: _book,
    InvoiceCorrected: _book,
    BillingCycleClosed: _close,
    CostCenterOpened: _terms,
    SpendingLimitSet: _terms,
    BillingCycleStarted: _terms,
    CostCenterImported: _terms,
}
_FOLDS = frozenset({*_INSTANCE_FOLDS, *_OTHER_FOLDS})
_INSTANCE_EVENTS = tuple(_INSTANCE_FOLDS)
