"""Valid histories of billing: streams of events that the ledger might decide on, of two payers.

Each step picks one of what is allowed then, so that any list of numbers is a valid history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import strategies as st

from events import (
    BillingCycleClosed,
    CreditNoteIssued,
    HoldPlaced,
    HoldReleased,
    HoldVerified,
    InvoiceCorrected,
    InvoiceSettled,
    LedgerEvent,
    Recorded,
    ReportedCycleClosed,
    StripeCustomerBound,
    StripeCustomerGone,
    StripeCustomerRefused,
    StripeCustomerRequested,
    StripeIdClaimed,
    SubscriptionActivated,
    SubscriptionCancelRequested,
    SubscriptionCreated,
    SubscriptionEnded,
    SubscriptionRefused,
    SubscriptionRequested,
    UnsettledUsageKept,
    UsageReconciled,
    UsageReported,
    UsageReportRejected,
    UsageReportRequested,
    UsageReportStamped,
)

PAYERS = (bytes(range(16)), bytes(range(16, 32)))
BEGIN_MS = 1_793_520_000_000
STEP_MS = 3_600_000
CYCLE_MS = 10 * STEP_MS

Act = Callable[[], None]
EventClass = Callable[..., LedgerEvent]


@dataclass
class Row:
    """A row of the outbox, as the one who decides knows it."""

    seq: int
    delta: int
    state: str = "waiting"
    stamped: int | None = None


@dataclass
class Subscription:
    """What was decided of one subscription."""

    id: str
    rows: list[Row] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)  # starts of cycles

    @property
    def unresolved(self) -> list[Row]:
        return [row for row in self.rows if row.state in {"waiting", "stamped", "refused"}]


@dataclass
class Account:
    """What was decided of one payer."""

    payer: bytes
    state: str = ""  # of the row that is expected
    customer: str = ""
    subscription: Subscription | None = None
    holds: list[str] = field(default_factory=list)
    times: int = 0  # requests of customers, attempts at subscriptions, cycles
    subscriptions: list[Subscription] = field(default_factory=list)
    invoices: list[tuple[str, int]] = field(default_factory=list)  # with cents


class History:
    """Decides one event after the other."""

    def __init__(self) -> None:
        self.log: list[Recorded] = []
        self.accounts = [Account(payer) for payer in PAYERS]
        self._versions: Counter[str] = Counter()
        self._ids = 0

    def take(self, step: tuple[int, int, int]) -> None:
        """The payer, which of the allowed acts, and how much."""
        who, which, amount = step
        account = self.accounts[who]
        acts = self._acts(account, amount)
        acts[which % len(acts)]()

    @property
    def now(self) -> int:
        return BEGIN_MS + len(self.log) * STEP_MS

    def _add(self, stream: str, event_class: EventClass, *values: Any) -> None:
        self._versions[stream] += 1
        event = event_class(self.now, "test", *values)
        self.log.append(Recorded(stream, self._versions[stream], event, len(self.log) + 1))

    def _id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}_{self._ids}"

    def _acts(self, account: Account, amount: int) -> list[Act]:
        payer = account.payer
        acts: list[Act] = [
            lambda: self._add(self._id("note"), CreditNoteIssued, payer, amount, 0, b"", b""),
            lambda: self._add("reconciles", UsageReconciled, self.now, 0, 0, STEP_MS),
            lambda: self._close(account, "upgrade" if amount % 2 else "reset", amount),
        ]
        acts += self._acts_of_account(account, amount)
        for subscription in account.subscriptions:
            acts += self._acts_of(account, subscription, amount)
        for invoice, _ in account.invoices:
            acts.append(partial(self._correct, account, invoice, amount))
        return acts

    def _tell(self, account: Account, state: str, event_class: EventClass, *values: Any) -> None:
        account.state = state
        self._add(f"billing-account:{account.payer.hex()}", event_class, account.payer, *values)

    def _acts_of_account(self, account: Account, amount: int) -> list[Act]:
        """By the state of the row that is expected."""
        tell = partial(partial, self._tell, account)
        customer, number = account.customer, account.times
        acts: list[Act] = []
        match account.state:
            case "":
                wanted = number, "eur", "", b""
                acts.append(tell("customer-requested", StripeCustomerRequested, *wanted))
            case "customer-requested":
                acts.append(partial(self._bind, account))
                acts.append(tell("", StripeCustomerRefused, number, "email_invalid"))
            case "customer":
                wanted_now = 1, customer, "pi", 1, "price"
                acts.append(tell("subscription-requested", SubscriptionRequested, *wanted_now))
                acts.append(partial(self._hold, account))
            case "subscription-requested":
                acts.append(tell("hold-verified", HoldVerified, 1, "pm", "supported"))
                acts.append(partial(self._refuse, account))
            case "hold-verified":
                acts.append(partial(self._create, account))
            case "subscription-created":
                acts.append(tell("active", SubscriptionActivated, 1, _bound(account).id))
                acts.append(tell("cancelling", SubscriptionCancelRequested, _bound(account).id))
            case "active":
                acts += 3 * [partial(self._request, account, amount)]
                acts.append(tell("cancelling", SubscriptionCancelRequested, _bound(account).id))
            case _:  # it may be cancelled before it was active
                acts.append(tell("cancelling", SubscriptionActivated, 1, _bound(account).id))
                acts.append(partial(self._end, account))
        if account.holds:
            acts.append(partial(self._release, account))
        if customer:
            acts.append(partial(self._gone, account))
        return acts

    def _bind(self, account: Account) -> None:
        account.customer = self._id("cus")
        told = account.times, account.customer, "eur", self.now, ""
        self._tell(account, "customer", StripeCustomerBound, *told)
        self._add(f"stripe:{account.customer}", StripeIdClaimed, account.payer)
        account.times += 1

    def _gone(self, account: Account) -> None:
        state = "" if account.state == "customer" else account.state
        self._tell(account, state, StripeCustomerGone, account.customer)
        account.customer = ""

    def _hold(self, account: Account) -> None:
        account.holds.append(self._id("pi"))
        self._tell(account, account.state, HoldPlaced, len(account.holds), account.holds[-1])

    def _release(self, account: Account) -> None:
        self._tell(account, account.state, HoldReleased, account.holds.pop(), "expired")

    def _refuse(self, account: Account) -> None:
        state = "customer" if account.customer else ""
        self._tell(account, state, SubscriptionRefused, 1, "hold", "declined")

    def _create(self, account: Account) -> None:
        subscription = account.subscription = Subscription(self._id("sub"))
        account.subscriptions.append(subscription)
        told = 1, subscription.id, "price", self.now, self.now + CYCLE_MS
        self._tell(account, "subscription-created", SubscriptionCreated, *told)

    def _end(self, account: Account) -> None:
        state = "customer" if account.customer else ""
        self._tell(account, state, SubscriptionEnded, _bound(account).id, self.now, 0)
        account.subscription = None

    def _close(self, account: Account, reason: str, amount: int) -> None:
        account.times += 1
        self._add(
            f"cycle:{account.payer.hex()}:{account.times}",
            BillingCycleClosed,
            account.payer,
            account.times,
            reason,
            self.now,
            amount,
            -abs(amount),
        )
        if reason == "upgrade" and amount % 3 == 0:
            self._tell(account, account.state, UnsettledUsageKept, abs(amount))

    # Reports and invoices ----------------------------------------------------------------------

    def _request(self, account: Account, amount: int) -> None:
        subscription = _bound(account)
        row = Row(len(subscription.rows) + 1, amount)
        subscription.rows.append(row)
        self._add(
            f"usage-report:{subscription.id}",
            UsageReportRequested,
            account.payer,
            subscription.id,
            row.seq,
            row.delta,
            max(amount, 0),
            account.customer,
            "credits",
            f"credits:{subscription.id}:{row.seq}",
        )

    def _acts_of(self, account: Account, subscription: Subscription, amount: int) -> list[Act]:
        acts: list[Act] = [
            partial(self._settle, account, subscription, -100 * abs(amount)),
            partial(self._close_books, account, subscription, abs(amount)),
        ]
        for row in subscription.unresolved:
            acts.append(partial(self._stamp, account, subscription, row))
            acts += [
                partial(self._resolve, account, subscription, row, state)
                for state in ("delivered", "refused", "lost", "closed")
            ]
        return acts

    def _stamp(self, account: Account, subscription: Subscription, row: Row) -> None:
        row.state, row.stamped = "stamped", self.now
        stream = f"usage-report:{subscription.id}"
        self._add(stream, UsageReportStamped, account.payer, subscription.id, row.seq, row.stamped)

    def _resolve(self, account: Account, subscription: Subscription, row: Row, state: str) -> None:
        row.state = state
        stream, key = f"usage-report:{subscription.id}", (account.payer, subscription.id, row.seq)
        if state == "delivered":
            self._add(stream, UsageReported, *key, "accepted")
        else:
            self._add(stream, UsageReportRejected, *key, state, "told so")

    def _settle(self, account: Account, subscription: Subscription, cents: int) -> None:
        invoice = self._id("in")
        account.invoices.append((invoice, cents))
        self._add(
            f"invoice:{invoice}",
            InvoiceSettled,
            account.payer,
            invoice,
            account.customer,
            subscription.id,
            cents,
            self.now,
            self.now - CYCLE_MS,
            self.now,
        )

    def _correct(self, account: Account, invoice: str, amount: int) -> None:
        causes = ("voided", "uncollectible", f"credit-note:{self._id('cn')}")
        cause = causes[amount % 3]
        self._add(
            f"invoice:{invoice}",
            InvoiceCorrected, account.payer, invoice, cause, 100 * abs(amount), self.now,
        )  # fmt: skip

    def _close_books(self, account: Account, subscription: Subscription, credits: int) -> None:
        start = BEGIN_MS + (len(subscription.closed) + 1) * CYCLE_MS
        subscription.closed.add(start)
        self._add(
            f"reported-cycle:{subscription.id}:{start}",
            ReportedCycleClosed,
            account.payer,
            subscription.id,
            start,
            start + CYCLE_MS,
            "",
            credits,
            0,
            credits,
        )


def _bound(account: Account) -> Subscription:
    assert account.subscription is not None
    return account.subscription


def histories() -> st.SearchStrategy[History]:
    """Any valid history, of the two payers in any order."""
    step = st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(-9, 30))
    steps = st.sampled_from((3, 20, 60)).flatmap(
        lambda size: st.lists(step, min_size=size, max_size=size)
    )
    # Nearly nothing is allowed before there is a subscription, so most begin with one.
    return st.builds(_told, st.sampled_from(((), (0,), (0, 1), (0, 1))), steps)


def _told(begun: tuple[int, ...], steps: list[tuple[int, int, int]]) -> History:
    history = History()
    for who in begun:
        for _ in range(6):  # requested, bound, subscription requested, verified, created, active
            history.take((who, 3, 1))
    for step in steps:
        history.take(step)
    return history
