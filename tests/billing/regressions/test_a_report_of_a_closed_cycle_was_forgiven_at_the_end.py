"""A report came through when the invoice of its cycle was final, and the subscription then ended.

Stripe took it under the time of its first try, in the cycle before, and so it was on no invoice.
That was seen only when the books of that cycle were closed, after the end, when nothing is reported
any more. Where the cycle had no other usage, no invoice would ever have closed them, and any end
within days of it forgave the credits.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ledger.invoicing.reports import SUMMED_SECONDS
from tests.billing.scene import PAYER, BillingScene, Shop
from tests.stripe_double import Fault
from usage.v1 import usage_pb2
from usage_ledger.v1 import billing_pb2 as status_pb2

LEFT = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
EVENTS = "/v1/billing/meter_events"
USED = 70


def resume(scene: BillingScene) -> None:
    request = status_pb2.ResumeReportsRequest(attribution_id=PAYER)
    scene.calls.billing_status.ResumeReports(request)


@pytest.mark.parametrize("used_before", [0, 50])
@pytest.mark.parametrize(
    ("fault", "sent_again_by"),
    [(Fault.UNREACHABLE, BillingScene.report), (Fault.REFUSED, resume)],
)
def test_it_is_billed(
    fault: Fault, sent_again_by: Callable[[BillingScene], None], used_before: int
) -> None:
    with BillingScene(Shop(start="2025-11-05T00:00:00Z")) as scene:
        subscription = scene.sign_up(limit=10_000)
        scene.double.advance(days=1)
        if used_before:
            scene.use(used_before)
            scene.reconcile()
        scene.double.advance_to("2025-12-04T22:00:00Z")
        scene.use(USED)
        outage = scene.double.faults.add(fault, path=EVENTS)
        scene.reconcile()
        scene.double.faults.remove(outage)
        scene.double.advance_to("2025-12-05T05:00:00Z")
        sent_again_by(scene)
        scene.cancel(subscription)
        for _ in range(3):
            scene.double.advance(seconds=SUMMED_SECONDS + 1)
            scene.reconcile()
        assert LEFT == scene.cost_center().billing_strategy
        scene.double.advance(days=5)
        scene.reconcile()
        assert used_before + USED == scene.invoiced()
        assert 0 == scene.cents()
        assert [] == scene.breaks()
