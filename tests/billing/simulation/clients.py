"""Services, jobs, people and their browsers: who calls the ledger."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

from ledger.commands.credit_notes import CreditNote
from ledger.intake import read_lines
from tests.billing.simulation.checks import SIGNING_UP
from tests.billing.simulation.stage import AUTHOR, TROUBLES, BrokenLawError, Stage
from tests.billing.simulation.town import DAY_MS, HOUR_MS, MINUTE_MS, Resident
from tests.stripe_double.errors import StripeError

PATHS_OF_SIGN_UP = (
    "/v1/customers*",
    "/v1/payment_intents*",
    "/v1/payment_methods*",
    *["/v1/subscriptions"] * 3,
)
# Those after which a key may repeat a failure, or is held, come more often.
TROUBLES_OF_SIGN_UP = (*TROUBLES, "server_error", "server_error_after", "still_running")


class Clients(Stage):
    """What they do, step by step."""

    def __init__(self, *given: Any) -> None:
        """Nobody has called yet."""
        super().__init__(*given)
        self._notes: deque[CreditNote] = deque()  # calls whose outcome is not known

    def _use(self) -> None:
        rng = self._rng
        for resident in self.town.residents:
            for act, odds in (
                (self.town.start, 0.5),
                (self.town.stop, 0.55),
                (self.town.run_late, 0.04),
                (self.town.note, 0.06),
            ):
                if rng.random() < odds * self.plan.usage:
                    act(resident, self.now)

    async def _publish(self, *, everything: bool = False) -> None:
        lines = self.town.delivery(everything=everything)
        if not lines:
            return
        batch = b"\n".join(lines)
        done = await self._call(
            "publish",
            lambda: self._machine.ledger.publish(lambda: read_lines("file", batch, 1), AUTHOR),
        )
        if done is not None:
            if done.rejects:
                raise BrokenLawError(f"{done.rejects}")
            self.town.heard(lines)

    # Jobs --------------------------------------------------------------------------------------

    async def _accrue(self) -> None:
        now = self.now
        await self._call(
            "accrue",
            lambda: self._machine.ledger.reconcile_usage(now - HOUR_MS, now, AUTHOR),
        )

    async def _reconcile(self) -> None:
        await self._once_or_twice("reconcile", lambda: self._machine.billing.reconcile(AUTHOR))

    async def _job(self) -> None:
        """What the scheduler does every hour."""
        await self._accrue()
        await self._reconcile()

    async def _resume(self) -> None:
        """An operator has looked at what Stripe refused."""
        resident = self._somebody()
        await self._once_or_twice(
            f"resume {resident.name[-4:]}",
            lambda: self._machine.billing.reports.resume(resident.key, AUTHOR),
        )

    async def _resume_all(self) -> None:
        for resident in self.town.residents:
            await self._call(
                f"resume {resident.name[-4:]}",
                partial(self._machine.billing.reports.resume, resident.key, AUTHOR),
            )

    async def _reset(self) -> None:
        await self._call("reset", lambda: self._machine.ledger.cost_centers.reset_due(AUTHOR))

    async def _restart(self) -> None:
        if self._machine.keeps:
            self._machine.lose_power()
            self._machine.boot()
            self._tell("restarts")

    # Corrections -------------------------------------------------------------------------------

    async def _correct(self) -> None:
        resident = self._somebody()
        # By our clock, which may be behind: what lies ahead of it is refused.
        found = self.town.corrected(resident, self._machine.ledger.now())
        if found is None:
            return
        ran, at = found
        for _ in range(2):  # again, if nobody knows
            boots = self._machine.boots
            await self._call(
                f"ends {ran.instance_id} at {at}",
                lambda: self._machine.ledger.end_instance(ran.instance_id, at, "wrong", AUTHOR),
            )
            if self._machine.boots == boots:
                break
        ran.stopped = at

    async def _credit(self) -> None:
        """A credit note by call, sometimes one that takes all back."""
        resident = self._somebody()
        number = len(self.told)
        given = self._rng.choice((1, 7, 60, 900, -2, -30))
        note = CreditNote(resident.key, given, "sorry", b"", f"note-{number}")
        resident.note_credits += given
        self._notes.append(note)
        await self._give_notes()

    async def _give_notes(self) -> None:
        for _ in range(len(self._notes)):
            note = self._notes.popleft()
            boots = self._machine.boots
            await self._call(
                f"note of {note.credits}",
                partial(self._machine.ledger.add_credit_note, note, AUTHOR),
            )
            if self._machine.boots != boots:
                self._notes.append(note)

    # Subscribing and leaving -------------------------------------------------------------------

    async def _subscribe(self) -> None:
        rng, resident = self._rng, self._somebody()
        card = rng.choice(("good", "good", "good", "no_address", "declined"))
        if rng.random() < 0.6:
            await self._sign_up(resident, card=card)
            return
        # One of its requests goes wrong, and nobody looks after it for a while.
        rules = self._double.faults.rules
        kind, path = rng.choice(TROUBLES_OF_SIGN_UP), rng.choice(PATHS_OF_SIGN_UP)
        trouble = self._double.faults.add(kind, method="POST", path=path)
        self._tell(f"sign-up with {kind} on {path}")
        await self._sign_up(resident, card=card)
        if trouble in rules:
            self._double.faults.remove(trouble)
        self._advance(rng.choice((1_000, 1_000, HOUR_MS, HOUR_MS, 25 * HOUR_MS, 3 * DAY_MS)))
        if kind != "still_running" and rng.random() < 0.8:
            await self._go_on()

    async def _go_on(self) -> None:
        """A run that nothing disturbs ends every sign-up, whatever Stripe has stored before."""
        boots = self._machine.boots
        await self._reconcile()
        if self._outage_ends is None and self._machine.boots == boots:
            self._hold(self._checks.unfinished(*SIGNING_UP))

    async def _delete(self) -> None:
        """Somebody deletes a customer at Stripe, now or while something is asked about it."""
        there = [one.id for one in self._double.world.customers.values() if not one.deleted]
        if not there:
            return
        customer = self._rng.choice(there)
        if self._rng.random() < 0.4:
            self._double.outside.delete_customer(customer)
            self._tell(f"{customer} is deleted at Stripe")
            return
        # The clock moves with each request, so it falls between two of whatever comes next.
        soon = self._double.clock.now + self._rng.choice((0, 0, 1, 1, 2, 4))
        self._double.clock.at(soon, lambda: self._deleted(customer))
        self._tell(f"{customer} will be deleted at Stripe")
        if self._rng.random() < 0.7:
            await self._subscribe()

    def _deleted(self, customer: str) -> None:
        if not self._double.world.customers[customer].deleted:
            self._double.outside.delete_customer(customer)

    async def _straddle(self) -> None:
        """A cycle ends between the first try of a report and the next ones."""
        rng = self._rng
        ends = [
            one.items[0].period_end * 1_000
            for one in self._double.world.subscriptions.values()
            if one.ended_at is None
        ]
        if not ends or self._outage_ends is not None:
            return
        end = min(ends)
        if end - self.now > 9 * DAY_MS:
            return
        self._advance(max(end - rng.choice((2_000, 5 * MINUTE_MS, HOUR_MS)) - self.now, 0))
        self._use()
        await self._publish()
        trouble = self._double.faults.add(
            rng.choice(TROUBLES), path="/v1/billing/*", probability=rng.choice((0.7, 1.0, 1.0))
        )
        await self._accrue()
        await self._reconcile()
        if rng.random() < 0.5:
            await self._credit()
            await self._reconcile()
        self._double.faults.remove(trouble)
        self._advance(max(end + rng.choice((0, 1_000, 20 * MINUTE_MS, 3 * HOUR_MS)) - self.now, 0))
        await self._reconcile()

    async def _sign_up(self, resident: Resident, *, card: Any) -> None:
        if not await self._customer(resident):
            return
        hold = await self._once_or_twice(
            "hold", lambda: self._machine.billing.holds.place(resident.key, AUTHOR)
        )
        if hold is not None:
            try:
                self._double.outside.confirm_payment(hold.hold_id, card)
            except StripeError as refusal:
                self._tell(f"{hold.hold_id}: {refusal}")
            resident.holds.append(hold.hold_id)
        if resident.holds:
            chosen = self._rng.choice(resident.holds[-2:])
            await self._once_or_twice(
                f"subscribe {resident.name[-4:]} by {chosen}",
                lambda: self._machine.billing.subscriptions.create(
                    resident.key, payment_intent_id=chosen, usage_limit=1_000, author=AUTHOR
                ),
            )

    async def _customer(self, resident: Resident) -> bool:
        made = await self._once_or_twice(
            f"customer of {resident.name[-4:]}",
            lambda: self._machine.billing.customers.create(
                resident.key,
                name="Owner",
                email="owner@example.org",
                currency=resident.currency,
                creator="",
                author=AUTHOR,
            ),
        )
        return made is not None

    async def _cancel(self) -> None:
        """CancelSubscription by call, of any subscription that there is or was."""
        subscriptions = list(self._double.world.subscriptions)
        if subscriptions:
            name = self._rng.choice(subscriptions)
            await self._once_or_twice(
                f"CancelSubscription {name}",
                lambda: self._machine.billing.subscriptions.cancel(name, AUTHOR),
            )

    async def _move(self) -> None:
        """SetCostCenter, there and back."""
        resident = self._somebody()
        strategy = self._rng.choice(("stripe", "other"))
        await self._call(
            f"SetCostCenter {resident.name[-4:]} {strategy}",
            lambda: self._machine.ledger.cost_centers.set(
                resident.key,
                spending_limit=self._rng.choice((0, 10, 500)),
                strategy=strategy,
                author=AUTHOR,
            ),
        )

    async def _finalize(self) -> None:
        """FinalizeInvoice by call, of any invoice that there is."""
        invoices = list(self._double.world.invoices.values())
        if invoices:
            invoice = self._rng.choice(invoices)
            await self._once_or_twice(
                f"FinalizeInvoice {invoice.id}",
                lambda: self._machine.billing.settlements.finalize(invoice.id, AUTHOR),
            )
