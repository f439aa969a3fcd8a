"""An invoice was voided, its webhook never came, and the ledger took it for owed for ever."""

from __future__ import annotations

from tests.billing.scene import PAYER, BillingScene, Shop
from tests.contract.data.scene import ran
from tests.stripe_double import Settings


class TestAnInvoiceThatWasVoided:
    def test_is_taken_back_although_nobody_told(self) -> None:
        with BillingScene(Shop(settings=Settings(collects_payments=False))) as scene:
            scene.sign_up()
            scene.double.advance(days=2)
            start, end = "2026-11-02T00:00:00Z", "2026-11-02T10:00:00Z"
            scene.record(*ran("a", start, end, payer=PAYER, workspaceClass="cent"))
            scene.reconcile()
            scene.double.advance(days=31)
            scene.reconcile()
            assert 0 == scene.cents()
            (invoice,) = scene.invoices()
            scene.double.outside.void_invoice(invoice.id)
            scene.double.advance(hours=1)
            scene.service.run_job("ledger")
            assert 600 == scene.cents()
