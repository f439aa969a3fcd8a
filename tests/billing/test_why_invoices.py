"""A settled invoice opened: what was sent in its cycle, and what its books compared."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.billing.scene import PAYER, BillingScene
from tests.billing.test_more_invoiced_than_sent import (
    end_the_cycle,
    reported_by_somebody_else,
    take_back_too_late,
)
from tests.laws.explained import Number, events_in, numbers_in, opened, wrong
from usage_ledger.v1 import audit_why_pb2 as pb


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    with BillingScene() as scene:
        scene.double.settings.collects_payments = False
        yield scene
        assert [] == scene.calls.breaches()


def explained(scene: BillingScene, invoice_id: str, *, size: int = 2) -> Number:
    def more(cursor: str) -> pb.Explanation:
        request = pb.ExplainPartsRequest(cursor=cursor, page_size=size)
        return scene.calls.audit.ExplainParts(request).explanation

    request = pb.ExplainInvoiceRequest(invoice_id=invoice_id, page_size=size)
    number = opened(scene.calls.audit.ExplainInvoice(request).explanation, more)
    assert [] == wrong(number)
    return number


def parts(number: Number, kind: int) -> list[tuple[str, int]]:
    """Kind and whole credits of the parts of the one number of a kind."""
    (found,) = [one for one in numbers_in(number) if one.kind == kind]
    names = [pb.NumberKind.Name(part.kind).removeprefix("NUMBER_KIND_") for part in found.parts]
    return [(name, part.credit_cents // 100) for name, part in zip(names, found.parts, strict=True)]


class TestAnInvoice:
    def test_is_what_was_sent_in_its_cycle(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.minutes("one", 250)
        scene.reconcile()
        scene.minutes("two", 520)
        scene.reconcile()
        number = explained(scene, end_the_cycle(scene))
        assert [("BILLED", 8)] == parts(number, pb.NUMBER_KIND_STRIPE_INVOICE)
        assert [("SENT", 8)] == parts(number, pb.NUMBER_KIND_BILLED)
        assert [("USAGE_RECORD", 3), ("USAGE_RECORD", 5)] == parts(number, pb.NUMBER_KIND_SENT)
        records = [one for one in numbers_in(number) if one.kind == pb.NUMBER_KIND_USAGE_RECORD]
        assert [3, 8] == [one.usage_record.target_credits for one in records]
        assert ["delivered"] * 2 == [one.usage_record.state for one in records]
        assert [
            "usage-report-requested",
            "usage-report-stamped",
            "usage-reported",
        ] == [event.event.topic for event in records[0].events]

    def test_says_that_no_entry_belongs_to_a_record(self, scene: BillingScene) -> None:
        number = explained(scene, self.one_cycle(scene))
        (sent,) = [one for one in numbers_in(number) if one.kind == pb.NUMBER_KIND_SENT]
        assert "no entry belongs to one record alone" in sent.remarks[0]

    @staticmethod
    def one_cycle(scene: BillingScene) -> str:
        scene.sign_up()
        scene.minutes("one", 250)
        scene.reconcile()
        return end_the_cycle(scene)

    def test_has_the_cycles_behind_it_beside_it_with_their_entries(
        self, scene: BillingScene
    ) -> None:
        number = explained(scene, self.one_cycle(scene))
        cycles = [one for one in number.beside if one.kind == pb.NUMBER_KIND_CYCLE]
        (cycle,) = [one for one in cycles if one.credit_cents == 250]
        changes = [one for one in numbers_in(cycle) if one.kind == pb.NUMBER_KIND_ENTRY_CHANGE]
        assert [250] == [one.credit_cents for one in changes]
        assert "instance-stopped" in {event.event.topic for event in events_in(changes[0]).values()}

    def test_is_an_entry_of_the_balance_that_leads_back_to_it(self, scene: BillingScene) -> None:
        invoice = self.one_cycle(scene)
        (billed,) = [
            one
            for one in numbers_in(explained(scene, invoice))
            if one.kind == pb.NUMBER_KIND_BILLED
        ]
        request = pb.ExplainEntryRequest(attribution_id=PAYER, entry_id=billed.entry_id)
        entry = scene.calls.audit.ExplainEntry(request).explanation.number
        assert (pb.NUMBER_KIND_SETTLEMENT, -300) == (entry.kind, entry.credit_cents)
        assert [pb.EVENT_CAUSE_STRIPE] == [event.cause for event in entry.events]
        assert [invoice] == [one.invoice_id for one in entry.beside]
        assert entry.beside[0].cursor


class TestWhatDoesNotFit:
    def test_more_than_was_sent(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(10)
        scene.reconcile()
        reported_by_somebody_else(scene, 5)
        number = explained(scene, end_the_cycle(scene))
        assert [("SENT", 10), ("EXCESS", 5)] == parts(number, pb.NUMBER_KIND_BILLED)

    def test_what_was_to_be_taken_back_and_came_too_late(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(10)
        scene.reconcile()
        take_back_too_late(scene, 3)
        number = explained(scene, str(scene.invoices()[-1].id))
        assert [("SENT", 7), ("SHORTFALL", 3)] == parts(number, pb.NUMBER_KIND_BILLED)
        (shortfall,) = [one for one in numbers_in(number) if one.kind == pb.NUMBER_KIND_SHORTFALL]
        assert ["reported-cycle-closed"] == [each.event.topic for each in shortfall.events]

    def test_what_was_taken_back_of_it(self, scene: BillingScene) -> None:
        invoice = scene.live_a_cycle(10)
        scene.reconcile()
        scene.shop.client.v1.invoices.void_invoice(invoice)
        scene.finalize(invoice)
        number = explained(scene, invoice)
        assert 0 == number.credit_cents
        assert [("BILLED", 10), ("TAKEN_BACK", -10)] == parts(number, pb.NUMBER_KIND_STRIPE_INVOICE)

    def test_one_that_nobody_settled(self, scene: BillingScene) -> None:
        invoice = scene.live_a_cycle(10)
        with pytest.raises(grpc.RpcError) as caught:
            explained(scene, invoice)
        assert grpc.StatusCode.NOT_FOUND == caught.value.code()
        assert "not settled here" in (caught.value.details() or "")
