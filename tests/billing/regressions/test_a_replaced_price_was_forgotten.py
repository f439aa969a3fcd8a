"""The prices of the settings were replaced, and the old ones not kept in `stripe.other_prices`.

Usage on the last invoice of a subscription that had ended by then was settled for nothing, so that
it was owed for ever; a credit note on such an invoice took nothing back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.billing.scene import BillingScene, Shop
from tests.contract.calls.asking import log_of


def replaced(shop: Shop) -> dict[str, Any]:
    """Settings with other prices, and none of before."""
    new = {currency: shop.new_price(currency) for currency in shop.prices}
    return shop.settings(price_eur=new["eur"], price_usd=new["usd"])


class TestAPriceOfBefore:
    def test_counts_on_the_last_invoice_of_a_subscription_that_has_ended(
        self, tmp_path: Path
    ) -> None:
        shop = Shop()
        with BillingScene(shop, tmp_path) as scene:
            subscription = scene.sign_up()
            scene.double.advance(days=1)
            scene.use(40)
            scene.reconcile()
            scene.double.advance(hours=1)
            scene.cancel(subscription)
        with BillingScene(shop, tmp_path, stripe=replaced(shop)) as scene:
            scene.double.advance(hours=2)
            scene.reconcile()
            assert 0 == scene.cents()
            assert [] == scene.breaks()

    def test_counts_in_a_credit_note(self, tmp_path: Path) -> None:
        shop = Shop()
        with BillingScene(shop, tmp_path) as scene:
            scene.double.settings.collects_payments = False
            invoice = scene.live_a_cycle(1_500)
        with BillingScene(shop, tmp_path, stripe=replaced(shop)) as scene:
            scene.finalize(invoice)
            assert 0 == scene.cents()
            lines = shop.client.v1.invoices.retrieve(invoice).lines.data
            line = next(one.id for one in lines if one.quantity == 500)
            row = {"type": "invoice_line_item", "invoice_line_item": line, "quantity": 300}
            given: Any = {"invoice": invoice, "lines": [row]}
            shop.client.v1.credit_notes.create(given)
            scene.finalize(invoice)
            assert 30_000 == scene.cents()
            assert [] == scene.breaks()


class TestAPriceThatNobodyKnows:
    """Somebody gave the subscription another price at Stripe, by the same meter."""

    def another_price(self, scene: BillingScene) -> str:
        """Let the cycle's usage be billed by a new price; give the price."""
        subscription = scene.sign_up()
        price = scene.shop.new_price("eur")
        (item,) = scene.double.world.subscriptions[subscription].items
        item.price = price
        return price

    def end_a_cycle(self, scene: BillingScene) -> str:
        scene.use(40)
        scene.reconcile()
        end = scene.cost_center().next_billing_time.seconds
        scene.double.advance_to((end + 2 * 3_600) * 1_000)
        return str(scene.invoices()[-1].id)

    def test_is_trouble_and_settles_nothing(self) -> None:
        with BillingScene() as scene:
            price = self.another_price(scene)
            invoice = self.end_a_cycle(scene)
            with pytest.raises(grpc.RpcError) as refused:
                scene.finalize(invoice)
            assert grpc.StatusCode.INTERNAL == refused.value.code()
            assert price in str(refused.value.details())
            scene.reconcile()
            assert f"price {price}, which is not known" in scene.standing().waits_for
            assert [] == log_of(scene.calls, "invoice-settled")
            assert 4_000 == scene.cents()

    def test_closes_no_books_however_long_it_takes(self) -> None:
        """What it bills is on an invoice: reported again it would be billed twice."""
        with BillingScene() as scene:
            self.another_price(scene)
            self.end_a_cycle(scene)
            for _ in range(4):
                scene.double.advance(days=5)
                scene.reconcile()
            assert [] == log_of(scene.calls, "reported-cycle-closed")
            assert 40 == scene.double.invoiced_credits(scene.known_customer().id)

    def test_counts_once_it_is_in_the_settings(self, tmp_path: Path) -> None:
        shop = Shop()
        with BillingScene(shop, tmp_path) as scene:
            price = self.another_price(scene)
            self.end_a_cycle(scene)
            scene.reconcile()
        with BillingScene(shop, tmp_path, stripe=shop.settings(other_prices=[price])) as scene:
            scene.reconcile()
            assert (0, "") == (scene.cents(), scene.standing().waits_for)
            assert [] == scene.breaks()

    def test_of_another_product_is_no_trouble(self) -> None:
        """Seats, say, that somebody added to the subscription."""
        with BillingScene() as scene:
            scene.sign_up()
            seats: Any = {
                "currency": "eur",
                "unit_amount": 500,
                "recurring": {"interval": "month"},
                "product_data": {"name": "Seats"},
            }
            price = scene.shop.client.v1.prices.create(seats).id
            invoice = self.end_a_cycle(scene)
            lines = scene.double.world.invoices[invoice].lines
            assert lines is not None
            lines.append(replace(lines[0], id="il_seats", kind="licensed", price=price, quantity=3))
            scene.finalize(invoice)
            assert (0, "") == (scene.cents(), scene.standing().waits_for)
