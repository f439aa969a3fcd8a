"""The laws of billing; each check gives what it found wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from billing.records import MARKER
from events import ReportedCycleClosed, decode
from ledger.replay import compare_with_log
from projections.billing import CANCELLING, CREATED, REQUESTED, VERIFIED
from tests.billing.simulation.books import PayerBooks, books_of
from tests.laws.asking_why import wrong_about
from tests.stripe_double import StripeDouble
from tests.stripe_double.invoice_lines import lines_of
from tests.stripe_double.records import DEAD, ClosedCycle, Invoice

if TYPE_CHECKING:
    from tests.billing.simulation.machine import Machine
    from tests.billing.simulation.town import Resident, Town

EVERYTHING = 10_000_000
EXPLAINED_AT_ONCE = 7  # parts of a number, so that there are several pages
SIGNING_UP = (REQUESTED, VERIFIED, CREATED)
FINAL = frozenset({"open", "paid", "void", "uncollectible"})


def invoiced(double: StripeDouble, invoice: Invoice) -> int:
    """Give the metered credits of an invoice, whatever became of it."""
    lines = lines_of(double.world, invoice)
    return sum(line.quantity for line in lines if line.kind == "metered")


class Cycle(NamedTuple):
    """A cycle that is over at Stripe: credits sent in it and invoiced, and its books, if closed."""

    where: str
    sent: int
    billed: int
    closed: list[ReportedCycleClosed]

    @property
    def short(self) -> int:
        """What was put back of it."""
        return sum(one.shortfall_credits for one in self.closed)


class _Stretch(NamedTuple):
    """A cycle at Stripe, or one whose books are closed, in ms."""

    start: int
    end: int
    cycle: ClosedCycle | None
    books: ReportedCycleClosed | None


def _together(stretches: Iterable[_Stretch]) -> Iterator[list[_Stretch]]:
    """Give those together that overlap."""
    group: list[_Stretch] = []
    for one in sorted(stretches, key=lambda one: one[:2]):
        # One may be of no length, in the second in which its subscription ended.
        if group and one.start >= max(max(each.end, each.start + 1) for each in group):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


class Checks:
    """Compares the ledger, the double, and what the town knows of itself."""

    def __init__(self, double: StripeDouble, town: Town, machine: Machine) -> None:
        self._double, self._town, self._machine = double, town, machine

    # After every step --------------------------------------------------------------------------

    def after_step(self) -> list[str]:
        """What must hold at any moment."""
        return [*self._one_of_each(), *self._never_more_than_reported()]

    def _one_of_each(self) -> Iterator[str]:
        """One customer for each payer, one living subscription, and a hold, never captured."""
        world = self._double.world
        customers = [one for one in world.customers.values() if not one.deleted]
        alive = [one for one in world.subscriptions.values() if one.status not in DEAD]
        intents = world.payment_intents.values()
        payments = [one for one in world.invoice_payments.values() if one.status == "paid"]
        named: dict[str, list[str | None]] = {
            "customers of a payer": [one.metadata.get("attributionId") for one in customers],
            "living subscriptions of a customer": [one.customer for one in alive],
            "payment intents of a mark": [one.metadata.get(MARKER) for one in intents],
            "payments of an invoice": [one.invoice for one in payments],
        }
        for what, names in named.items():
            for name, count in Counter(names).items():
                if count > 1 and name is not None:
                    yield f"{name}: {count} {what}"
        for intent in intents:
            if intent.capture_method == "manual" and intent.amount_received:
                yield f"hold {intent.id} was captured"

    def _never_more_than_reported(self) -> Iterator[str]:
        """No identifier has an effect twice; no cycle is invoiced for more than was reported."""
        for events in self._double.world.usage.by_payer.values():
            for name, count in Counter(one.identifier for one in events).items():
                if count > 1:
                    yield f"{name} was taken {count} times"
        for cycle in self._double.money():
            if cycle.invoiced > max(cycle.reported, 0):
                yield f"{cycle} is invoiced for more than was reported"

    # At the end --------------------------------------------------------------------------------

    def _books(self) -> dict[bytes, PayerBooks]:
        reader = self._machine.ledger.shards[0].queries.reader
        log = reader.log(after=0, limit=EVERYTHING)
        return books_of(decode(stored.topic, stored.state) for stored in log)

    def waits(self) -> list[str]:
        """What keeps it from being quiet."""
        # A customer is made for who asks, and nobody asks any more.
        found = self.unfinished(*SIGNING_UP, CANCELLING)
        for payer, books in self._books().items():
            name = payer.hex()[-4:]
            found += [f"{name}: {row}" for row in books.rows.values() if row.is_open]
            if books.unsettled_cents():
                found.append(f"{name}: {books.unsettled_cents()} cents are not settled")
        world = self._double.world
        # One of a fee may be a draft for ever.
        found += [
            f"{one.id} is a draft"
            for one in world.invoices.values()
            if one.status == "draft" and one.usage
        ]
        found += [
            f"{one.subscription}: {one.reported} credits in the open cycle"
            for one in self._double.money()
            if one.reported and one.invoice is None and self._is_open(one.subscription, one.cycle)
        ]
        for books in self._books().values():
            found += [f"{where}: its books are open" for where in self._open_books(books)]
        return found

    def _open_books(self, books: PayerBooks) -> Iterator[str]:
        """Cycles of which something missed its invoice, until that is put back."""
        for cycle in self._cycles_of(books):
            if cycle.sent - cycle.short != cycle.billed:
                yield cycle.where

    def refused(self) -> list[str]:
        """Reports that wait for somebody who looks."""
        return [
            f"{row.identifier} is refused"
            for books in self._books().values()
            for row in books.rows.values()
            if row.state == "refused"
        ]

    def unfinished(self, *states: str) -> list[str]:
        """Accounts that somebody has to go on with, in one of these states."""
        reader = self._machine.ledger.shards[0].queries.reader
        return [
            f"{account.payer.hex()[-4:]}: {account.state}"
            for account in reader.unfinished_accounts(after=b"", limit=EVERYTHING)
            if account.state in states
        ]

    def _is_open(self, subscription: str, cycle: int) -> bool:
        one = self._double.world.subscriptions[subscription]
        return one.ended_at is None and one.cycle == cycle

    def at_the_end(self, now: int) -> list[str]:
        """What must hold once it is quiet."""
        books = self._books()
        found = self.after_step()
        for resident in self._town.residents:
            of_payer = books.get(resident.key, PayerBooks())
            for broken in self._of_resident(resident, of_payer):
                found.append(f"{resident.name[-4:]}: {broken}")
        found += self._of_ledger()
        found += [
            f"{identifier} is at Stripe with {value}, and not in the ledger"
            for identifier, value in self._strangers(books)
        ]
        return found

    def _of_resident(self, resident: Resident, books: PayerBooks) -> Iterator[str]:
        yield from books.wrong
        yield from self._customer(resident)
        yield from self._balance(resident, books)
        yield from self._invoices(books)
        yield from self._cycles(books)
        yield from self._subscriptions(resident, books)
        yield from self._total(resident, books)
        queries = self._machine.ledger.shards[0].queries
        yield from wrong_about(queries, resident.name, size=EXPLAINED_AT_ONCE)

    def _customer(self, resident: Resident) -> Iterator[str]:
        """The ledger's customer is there at Stripe."""
        reader = self._machine.ledger.shards[0].queries.reader
        account = reader.billing_account(resident.key)
        if account is not None and account.customer_id:
            customer = self._double.world.customers[account.customer_id]
            if customer.deleted:
                yield f"{customer.id} is bound and was deleted"

    def _balance(self, resident: Resident, books: PayerBooks) -> Iterator[str]:
        """Balance = usage + notes - settled + corrections - write-offs."""
        balance = self._machine.ledger.shards[0].queries.balance(resident.key)
        if books.note_cents != -100 * resident.note_credits:
            yield f"notes are {books.note_cents} cents, not of {resident.note_credits} credits"
        expected = resident.usage_cents + books.entries_cents
        if balance != expected:
            yield f"the balance is {balance} cents, not {expected}"

    def _invoices(self, books: PayerBooks) -> Iterator[str]:
        """Every final invoice is settled once, for what it says; what was taken back came back."""
        names = {one.subscription_id for one in books.subscriptions}
        for invoice in self._double.world.invoices.values():
            if invoice.subscription not in names or invoice.status not in FINAL:
                continue
            billed = invoiced(self._double, invoice)
            settled = books.settled.get(invoice.id)
            if settled is None:
                yield f"{invoice.id} of {billed} credits is not settled"
                continue
            if -settled.credit_cents != 100 * billed:
                yield f"{invoice.id} of {billed} credits is settled for {settled.credit_cents}"
            back = books.corrections.get(invoice.id, 0)
            expected = self._taken_back(invoice, billed)
            if back not in expected:
                yield f"{invoice.id} ({invoice.status}) was corrected by {back}, not {expected}"

    def _taken_back(self, invoice: Invoice, billed: int) -> range:
        """Cents that came back: all, or what credit notes name of the lines that bill usage.

        Parts of a cent are rounded over all notes; where one was voided, no more than one a note.
        """
        if invoice.status in {"void", "uncollectible"}:
            return range(100 * billed, 100 * billed + 1)
        lines = {one.id: one for one in lines_of(self._double.world, invoice)}
        named, odd = Fraction(0), 0
        for note in self._double.world.credit_notes.values():
            if note.invoice != invoice.id:
                continue
            for part in note.lines:
                line = lines.get(part.invoice_line or "")
                if line is None or line.kind != "metered":
                    continue
                odd += not part.quantity
                if note.voided_at is None:
                    share = Fraction(line.quantity * part.amount, line.amount)
                    named += part.quantity or share
        cents = min(int(100 * named + Fraction(1, 2)), 100 * billed)
        return range(cents, min(cents + odd, 100 * billed) + 1)

    def _cycles(self, books: PayerBooks) -> Iterator[str]:
        """Of every closed cycle: sent - shortfall = invoiced; its books say the same."""
        for cycle in self._cycles_of(books):
            where, sent, billed, closed = cycle
            if sent - cycle.short != billed:
                yield f"{where}: {sent} sent, {cycle.short} short, {billed} invoiced"
            said = (
                sum(one.sent_credits for one in closed),
                sum(one.invoiced_credits for one in closed),
            )
            if closed and said != (sent, billed):
                yield f"{where}: {sent} sent and {billed} invoiced, and the books say {closed}"

    def _cycles_of(self, books: PayerBooks) -> Iterator[Cycle]:
        """Give cycles that are over at Stripe; those together of which the ledger has others.

        Nothing but an invoice, and the subscription while it lasts, tells of one that began when an
        anchor was moved: of an empty one that was soon over nobody ever hears.
        """
        for name in (one.subscription_id for one in books.subscriptions):
            cycles = [
                _Stretch(one.usage[0].start * 1_000, one.usage[0].end * 1_000, one, None)
                for one in self._double.world.closed_cycles
                if one.subscription == name
            ]
            closed = [
                _Stretch(one.period_start, one.period_end, None, one)
                for one in books.closed.values()
                if one.subscription_id == name
            ]
            for group in _together([*cycles, *closed]):
                yield self._cycle(name, books, group)

    def _cycle(self, name: str, books: PayerBooks, group: list[_Stretch]) -> Cycle:
        cycles = [one.cycle for one in group if one.cycle is not None]
        ends = [one.end for one in group] + [one.usage[0].usage_end * 1_000 for one in cycles]
        invoices = [one.invoice for one in cycles if one.invoice is not None]
        world = self._double.world
        return Cycle(
            f"{name} cycle {', '.join(str(one.cycle) for one in cycles)}",
            books.stamped_in(name, group[0].start, max(ends)),
            sum(invoiced(self._double, world.invoices[one]) for one in invoices),
            [one.books for one in group if one.books is not None],
        )

    def _subscriptions(self, resident: Resident, books: PayerBooks) -> Iterator[str]:
        """Of every subscription: Σ requested - Σ shortfalls = Σ invoiced; Stripe's is ours."""
        world = self._double.world
        for created in books.subscriptions:
            name = created.subscription_id
            billed = self._billed(name)
            reported = books.requested_of(name) - books.shortfalls_of(name)
            if billed != reported:
                yield f"{name}: {reported} credits are reported, {billed} invoiced"
        bound = [
            one.subscription_id
            for one in books.subscriptions
            if one.subscription_id not in books.ended
        ]
        alive = [
            one.id
            for one in world.subscriptions.values()
            if one.status not in DEAD
            and world.customers[one.customer].metadata["attributionId"] == resident.name
        ]
        if alive != bound:
            yield f"{alive} are alive at Stripe, {bound} are bound"

    def _billed(self, subscription: str) -> int:
        return sum(
            invoiced(self._double, one)
            for one in self._double.world.invoices.values()
            if one.subscription == subscription and one.status in FINAL
        )

    def _total(self, resident: Resident, books: PayerBooks) -> Iterator[str]:
        """Σ invoiced = what earlier times were billed + the ceiling of what this one owes."""
        billed = sum(self._billed(one.subscription_id) for one in books.subscriptions)
        if not books.times:
            if billed:
                yield f"{billed} credits were invoiced to a payer who never was on STRIPE"
            return
        time = books.times[-1]
        balance = self._machine.ledger.shards[0].queries.balance(resident.key)
        owed = time.begins_with + balance - time.balance_before - time.invoiced_cents
        target = -(-max(owed, 0) // 100)
        is_billed = books.strategy == "stripe" and any(
            one.subscription_id not in books.ended for one in books.subscriptions
        )
        if is_billed and time.requested < target:
            yield f"{target} credits are owed since the upgrade, {time.requested} reported"
        if is_billed and time.requested > target and not self._is_held(books):
            yield f"{target} credits are owed since the upgrade, {time.requested} reported"

    def _is_held(self, books: PayerBooks) -> bool:
        """Whether a credit can be held: nothing of the open cycle is left to take it from."""
        bound = [one for one in books.subscriptions if one.subscription_id not in books.ended]
        subscription = self._double.world.subscriptions[bound[-1].subscription_id]
        start = subscription.items[0].period_start * 1_000
        return books.stamped_in(subscription.id, start, EVERYTHING * EVERYTHING) <= 0

    def _strangers(self, books: dict[bytes, PayerBooks]) -> Iterator[tuple[str, int]]:
        known = {row.identifier: row.delta for one in books.values() for row in one.rows.values()}
        for events in self._double.world.usage.by_payer.values():
            for event in events:
                if known.get(event.identifier) != event.value:
                    yield event.identifier, event.value

    def _of_ledger(self) -> Iterator[str]:
        """The ledger's own laws hold, and its rows are those of its log folded anew."""
        reader = self._machine.ledger.shards[0].queries.reader
        for law, _, breaches in (*reader.audit(), *compare_with_log(reader)):
            for breach in breaches:
                yield f"{law}: {breach}"
