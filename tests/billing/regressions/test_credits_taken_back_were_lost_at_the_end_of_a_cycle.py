"""A report that takes credits back was lost where Stripe was away while the cycle ended.

Either it was stamped in the cycle and missed its invoice, or it was stamped in the next one, which
then was below zero: Stripe bills that as zero and forgets the rest. Both times the payer had paid
for what was given back, and the ledger took it for given.
"""

from __future__ import annotations

from tests.billing.scene import PAYER, BillingScene
from tests.contract.data.scene import Event, note, ran

CREDITS_OF_A_CYCLE = 7


def minutes(name: str, start: str, end: str) -> list[Event]:
    """An instance of the class `cent`: a cent a minute."""
    return ran(name, f"2026-{start}:00Z", f"2026-{end}:00Z", payer=PAYER, workspaceClass="cent")


def used_seven_credits(scene: BillingScene) -> str:
    """Sign up, and report 6.01 credits; give the customer."""
    scene.sign_up()
    scene.double.advance(days=2)
    scene.record(*minutes("a", "11-02T00:00", "11-02T10:01"))
    scene.reconcile()
    return next(iter(scene.double.world.customers))


def billed(scene: BillingScene) -> list[int]:
    """Credits of each cycle that is over."""
    return [one.invoiced for one in scene.double.money() if one.end <= scene.double.clock.now]


class TestWhatMissedItsInvoice:
    def test_is_taken_back_from_later_usage(self) -> None:
        with BillingScene() as scene:
            used_seven_credits(scene)
            scene.double.advance_to("2026-11-30T23:00:00Z")
            scene.record(note(3, payer=PAYER))
            outage = scene.double.faults.add("unreachable")
            scene.reconcile()  # -3 is stamped in the cycle that ends
            scene.double.advance(hours=3)
            scene.double.faults.remove(outage)
            scene.reconcile()
            assert [CREDITS_OF_A_CYCLE] == billed(scene)
            # 6.01 + 6.00 - 3.00: ten credits in all, of which seven are billed.
            scene.record(*minutes("b", "12-01T03:00", "12-01T13:00"))
            scene.double.advance(days=1)
            scene.reconcile()
            scene.double.advance(days=31)
            assert [CREDITS_OF_A_CYCLE, 10 - CREDITS_OF_A_CYCLE] == billed(scene)


class TestWhatWaitedBehindAReport:
    def test_takes_nothing_from_a_cycle_that_has_nothing(self) -> None:
        with BillingScene() as scene:
            used_seven_credits(scene)
            scene.double.advance_to("2026-11-30T23:00:00Z")
            scene.record(*minutes("b", "11-30T20:00", "11-30T22:00"))
            outage = scene.double.faults.add("unreachable")
            scene.reconcile()  # one credit, which does not get through
            scene.record(note(3, payer=PAYER))
            scene.reconcile()  # -3 waits behind it
            scene.double.advance(days=2)
            scene.double.faults.remove(outage)
            for _ in range(2):
                scene.reconcile()
            assert [CREDITS_OF_A_CYCLE] == billed(scene)
            assert 0 == scene.double.money()[-1].reported
            # 6.01 + 1.20 - 3.00 + 3.60: eight credits in all.
            scene.record(*minutes("c", "12-02T23:00", "12-03T05:00"))
            scene.double.advance(days=1)
            scene.reconcile()
            scene.double.advance(days=31)
            assert [CREDITS_OF_A_CYCLE, 8 - CREDITS_OF_A_CYCLE] == billed(scene)
