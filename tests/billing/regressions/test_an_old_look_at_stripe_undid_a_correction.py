"""A call looked at an invoice at Stripe, and booked what it saw after another one had booked more.

It took the other one's correction for one that holds no more and undid it, for ever: a cause that
was undone was never taken again. The other way round, what Stripe had taken back meanwhile stayed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from billing import GatewaySettings, Secret, StripeCreditNote
from billing.gateway import Gateway
from tests.billing.scene import BillingScene, Shop
from tests.contract.calls.asking import log_of
from tests.stripe_double import Settings

Act = Callable[[], Awaitable[None]]


class SlowGateway(Gateway):
    """What it has read is old before anybody gets it."""

    meanwhile: Act | None = None

    async def credit_notes_of(self, invoice_id: str) -> tuple[StripeCreditNote, ...]:
        """Give the notes as they were before what happens meanwhile, which happens once."""
        notes = await super().credit_notes_of(invoice_id)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            await act()
        return notes


class SlowShop(Shop):
    """Its invoices stay open."""

    def __init__(self) -> None:
        super().__init__(settings=Settings(collects_payments=False))
        self.slow = SlowGateway(
            GatewaySettings(secret_key=Secret(self.double.secret_key)),
            http_client=self.double.http_client(),
        )

    def gateway(self) -> Gateway:
        """Give the slow one."""
        return self.slow


def overtake(scene: BillingScene, invoice: str, act: Callable[[], object]) -> None:
    """Settle; in between something happens at Stripe, and another call has booked that by then."""
    shop, billing = scene.shop, scene.service.ledger.billing
    assert isinstance(shop, SlowShop)
    assert billing is not None

    async def meanwhile() -> None:
        act()
        await billing.settlements.finalize(invoice, "another call")

    shop.slow.meanwhile = meanwhile
    scene.service.wait(billing.settlements.finalize(invoice, "a slow call"))
    assert shop.slow.meanwhile is None


def credited(scene: BillingScene, invoice: str, units: int) -> str:
    """Credit units of the line that has a price of its own; give the note."""
    lines = scene.shop.client.v1.invoices.retrieve(invoice).lines.data
    line = next(one.id for one in lines if one.amount and one.quantity)
    row: Any = {"type": "invoice_line_item", "invoice_line_item": line, "quantity": units}
    given: Any = {"invoice": invoice, "lines": [row]}
    return scene.shop.client.v1.credit_notes.create(given).id


def causes(scene: BillingScene) -> list[tuple[str, int]]:
    """Causes and cents of every correction, in order."""
    told = [json.loads(one.json) for one in log_of(scene.calls, "invoice-corrected")]
    return [(one["cause"], one["credit_cents"]) for one in told]


class TestALookThatIsOld:
    @pytest.mark.parametrize("cause", ["voided", "uncollectible"])
    def test_undoes_nothing_that_was_booked_since(self, cause: str) -> None:
        with BillingScene(SlowShop()) as scene:
            invoice = scene.live_a_cycle(7)
            scene.finalize(invoice)
            outside = scene.double.outside
            act = outside.void_invoice if cause == "voided" else outside.mark_uncollectible
            overtake(scene, invoice, lambda: act(invoice))
            assert 700 == scene.cents()
            assert [(cause, 700)] == causes(scene)

    def test_undoes_no_credit_note_that_it_does_not_know(self) -> None:
        with BillingScene(SlowShop()) as scene:
            invoice = scene.live_a_cycle(1_500)
            scene.finalize(invoice)
            overtake(scene, invoice, lambda: credited(scene, invoice, 300))
            assert 30_000 == scene.cents()

    def test_takes_nothing_back_for_good_of_a_note_that_is_void_by_then(self) -> None:
        with BillingScene(SlowShop()) as scene:
            invoice = scene.live_a_cycle(1_500)
            scene.finalize(invoice)
            note = credited(scene, invoice, 300)
            void = scene.shop.client.v1.credit_notes.void_credit_note
            overtake(scene, invoice, lambda: void(note))
            assert 0 == scene.cents()
            cause = f"credit-note:{note}"
            assert [(cause, 30_000), (f"undone:{cause}", -30_000)] == causes(scene)

    def test_takes_nothing_back_for_good_of_an_invoice_that_is_paid_by_then(self) -> None:
        with BillingScene(SlowShop()) as scene:
            invoice = scene.live_a_cycle(1_500)
            scene.finalize(invoice)
            scene.double.outside.mark_uncollectible(invoice)
            overtake(scene, invoice, lambda: scene.double.outside.pay_invoice(invoice))
            assert 0 == scene.cents()
            assert ["uncollectible", "undone:uncollectible"] == [one for one, _ in causes(scene)]


class TestACauseThatWasUndone:
    def test_is_taken_again_when_it_holds_again(self) -> None:
        """However it came to be undone: Stripe says that the note stands."""
        with BillingScene(SlowShop()) as scene:
            invoice = scene.live_a_cycle(1_500)
            scene.finalize(invoice)
            note = credited(scene, invoice, 300)
            scene.finalize(invoice)
            kept = scene.double.world.credit_notes[note]
            kept.voided_at = scene.double.clock.now
            scene.finalize(invoice)
            kept.voided_at = None
            scene.finalize(invoice)
            cause = f"credit-note:{note}"
            assert [(cause, 30_000), (f"undone:{cause}", -30_000), (f"{cause}#2", 30_000)] == (
                causes(scene)
            )
            assert 30_000 == scene.cents()
            assert [] == scene.calls.breaches()
