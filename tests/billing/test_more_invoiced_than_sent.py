"""An invoice that bills more than was sent: what is put back by itself, and what people are told.

Section 3.4 of the billing contract wants an alarm and never an automatic change. One part is no
riddle: what the cycle's own rows were to take back and is on its invoice nevertheless. So far, and
no further, it is taken back from later usage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from ledger.commands import settlements as commands
from ledger.identifiers import parse_payer
from tests.billing.scene import METER_EVENT, PAYER, BillingScene
from tests.contract.calls.asking import log_of, submit
from tests.stripe_double import Fault

MORE = "invoiced-more-than-sent"
ALARM = "credits that nobody sent"


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    with BillingScene() as scene:
        scene.double.settings.collects_payments = False
        yield scene
        assert [] == scene.calls.breaches()


def reported_by_somebody_else(scene: BillingScene, credits: int) -> None:
    """Usage of the payer's customer that the ledger knows nothing of."""
    payload = {"stripe_customer_id": scene.known_customer().id, "value": str(credits)}
    event: Any = {"event_name": METER_EVENT, "payload": payload, "identifier": f"theirs {credits}"}
    scene.shop.client.v1.billing.meter_events.create(event)


def end_the_cycle(scene: BillingScene) -> str:
    """Let the cycle end and its invoice be settled; give the invoice."""
    end = scene.cost_center().next_billing_time.seconds
    scene.double.advance_to((end + 2 * 3_600) * 1_000)
    scene.reconcile()
    return str(scene.invoices()[-1].id)


def take_back_too_late(scene: BillingScene, credits: int) -> None:
    """Give credits back in the last hour of the cycle; Stripe is away until it is over."""
    end = scene.cost_center().next_billing_time.seconds
    scene.double.advance_to((end - 3_600) * 1_000)
    scene.use(-credits)
    outage = scene.double.faults.add(Fault.UNREACHABLE, path="/v1/billing/*")
    scene.reconcile()
    scene.double.advance(hours=3)
    scene.double.faults.remove(outage)
    scene.reconcile()


def more(scene: BillingScene) -> list[tuple[int, int]]:
    """Cycles that the comparison says are billed too much: what was sent, and what is billed."""
    return [
        (one.ledger_credits, one.invoiced_credits)
        for one in scene.compared().breaks
        if one.kind == MORE
    ]


class TestWhatTheCyclesOwnRowsWereToTakeBack:
    def test_is_put_back_and_is_no_alarm(
        self, scene: BillingScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene.sign_up()
        scene.use(10)
        scene.reconcile()
        take_back_too_late(scene, 3)
        assert [(7, 10, -3)] == scene.books()
        assert ALARM not in caplog.text
        assert [] == scene.compared().breaks
        assert "" == scene.standing().waits_for
        scene.use(5)  # of which two are billed, for three were given back
        scene.reconcile()
        end_the_cycle(scene)
        assert [(7, 10, -3), (2, 2, 0)] == scene.books()
        assert 0 == scene.cents()


class TestWhatNobodySent:
    def test_is_an_alarm_and_changes_nothing_by_itself(
        self, scene: BillingScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene.sign_up()
        scene.use(10)
        scene.reconcile()
        reported_by_somebody_else(scene, 5)
        invoice = end_the_cycle(scene)
        assert [(10, 15, 0)] == scene.books()
        assert f"invoice {invoice} of {PAYER} bills 5 {ALARM}" in caplog.text
        assert ["ERROR"] == [one.levelname for one in caplog.records if ALARM in one.message]
        assert [(10, 15)] == more(scene)
        assert f"5 credits were invoiced that nobody sent ({invoice})" in scene.standing().waits_for
        scene.use(4)
        scene.reconcile()
        end_the_cycle(scene)
        assert [(10, 15, 0), (4, 4, 0)] == scene.books()  # all of it is billed

    def test_beside_what_was_to_be_taken_back_stays_an_alarm(
        self, scene: BillingScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Three are put back, for that is what the ledger took back; the other two are not."""
        scene.sign_up()
        scene.use(10)
        scene.reconcile()
        reported_by_somebody_else(scene, 2)
        take_back_too_late(scene, 3)
        assert [(7, 12, -3)] == scene.books()
        assert f"bills 2 {ALARM}" in caplog.text
        assert [(7, 12)] == more(scene)
        assert "2 credits were invoiced that nobody sent" in scene.standing().waits_for

    def test_is_told_once_in_the_log(
        self, scene: BillingScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene.sign_up()
        scene.use(10)
        scene.reconcile()
        reported_by_somebody_else(scene, 5)
        scene.finalize(end_the_cycle(scene))
        scene.reconcile()
        assert 1 == sum(ALARM in one.message for one in caplog.records)

    @pytest.mark.parametrize("units", [2, 5])
    def test_is_over_once_a_credit_note_takes_all_of_it_back(
        self, scene: BillingScene, units: int
    ) -> None:
        scene.sign_up()
        scene.use(1_010)  # the last ten on a line of their own, with a price
        scene.reconcile()
        reported_by_somebody_else(scene, 5)
        invoice = end_the_cycle(scene)
        lines = scene.shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter()
        (line,) = [line.id for line in lines if line.quantity == 15]
        credited: Any = {"type": "invoice_line_item", "invoice_line_item": line, "quantity": units}
        scene.shop.client.v1.credit_notes.create({"invoice": invoice, "lines": [credited]})
        scene.reconcile()
        left = [(1_010, 1_015 - units)] if units < 5 else []
        assert left == more(scene)
        assert bool(left) == bool(scene.standing().waits_for)

    def test_is_over_once_the_invoice_is_voided(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(10)
        scene.reconcile()
        reported_by_somebody_else(scene, 5)
        scene.double.outside.void_invoice(end_the_cycle(scene))
        scene.reconcile()
        assert [] == more(scene)
        assert "" == scene.standing().waits_for

    def test_of_a_second_invoice_is_all_of_it(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        scene.use(10)
        scene.reconcile()
        end_the_cycle(scene)
        (settled,) = [json.loads(one.json) for one in log_of(scene.calls, "invoice-settled")]
        invoice = scene.invoices()[-1]
        line = next(iter(scene.shop.client.v1.invoices.line_items.list(invoice.id)))
        again = commands.Settled(
            "in_second",
            settled["customer_id"],
            subscription,
            4,
            scene.double.clock.now_ms,
            line.period.start * 1_000,
            line.period.end * 1_000,
        )
        payer = parse_payer(PAYER)
        assert payer is not None
        act = partial(commands.settle_invoice, payer=payer, settled=again)
        assert [4, 0] == [submit(scene.service, act, PAYER) for _ in range(2)]
        assert "4 credits were invoiced that nobody sent" in scene.standing().waits_for
