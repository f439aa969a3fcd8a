"""An invoice with a quantity that is no whole number of credits: people settle it.

It keeps nobody's usage from being reported, nor other invoices from being settled, and the books of
its cycle stay open: what is on it must not be reported again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import grpc
import pytest

from tests.billing.scene import BillingScene
from tests.billing.test_billing_commands import run
from tests.contract.calls.asking import log_of, refused
from usage_ledger.v1 import billing_pb2


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    with BillingScene() as scene:
        yield scene
        assert [] == scene.calls.breaches()


def live_a_cycle(scene: BillingScene) -> str:
    """Live a cycle of seven credits, of whose invoice Stripe says that it bills 6.5; give it."""
    invoice = scene.live_a_cycle(7)
    lines = scene.double.world.invoices[invoice].lines
    assert lines is not None
    half: Any = Decimal("6.5")
    lines[:] = [replace(one, quantity=half) if one.quantity else one for one in lines]
    return invoice


def settle(scene: BillingScene, invoice: str, credits: int) -> None:
    request = billing_pb2.SettleInvoiceRequest(invoice_id=invoice, credits=credits)
    scene.calls.billing_status.SettleInvoice(request)


class TestAnInvoiceThatCannotBeCounted:
    def test_keeps_no_usage_from_being_reported(self, scene: BillingScene) -> None:
        invoice = live_a_cycle(scene)
        scene.use(5)
        scene.reconcile()
        assert 5 == scene.double.money()[-1].reported
        assert f"invoice {invoice} bills 6.5 credits" in scene.standing().waits_for

    def test_keeps_no_other_invoice_from_being_settled(self, scene: BillingScene) -> None:
        live_a_cycle(scene)
        scene.reconcile()
        scene.end_a_cycle(4)
        scene.reconcile()
        assert 700 == scene.cents()

    def test_is_never_reported_again(self, scene: BillingScene) -> None:
        live_a_cycle(scene)
        for _ in range(5):
            scene.double.advance(days=5)
            scene.reconcile()
        assert [7, 0] == [one.reported for one in scene.double.money()]
        assert [] == log_of(scene.calls, "reported-cycle-closed")

    def test_is_settled_by_hand(self, scene: BillingScene) -> None:
        invoice = live_a_cycle(scene)
        scene.reconcile()
        settle(scene, invoice, 7)
        scene.reconcile()
        assert (0, "") == (scene.cents(), scene.standing().waits_for)
        assert 1 == len(log_of(scene.calls, "reported-cycle-closed"))
        assert [] == scene.breaks()
        scene.finalize(invoice)  # Stripe may tell of it once more
        assert 0 == scene.cents()

    def test_that_was_settled_by_hand_can_be_voided(self, scene: BillingScene) -> None:
        scene.double.settings.collects_payments = False
        invoice = live_a_cycle(scene)
        settle(scene, invoice, 7)
        scene.double.outside.void_invoice(invoice)
        scene.finalize(invoice)
        assert 700 == scene.cents()

    def test_is_settled_by_the_command(self, scene: BillingScene) -> None:
        invoice = live_a_cycle(scene)
        done = run(scene, "billing", "settle", invoice, "--credits", "7")
        assert (0, True) == (done.returncode, f"{invoice} is settled for 7" in done.stdout)
        assert 0 == scene.cents()


class TestSettlingByHand:
    def test_is_for_what_cannot_be_counted(self, scene: BillingScene) -> None:
        invoice = scene.live_a_cycle(9)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "bills 9 credits"):
            settle(scene, invoice, 7)
        scene.finalize(invoice)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "settled already"):
            settle(scene, invoice, 7)
        assert 0 == scene.cents()

    def test_is_done_once(self, scene: BillingScene) -> None:
        invoice = live_a_cycle(scene)
        settle(scene, invoice, 7)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "settled already"):
            settle(scene, invoice, 6)
        assert 0 == scene.cents()

    def test_of_a_draft_is_refused(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(7)
        scene.reconcile()
        end = scene.cost_center().next_billing_time.seconds
        scene.double.advance_to((end + 60) * 1_000)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "draft"):
            settle(scene, str(scene.invoices()[0].id), 7)

    def test_of_what_is_not_ours_is_not_found(self, scene: BillingScene) -> None:
        with refused(grpc.StatusCode.NOT_FOUND):
            settle(scene, "in_unknown", 7)

    @pytest.mark.parametrize(("invoice", "credits"), [("", 7), ("in_1", -1), ("in_1", 10**15)])
    def test_takes_an_invoice_and_credits(
        self, scene: BillingScene, invoice: str, credits: int
    ) -> None:
        with refused(grpc.StatusCode.INVALID_ARGUMENT):
            settle(scene, invoice, credits)
