"""A billing anchor was moved, and two runs saw it at once, when a counted cycle was over.

One of them noted Stripe's cycles. The other one heard that they were noted already, and closed the
cycle that it had counted before; its reports were put back, and once more with Stripe's own cycle.
"""

from __future__ import annotations

import asyncio

from ledger.invoicing.repair import Repair
from tests.billing.regressions.test_a_moved_billing_anchor_was_billed_twice import (
    live,
    move_anchor,
)
from tests.billing.scene import BillingScene, payer_key


def repaired_at_once(scene: BillingScene, count: int) -> None:
    """Look after the payer's cycles in several runs, step by step beside each other."""
    repair = Repair(scene.service.ledger, scene.shop.gateway(), scene.billing.settlements)

    async def run() -> None:
        await asyncio.gather(*(repair.of_bound(payer_key(), "test") for _ in range(count)))

    scene.service.wait(run())


def test_credits_are_put_back_once() -> None:
    with BillingScene() as scene:
        subscription = scene.sign_up()
        scene.double.advance(days=10)
        move_anchor(scene, subscription)  # nothing was used: there is no invoice that tells of it
        scene.use(10)
        scene.report()
        (row,) = scene.logged("usage-report-stamped")
        scene.double.advance(days=26)
        repaired_at_once(scene, 3)
        assert 1 == len(scene.logged("subscription-period-told"))
        live(scene, weeks=1)
        closed = [one for one in scene.logged("reported-cycle-closed") if one["sent_credits"]]
        assert row["timestamp"] < closed[0]["period_end"]
        assert 20 == sum(one["sent_credits"] for one in closed)
        assert 20 == scene.invoiced()
        assert 0 == scene.cents()
        assert [] == scene.breaks()
