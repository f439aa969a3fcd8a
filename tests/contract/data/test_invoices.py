"""Invoices of Stripe are entries: in balances, listings, drafts and live views."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events import InvoiceCorrected, InvoiceSettled
from events.readable import uuid_text
from ledger.group import Group
from projections import entry_id_of
from tests.contract.calls.asking import submit
from tests.contract.data.scene import PAYER, Scene, at, note
from tests.contract.queries.test_live_views import LiveScene
from tests.laws.acts import payer_bytes
from usage_ledger.v1 import queries_pb2

MS = 1_793_512_800_000  # 06:00 on that morning


def settle(scene: Scene, invoice: str, cents: int, *, time: int = MS) -> None:
    def act(group: Group) -> None:
        event = InvoiceSettled(
            group.recorded_at,
            group.author,
            payer_bytes(PAYER),
            invoice,
            "cus_1",
            "sub_1",
            cents,
            time,
            time - 1,
            time,
        )
        group.append_next(f"invoice:{invoice}", event)

    submit(scene.service, act)


def correct(scene: Scene, invoice: str, cause: str, cents: int, *, time: int = MS) -> None:
    def act(group: Group) -> None:
        event = InvoiceCorrected(
            group.recorded_at, group.author, payer_bytes(PAYER), invoice, cause, cents, time
        )
        group.append_next(f"invoice:{invoice}", event)

    submit(scene.service, act)


def entries(scene: Scene) -> list[queries_pb2.Entry]:
    request = queries_pb2.ListEntriesRequest(attribution_id=PAYER, ascending=True)
    return list(scene.calls.queries.ListEntries(request).entries)


class TestASettledInvoice:
    def test_is_an_entry_dated_when_it_was_finalized(self, scene: Scene) -> None:
        settle(scene, "in_1", -103_100)
        (entry,) = entries(scene)
        assert (queries_pb2.ENTRY_KIND_INVOICE, -103_100, at("06:00"), False, "") == (
            entry.kind,
            entry.credit_cents,
            entry.effective_time.ToJsonString(),
            entry.draft,
            entry.metadata,
        )
        assert "Invoice in_1 finalized in Stripe" == entry.description
        assert uuid_text(entry_id_of("invoice:in_1")) == entry.id

    def test_counts_in_the_balance_and_in_the_open_cycles_invoices(self, scene: Scene) -> None:
        scene.record(note(-20))
        settle(scene, "in_1", -1_500)
        assert 500 == scene.cents()
        draft = scene.calls.draft(PAYER)
        assert (1, -1_500) == (draft.invoice_count, draft.invoice_cents)
        assert 500 == draft.total_cents
        assert [] == scene.calls.breaches()

    def test_of_nothing_is_no_entry(self, scene: Scene) -> None:
        settle(scene, "in_1", 0)
        assert [] == entries(scene)
        assert 0 == scene.calls.draft(PAYER).invoice_count


class TestACorrectedInvoice:
    @pytest.mark.parametrize(
        ("cause", "description"),
        [
            ("voided", "Invoice in_1 voided in Stripe"),
            ("uncollectible", "Invoice in_1 marked uncollectible in Stripe"),
            ("credit-note:cn_7", "Credit note cn_7 of invoice in_1 in Stripe"),
        ],
    )
    def test_is_another_entry(self, scene: Scene, cause: str, description: str) -> None:
        settle(scene, "in_1", -1_500)
        correct(scene, "in_1", cause, 400, time=MS + 1)
        _, correction = entries(scene)
        assert (description, 400) == (correction.description, correction.credit_cents)
        assert uuid_text(entry_id_of("invoice:in_1:2")) == correction.id
        assert -1_100 == scene.cents()

    def test_has_an_entry_for_each_part_that_was_taken_back(self, scene: Scene) -> None:
        """Of the same amount, at the same time, for the same reason."""
        settle(scene, "in_1", -1_500)
        for _ in range(2):
            correct(scene, "in_1", "credit-note:cn", 100)
        found = entries(scene)
        assert [-1_500, 100, 100] == sorted(entry.credit_cents for entry in found)
        assert 3 == len({entry.id for entry in found})
        draft = scene.calls.draft(PAYER)
        assert (3, -1_300) == (draft.invoice_count, draft.invoice_cents)
        assert [] == scene.calls.breaches()


@pytest.mark.embedded  # with views of its own
class TestLiveViews:
    @pytest.fixture
    def live_scene(self) -> Iterator[LiveScene]:
        with LiveScene() as scene:
            yield scene
            assert [] == [breach for found in scene.laws().values() for breach in found]

    def test_book_invoices_and_what_is_taken_back_of_them(self, live_scene: LiveScene) -> None:
        live_scene.record(note(-20))
        settle(live_scene, "in_1", -1_500)
        assert 500 == live_scene.meter().balance_cents
        correct(live_scene, "in_1", "voided", 1_500)
        assert 2_000 == live_scene.meter().balance_cents

    def test_raise_alerts_for_what_is_taken_back(self, live_scene: LiveScene) -> None:
        live_scene.open_cost_center()
        live_scene.set_cost_center(10, strategy=0)
        settle(live_scene, "in_1", -1_000)
        assert [] == live_scene.thresholds()
        correct(live_scene, "in_1", "voided", 1_600)
        assert [(2, 50)] == live_scene.thresholds()
