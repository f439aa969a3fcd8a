"""Calls on a ledger as values, so that the oracle and the product can both apply them."""

from collections.abc import Iterable
from dataclasses import dataclass

from ._facts import Strategy
from .model import Oracle
from .refused import CallError


@dataclass(frozen=True, kw_only=True)
class Publish:
    """One batch of CloudEvents lines."""

    at_ns: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class PublishPrices:
    """A process starts with this price list, in force from now."""

    at_ns: int
    revision: int
    rates: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class AddCreditNote:
    at_ns: int
    payer: str
    credits_given: int
    description: str
    user_id: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class GetCostCenter:
    at_ns: int
    payer: str


@dataclass(frozen=True, kw_only=True)
class SetCostCenter:
    at_ns: int
    payer: str
    spending_limit: int
    strategy: Strategy


@dataclass(frozen=True, kw_only=True)
class ResetUsage:
    at_ns: int


@dataclass(frozen=True, kw_only=True)
class Reconcile:
    at_ns: int


@dataclass(frozen=True, kw_only=True)
class EndInstance:
    """An operator ends the instance at `ended_ns`."""

    at_ns: int
    instance_id: str
    ended_ns: int


@dataclass(frozen=True, kw_only=True)
class VoidInstance:
    """An operator voids the instance; of a named payer only, if there is one."""

    at_ns: int
    instance_id: str
    payer: str = ""


@dataclass(frozen=True, kw_only=True)
class VoidNote:
    """An operator voids a credit note, by its name in the model."""

    at_ns: int
    payer: str
    name: str


Void = VoidInstance | VoidNote
Barrier = (
    PublishPrices | GetCostCenter | SetCostCenter | ResetUsage | Reconcile | EndInstance | Void
)
"""What nothing may be reordered across."""

Operation = Publish | AddCreditNote | Barrier


def apply(oracle: Oracle, operation: Operation) -> object:
    """The oracle's answer: outcomes of a batch, what a call returned, or a status code's name."""
    try:
        return _apply(oracle, operation)
    except CallError as error:
        return error.code


def _apply(oracle: Oracle, operation: Operation) -> object:
    at_ns = operation.at_ns
    answer: object = None
    match operation:
        case Publish(lines=lines):
            answer = tuple(oracle.publish(line, at_ns) for line in lines)
        case PublishPrices(revision=revision, rates=rates):
            answer = oracle.publish_price_list(revision, dict(rates), at_ns)
        case AddCreditNote():
            answer = oracle.add_credit_note(
                operation.payer,
                operation.credits_given,
                operation.description,
                at_ns,
                user_id=operation.user_id,
                idempotency_key=operation.idempotency_key,
            )
        case GetCostCenter(payer=payer):
            answer = oracle.get_cost_center(payer, at_ns)
        case SetCostCenter():
            answer = oracle.set_cost_center(
                operation.payer, operation.spending_limit, operation.strategy, at_ns
            )
        case ResetUsage():
            answer = oracle.reset_usage(at_ns)
        case Reconcile():
            oracle.reconcile(at_ns)
        case EndInstance():
            oracle.end_instance(operation.instance_id, operation.ended_ns, at_ns)
        case VoidInstance() | VoidNote():
            _void(oracle, operation)
    return answer


def _void(oracle: Oracle, operation: Void) -> None:
    if isinstance(operation, VoidInstance):
        oracle.void_instance(operation.instance_id, operation.at_ns, payer=operation.payer)
    else:
        oracle.void_note(operation.payer, operation.name, operation.at_ns)


def apply_all(oracle: Oracle, operations: Iterable[Operation]) -> Oracle:
    for operation in operations:
        apply(oracle, operation)
    return oracle
