"""Logs of whole ledgers, as a reader of the log is given them, and what folding them says."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import msgspec
from hypothesis import strategies as st

from events import InvoiceCorrected, InvoiceSettled, LedgerEvent, Recorded, decode
from events.readable import uuid_text
from ledger import commands
from ledger.commands.imports import Importing, read_import_lines
from projections import live
from projections.alerts import Alert
from projections.corrections import Correction, correction_of, is_correction
from projections.live import LiveState, decode_state, encode_state, fold, is_for_everybody
from tests.laws.acts import Act, payer_bytes
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.histories import admissible_scenarios, without_blank_lines
from tests.laws.test_seeded_run import history
from tests.oracle import called_name
from tests.oracle.events import InstanceEventKind, instance_event, line_of, named_uuid, payer_of
from tests.oracle.operations import (
    AddCreditNote,
    EndInstance,
    Operation,
    Publish,
    PublishPrices,
    Reconcile,
    ResetUsage,
    SetCostCenter,
    VoidInstance,
    VoidNote,
)
from tests.oracle.strategies import KINDS, Scenario, Segment, deliveries
from tests.views.openings import opening_states, seeded_opening

SHARD = 3
Log = list[tuple[Recorded, Correction | None]]


class Folded:
    """What a reader of the log keeps: a state for each payer, and the alerts it was told."""

    def __init__(self) -> None:
        self.states: dict[bytes, LiveState] = {}
        self.alerts: list[Alert] = []

    def take(self, recorded: Recorded, correction: Correction | None = None) -> None:
        event = recorded.event
        if is_for_everybody(event):
            for state in self.states.values():
                self.alerts += fold(state, recorded)
            return
        payer = live.payer_of(event)
        if payer is not None:
            state = self.states.setdefault(payer, LiveState(payer, SHARD))
            self.alerts += fold(state, recorded, correction)

    def take_all(self, log: Iterable[tuple[Recorded, Correction | None]]) -> Folded:
        for recorded, correction in log:
            self.take(recorded, correction)
        return self

    def restart(self) -> None:
        """Nothing is left but what was encoded."""
        self.states = {p: decode_state(encode_state(s)) for p, s in self.states.items()}


def log_of(ledger: ProductLedger) -> Log:
    """The whole log, with what corrections correct."""
    streams: dict[str, list[LedgerEvent]] = defaultdict(list)
    log: Log = []
    for stored in ledger.reader.log(after=0, limit=EVERYTHING):
        event = decode(stored.topic, stored.state)
        streams[stored.stream].append(event)
        correction = None
        if is_correction(event):
            correction = correction_of(streams[stored.stream])
        log.append((Recorded(stored.stream, stored.version, event, stored.position), correction))
    return log


def logs() -> st.SearchStrategy[Log]:
    """Of any history, and of one payer in which corrections and limits come close together."""
    return st.one_of(_any_logs(), crowded_logs(), logs_of_lives(), with_invoices())


@st.composite
def with_invoices(draw: st.DrawFn) -> Log:
    """With invoices of Stripe in between, some of which are taken back."""
    log = draw(crowded_logs())
    payer = payer_bytes(payer_of("crowded"))
    cents = st.integers(0, 5_000)
    for number in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(log)))
        again = draw(st.integers(at + 1, len(log) + 1))
        name, now = f"in_{number}", 1_790_000_000_000
        settled = InvoiceSettled(0, "", payer, name, "cus", "sub", -draw(cents), now, 0, now)
        corrected = InvoiceCorrected(0, "", payer, name, "voided", draw(cents), now)
        for place, version, event in ((at, 1, settled), (again, 2, corrected)):
            log.insert(place, (Recorded(f"invoice:{name}", version, event, 0), None))
    return [
        (recorded._replace(position=position, event=_at(recorded.event, log[: position - 1])), told)
        for position, (recorded, told) in enumerate(log, start=1)
    ]


def _at(event: LedgerEvent, before: Log) -> LedgerEvent:
    """An event that was put in is recorded when the one before it was."""
    if event.recorded_at:
        return event
    times = (recorded.event.recorded_at for recorded, _ in reversed(before))
    return msgspec.structs.replace(event, recorded_at=next(filter(None, times), 1))


@st.composite
def crowded_logs(draw: st.DrawFn) -> Log:
    """One payer with three instances, told in any order, ended, corrected, limited and reset."""
    begin_ms = 1_790_000_000_000
    payer = payer_of("crowded")
    names = [named_uuid("crowded", number) for number in range(draw(st.integers(1, 3)))]
    steps = draw(st.lists(_steps(payer, names, begin_ms), min_size=4, max_size=16))
    return draw(_log_of_steps(payer, names, steps, begin_ms))


@st.composite
def logs_of_lives(draw: st.DrawFn) -> Log:
    """One instance that is told of, in any order, and voided, again and again."""
    begin_ms = 1_790_000_000_000
    payer = payer_of("crowded")
    name = named_uuid("crowded", 0)
    steps: list[Operation] = []
    for life in range(draw(st.integers(2, 4))):
        whose = draw(st.sampled_from((payer, payer, payer_of("another"))))
        times_ns = [
            (begin_ms + draw(st.integers(-3_600, 30_000)) * 1_000) * 1_000_000 for _ in range(4)
        ]
        of_a_life: list[Operation] = [
            Reconcile(at_ns=0),
            EndInstance(at_ns=0, instance_id=name, ended_ns=times_ns.pop()),
            *(
                told_of(kind, name, at_ns, whose, f"{life} {kind}")
                for kind, at_ns in zip(KINDS, times_ns, strict=True)
            ),
        ]
        steps += draw(st.permutations(of_a_life))[: draw(st.integers(1, 5))]
        steps.append(VoidInstance(at_ns=0, instance_id=name))
    return draw(_log_of_steps(payer, [name], steps[: -draw(st.integers(1, 3))], begin_ms))


@st.composite
def _log_of_steps(
    draw: st.DrawFn, payer: str, names: Sequence[str], steps: Sequence[Operation], begin_ms: int
) -> Log:
    rates = (("default", "0.1666666667"), ("g1-large", draw(st.sampled_from(("7", "0.3")))))
    at_ns = begin_ms * 1_000_000
    scenario = Scenario(
        payers=(payer,),
        instance_ids=(names[0],),
        segments=(Segment(at_ns=at_ns, lines=(), notes=(), barrier=None),),
    )
    with closing(ProductLedger()) as ledger:
        ledger.apply(PublishPrices(at_ns=at_ns, revision=1, rates=rates))
        if draw(st.booleans()):
            ledger.run(_import(draw(opening_states(scenario))))
        for number, step in enumerate(steps):
            ledger.apply(replace(step, at_ns=at_ns + number * 7_200_000_000_000))
        return log_of(ledger)


def told_of(kind: InstanceEventKind, name: str, at_ns: int, whose: str, event_id: str) -> Publish:
    """Give the line of an event of class `g1-large`."""
    more = {"workspaceId": "w", "workspaceClass": "g1-large"} if kind == "started" else {}
    event = instance_event(kind, at_ns, instance_id=name, payer=whose, event_id=event_id, more=more)
    return Publish(at_ns=0, lines=(line_of(event),))


def _steps(payer: str, names: Sequence[str], begin_ms: int) -> st.SearchStrategy[Operation]:
    times_ns = st.integers(-3_600, 30_000).map(lambda s: (begin_ms + s * 1_000) * 1_000_000)
    limits = st.sampled_from((0, 1, 20, 30, 500))

    def line(kind: InstanceEventKind, name: str, at_ns: int) -> Publish:
        # Each time has an ID of its own: what was voided may be told anew.
        return told_of(kind, name, at_ns, payer, f"{kind} {name} {at_ns}")

    published = st.builds(
        line, st.sampled_from(("started", "stopping", "stopped")), st.sampled_from(names), times_ns
    )
    voids = st.one_of(
        st.builds(VoidInstance, at_ns=st.just(0), instance_id=st.sampled_from(names)),
        st.builds(
            VoidNote,
            at_ns=st.just(0),
            payer=st.just(payer),
            name=st.integers(0, 3).map(lambda number: called_name(f"{number}")),
        ),
    )
    return st.one_of(
        published,
        published,
        published,
        st.builds(
            EndInstance, at_ns=st.just(0), instance_id=st.sampled_from(names), ended_ns=times_ns
        ),
        voids,
        st.just(Reconcile(at_ns=0)),
        st.just(ResetUsage(at_ns=0)),
        st.builds(
            AddCreditNote,
            at_ns=st.just(0),
            payer=st.just(payer),
            credits_given=st.integers(-20, 20),
            description=st.just("sorry"),
            idempotency_key=st.integers(0, 3).map(str),
        ),
        st.builds(
            SetCostCenter,
            at_ns=st.just(0),
            payer=st.just(payer),
            spending_limit=limits,
            strategy=st.sampled_from(("OTHER", "OTHER", "STRIPE")),
        ),
    )


def long_log(seed: int, *, steps: int = 120) -> Log:
    """A history of weeks: imports, starts and stops out of order and late, ends, voids, resets."""
    rng = random.Random(seed)
    operations = history(seed)[:steps]
    at_ms = operations[0].at_ns // 1_000_000
    payers = sorted({payer for each in operations for payer in _payers_in(each)})
    with closing(ProductLedger()) as ledger:
        ledger.apply(operations[0])
        ledger.run(_import(seeded_opening(rng, payers[:5], at_ms)))
        for operation in operations[1:]:
            ledger.apply(operation)
            if rng.random() < 0.5:
                _end_one(rng, ledger, operation.at_ns)
            if rng.random() < 0.3:
                _void_one(rng, ledger, operation.at_ns)
        return log_of(ledger)


def _payers_in(operation: Operation) -> Iterator[str]:
    if isinstance(operation, Publish):
        for line in operation.lines:
            at = line.index(b'"team:') + 1
            yield line[at : at + 41].decode()


def _void_one(rng: random.Random, ledger: ProductLedger, at_ns: int) -> None:
    """An operator voids an instance that runs, is stopping or has ended, or a lone stop."""
    known = ledger.select("SELECT instance FROM entries") + (
        ledger.select("SELECT instance FROM open_instances")
    )
    (instance,) = rng.choice(sorted(known))
    assert ledger.apply(VoidInstance(at_ns=at_ns, instance_id=uuid_text(instance))) is None


def _end_one(rng: random.Random, ledger: ProductLedger, at_ns: int) -> None:
    """An operator ends an instance, or corrects when it ended."""
    known = ledger.select("SELECT instance, started FROM entries WHERE started IS NOT NULL") + (
        ledger.select("SELECT instance, started FROM open_instances WHERE started IS NOT NULL")
    )
    if not known:
        return
    instance, started = rng.choice(sorted(known))
    ended_ns = (started + rng.randint(0, 9_000_000)) * 1_000_000
    if ended_ns <= at_ns:
        ended = EndInstance(at_ns=at_ns, instance_id=uuid_text(instance), ended_ns=ended_ns)
        assert ledger.apply(ended) is None


@st.composite
def _any_logs(draw: st.DrawFn) -> Log:
    """Of a history that begins with an import, or not, in any delivery."""
    scenario = draw(admissible_scenarios())
    opening = draw(opening_states(scenario)) if draw(st.booleans()) else b""
    operations = without_blank_lines(draw(deliveries(scenario, with_rejects=True)))
    prices = next(i for i, each in enumerate(operations) if isinstance(each, PublishPrices))
    with closing(ProductLedger()) as ledger:
        ledger.apply_all(operations[: prices + 1])
        if opening:
            ledger.run(_import(opening))
        ledger.apply_all(operations[prices + 1 :])
        return log_of(ledger)


def _import(lines: bytes) -> Act:
    importing = Importing("old", 500, lambda email: email)
    return lambda group: commands.take_import(
        group, read_import_lines("import", lines, 1), importing
    )
