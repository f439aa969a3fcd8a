"""Of two calls that cancelled one subscription, the later one failed: it was gone meanwhile."""

from __future__ import annotations

from ledger.identifiers import parse_payer
from ledger.invoicing.reports import Reports
from tests.billing.scene import PAYER, BillingScene
from tests.contract.data.scene import ran


class EndedMeanwhile(Reports):
    """Another call ends the subscription while this one compares."""

    async def compare(self, payer: bytes, author: str) -> str:
        """End it, and find a difference."""
        billing = self._ledger.billing
        assert billing is not None
        account_differs = await super().compare(payer, author)
        await billing.subscriptions.note_end(payer, author)
        return account_differs or "Stripe has not added it up yet"


class TestReportingTheRest:
    def test_is_over_when_the_subscription_is(self) -> None:
        payer = parse_payer(PAYER)
        assert payer is not None
        with BillingScene() as scene:
            subscription = scene.sign_up()
            scene.double.advance(days=2)
            start, end = "2026-11-02T00:00:00Z", "2026-11-02T10:01:00Z"
            scene.record(*ran("a", start, end, payer=PAYER, workspaceClass="cent"))
            scene.double.client().v1.subscriptions.cancel(subscription, {"invoice_now": True})
            ledger = scene.service.ledger
            assert ledger.billing is not None
            reports = EndedMeanwhile(ledger, ledger.billing.gateway)
            assert scene.service.wait(reports.report_the_rest(payer, "test"))
