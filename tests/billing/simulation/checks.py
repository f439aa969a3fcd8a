"""The laws of billing; each check gives what it found wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from events import decode
from ledger.replay import compare_with_log
from tests.billing.simulation.books import PayerBooks, books_of
from tests.stripe_double import StripeDouble
from tests.stripe_double.invoice_lines import lines_of
from tests.stripe_double.records import DEAD, Invoice

if TYPE_CHECKING:
    from tests.billing.simulation.machine import Machine
    from tests.billing.simulation.town import Resident, Town

EVERYTHING = 10_000_000
FINAL = frozenset({"open", "paid", "void", "uncollectible"})


def invoiced(double: StripeDouble, invoice: Invoice) -> int:
    """Give the metered credits of an invoice, whatever became of it."""
    lines = lines_of(double.world, invoice)
    return sum(line.quantity for line in lines if line.kind == "metered")


class Checks:
    """Compares the ledger, the double, and what the town knows of itself."""

    def __init__(self, double: StripeDouble, town: Town, machine: Machine) -> None:
        self._double, self._town, self._machine = double, town, machine

    # After every step --------------------------------------------------------------------------

    def after_step(self) -> list[str]:
        """What must hold at any moment."""
        return [*self._one_of_each(), *self._never_more_than_reported()]

    def _one_of_each(self) -> Iterator[str]:
        """One customer for each payer, one living subscription, and no hold that is captured."""
        world = self._double.world
        named = Counter(one.metadata.get("attributionId") for one in world.customers.values())
        for name, count in named.items():
            if count > 1:
                yield f"{name} has {count} customers"
        alive = Counter(
            one.customer for one in world.subscriptions.values() if one.status not in DEAD
        )
        for customer, count in alive.items():
            if count > 1:
                yield f"{customer} has {count} living subscriptions"
        for intent in world.payment_intents.values():
            if intent.capture_method == "manual" and intent.amount_received:
                yield f"hold {intent.id} was captured"
        paid = Counter(
            one.invoice for one in world.invoice_payments.values() if one.status == "paid"
        )
        for invoice, count in paid.items():
            if count > 1:
                yield f"{invoice} was paid {count} times"

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
        found = []
        for payer, books in self._books().items():
            name = payer.hex()[-4:]
            found += [f"{name}: {row}" for row in books.rows.values() if row.is_open]
            if books.unsettled_cents():
                found.append(f"{name}: {books.unsettled_cents()} cents are not settled")
        world = self._double.world
        found += [
            f"{one.id} is a draft" for one in world.invoices.values() if one.status == "draft"
        ]
        found += [
            f"{one.subscription}: {one.reported} credits in the open cycle"
            for one in self._double.money()
            if one.reported and one.invoice is None and self._is_open(one.subscription, one.cycle)
        ]
        return found

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
        yield from self._balance(resident, books)
        yield from self._invoices(books)
        yield from self._cycles(books)
        yield from self._subscriptions(resident, books)
        yield from self._total(resident, books)

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
        """Cents that came back: all, or what credit notes name; of amounts alone, anything."""
        if invoice.status in {"void", "uncollectible"}:
            return range(100 * billed, 100 * billed + 1)
        notes = [
            one
            for one in self._double.world.credit_notes.values()
            if one.invoice == invoice.id and one.voided_at is None
        ]
        named = 100 * sum(line.quantity for note in notes for line in note.lines)
        if all(note.lines for note in notes):
            return range(min(named, 100 * billed), min(named, 100 * billed) + 1)
        return range(min(named, 100 * billed), 100 * billed + 1)

    def _cycles(self, books: PayerBooks) -> Iterator[str]:
        """Of every closed cycle: sent - shortfall = invoiced; its books say the same."""
        world = self._double.world
        names = {one.subscription_id for one in books.subscriptions}
        for cycle in world.closed_cycles:
            if cycle.subscription not in names:
                continue
            span = cycle.usage[0]
            billed = 0
            if cycle.invoice is not None:
                billed = invoiced(self._double, world.invoices[cycle.invoice])
            end = span.usage_end
            sent = books.stamped_in(cycle.subscription, span.start * 1_000, end * 1_000)
            closed = books.closed.get((cycle.subscription, span.start * 1_000))
            short = 0 if closed is None else closed.shortfall_credits
            where = f"{cycle.subscription} cycle {cycle.cycle}"
            if sent - short != billed:
                yield f"{where}: {sent} sent, {short} short, {billed} invoiced"
            if closed is not None and (closed.sent_credits, closed.invoiced_credits) != (
                sent,
                billed,
            ):
                yield f"{where}: {sent} sent and {billed} invoiced, and the books say {closed}"

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
