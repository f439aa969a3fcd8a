"""Logs of whole ledgers, as a reader of the log is given them, and what folding them says."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace

from hypothesis import strategies as st

from events import LedgerEvent, Recorded, decode
from events.readable import time_text
from ledger import commands
from ledger.commands.imports import Importing, read_import_lines
from projections import live
from projections.alerts import Alert
from projections.corrections import Correction, correction_of, corrects
from projections.live import LiveState, decode_state, encode_state, fold, is_for_everybody
from tests.laws.acts import Act
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.histories import admissible_scenarios, without_blank_lines
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
)
from tests.oracle.strategies import Scenario, Segment, deliveries

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
        if corrects(event) is not None:
            correction = correction_of(streams[stored.stream])
        log.append((Recorded(stored.stream, stored.version, event, stored.position), correction))
    return log


def logs() -> st.SearchStrategy[Log]:
    """Of any history, and of one payer in which corrections and limits come close together."""
    return st.one_of(_any_logs(), crowded_logs())


@st.composite
def crowded_logs(draw: st.DrawFn) -> Log:
    """One payer with three instances, told in any order, ended, corrected, limited and reset."""
    begin_ms = 1_790_000_000_000
    payer = payer_of("crowded")
    names = [named_uuid("crowded", number) for number in range(draw(st.integers(1, 3)))]
    steps = draw(st.lists(_steps(payer, names, begin_ms), min_size=4, max_size=16))
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


def _steps(payer: str, names: Sequence[str], begin_ms: int) -> st.SearchStrategy[Operation]:
    times_ns = st.integers(-3_600, 30_000).map(lambda s: (begin_ms + s * 1_000) * 1_000_000)
    limits = st.sampled_from((0, 1, 20, 30, 500))

    def line(kind: InstanceEventKind, name: str, at_ns: int) -> Publish:
        more = {"workspaceId": "w", "workspaceClass": "g1-large"} if kind == "started" else {}
        event = instance_event(kind, at_ns, instance_id=name, payer=payer, more=more)
        return Publish(at_ns=0, lines=(line_of(event),))

    published = st.builds(
        line, st.sampled_from(("started", "stopping", "stopped")), st.sampled_from(names), times_ns
    )
    return st.one_of(
        published,
        published,
        published,
        st.builds(
            EndInstance, at_ns=st.just(0), instance_id=st.sampled_from(names), ended_ns=times_ns
        ),
        st.just(Reconcile(at_ns=0)),
        st.just(ResetUsage(at_ns=0)),
        st.builds(
            AddCreditNote,
            at_ns=st.just(0),
            payer=st.just(payer),
            credits_given=st.integers(-20, 20),
            description=st.just("sorry"),
        ),
        st.builds(
            SetCostCenter,
            at_ns=st.just(0),
            payer=st.just(payer),
            spending_limit=limits,
            strategy=st.sampled_from(("OTHER", "OTHER", "STRIPE")),
        ),
    )


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


@st.composite
def opening_states(draw: st.DrawFn, scenario: Scenario) -> bytes:
    """Lines of an import: cost centers, invoices and notes, and instances in every state.

    Some of the instances are those that the history tells more of.
    """
    at_ms = scenario.segments[0].at_ns // 1_000_000
    names = draw(st.lists(st.sampled_from(scenario.instance_ids), unique=True, max_size=3))
    names += [named_uuid("imported", number) for number in range(draw(st.integers(0, 2)))]
    lines = [_instance_line(draw, name, scenario.payers, at_ms) for name in names]
    for number in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(("invoice", "credit_note")))
        line = _entry_line(draw, named_uuid("other", number), scenario.payers, at_ms)
        lines.append({**line, "entry_kind": kind})
    for payer in draw(st.lists(st.sampled_from(scenario.payers), unique=True)):
        limits = draw(st.lists(st.integers(0, 900), min_size=1, max_size=2))
        lines.append(
            {
                "kind": "cost_center",
                "id": f"center of {payer}",
                "attribution_id": payer,
                "history": [
                    {
                        "spending_limit": limit,
                        "billing_strategy": "other",
                        "created": time_text(at_ms - 86_400_000 * 20),
                        "billing_cycle_start": time_text(at_ms - 86_400_000 * (20 - index)),
                        "next_billing_time": time_text(at_ms + 86_400_000 * 10),
                    }
                    for index, limit in enumerate(limits)
                ],
            }
        )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _entry_line(draw: st.DrawFn, name: str, payers: Sequence[str], at_ms: int) -> dict[str, object]:
    return {
        "kind": "entry",
        "id": name,
        "attribution_id": draw(st.sampled_from(payers)),
        "credit_cents": draw(st.integers(-40_000, 90_000)),
        "effective_time": time_text(at_ms - draw(st.integers(0, 7_200_000))),
        "draft": False,
        "metadata": {},
    }


def _instance_line(
    draw: st.DrawFn, name: str, payers: Sequence[str], at_ms: int
) -> dict[str, object]:
    state = draw(st.sampled_from(("running", "stopping", "stopped", "final without times")))
    start = at_ms - draw(st.integers(7_200_000, 90_000_000))
    metadata = {"workspaceClass": draw(st.sampled_from(("default", "g1-large")))}
    if state != "final without times":
        metadata["startTime"] = time_text(start)
    if state == "stopping":
        metadata["endTime"] = time_text(start + 3_600_000)
    if state == "stopped":
        metadata["stoppedTime"] = time_text(start + 3_700_000)
    return {
        **_entry_line(draw, named_uuid("entry of", name), payers, at_ms),
        "entry_kind": "workspace_instance",
        "workspace_instance_id": name,
        "draft": state in {"running", "stopping"},
        "metadata": metadata,
    }
