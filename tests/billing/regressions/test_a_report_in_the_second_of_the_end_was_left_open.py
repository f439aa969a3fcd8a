"""A report was stamped in the second in which its cycle began and its subscription ended.

That cycle was not looked after, or its last second not counted: the report waited for an invoice
for ever, and its credits were taken for unsettled.
"""

from __future__ import annotations

from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import log_of
from tests.contract.data.scene import ran


def reported_and_lost(scene: BillingScene) -> None:
    """Report what was used; nobody knows what became of it, and it was nothing."""
    lost = scene.double.faults.add("unreachable", path="/v1/billing/*")
    scene.reconcile()
    scene.double.faults.remove(lost)


def left_open(scene: BillingScene, subscription: str) -> list[int]:
    """End it at Stripe within this second; give what still waits long afterwards."""
    scene.double.client().v1.subscriptions.cancel(subscription, {"invoice_now": False})
    scene.cancel(subscription)
    scene.double.advance(days=5)
    scene.reconcile()
    reader = scene.service.ledger.shards[0].queries.reader
    return [row.seq for row in reader.open_reports(subscription)]


class TestASubscription:
    def test_that_ended_in_the_second_in_which_it_began(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.use(7)
            reported_and_lost(scene)
            assert [] == left_open(scene, subscription)

    def test_that_ended_in_the_second_in_which_a_later_cycle_began(self) -> None:
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.double.advance_to("2026-12-01T00:00:00Z")
            start, end = "2026-11-30T00:00:00Z", "2026-11-30T10:00:00Z"
            scene.record(*ran("a", start, end, payer=PAYER, workspaceClass="cent"))
            reported_and_lost(scene)
            assert [] == left_open(scene, subscription)
            assert 2 == len(log_of(scene.calls, "reported-cycle-closed"))
