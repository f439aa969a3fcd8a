"""The oracle's operations as pieces of work for the product's core."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal

from events import OTHER, STRIPE
from events.readable import uuid_text
from ledger import arrivals, commands
from ledger.commands.cost_centers import Opening, Terms
from ledger.group import Group
from ledger.identifiers import parse_payer
from ledger.intake import Batch, take
from projections import entry_id_of
from tests.oracle.operations import (
    AddCreditNote,
    EndInstance,
    GetCostCenter,
    Operation,
    PublishPrices,
    Reconcile,
    SetCostCenter,
    VoidInstance,
    VoidNote,
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
        case EndInstance() | VoidInstance() | VoidNote():
            return _by_operator(operation)
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


def _by_operator(operation: EndInstance | VoidInstance | VoidNote) -> Act:
    if isinstance(operation, VoidNote):
        return _void_note(operation)
    if isinstance(operation, EndInstance):
        name, ended_ms = operation.instance_id, operation.ended_ns // 1_000_000
        return lambda group: commands.end_instance(group, name, ended_ms, "gone")
    payer = payer_bytes(operation.payer) if operation.payer else None

    def act(group: Group) -> None:
        commands.void_instance(group, operation.instance_id, "the wrong team", payer=payer)

    return act


def _void_note(operation: VoidNote) -> Act:
    entry_id = entry_id_of_note(operation.payer, operation.name)

    def act(group: Group) -> None:
        payer = payer_bytes(operation.payer)
        commands.void_credit_note(group, payer, entry_id, "given twice")

    return act


def entry_id_of_note(payer: str, name: str) -> str:
    """Give the product's id of the entry of a note, by the oracle's name for it."""
    kind, _, name = name.partition(":")
    key = name if kind == "key" else str(uuid.uuid5(arrivals._CREDIT_NOTE_NAMESPACE, name))
    return uuid_text(entry_id_of(f"credit-note:{payer}:{kind}:{key}"))


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
