"""A cost center was moved to OTHER and back while its subscription lived on.

On OTHER its usage was reported all the same, and came back as less whenever a reset wrote it off.
Back on STRIPE, what Stripe had and no invoice yet was forgiven, and billed nevertheless.
"""

from __future__ import annotations

from tests.billing.scene import PAYER, BillingScene
from tests.contract.data.scene import ran
from usage.v1 import usage_pb2

STRIPE = usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE
OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER


def move(scene: BillingScene, strategy: usage_pb2.CostCenter.BillingStrategy.ValueType) -> None:
    """Set the strategy alone."""
    center = usage_pb2.CostCenter(
        attribution_id=PAYER, spending_limit=500, billing_strategy=strategy
    )
    scene.calls.usage.SetCostCenter(usage_pb2.SetCostCenterRequest(cost_center=center))


def use_six_credits(scene: BillingScene, name: str, day: int) -> None:
    """An instance of six credits and a cent, on a day of November."""
    start, end = f"2026-11-{day:02d}T00:00:00Z", f"2026-11-{day:02d}T10:01:00Z"
    scene.record(*ran(name, start, end, payer=PAYER, workspaceClass="cent"))


class TestOnOther:
    def test_nothing_is_reported(self) -> None:
        with BillingScene() as scene:
            scene.sign_up()
            scene.double.advance(days=2)
            use_six_credits(scene, "a", 2)
            scene.reconcile()
            move(scene, OTHER)
            scene.double.advance(days=1)
            use_six_credits(scene, "b", 3)
            scene.reconcile()
            assert [7] == [one.reported for one in scene.double.money()]


class TestBackOnStripe:
    def test_what_stripe_has_is_not_forgiven(self) -> None:
        with BillingScene() as scene:
            scene.sign_up()
            scene.double.advance(days=2)
            use_six_credits(scene, "a", 2)
            scene.reconcile()
            move(scene, OTHER)
            scene.double.advance(days=1)
            use_six_credits(scene, "b", 3)
            move(scene, STRIPE)
            assert 700 == scene.cents()
            scene.double.advance(days=31)
            scene.reconcile()
            assert 0 == scene.cents()
