"""What a log can hold: one frozen class per fact. A fact's position is its index in the log."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

Strategy = Literal["STRIPE", "OTHER"]


@dataclass(frozen=True, kw_only=True)
class Started:
    """An instance began. The rate is chosen when this is recorded and never again."""

    payer: str
    instance_id: str
    workspace_class: str
    workspace_type: str
    user_id: str
    started_ms: int
    workspace_id: str = ""
    project_id: str = ""
    creation_ms: int | None = None
    credits_per_minute: Fraction | None = None
    # Personal: no comparison looks at them.
    context_url: str = field(default="", compare=False)
    user_name: str = field(default="", compare=False)
    user_avatar_url: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Stopping:
    payer: str
    instance_id: str
    stopping_ms: int


@dataclass(frozen=True, kw_only=True)
class Stopped:
    payer: str
    instance_id: str
    stopped_ms: int


@dataclass(frozen=True, kw_only=True)
class CreditNote:
    """Credits given back, published or by call.

    `cents` is the entry's: negative where credits are given.
    """

    payer: str
    cents: int
    user_id: str
    effective_ms: int
    # A free text is personal.
    description: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class OperatorEnded:
    payer: str
    instance_id: str
    ended_ms: int


@dataclass(frozen=True, kw_only=True)
class InstanceVoided:
    """Nothing counts that was recorded of the instance for this payer so far."""

    payer: str
    instance_id: str


@dataclass(frozen=True, kw_only=True)
class NoteVoided:
    """The credit note at a position of the log counts no more."""

    payer: str
    note_position: int
    note: CreditNote


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class PriceList:
    """Rates by workspace class. `in_force_from_ms` None: since the beginning of time."""

    revision: int
    rates: dict[str, Fraction]
    in_force_from_ms: int | None


@dataclass(frozen=True, kw_only=True)
class CostCenterOpened:
    """A boundary: closes cycle 0. Always OTHER."""

    payer: str
    spending_limit: int
    cycle_start_ms: int


@dataclass(frozen=True, kw_only=True)
class SpendingLimitSet:
    payer: str
    spending_limit: int


@dataclass(frozen=True, kw_only=True)
class CycleReset:
    """A boundary. The write-off belongs to the cycle that it ends."""

    payer: str
    write_off_cents: int
    written_at_ms: int
    cycle_start_ms: int
    next_billing_ms: int


@dataclass(frozen=True, kw_only=True)
class StrategyChanged:
    """A boundary. The write-off (only of an upgrade) belongs to the cycle that it ends."""

    payer: str
    strategy: Strategy
    spending_limit: int
    write_off_cents: int
    cycle_start_ms: int


InstanceFact = Started | Stopping | Stopped | OperatorEnded
Published = Started | Stopping | Stopped | CreditNote
Boundary = CostCenterOpened | CycleReset | StrategyChanged
Void = InstanceVoided | NoteVoided
PayerFact = InstanceFact | CreditNote | SpendingLimitSet | Boundary | Void
PayerLog = list[tuple[int, PayerFact]]
"""The facts of one payer with their positions, in the order of the log."""

ReconcileLog = list[tuple[int, Reconciled]]
"""The reconciles of everybody with their positions, in the order of the log."""
