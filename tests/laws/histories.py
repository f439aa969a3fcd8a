"""The oracle's histories as the product takes them, and both ledgers' answers in one shape."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger, product_entry_id
from tests.oracle import InvoiceDraft, Oracle, instant
from tests.oracle.events import payer_of
from tests.oracle.operations import (
    AddCreditNote,
    EndInstance,
    Operation,
    Publish,
    PublishPrices,
    Reconcile,
    VoidInstance,
    apply_all,
)
from tests.oracle.strategies import DAY_NS, Scenario, Segment, scenarios
from tests.oracle.views import CostCenterView, EntryView, view_of

MS = 1_000_000
SILENCE_NS_MAX = 28 * DAY_NS  # after a longer one resets are held, which is another test's subject
KEEPALIVE_PAYER = payer_of("keepalive")

EFFORT = int(os.environ.get("LAWS_EFFORT", "1"))  # how many times as many examples as usual

Shares = dict[str, dict[int, tuple[int, int]]]  # instance -> cycle -> (seconds, cents)


def examples(usual: int) -> settings:
    """Histories are large and slow to draw, which is their point."""
    return settings(
        max_examples=usual * EFFORT,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@dataclass(frozen=True, kw_only=True)
class LedgerView:
    """Everything of one payer. In `shares` nothing that is 0 is written down."""

    balance_cents: int
    entries: tuple[EntryView, ...]
    cost_center: CostCenterView | None
    drafts: tuple[InvoiceDraft, ...]
    shares: Shares


def new_oracle() -> Oracle:
    return Oracle(entry_id=product_entry_id)


def oracle_views(oracle: Oracle) -> dict[str, LedgerView]:
    """By payer."""
    views: dict[str, LedgerView] = {}
    for payer in sorted(oracle.payers()):
        view = view_of(oracle, payer)
        shares = {
            instance: {n: (line.seconds, line.cents) for n, line in lines.items()}
            for instance, lines in view.lines.items()
        }
        views[payer] = LedgerView(
            balance_cents=view.balance_cents,
            entries=view.entries,
            cost_center=view.cost_center,
            drafts=view.drafts,
            shares=_not_zero(shares),
        )
    return views


def product_views(ledger: ProductLedger) -> dict[str, LedgerView]:
    """By payer."""
    opened = [ledger.instance(each) for each in ledger.instance_ids()]
    views: dict[str, LedgerView] = {}
    for payer in ledger.payers():
        key = payer_bytes(payer)
        shares = {
            view.instance_id: {
                line.number: (line.seconds, line.cents) for line in view.lines if line.payer == key
            }
            for view in opened
        }
        views[payer] = LedgerView(
            balance_cents=ledger.balance_cents(payer),
            entries=ledger.entries(payer),
            cost_center=ledger.cost_center(payer),
            drafts=ledger.drafts(payer),
            shares=_not_zero(shares),
        )
    return views


def _not_zero(shares: Shares) -> Shares:
    kept = {
        instance: {n: share for n, share in by_cycle.items() if share != (0, 0)}
        for instance, by_cycle in shares.items()
    }
    return {instance: by_cycle for instance, by_cycle in kept.items() if by_cycle}


def broken_sums(view: LedgerView) -> list[str]:
    """The sums that have to agree within one payer's answers; empty when they do."""
    broken: list[str] = []
    if view.balance_cents != sum(entry.cents for entry in view.entries):
        broken.append("balance is not the sum of the entries")
    if view.balance_cents != view.drafts[-1].total_cents:
        broken.append("balance is not the total of the open cycle")
    totals = [0, *(draft.total_cents for draft in view.drafts[:-1])]
    if totals != [draft.carried_cents for draft in view.drafts]:
        broken.append("a cycle does not carry over what the one before it left")
    for entry in view.entries:
        cents = sum(share[1] for share in view.shares.get(entry.instance_id, {}).values())
        if entry.kind == "workspace_instance" and entry.cents != cents:
            broken.append(f"the lines of {entry.instance_id} are not its entry")
    for draft in view.drafts:
        seconds, cents = (
            sum(shares.get(draft.cycle, (0, 0))[i] for shares in view.shares.values())
            for i in (0, 1)
        )
        if (seconds, cents) != (
            sum(line.seconds for line in draft.lines),
            sum(line.cents for line in draft.lines),
        ):
            broken.append(f"the lines of cycle {draft.cycle} are not the sum over its instances")
    return broken


def admissible_scenarios(*, instances_max: int = 4) -> st.SearchStrategy[Scenario]:
    """Histories in which the product refuses nothing and holds no reset."""
    return scenarios(instances_max=instances_max).map(_admissible)


def _admissible(scenario: Scenario) -> Scenario:
    """Leave out ends that the operator's call refuses; break silences that would hold resets."""
    started_ms: dict[str, int] = {}
    segments: list[Segment] = []
    heard_ns = scenario.segments[0].at_ns
    for index, drawn in enumerate(scenario.segments):
        started_ms.update(_starts(drawn.lines))
        refused = isinstance(drawn.barrier, EndInstance) and not _may_end(drawn.barrier, started_ms)
        barrier = None if refused else drawn.barrier
        if isinstance(barrier, VoidInstance):
            started_ms.pop(barrier.instance_id, None)
        notes = drawn.notes
        segment = replace(drawn, barrier=barrier)
        if _surely_records(segment):
            heard_ns = segment.at_ns
        following = scenario.segments[index + 1 : index + 2]
        if following and following[0].at_ns - heard_ns > SILENCE_NS_MAX:
            note = AddCreditNote(
                at_ns=segment.at_ns,
                payer=KEEPALIVE_PAYER,
                credits_given=1,
                description=f"keepalive {index}",
            )
            notes = (*notes, note)
            heard_ns = segment.at_ns
        segments.append(replace(segment, notes=notes))
    return replace(scenario, segments=tuple(segments))


def _starts(lines: Iterable[bytes]) -> dict[str, int]:
    starts: dict[str, int] = {}
    for line in lines:
        fields = json.loads(line)["data"]
        if "startedTime" in fields:
            starts[fields["workspaceInstanceId"]] = instant(fields["startedTime"]) // MS
    return starts


def _may_end(end: EndInstance, started_ms: dict[str, int]) -> bool:
    start_ms = started_ms.get(end.instance_id)
    return start_ms is not None and start_ms <= end.ended_ns // MS <= end.at_ns // MS


def _surely_records(segment: Segment) -> bool:
    return bool(segment.lines or segment.notes) or isinstance(
        segment.barrier, PublishPrices | Reconcile
    )


def without_blank_lines(operations: Sequence[Operation]) -> list[Operation]:
    """The product reads blank lines as no events at all, as every reader of JSON lines does."""
    kept: list[Operation] = []
    for operation in operations:
        if not isinstance(operation, Publish):
            kept.append(operation)
            continue
        lines = tuple(line for line in operation.lines if line.strip())
        if lines:
            kept.append(replace(operation, lines=lines))
    return kept


def told(operations: Sequence[Operation]) -> Oracle:
    """The oracle after these operations."""
    return apply_all(new_oracle(), operations)
