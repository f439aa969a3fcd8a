"""Somebody moved a subscription's billing anchor at Stripe, and the ledger counted on.

Its own cycles had no invoice, were closed as empty, and what was reported in them was reported
again: month by month everything was billed twice.
"""

from __future__ import annotations

from typing import Any

from events.readable import time_text
from tests.billing.scene import PAYER, BillingScene, Shop
from tests.stripe_double import Fault, Settings


def move_anchor(scene: BillingScene, subscription: str) -> int:
    """Let cycles begin now; give the second."""
    anchor: Any = {"billing_cycle_anchor": "now"}
    scene.shop.client.v1.subscriptions.update(subscription, anchor)
    return scene.double.clock.now


def signed_up(scene: BillingScene) -> str:
    """Sign up, and use ten credits until the tenth day."""
    subscription = scene.sign_up()
    scene.double.advance(days=10)
    scene.use(10)
    scene.reconcile()
    scene.double.advance(hours=1)
    return subscription


def live(scene: BillingScene, weeks: int) -> None:
    """Use ten credits in each of some weeks; then let every cycle end and be settled."""
    for _ in range(weeks):
        scene.double.advance(days=7)
        scene.use(10)
        scene.reconcile()
    for _ in range(10):
        scene.double.advance(days=7)
        scene.reconcile()


def _time(seconds: int) -> str:
    return time_text(seconds * 1_000)


class TestAMovedAnchor:
    def test_bills_every_credit_once(self) -> None:
        with BillingScene() as scene:
            move_anchor(scene, signed_up(scene))
            live(scene, weeks=16)
            assert 170 == scene.invoiced()
            assert 0 == scene.cents()
            assert [] == scene.breaks()
            assert [] == scene.calls.breaches()

    def test_of_which_no_webhook_tells_bills_every_credit_once(self) -> None:
        """Nobody looks at the invoice before the cycle that was counted is over."""
        with BillingScene() as scene:
            subscription = signed_up(scene)
            scene.double.faults.add(Fault.UNREACHABLE, path="/v1/invoices*")
            scene.double.faults.add(Fault.UNREACHABLE, path="/v1/events*")
            move_anchor(scene, subscription)
            for _ in range(12):
                scene.double.advance(days=7)
                scene.use(10)
                scene.reconcile()
            scene.double.faults.clear()
            live(scene, weeks=4)
            assert 170 == scene.invoiced()
            assert 0 == scene.cents()
            assert [] == scene.breaks()

    def test_without_an_invoice_bills_every_credit_once(self) -> None:
        """Nothing was used before it moved: only the subscription itself tells."""
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.double.advance(days=10)
            move_anchor(scene, subscription)
            live(scene, weeks=16)
            assert 160 == scene.invoiced()
            assert 0 == scene.cents()
            assert [] == scene.breaks()

    def test_that_moves_again_and_again_bills_every_credit_once(self) -> None:
        with BillingScene() as scene:
            subscription = signed_up(scene)
            for _ in range(6):
                move_anchor(scene, subscription)
                live(scene, weeks=3)
            assert 190 == scene.invoiced()
            assert 0 == scene.cents()
            assert [] == scene.breaks()

    def test_closes_the_books_of_stripes_cycles(self) -> None:
        with BillingScene() as scene:
            subscription = signed_up(scene)
            begun = scene.cost_center().billing_cycle_start.seconds
            moved = move_anchor(scene, subscription)
            live(scene, weeks=1)
            books = scene.logged("reported-cycle-closed")
            starts = [one["period_start"] for one in books]
            assert 3 == len(books)
            assert [_time(begun), _time(moved)] == starts[:2]
            assert [(10, 10, 0), (10, 10, 0)] == [
                (one["sent_credits"], one["invoiced_credits"], one["shortfall_credits"])
                for one in books[:2]
            ]

    def test_moves_the_cycle_of_the_cost_center(self) -> None:
        with BillingScene() as scene:
            moved = move_anchor(scene, signed_up(scene))
            scene.double.advance(hours=3)
            scene.finalize(str(scene.invoices()[0].id))
            center = scene.cost_center()
            assert moved == center.billing_cycle_start.seconds
            (item,) = next(iter(scene.double.world.subscriptions.values())).items
            assert item.period_end == center.next_billing_time.seconds

    def test_is_noted_once(self) -> None:
        with BillingScene() as scene:
            moved = move_anchor(scene, signed_up(scene))
            live(scene, weeks=5)
            (told,) = scene.logged("subscription-period-told")
            assert (PAYER, _time(moved)) == (told["attribution_id"], told["period_start"])

    def test_takes_nothing_back_from_the_cycle_before(self) -> None:
        """What was reported before it moved is on an invoice, and no cycle goes below zero."""
        with BillingScene() as scene:
            subscription = signed_up(scene)
            move_anchor(scene, subscription)
            scene.double.advance(hours=3)
            scene.finalize(str(scene.invoices()[0].id))
            scene.use(-4)
            scene.reconcile()
            assert [10, 0] == [one.reported for one in scene.double.money()]
            live(scene, weeks=2)
            assert 26 == scene.invoiced()  # 10, and 20 of which 4 were given back

    def test_and_an_end_soon_after_bills_every_credit_once(self) -> None:
        shop = Shop(settings=Settings(final_grace_seconds=0))
        with BillingScene(shop) as scene:
            subscription = signed_up(scene)
            move_anchor(scene, subscription)
            scene.double.advance(days=2)
            scene.use(5)
            scene.reconcile()
            scene.double.advance(hours=1)
            shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": True})
            for _ in range(10):
                scene.double.advance(days=1)
                scene.reconcile()
            assert 15 == scene.invoiced()
            assert 0 == scene.cents()
            assert [] == scene.breaks()

    def test_after_which_too_much_was_taken_back_leaves_nothing_open(self) -> None:
        """Nobody had told of it, and the cycle that it began ended below zero and with no invoice.

        Stripe bills that as zero; the books of an ended subscription are closed all the same.
        """
        with BillingScene() as scene:
            subscription = signed_up(scene)
            move_anchor(scene, subscription)
            scene.use(-4)
            scene.report()
            assert [10, -4] == [one.reported for one in scene.double.money()]
            scene.double.advance(days=2)
            scene.shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": False})
            for _ in range(5):
                scene.double.advance(days=2)
                scene.reconcile()
            reported = scene.service.ledger.shards[0].queries.reader.reported(subscription)
            assert reported is not None
            assert 100 * reported.requested_credits == reported.settled_cents == 1_000
            assert -400 == scene.cents()
            before = len(scene.double.journal)
            scene.reconcile()
            assert all(one.path == "/v1/events" for one in scene.double.journal[before:])
