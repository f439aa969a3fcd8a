"""One Stripe account: its clock, its objects, and what it tells of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from tests.stripe_double.clock import HOUR, MINUTE, DoubleClock
from tests.stripe_double.errors import malformed, missing
from tests.stripe_double.events import EventLog
from tests.stripe_double.records import (
    Charge,
    ClosedCycle,
    CreditNote,
    Customer,
    Dispute,
    Invoice,
    InvoiceItem,
    InvoicePayment,
    Meter,
    PaymentIntent,
    PaymentMethod,
    Price,
    Product,
    Subscription,
)
from tests.stripe_double.search import SearchIndex
from tests.stripe_double.usage import UsageLog

Json: TypeAlias = dict[str, Any]
One = TypeVar("One")

API_VERSION = "2026-10-28.endive"


@dataclass(slots=True)
class Settings:
    """What tests may change at any time; it holds for what happens afterwards."""

    # A page that holds few, so that who forgets the next one is found out. Stripe's is 10.
    page_size: int = 3
    search_lag_seconds: int = MINUTE
    aggregation_delay_seconds: int = 30
    grace_seconds: int = HOUR
    # Of the last invoice, made by `invoice_now`; None: as all others.
    final_grace_seconds: int | None = None
    # False: invoices stay open when they are finalized.
    collects_payments: bool = True
    # The code of a repeated identifier is not documented: tests try both.
    duplicate_identifier_code: str | None = "duplicate_meter_event"
    # Whether a 500 or 504 says that another try is not worth it, as its key would only repeat it.
    server_errors_are_final: bool = False
    running_seconds: int = 30  # how long a request goes on whose caller was told 504
    tax_countries: frozenset[str] = frozenset({"AT", "CA", "DE", "ES", "FR", "GB", "NL", "US"})
    # How often an asynchronous request lets others run before it takes effect.
    turns_in_flight: int = 1
    keeps_answers: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose parameters were checked; `names` are the parts of its path."""

    parameters: Json
    names: tuple[str, ...]
    path: str
    token: str | None = None


Handler: TypeAlias = Callable[["World", Call], Json]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path with `{}` for each name in it, what it takes and what it does."""

    method: str
    path: str
    handler: Handler
    check: Callable[[Any, str], Any]


@dataclass(slots=True)
class LateRefusal:
    """The next events whose identifier begins so are accepted, and refused later by a thin event.

    None left: the rule is spent.
    """

    identifier_prefix: str
    code: str
    times_left: int


@dataclass(slots=True)
class World:
    """Everything of one account. Objects are kept by ID in the order in which they were made."""

    clock: DoubleClock
    seed: int | str
    settings: Settings = field(default_factory=Settings)
    customers: dict[str, Customer] = field(default_factory=dict)
    payment_methods: dict[str, PaymentMethod] = field(default_factory=dict)
    payment_intents: dict[str, PaymentIntent] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    prices: dict[str, Price] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    invoice_items: dict[str, InvoiceItem] = field(default_factory=dict)
    invoice_payments: dict[str, InvoicePayment] = field(default_factory=dict)
    credit_notes: dict[str, CreditNote] = field(default_factory=dict)
    disputes: dict[str, Dispute] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    closed_cycles: list[ClosedCycle] = field(default_factory=list)
    late_refusals: list[LateRefusal] = field(default_factory=list)
    search: SearchIndex = field(default_factory=SearchIndex)
    usage: UsageLog = field(default_factory=UsageLog)
    events: EventLog = field(init=False)
    dice: random.Random = field(init=False)
    _numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.dice = random.Random(f"{self.seed}:world")
        self.events = EventLog(self.clock, lambda: self.new_id("evt"), API_VERSION)

    @property
    def now(self) -> int:
        """Whole seconds since 1970."""
        return self.clock.now

    def new_id(self, prefix: str) -> str:
        """Count up an ID of one kind of object."""
        number = self._numbers.get(prefix, 0) + 1
        self._numbers[prefix] = number
        return f"{prefix}_Double{number:06d}"

    def emit(self, kind: str, told: Json, previous: Json | None = None) -> None:
        """Make an event of the state that is told of an object."""
        self.events.add(kind, told, previous)

    def customer(self, name: str, *, param: str | None = None) -> Customer:
        """Give a customer that is not deleted; else refuse."""
        found = self.customers.get(name)
        if found is None or found.deleted:
            raise missing("customer", name, param=param)
        return found

    def subscription(self, name: str, *, param: str | None = None) -> Subscription:
        """Give a subscription, else refuse."""
        return _found(self.subscriptions, "subscription", name, param)

    def invoice(self, name: str, *, param: str | None = None) -> Invoice:
        """Give an invoice, else refuse."""
        return _found(self.invoices, "invoice", name, param)

    def price(self, name: str, *, param: str | None = None) -> Price:
        """Give a price, else refuse."""
        return _found(self.prices, "price", name, param)

    def intent(self, name: str, *, param: str | None = None) -> PaymentIntent:
        """Give a payment intent, else refuse."""
        return _found(self.payment_intents, "payment_intent", name, param)

    def payment_method(self, name: str, *, param: str | None = None) -> PaymentMethod:
        """Give a payment method, else refuse."""
        return _found(self.payment_methods, "PaymentMethod", name, param)

    def meter(self, name: str, *, param: str | None = None) -> Meter:
        """Give a meter, else refuse."""
        return _found(self.meters, "meter", name, param)

    def default_method(self, customer: str, subscription: str | None) -> PaymentMethod | None:
        """Give the card that invoices are charged to."""
        of_subscription = self.subscriptions[subscription] if subscription else None
        name = of_subscription.default_payment_method if of_subscription else None
        name = name or self.customers[customer].default_payment_method
        return self.payment_methods[name] if name else None

    def subscriptions_of(self, customer: str) -> list[Subscription]:
        """Give a customer's subscriptions, dead ones too."""
        return [one for one in self.subscriptions.values() if one.customer == customer]


def _found(objects: dict[str, One], what: str, name: str, param: str | None) -> One:
    found = objects.get(name)
    if found is None:
        raise missing(what, name, param=param)
    return found


def changed_metadata(before: dict[str, str], change: dict[str, str]) -> dict[str, str]:
    """Merge metadata; no change at all, which is an empty text, takes everything away."""
    if not change:
        return {}
    return {key: one for key, one in (before | change).items() if one}


def rfc_address(given: Any) -> dict[str, str | None] | None:
    """Give an address with all its fields; an empty text is none."""
    if given == "":
        return None
    if not isinstance(given, dict):
        raise malformed("Invalid address", "address")
    fields = ("city", "country", "line1", "line2", "postal_code", "state")
    return {name: given.get(name) or None for name in fields}
