"""What was voided is billed no more: Stripe is told as of any correction."""

from __future__ import annotations

from tests.billing.calls.failing import PRECONDITION
from tests.billing.calls.test_finalize_invoice import entries
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import log_of, refused
from tests.contract.data.scene import instance
from usage_ledger.v1 import audit_corrections_pb2 as pb
from usage_ledger.v1 import queries_pb2


def void(scene: BillingScene, name: str) -> None:
    request = pb.VoidInstanceRequest(workspace_instance_id=instance(name), reason="the wrong team")
    scene.calls.audit.VoidInstance(request)


def void_note(scene: BillingScene, cents: int) -> None:
    """Void the payer's note of so many cents."""
    kind = queries_pb2.ENTRY_KIND_CREDIT_NOTE
    (entry_id,) = [
        entry.id
        for entry in scene.calls.entries(PAYER)
        if entry.kind == kind and entry.credit_cents == cents
    ]
    request = pb.VoidCreditNoteRequest(
        attribution_id=PAYER, entry_id=entry_id, reason="given twice"
    )
    scene.calls.audit.VoidCreditNote(request)


class TestInTheCycleOfItsUsage:
    def test_an_instance_is_reported_back(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.minutes("a", 900)
        scene.minutes("b", 400)
        scene.reconcile()
        assert 13 == scene.reported()
        void(scene, "a")
        scene.double.advance(hours=1)
        scene.reconcile()
        assert 4 == scene.reported()
        assert 400 == scene.standing().billable_cents == scene.cents()

    def test_one_that_was_never_reported_is_not_told(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.minutes("a", 900)
        void(scene, "a")
        scene.reconcile()
        assert [] == log_of(scene.calls, "usage-report-requested")

    def test_a_credit_note_is_billed_after_all(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(9)
        scene.use(-4)
        scene.reconcile()
        assert 5 == scene.reported()
        void_note(scene, -400)
        scene.double.advance(hours=1)
        scene.reconcile()
        assert 9 == scene.reported()

    def test_its_invoice_carries_what_is_left(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.minutes("a", 900)
        scene.use(3)
        scene.reconcile()
        void(scene, "a")
        scene.double.advance(hours=1)
        scene.reconcile()
        scene.double.advance(days=32)
        (invoice,) = scene.invoices()
        assert 3 == scene.double.invoiced_credits(str(invoice.customer))
        scene.finalize(invoice.id)
        assert 0 == scene.cents()


class TestAfterTheInvoice:
    def test_an_instance_is_a_credit_that_later_usage_uses_up(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.minutes("a", 900)
        scene.finalize(scene.end_a_cycle(1))
        assert 0 == scene.cents()
        before = entries(scene)
        void(scene, "a")
        assert -900 == scene.cents()
        assert before == entries(scene)  # what was invoiced was invoiced
        scene.finalize(scene.end_a_cycle(12))
        customer = scene.known_customer().id
        assert [10, 3] == [one.invoiced for one in scene.double.money(customer) if one.invoice]
        assert 0 == scene.cents()

    def test_a_note_is_billed_in_the_open_cycle(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(-4)
        scene.finalize(scene.end_a_cycle(9))
        void_note(scene, -400)
        assert 400 == scene.cents()
        scene.finalize(scene.end_a_cycle(1))
        customer = scene.known_customer().id
        assert [5, 5] == [one.invoiced for one in scene.double.money(customer) if one.invoice]
        assert 0 == scene.cents()

    def test_the_draft_names_the_invoiced_cycle(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.double.advance(hours=20)
        scene.minutes("a", 900)
        scene.end_a_cycle(1)
        scene.reconcile()
        void(scene, "a")
        (line,) = scene.calls.draft(PAYER).lines
        assert -900 == line.credit_cents
        assert line.HasField("late_for")

    def test_an_invoice_of_stripe_cannot_be_voided_here(self, scene: BillingScene) -> None:
        scene.finalize(scene.live_a_cycle(9))
        (settled,) = entries(scene)
        request = pb.VoidCreditNoteRequest(attribution_id=PAYER, entry_id=settled.id, reason="no")
        with refused(PRECONDITION, "is an invoice"):
            scene.calls.audit.VoidCreditNote(request)
