"""A report too old to be sent again was taken for lost though Stripe had it, and was billed twice.

Either its last try had come through and was not added up yet; or Stripe had rejected an earlier one
afterwards, so that the sum was short.
"""

from __future__ import annotations

from tests.billing.scene import PAYER, BillingScene, Shop
from tests.contract.data.scene import ran
from tests.stripe_double import Settings


def use(scene: BillingScene, name: str, day: int, *, until: str) -> None:
    """An instance of a cent a minute, from midnight on a day of November."""
    start, end = f"2026-11-{day:02d}T00:00:00Z", f"2026-11-{day:02d}T{until}:00Z"
    scene.record(*ran(name, start, end, payer=PAYER, workspaceClass="cent"))


def reconcile_under(scene: BillingScene, fault: str) -> None:
    """Report while every request about meters goes wrong."""
    rule = scene.double.faults.add(fault, path="/v1/billing/*")
    scene.reconcile()
    scene.double.faults.remove(rule)


class TestALastTryThatCameThrough:
    def test_is_waited_for_until_it_is_added_up(self) -> None:
        shop = Shop(settings=Settings(aggregation_delay_seconds=1_800))
        with BillingScene(shop) as scene:
            scene.sign_up()
            scene.double.advance(days=2)
            use(scene, "a", 2, until="10:01")
            reconcile_under(scene, "unreachable")
            scene.double.advance(hours=22, minutes=59)
            reconcile_under(scene, "timeout_after")
            scene.double.advance(minutes=10)
            scene.reconcile()
            scene.double.advance(hours=2)
            scene.reconcile()
            assert [7] == [one.reported for one in scene.double.money()]


class TestASumThatIsShort:
    def test_makes_no_report_come_twice(self) -> None:
        with BillingScene() as scene:
            scene.sign_up()
            scene.double.advance(days=2)
            use(scene, "a", 2, until="05:00")
            scene.double.outside.refuse_late()
            scene.reconcile()  # three credits, which Stripe rejects afterwards
            scene.double.advance(days=1)
            use(scene, "b", 3, until="10:00")
            reconcile_under(scene, "answer_lost")  # six more
            scene.double.advance(days=2)
            for _ in range(2):
                scene.reconcile()
            scene.double.advance(days=31)
            scene.reconcile()
            scene.double.advance(days=31)
            assert [6, 3, 0] == [one.invoiced for one in scene.double.money()]
