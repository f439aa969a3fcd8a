"""Stripe's side: trouble on the way, people at its dashboard, banks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.billing.simulation.stage import OUTAGES, TROUBLES, Stage
from tests.billing.simulation.town import DAY_MS, HOUR_MS, MINUTE_MS
from tests.stripe_double import credit_notes, invoices
from tests.stripe_double.errors import StripeError
from tests.stripe_double.faults import FaultRule
from tests.stripe_double.invoice_lines import lines_of
from tests.stripe_double.invoices import remaining_of
from tests.stripe_double.records import Invoice
from tests.stripe_double.world import Call

OUTAGES_MS = (HOUR_MS, 5 * HOUR_MS, 23 * HOUR_MS, 25 * HOUR_MS, 2 * DAY_MS, 5 * DAY_MS)
TROUBLES_MS = (MINUTE_MS, HOUR_MS, DAY_MS, 2 * DAY_MS)
PATHS = ("*", "*", "/v1/billing/*", "/v1/invoices*", "/v1/subscriptions*")


class Dashboard(Stage):
    """What happens there."""

    def __init__(self, *given: Any) -> None:
        """Nothing has happened."""
        super().__init__(*given)
        self._faults: list[FaultRule] = []  # while people are at work
        self._refusing: FaultRule | None = None

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
        invoice = self._some_invoice()
        if invoice is not None:
            self._do_something(invoice)

    def _some_invoice(self) -> Invoice | None:
        """Choose one: most is done to what is open, and to what came last."""
        rng = self._rng
        every = list(self._double.world.invoices.values())
        if not every:
            return None
        open_ones = [one for one in every if one.status == "open"]
        return rng.choice(rng.choice((open_ones or every, every[-2:], every)))

    def _do_something(self, invoice: Invoice) -> None:
        rng, outside = self._rng, self._double.outside
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

    def _do_and_undo(self, invoice: Invoice) -> Callable[[], None]:
        """Take an open invoice back in part or at all, and give what takes that back."""
        world = self._double.world
        if invoice.status != "open":
            return lambda: self._do_something(invoice)
        if self._rng.random() < 0.5:
            self._double.outside.mark_uncollectible(invoice.id)
            return lambda: self._if_possible(lambda: invoices.pay(world, invoice, out_of_band=True))
        before = set(world.credit_notes)
        self._if_possible(lambda: self._credit_lines(invoice))
        made = [one for one in world.credit_notes if one not in before]
        return lambda: self._if_possible(
            lambda: [credit_notes.void(world, Call({}, (one,), "")) for one in made]
        )

    def _if_possible(self, act: Callable[[], object]) -> None:
        try:
            act()
        except StripeError as refusal:
            self._tell(f"dashboard: {refusal}")
        self._double.deliver()

    def _credit_lines(self, invoice: Invoice) -> None:
        """Credit some units of a line of an invoice, or a part of its amount."""
        world = self._double.world
        lines = [one for one in lines_of(world, invoice) if one.amount > 0 and one.quantity > 0]
        if not lines:
            return
        line = self._rng.choice(lines)
        units = self._rng.randint(1, line.quantity)
        amount = line.amount * units // line.quantity
        row: dict[str, Any] = {"type": "invoice_line_item", "invoice_line_item": line.id}
        if self._rng.random() < 0.6:
            row["quantity"] = units
        else:
            amount = row["amount"] = self._rng.randint(1, line.amount)
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
        """Somebody ends a subscription at Stripe: now, or with its cycle."""
        name = self._living()
        if name is None:
            return
        client = self._client()
        if self._rng.random() < 0.3:
            client.subscriptions.update(name, {"cancel_at_period_end": True})
            self._tell(f"{name} will end with its cycle")
        else:
            invoices = self._rng.random() < 0.6
            client.subscriptions.cancel(name, {"invoice_now": invoices})
            self._tell(f"{name} is ended at Stripe, {invoices=}")
        self._back_to_faults()

    async def _anchor(self) -> None:
        """Somebody moves a subscription's billing anchor: its cycle ends now."""
        name = self._living()
        if name is None:
            return
        moved: Any = {"billing_cycle_anchor": "now", "proration_behavior": "none"}
        self._client().subscriptions.update(name, moved)
        self._back_to_faults()
        self._tell(f"the anchor of {name} is moved")

    async def _fee(self) -> None:
        """Somebody bills something else: at once, with the next invoice, or in a draft for ever."""
        name = self._living()
        if name is None:
            return
        kind = self._rng.choice(("now", "next", "draft"))
        self._tell(f"a fee of {name}: {kind}")
        if kind == "next":
            customer = self._double.world.subscriptions[name].customer
            fee: Any = {"customer": customer, "subscription": name, "amount": 700}
            self._client().invoice_items.create(fee)
            self._back_to_faults()
        else:
            self._double.outside.bill_once(name, 500, is_draft=kind == "draft")

    async def _refuse(self) -> None:
        """Stripe refuses reports for a while, for what is their fault, or the meter's."""
        if self._refusing is not None:
            self._accept_again()
        elif self._rng.random() < 0.5:
            path = "/v1/billing/meter_events"
            self._refusing = self._double.faults.add("refused", path=path)
            self._tell("reports are refused")
        else:
            self._set_meter("archived")

    def _accept_again(self) -> None:
        if self._refusing in self._double.faults.rules:
            self._double.faults.rules.remove(self._refusing)
        self._refusing = None
        self._set_meter("active")

    def _set_meter(self, state: str) -> None:
        (meter,) = self._double.world.meters.values()
        if (meter.deactivated_at is None) != (state == "active"):
            meter.deactivated_at = None if state == "active" else self._double.clock.now
            self._tell(f"the meter is {state}")

    def _living(self) -> str | None:
        alive = [one for one in self._double.world.subscriptions.values() if one.ended_at is None]
        return self._rng.choice(alive).id if alive else None

    def _client(self) -> Any:
        """Give people's way to Stripe, which has no trouble until it has again."""
        self._faults, self._double.faults.rules = self._double.faults.rules, []
        return self._double.client().v1

    def _back_to_faults(self) -> None:
        self._double.faults.rules = self._faults
