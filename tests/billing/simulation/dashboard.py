"""Stripe's side: trouble on the way, people at its dashboard, banks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.billing.simulation.stage import OUTAGES, TROUBLES, Stage
from tests.billing.simulation.town import DAY_MS, HOUR_MS, MINUTE_MS
from tests.stripe_double import credit_notes
from tests.stripe_double.errors import StripeError
from tests.stripe_double.invoice_lines import lines_of
from tests.stripe_double.invoices import remaining_of
from tests.stripe_double.records import Invoice
from tests.stripe_double.world import Call

OUTAGES_MS = (HOUR_MS, 5 * HOUR_MS, 23 * HOUR_MS, 25 * HOUR_MS, 2 * DAY_MS, 5 * DAY_MS)
TROUBLES_MS = (MINUTE_MS, HOUR_MS, DAY_MS, 2 * DAY_MS)
PATHS = ("*", "*", "/v1/billing/*", "/v1/invoices*", "/v1/subscriptions*")


class Dashboard(Stage):
    """What happens there."""

    async def _fault(self) -> None:
        """One kind of trouble for a while; outages are of everything."""
        rng = self._rng
        if self._outage_ends is not None:
            return
        if rng.random() < 0.4:
            kind, lasts = rng.choice(OUTAGES), rng.choice(OUTAGES_MS)
            self._double.faults.add(kind)
        else:
            kind, lasts = rng.choice(TROUBLES), rng.choice(TROUBLES_MS)
            odds = rng.choice((0.2, 0.5, 0.9, 1.0))
            self._double.faults.add(kind, path=rng.choice(PATHS), probability=odds)
        self._outage_ends = self.now + lasts
        self._tell(f"trouble: {kind} for {lasts // MINUTE_MS} minutes")

    async def _late_refusal(self) -> None:
        """Stripe takes the next report and does not count it."""
        self._tell("a report will be refused late")
        self._double.outside.refuse_late()

    async def _outside(self) -> None:
        """Somebody does something to an invoice in Stripe's dashboard."""
        rng = self._rng
        invoices = list(self._double.world.invoices.values())
        if not invoices:
            return
        # Most is done to what is open, and to what came last.
        open_ones = [one for one in invoices if one.status == "open"]
        invoice = rng.choice(rng.choice((open_ones or invoices, invoices[-2:], invoices)))
        outside = self._double.outside
        acts: list[Callable[[], Any]] = [
            lambda: outside.void_invoice(invoice.id),
            lambda: outside.mark_uncollectible(invoice.id),
            lambda: outside.pay_invoice(invoice.id),
            lambda: outside.finalize_invoice(invoice.id),
            lambda: outside.issue_credit_note(invoice.id, rng.choice((40, 900, 1_500))),
            lambda: self._credit_lines(invoice),
            lambda: self._credit_lines(invoice),
            self._void_credit_note,
        ]
        act = rng.choice(acts)
        try:
            act()
        except StripeError as refusal:
            self._tell(f"dashboard: {refusal}")
            return
        self._tell(f"dashboard: {invoice.id} is {invoice.status} now")

    def _credit_lines(self, invoice: Invoice) -> None:
        """Credit some units of a line of an invoice."""
        world = self._double.world
        lines = [one for one in lines_of(world, invoice) if one.amount > 0 and one.quantity > 0]
        if not lines:
            return
        line = self._rng.choice(lines)
        units = self._rng.randint(1, line.quantity)
        amount = line.amount * units // line.quantity
        row = {"type": "invoice_line_item", "invoice_line_item": line.id, "quantity": units}
        back = max(amount - remaining_of(world, invoice), 0)
        given = {"invoice": invoice.id, "lines": [row], "credit_amount": back}
        credit_notes.create(world, Call(given, (), "/v1/credit_notes"))
        self._double.deliver()

    def _void_credit_note(self) -> None:
        """Take a credit note back, which Stripe allows while its invoice is open."""
        world = self._double.world
        notes = [one for one in world.credit_notes.values() if one.voided_at is None]
        if notes:
            note = self._rng.choice(notes)
            credit_notes.void(world, Call({}, (note.id,), ""))
            self._double.deliver()

    async def _dispute(self) -> None:
        charges = [
            one
            for one in self._double.world.charges.values()
            if one.captured and not one.disputed and one.customer
        ]
        if charges:
            charge = self._rng.choice(charges)
            self._double.outside.open_dispute(charge=charge.id)
            self._tell(f"{charge.id} is disputed")

    async def _leave(self) -> None:
        """Somebody ends a subscription at Stripe, with or without a last invoice."""
        alive = [one for one in self._double.world.subscriptions.values() if one.ended_at is None]
        if alive:
            one = self._rng.choice(alive)
            invoices = self._rng.random() < 0.6
            client = self._double.client()
            faults, self._double.faults.rules = self._double.faults.rules, []
            client.v1.subscriptions.cancel(one.id, {"invoice_now": invoices})
            self._double.faults.rules = faults
            self._tell(f"{one.id} is ended at Stripe, {invoices=}")
