"""What happens to an account from outside of the API: people, banks, the dashboard."""

from __future__ import annotations

from collections.abc import Callable

from tests.stripe_double import credit_notes, customers, invoices
from tests.stripe_double.disputes import open_dispute, tell_dispute
from tests.stripe_double.errors import StripeError, missing
from tests.stripe_double.intents import CardKind, confirm, new_card, tell_intent
from tests.stripe_double.invoice_lines import one_off_line
from tests.stripe_double.records import Invoice, InvoiceItem
from tests.stripe_double.world import Call, Json, LateRefusal, World


class Outside:
    """Each act gives what the API would tell; webhooks go out afterwards."""

    def __init__(self, world: World, deliver: Callable[[], None]) -> None:
        """Act on an account."""
        self._world = world
        self._deliver = deliver

    def confirm_payment(self, intent: str, card: CardKind = "good") -> Json:
        """Confirm a payment intent in the browser; a card that declines leaves it as it was."""
        found = self._world.intent(intent)
        confirm(self._world, found, new_card(self._world, card))
        return self._done(tell_intent(found))

    def set_address(self, customer: str, address: dict[str, str] | None) -> Json:
        """Change the address in the customer's portal; None takes it away."""
        found = self._world.customer(customer)
        return self._done(customers.change(self._world, found, {"address": address or ""}))

    def set_card(self, customer: str, card: CardKind) -> Json:
        """Replace the default card in the customer's portal."""
        found = self._world.customer(customer)
        made = new_card(self._world, card)
        made.customer = customer
        change = {"invoice_settings": {"default_payment_method": made.id}}
        return self._done(customers.change(self._world, found, change))

    def delete_customer(self, customer: str) -> Json:
        """Delete a customer in the dashboard; subscriptions end and open usage is lost."""
        found = self._world.customer(customer)
        return self._done(customers.remove(self._world, found))

    def open_dispute(
        self,
        *,
        payment_intent: str | None = None,
        charge: str | None = None,
        reason: str = "general",
    ) -> Json:
        """Open a dispute about a charge, alone or with its payment intent.

        Given an intent the dispute names it; given a charge it does not.
        """
        world = self._world
        if payment_intent is not None:
            charge = world.intent(payment_intent).latest_charge
        found = world.charges.get(charge or "")
        if found is None:
            raise missing("charge", charge or "")
        with_intent = payment_intent is not None
        opened = open_dispute(world, found, with_intent=with_intent, reason=reason)
        return self._done(tell_dispute(opened))

    def void_invoice(self, invoice: str) -> Json:
        """Void an open invoice in the dashboard."""
        return self._invoice(invoice, invoices.void)

    def mark_uncollectible(self, invoice: str) -> Json:
        """Give an open invoice up in the dashboard."""
        return self._invoice(invoice, invoices.mark_uncollectible)

    def pay_invoice(self, invoice: str) -> Json:
        """Pay an open invoice by the default card."""
        return self._invoice(invoice, invoices.pay)

    def finalize_invoice(self, invoice: str) -> Json:
        """Finalize a draft before its grace is over."""
        return self._invoice(invoice, invoices.finalize)

    def _invoice(self, name: str, act: Callable[[World, Invoice], None]) -> Json:
        found = self._world.invoice(name)
        act(self._world, found)
        return self._done(invoices.tell_invoice(self._world, found))

    def bill_once(
        self,
        subscription: str,
        amount: int,
        *,
        reason: str = "manual",
        period: tuple[int, int] | None = None,
        is_draft: bool = False,
    ) -> Json:
        """Make an invoice of a subscription that bills something else than its usage.

        Finalized at once, or a draft that nobody ever finalizes.
        """
        world = self._world
        owner = world.subscription(subscription)
        item = InvoiceItem(
            world.new_id("ii"),
            world.now,
            owner.customer,
            owner.id,
            amount,
            owner.currency,
            1,
            "Fee",
        )
        world.invoice_items[item.id] = item
        made = invoices.open_draft(
            world,
            customer=owner.customer,
            subscription=owner.id,
            reason=reason,
            period=period or (owner.items[0].period_start, world.now),
            usage=(),
            fixed=[one_off_line(world, item)],
            cycle=0,
            grace_seconds=None if is_draft else 0,
        )
        return self._done(invoices.tell_invoice(world, made))

    def issue_credit_note(self, invoice: str, amount: int, memo: str = "") -> Json:
        """Credit a part of an invoice; what was paid comes back as customer credit."""
        found = self._world.invoice(invoice)
        before = min(amount, invoices.remaining_of(self._world, found))
        given = {"invoice": invoice, "amount": amount, "credit_amount": amount - before}
        call = Call(given | {"memo": memo}, (), "/v1/credit_notes")
        return self._done(credit_notes.create(self._world, call))

    def refuse_late(
        self,
        *,
        times: int = 1,
        identifier_prefix: str = "",
        code: str = "meter_event_invalid_value",
    ) -> None:
        """Accept the next meter events with an identifier that begins so, and not count them.

        A thin event says so when they would be aggregated.
        """
        if times < 1:
            raise StripeError(400, "times is at least 1", param="times")
        self._world.late_refusals.append(LateRefusal(identifier_prefix, code, times))

    def _done(self, told: Json) -> Json:
        self._deliver()
        return told
