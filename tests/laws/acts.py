"""The oracle's operations as pieces of work for the product's core."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from events import OTHER, STRIPE
from ledger import commands
from ledger.commands.cost_centers import Opening, Terms
from ledger.group import Group
from ledger.identifiers import parse_payer
from ledger.intake import Batch, take
from tests.oracle.operations import (
    AddCreditNote,
    EndInstance,
    GetCostCenter,
    Operation,
    PublishPrices,
    Reconcile,
    SetCostCenter,
)

LEDGER_INTERVAL_MS = 3_600_000
OPENING = Opening(for_teams=0, for_users=500)
RESETS_AT_ONCE = 3  # few, so that a reset of all goes round more than once

Act = Callable[[Group], object]


def payer_bytes(attribution: str) -> bytes:
    payer = parse_payer(attribution)
    assert payer is not None, attribution
    return payer


def act_of(operation: Operation) -> Act:
    """Give the work of every operation that is one piece of it."""
    match operation:
        case PublishPrices(revision=revision, rates=rates):
            exact = {name: Decimal(text) for name, text in rates}
            return lambda group: commands.publish_prices(
                group, revision=revision, rates=exact, in_force_from=None
            )
        case AddCreditNote():
            return _add_note(operation)
        case GetCostCenter(payer=payer):
            return lambda group: commands.open_cost_center(group, payer_bytes(payer), OPENING)
        case SetCostCenter():
            return _set_cost_center(operation)
        case Reconcile():
            return lambda group: commands.reconcile_usage(
                group, from_time=0, to_time=0, ledger_interval_ms=LEDGER_INTERVAL_MS
            )
        case EndInstance(instance_id=instance_id, ended_ns=ended_ns):
            ended_ms = ended_ns // 1_000_000
            return lambda group: commands.end_instance(group, instance_id, ended_ms, "gone")
        case _:
            raise TypeError(f"{type(operation).__name__} is more than one piece of work")


def take_of(batch: Batch) -> Act:
    return lambda group: take(group, batch)


def due_after(after: bytes) -> Act:
    return lambda group: commands.due_cost_centers(group, after=after, limit=RESETS_AT_ONCE)


def reset_of(payer: bytes) -> Act:
    return lambda group: commands.reset_cost_center(group, payer)


def _add_note(operation: AddCreditNote) -> Act:
    def act(group: Group) -> None:
        note = commands.check_credit_note(
            operation.payer,
            operation.credits_given,
            operation.description,
            operation.user_id,
            operation.idempotency_key,
        )
        commands.add_credit_note(group, note)

    return act


def _set_cost_center(operation: SetCostCenter) -> Act:
    def act(group: Group) -> Terms:
        return commands.set_cost_center(
            group,
            payer_bytes(operation.payer),
            spending_limit=operation.spending_limit,
            strategy=STRIPE if operation.strategy == "STRIPE" else OTHER,
            opening=OPENING,
        )

    return act
