"""What two ledgers have to agree on, as values: the product's adapter builds the same."""

from dataclasses import dataclass

from ._cycles import InstanceLine, InvoiceDraft
from ._entries import Entry
from ._facts import Strategy
from .model import Oracle


@dataclass(frozen=True, kw_only=True, order=True)
class EntryView:
    """An entry without what a repeat may say differently (free texts, workspace, creation time).

    `instance_id` is empty for notes and invoices. In this order entries sort alike in any ledger.
    """

    effective_ms: int
    kind: str
    instance_id: str
    cents: int
    draft: bool
    workspace_class: str
    user_id: str


@dataclass(frozen=True, kw_only=True)
class CostCenterView:
    strategy: Strategy
    spending_limit: int
    cycle_start_ms: int
    next_billing_ms: int


@dataclass(frozen=True, kw_only=True)
class PayerView:
    """Everything of one payer. `drafts` has the closed cycles too, the open one last."""

    balance_cents: int
    entries: tuple[EntryView, ...]
    cost_center: CostCenterView | None
    drafts: tuple[InvoiceDraft, ...]
    lines: dict[str, dict[int, InstanceLine]]


def entry_view(entry: Entry) -> EntryView:
    return EntryView(
        effective_ms=entry.effective_ms,
        kind=entry.kind,
        instance_id=entry.instance_id,
        cents=entry.cents,
        draft=entry.draft,
        workspace_class=entry.workspace_class,
        user_id=entry.user_id,
    )


def view_of(oracle: Oracle, payer: str) -> PayerView:
    center = oracle.cost_center(payer)
    cycles = 1 if center is None else center.cycle + 1
    return PayerView(
        balance_cents=oracle.balance_cents(payer),
        entries=tuple(sorted(map(entry_view, oracle.entries(payer)))),
        cost_center=None
        if center is None
        else CostCenterView(
            strategy=center.strategy,
            spending_limit=center.spending_limit,
            cycle_start_ms=center.cycle_start_ms,
            next_billing_ms=center.next_billing_ms,
        ),
        drafts=tuple(oracle.invoice_draft(payer, cycle=cycle) for cycle in range(cycles)),
        lines=oracle.lines_by_instance(payer),
    )


def views_of(oracle: Oracle) -> dict[str, PayerView]:
    """By payer."""
    return {payer: view_of(oracle, payer) for payer in sorted(oracle.payers())}
