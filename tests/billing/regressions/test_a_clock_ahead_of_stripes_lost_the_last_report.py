"""Our clock was seconds ahead of Stripe's: what was reported last counted behind the end."""

from __future__ import annotations

from ledger.clock import Clock
from tests.billing.scene import BillingScene, DoubleTime, Shop
from tests.stripe_double import Settings, StripeDouble

AHEAD_MS = 4_000


class Ahead(DoubleTime):
    """Stripe's time in four seconds."""

    def now_ns(self) -> int:
        """Give nanoseconds since 1970."""
        return super().now_ns() + AHEAD_MS * 1_000_000


class AheadScene(BillingScene):
    """A ledger whose clock is ahead."""

    def clock(self, double: StripeDouble) -> Clock:
        """Give its clock."""
        return Ahead(double)


class TestACancellation:
    def test_soon_after_the_sign_up_bills_what_was_used(self) -> None:
        self._used_and_cancelled(days=0)

    def test_within_a_cycle_bills_what_was_used(self) -> None:
        self._used_and_cancelled(days=10)

    @staticmethod
    def _used_and_cancelled(*, days: int) -> None:
        # Stripe adds up and bills at once, so that nothing waits until the clocks agree.
        shop = Shop(settings=Settings(aggregation_delay_seconds=0, final_grace_seconds=0))
        with AheadScene(shop) as scene:
            subscription = scene.sign_up()
            customer = scene.known_customer().id
            scene.double.advance(days=days)
            scene.use(9)
            scene.cancel(subscription)
            for _ in range(3):
                scene.reconcile()
                scene.double.advance(hours=2)
            assert 9 == scene.double.invoiced_credits(customer)
            assert 0 == scene.cents()
