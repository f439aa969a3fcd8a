"""Entries of workspace instances: the events of a life, and seconds times a rate."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from events import (
    Recorded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceVoided,
)
from events.money import cents_per_second
from events.readable import attribution_id, uuid_text
from ledger.audit.why.basis import Basis
from ledger.audit.why.numbers import (
    ACCRUES,
    BEGINS,
    CONFIRMS,
    CORRECTS,
    ENDS,
    STATES,
    USAGE_ENTRY,
    VOIDED_ENTRY,
    VOIDS,
    Arithmetic,
    Number,
    Runtime,
    Stated,
    Step,
)
from ledger.audit.why.steps import step
from ledger.lives import Life
from projections import Accrual, entry_id_of

NEVER = Accrual(0, 0)  # before the first reconcile

WAITS = "It began after the last reconcile: it counts 0 until the next one."
NO_START = "Its start is not recorded: it counts 0 until it is."
RUNS = "It runs: every reconcile accrues it to its instant."
STOPS = "It is stopping: final once it has stopped."
BEFORE_START = "It ended before it started: that counts 0 seconds."


def lives_of(events: Sequence[Recorded]) -> list[list[Recorded]]:
    """Cut a stream behind every void; the last life may go on."""
    lives: list[list[Recorded]] = [[]]
    for recorded in events:
        lives[-1].append(recorded)
        if isinstance(recorded.event, WorkspaceInstanceVoided):
            lives.append([])
    return lives if lives[-1] else lives[:-1]


def is_void(life: Sequence[Recorded]) -> bool:
    """Say whether a life was ended by a void."""
    return isinstance(life[-1].event, WorkspaceInstanceVoided)


def life_with(events: Sequence[Recorded], position: int) -> list[Recorded]:
    """Give the life that an event lies in; empty when there is none."""
    for life in lives_of(events):
        if life[0].position <= position <= life[-1].position:
            return life
    return []


def payer_of(recorded: Recorded) -> bytes:
    """Give whose event it is."""
    event: Any = recorded.event
    payer: bytes = event.payer
    return payer


def told(events: Sequence[Recorded]) -> Life:
    """Take the events of a life in."""
    life = Life()
    for recorded in events:
        life.apply(recorded)
    return life


def steps_of(basis: Basis, events: Sequence[Recorded], accrual: Accrual) -> list[Step]:
    """Give the events of a life with what each made of its amount.

    What it has accrued while it runs is the last reconcile's doing.
    """
    life, steps = Life(), []
    for recorded in events:
        had, end, before = life.has_entry, life.end(), life.entry(NEVER)[1]
        life.apply(recorded)
        after = life.entry(NEVER)[1]
        changed = (before, end) != (after, life.end())
        steps.append(step(recorded, _role(recorded, had=had, changed=changed), before, after))
    if life.runs_at(accrual):
        reconcile = basis.reconcile(accrual)
        steps.append(step(reconcile, ACCRUES, 0, life.entry(accrual)[1]))
    return steps


def _role(recorded: Recorded, *, had: bool, changed: bool) -> str:
    match recorded.event:
        case WorkspaceInstanceVoided():
            return VOIDS
        case WorkspaceInstanceImported() as event:
            return BEGINS if event.credit_cents is None else STATES
        case WorkspaceInstanceStarted():
            return BEGINS
        case _:
            if not had:
                return ENDS
            return CORRECTS if changed else CONFIRMS


def arithmetic_of(basis: Basis, life: Life, accrual: Accrual) -> Arithmetic | None:
    """Give how a life's amount comes about; None where it has none."""
    if life.start is None:
        return None
    if life.charged is not None:
        return Stated(life.start_position, life.charged)
    stretch = life.stretch(accrual)
    if stretch is None:
        return None
    rate = Fraction(*cents_per_second(stretch.rate))
    start = life.start
    price = basis.price(start.price_revision, start.workspace_class, stretch.rate)
    return Runtime(stretch, rate, price)


def life_number(
    basis: Basis,
    events: Sequence[Recorded],
    accrual: Accrual,
    *,
    kind: str = USAGE_ENTRY,
    taken_away: bool = False,
) -> Number:
    """Explain what a life costs after its events and a reconcile."""
    life = told(events)
    cents = life.entry(accrual)[1]
    instance = bytes.fromhex(events[0].originator_id.removeprefix("instance:").replace("-", ""))
    end = life.end()
    if end is None and life.runs_at(accrual):
        end = accrual.instant
    void = is_void(events)
    return Number(
        VOIDED_ENTRY if void and kind == USAGE_ENTRY else kind,
        f"{'voided ' if void else ''}workspace instance {uuid_text(instance)}",
        -cents if taken_away else cents,
        payer_of(events[0]),
        taken_away=taken_away,
        steps=steps_of(basis, events, accrual),
        arithmetic=arithmetic_of(basis, life, accrual),
        entry_id=entry_id_of(uuid_text(instance)),
        instance=instance,
        effective=end,
        draft=life.start is not None and life.stopped is None,
        workspace_class="" if life.start is None else life.start.workspace_class,
        remarks=[] if void else _remarks(life, accrual),
    )


def _remarks(life: Life, accrual: Accrual) -> list[str]:
    if life.start is None:
        return [NO_START]
    stretch = life.stretch(accrual)
    if life.end() is None:
        return [RUNS if life.runs_at(accrual) else WAITS]
    found = []
    if stretch is not None and stretch.ended < stretch.started:
        found.append(BEFORE_START)
    if life.stopped is None and life.charged is None:
        found.append(STOPS)
    if life.charged is not None:
        found.append("Another ledger had charged it: its amount was taken over as it was.")
    return found


def instance_number(basis: Basis, instance: bytes) -> Number:
    """Explain an instance's entry; where it had several lives, all of them."""
    events = basis.instances([instance])[instance]
    lives = lives_of(events)
    numbers = [life_number(basis, life, basis.accrual) for life in lives]
    if len(numbers) == 1 and not is_void(lives[0]):
        return numbers[0]
    for number in numbers:
        number.remarks.append(f"Recorded for {attribution_id(number.payer)}.")
    newest = numbers[-1]
    cents = sum(number.cents for number in numbers)
    void = is_void(lives[-1])
    return Number(
        VOIDED_ENTRY if void else USAGE_ENTRY,
        f"workspace instance {uuid_text(instance)}",
        cents,
        newest.payer,
        part_count=len(numbers),
        parts=numbers,
        entry_id=newest.entry_id,
        instance=instance,
        effective=None if void else newest.effective,
        draft=newest.draft,
        workspace_class=newest.workspace_class,
        remarks=["It is void: nothing of it counts, and its ID is free."] if void else [],
    )
