"""The entries of a payer as they were known at a position of the log (sections 2 and 3)."""

from dataclasses import dataclass, replace
from typing import Literal

from ._facts import (
    CreditNote,
    CycleReset,
    InstanceFact,
    InstanceVoided,
    NoteVoided,
    OperatorEnded,
    PayerLog,
    ReconcileLog,
    Started,
    Stopped,
    Stopping,
    StrategyChanged,
)
from ._pricing import price_cents, runtime_seconds
from ._times import metadata_time

Kind = Literal["workspace_instance", "invoice", "credit_note"]

Life = tuple[str, int]
"""An instance, and how often it was voided before: after a void it begins anew."""


@dataclass(frozen=True)
class InstanceState:
    """What the log said of one instance.

    `end_ms` is the time up to which it is paid: stopping if known, else stopped; an operator's end
    overrides both, and a first stopping recorded after that corrects it again.
    """

    payer: str
    started: Started | None = None
    started_position: int = -1
    end_ms: int | None = None
    stopped_ms: int | None = None

    def after(self, position: int, fact: InstanceFact) -> "InstanceState":
        match fact:
            case Started():
                return replace(self, started=fact, started_position=position)
            case Stopping():
                return replace(self, end_ms=fact.stopping_ms)
            case Stopped():
                end_ms = fact.stopped_ms if self.end_ms is None else self.end_ms
                return replace(self, end_ms=end_ms, stopped_ms=fact.stopped_ms)
            case OperatorEnded():
                return replace(self, end_ms=fact.ended_ms, stopped_ms=fact.ended_ms)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the ledger.

    `entry_id` is empty where the contract leaves it open (notes, invoices).
    """

    kind: Kind
    payer: str
    cents: int
    effective_ms: int
    entry_id: str = ""
    instance_id: str = ""
    draft: bool = False
    running: bool = False
    seconds: int = 0
    description: str = ""
    user_id: str = ""
    started: Started | None = None
    end_ms: int | None = None
    stopped_ms: int | None = None

    @property
    def workspace_class(self) -> str:
        return "" if self.started is None else self.started.workspace_class

    @property
    def metadata(self) -> dict[str, str]:
        """The JSON object of the wire's `metadata`.

        Reading: type and class are the ones meant (`regular`, `default`) where the event left them
        empty, and an operator's end is both endTime and stoppedTime. A note without a user has an
        empty object.
        """
        if self.started is None:
            return {"userId": self.user_id} if self.user_id else {}
        return {
            "workspaceId": self.started.workspace_id,
            "workspaceType": self.started.workspace_type,
            "workspaceClass": self.started.workspace_class,
            "contextURL": self.started.context_url,
            "creationTime": metadata_time(self.started.creation_ms),
            "startTime": metadata_time(self.started.started_ms),
            "endTime": metadata_time(self.end_ms),
            "stoppedTime": metadata_time(self.stopped_ms),
            "userId": self.started.user_id,
            "userName": self.started.user_name,
            "userAvatarURL": self.started.user_avatar_url,
        }


def instance_entry(state: InstanceState, reconciled: tuple[int, int] | None) -> Entry | None:
    """The entry of an instance, or None where it is not listed.

    `reconciled` is (position, instant) of the last reconcile.
    """
    started = state.started
    if started is None:
        return None
    running = state.end_ms is None
    if state.end_ms is not None:
        effective_ms = state.end_ms
    elif reconciled is not None and state.started_position < reconciled[0]:
        effective_ms = reconciled[1]
    else:
        return None
    assert started.credits_per_minute is not None, "a recorded start carries its rate"
    seconds = runtime_seconds(started.started_ms, effective_ms)
    return Entry(
        kind="workspace_instance",
        payer=state.payer,
        instance_id=started.instance_id,
        cents=price_cents(started.credits_per_minute, seconds),
        seconds=seconds,
        effective_ms=effective_ms,
        draft=state.stopped_ms is None,
        running=running,
        description="Usage collected by automated system.",
        user_id=started.user_id,
        started=started,
        end_ms=state.end_ms,
        stopped_ms=state.stopped_ms,
    )


def states_as_known(log: PayerLog, upto: int) -> dict[Life, InstanceState]:
    """Every instance of the payer that is not void, from the facts at positions 0 to `upto`."""
    states: dict[Life, InstanceState] = {}
    voids: dict[str, int] = {}
    for position, fact in log:
        if position > upto:
            break
        if isinstance(fact, Started | Stopping | Stopped | OperatorEnded):
            life = fact.instance_id, voids.get(fact.instance_id, 0)
            state = states.get(life, InstanceState(fact.payer))
            states[life] = state.after(position, fact)
        elif isinstance(fact, InstanceVoided):
            number = voids.get(fact.instance_id, 0)
            states.pop((fact.instance_id, number), None)
            voids[fact.instance_id] = number + 1
    return states


def last_reconcile(reconciles: ReconcileLog, upto: int) -> tuple[int, int] | None:
    """(position, instant A) of the last reconcile at a position up to and including `upto`."""
    found = [(position, fact.at_ms) for position, fact in reconciles if position <= upto]
    return found[-1] if found else None


def instance_entries(log: PayerLog, reconciles: ReconcileLog, upto: int) -> dict[Life, Entry]:
    """The listed instances of the payer as known at `upto`. Of one instance one life at most."""
    reconciled = last_reconcile(reconciles, upto)
    listed: dict[Life, Entry] = {}
    for life, state in states_as_known(log, upto).items():
        entry = instance_entry(state, reconciled)
        if entry is not None:
            listed[life] = entry
    return listed


def voids_of_earlier_notes(log: PayerLog, *, after: int, upto: int) -> list[CreditNote]:
    """The notes recorded up to `after` that were voided at positions in (after, upto]."""
    return [
        fact.note
        for position, fact in log
        if isinstance(fact, NoteVoided) and fact.note_position <= after < position <= upto
    ]


def other_entries(log: PayerLog, *, after: int, upto: int) -> list[Entry]:
    """Credit notes and invoice entries recorded at positions in (after, upto], in the order of the
    log, without the notes that are void by then.
    """
    void = {
        fact.note_position
        for position, fact in log
        if isinstance(fact, NoteVoided) and position <= upto
    }
    entries: list[Entry] = []
    for position, fact in log:
        if not after < position <= upto:
            continue
        match fact:
            case CreditNote() if position not in void:
                entries.append(
                    Entry(
                        kind="credit_note",
                        payer=fact.payer,
                        cents=fact.cents,
                        effective_ms=fact.effective_ms,
                        description=fact.description,
                        user_id=fact.user_id,
                    )
                )
            case CycleReset(write_off_cents=cents, written_at_ms=at_ms) if cents != 0:
                entries.append(_write_off(fact.payer, cents, at_ms))
            case StrategyChanged(write_off_cents=cents, cycle_start_ms=at_ms) if cents != 0:
                entries.append(_write_off(fact.payer, cents, at_ms))
            case _:
                pass
    return entries


def _write_off(payer: str, cents: int, at_ms: int) -> Entry:
    """Reading.

    Effective at the instant of the reset or upgrade; the description is fixed for resets only.
    """
    return Entry(
        kind="invoice", payer=payer, cents=cents, effective_ms=at_ms, description="Credits"
    )


def all_entries(log: PayerLog, reconciles: ReconcileLog, upto: int) -> list[Entry]:
    """Every entry of the payer as known at `upto`."""
    instances = instance_entries(log, reconciles, upto)
    return [*instances.values(), *other_entries(log, after=-1, upto=upto)]


def balance_as_known(log: PayerLog, reconciles: ReconcileLog, upto: int) -> int:
    """The sum of all entries, drafts included, in cents."""
    return sum(entry.cents for entry in all_entries(log, reconciles, upto))
