"""A report that came through hours after its first try was on no invoice, and nobody paid for it.

It counts under the time of that first try. By this time it was judged whether Stripe had added it
up, so the subscription ended at once, with an invoice that lacked it.
"""

from __future__ import annotations

from ledger.invoicing.reports import SUMMED_SECONDS
from tests.billing.scene import BillingScene, Shop
from tests.stripe_double import Fault, Settings

USED = 70


def test_it_is_billed() -> None:
    shop = Shop(settings=Settings(aggregation_delay_seconds=1_800, final_grace_seconds=0))
    with BillingScene(shop) as scene:
        subscription = scene.sign_up()
        scene.double.advance(days=2)
        scene.use(USED)
        outage = scene.double.faults.add(Fault.UNREACHABLE, path="/v1/billing/*")
        scene.reconcile()
        scene.double.faults.remove(outage)
        scene.double.advance(hours=6)
        scene.cancel(subscription)
        assert USED == scene.reported()
        scene.double.advance(seconds=SUMMED_SECONDS + 1)
        scene.reconcile()
        assert [True] == [one.invoice is not None for one in scene.double.money()]
        assert USED == scene.invoiced()
        assert [] == scene.breaks()
