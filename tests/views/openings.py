"""Lines of an import: cost centers, invoices and notes, and instances in every state."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from events.readable import time_text
from tests.oracle.events import named_uuid
from tests.oracle.strategies import Scenario

DAY_MS = 86_400_000
STATES = ("running", "stopping", "stopped", "final without times")

Line = dict[str, object]


def block_of(lines: Iterable[Line]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def center_line(payer: str, limits: Sequence[int], at_ms: int) -> Line:
    """A cost center whose limit changed with each of its cycles."""
    return {
        "kind": "cost_center",
        "id": f"center of {payer}",
        "attribution_id": payer,
        "history": [
            {
                "spending_limit": limit,
                "billing_strategy": "other",
                "created": time_text(at_ms - 20 * DAY_MS),
                "billing_cycle_start": time_text(at_ms - (20 - index) * DAY_MS),
                "next_billing_time": time_text(at_ms + 10 * DAY_MS),
            }
            for index, limit in enumerate(limits)
        ],
    }


def entry_line(name: str, kind: str, payer: str, cents: int, effective_ms: int) -> Line:
    return {
        "kind": "entry",
        "id": name,
        "entry_kind": kind,
        "attribution_id": payer,
        "credit_cents": cents,
        "effective_time": time_text(effective_ms),
        "draft": False,
        "metadata": {},
    }


def instance_line(entry: Line, name: str, state: str, start_ms: int, workspace_class: str) -> Line:
    """An instance's entry; the state says which of its times the other ledger knew."""
    metadata = {"workspaceClass": workspace_class}
    if state != "final without times":
        metadata["startTime"] = time_text(start_ms)
    if state == "stopping":
        metadata["endTime"] = time_text(start_ms + 3_600_000)
    if state == "stopped":
        metadata["stoppedTime"] = time_text(start_ms + 3_700_000)
    return {
        **entry,
        "workspace_instance_id": name,
        "draft": state in {"running", "stopping"},
        "metadata": metadata,
    }


@st.composite
def opening_states(draw: st.DrawFn, scenario: Scenario) -> bytes:
    """Some of the instances are those that the history tells more of."""
    at_ms = scenario.segments[0].at_ns // 1_000_000
    payers = st.sampled_from(scenario.payers)
    cents = st.integers(-40_000, 90_000)
    times = st.integers(at_ms - 7_200_000, at_ms)
    names = draw(st.lists(st.sampled_from(scenario.instance_ids), unique=True, max_size=3))
    names += [named_uuid("imported", number) for number in range(draw(st.integers(0, 2)))]
    lines: list[Line] = []
    for name in names:
        entry = entry_line(
            named_uuid("entry of", name),
            "workspace_instance",
            draw(payers),
            draw(cents),
            draw(times),
        )
        state = draw(st.sampled_from(STATES))
        start_ms = at_ms - draw(st.integers(7_200_000, 90_000_000))
        workspace_class = draw(st.sampled_from(("default", "g1-large")))
        lines.append(instance_line(entry, name, state, start_ms, workspace_class))
    for number in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(("invoice", "credit_note")))
        name = named_uuid("other", number)
        lines.append(entry_line(name, kind, draw(payers), draw(cents), draw(times)))
    for payer in draw(st.lists(payers, unique=True)):
        limits = draw(st.lists(st.integers(0, 900), min_size=1, max_size=2))
        lines.append(center_line(payer, limits, at_ms))
    return block_of(lines)


def seeded_opening(rng: random.Random, payers: Sequence[str], at_ms: int) -> bytes:
    """For each payer instances in every state, and a cost center."""
    lines: list[Line] = []
    for number, payer in enumerate(payers):
        for state in STATES:
            name = named_uuid("old", payer, state)
            entry_name = named_uuid("entry of", name)
            cents = rng.randint(0, 9_000)
            entry = entry_line(entry_name, "workspace_instance", payer, cents, at_ms)
            start_ms = at_ms - rng.randint(7_200_000, 90_000_000)
            lines.append(instance_line(entry, name, state, start_ms, "g1-large"))
        lines.append(center_line(payer, [0, 40 + number], at_ms))
    return block_of(lines)
