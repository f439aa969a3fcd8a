"""Whatever changes something says who did it: every call and every command, from one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facade.access import NEEDED
from facade.tokens import Role
from ledger.directory import OWNER, Member
from tests.audit.authors import ANN, ARRANGER, Named, authors_since, trail
from tests.billing.test_invoices_nobody_can_count import live_a_cycle, settle
from tests.billing.test_refused_reports import refuse_a_report, resume
from tests.billing.webhook_scene import WebhookScene, event
from tests.contract.audit.erasing import erase
from tests.contract.data.scene import PAYER, Scene, at, note, ran, started
from tests.feeds.test_gaps import accept, open_feed, rejects
from tests.harness.backends import POSTGRES, SQLITE, choose
from tests.importing.lines import entry, taken
from tests.oracle.events import named_uuid
from tests.proofs.scene import Signing, wait_for
from usage.v1 import billing_pb2 as usage_billing_pb2
from usage.v1 import usage_pb2
from usage_ledger.v1 import admin_pb2, audit_proofs_pb2, billing_pb2, queries_pb2

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

_AUDIT, _ADMIN, _BILLING, _USAGE = (
    *(f"/usage_ledger.v1.{name}Service/" for name in ("Audit", "Admin", "BillingStatus")),
    "/usage.v1.UsageService/",
)

Does = Callable[[Any], object]


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)])
def _store(request: pytest.FixtureRequest) -> Iterator[None]:
    server: PostgresServer | None = None
    if request.param == POSTGRES:
        server = request.getfixturevalue("postgres_server")
    with choose(request.param, server) as backend:
        yield
        backend.close()


def nothing(_scene: Any) -> None:
    """Nothing need be there before."""


def a_stop_of_another_payer(scene: Scene) -> None:
    """It is a dead letter until the instance is voided."""
    scene.record(started("a", "06:00"))
    scene.reject(started("a", "06:30"))


def one_that_repeats(scene: Scene) -> None:
    """A dead letter that has been recorded since: it goes, and no event says so."""
    start = started("a", "06:00")
    scene.record(note(1))
    scene.reject(note(2))
    scene.record(start)


def a_cycle_that_has_ended(scene: Scene) -> None:
    scene.record(*ran("a", "06:00", "07:00"))
    scene.open_cost_center()
    scene.reconcile("11-25 08:00")
    scene.clock.set(at("12-02 08:00"))


def a_note(scene: Scene) -> None:
    scene.record(note(3))


def void_the_note(scene: Scene) -> None:
    (given,) = [
        each
        for each in scene.calls.entries(PAYER)
        if each.kind == queries_pb2.ENTRY_KIND_CREDIT_NOTE
    ]
    scene.void_note(given.id)


def give_a_note(scene: Scene) -> None:
    scene.calls.usage.AddUsageCreditNote(
        usage_pb2.AddUsageCreditNoteRequest(attribution_id=PAYER, credits=1, description="sorry")
    )


def sign(scene: Scene) -> None:
    wait_for("the tree", lambda: scene.status().trees[0].size > 0)
    scene.calls.audit.SignHeads(audit_proofs_pb2.SignHeadsRequest())


def rebuild_tree(scene: Scene) -> None:
    scene.calls.audit.RebuildTree(audit_proofs_pb2.RebuildTreeRequest())


def confirm(scene: Scene) -> None:
    scene.calls.admin.ConfirmReset(admin_pb2.ConfirmResetRequest())


CASES: dict[str, tuple[Does, Does]] = {
    "/usage_ledger.v1.PublishingService/Publish": (nothing, a_note),
    f"{_ADMIN}EndInstance": (
        lambda scene: scene.record(started("a", "06:00")),
        lambda scene: scene.end("a", "07:00"),
    ),
    f"{_ADMIN}RetryDeadLetters": (one_that_repeats, lambda scene: scene.retry()),
    f"{_ADMIN}ConfirmReset": (nothing, confirm),
    f"{_ADMIN}AcceptGap": (
        lambda scene: open_feed(scene).take(rejects(0, 4), 4),
        lambda scene: accept(scene, lost_from=4, go_on_at=9),
    ),
    f"{_ADMIN}ImportOpeningState": (nothing, lambda scene: taken(scene, entry(1667))),
    f"{_AUDIT}VoidInstance": (a_stop_of_another_payer, lambda scene: scene.void("a")),
    f"{_AUDIT}VoidCreditNote": (a_note, void_the_note),
    f"{_AUDIT}EraseUser": (a_note, erase),
    f"{_AUDIT}SignHeads": (a_note, sign),
    f"{_AUDIT}RebuildTree": (a_note, rebuild_tree),
    f"{_USAGE}GetCostCenter": (nothing, lambda scene: scene.open_cost_center()),
    f"{_USAGE}SetCostCenter": (nothing, lambda scene: scene.set_cost_center(7)),
    f"{_USAGE}ReconcileUsage": (nothing, lambda scene: scene.reconcile()),
    f"{_USAGE}ResetUsage": (a_cycle_that_has_ended, lambda scene: scene.reset()),
    f"{_USAGE}AddUsageCreditNote": (nothing, give_a_note),
}


def a_webhook(scene: WebhookScene) -> None:
    """One that asks for nothing."""
    scene.signed(event("customer.created", "cus_1"))


def replay(scene: WebhookScene) -> None:
    (kept,) = scene.kept()
    scene.calls.billing_status.ReplayWebhook(
        billing_pb2.ReplayWebhookRequest(event_id=kept.event_id)
    )


def an_invoice(scene: WebhookScene) -> None:
    scene.invoice = live_a_cycle(scene)  # type: ignore[attr-defined]


class Owned:
    """Implements `ledger.directory.Directory`: one user owns every organization."""

    def members(self, _organization: bytes) -> list[Member]:
        return [Member(named_uuid("user", "owner"), 0, "", OWNER)]

    def block(self, _user_id: str, _reason: str) -> None:
        """Nothing is to be seen of it here."""


def an_address_that_cannot_be_taxed(scene: WebhookScene) -> None:
    scene.sign_up()
    scene.double.outside.set_address(scene.known_customer().id, None)


def update_tax(scene: WebhookScene) -> None:
    scene.calls.billing.UpdateCustomerSubscriptionsTaxState(
        usage_billing_pb2.UpdateCustomerSubscriptionsTaxStateRequest(
            customer_id=scene.known_customer().id
        )
    )


def a_dispute(scene: WebhookScene) -> None:
    scene.customer()
    intent = scene.intent(scene.hold())
    dispute = scene.double.outside.open_dispute(payment_intent=intent.id)
    scene.dispute = str(dispute["id"])  # type: ignore[attr-defined]


def tell_the_dispute(scene: WebhookScene) -> None:
    scene.calls.billing.OnChargeDispute(
        usage_billing_pb2.OnChargeDisputeRequest(
            dispute_id=scene.dispute  # type: ignore[attr-defined]
        )
    )


BILLING_CASES: dict[str, tuple[Does, Does]] = {
    f"{_BILLING}ReplayWebhook": (a_webhook, replay),
    f"{_BILLING}ResumeReports": (refuse_a_report, resume),
    f"{_BILLING}SettleInvoice": (an_invoice, lambda scene: settle(scene, scene.invoice, 7)),
    "/usage.v1.BillingService/CreateStripeCustomer": (nothing, lambda scene: scene.customer()),
    "/usage.v1.BillingService/CreateHoldPaymentIntent": (
        lambda scene: scene.customer(),
        lambda scene: scene.placed_hold(),
    ),
    "/usage.v1.BillingService/CreateStripeSubscription": (
        lambda scene: scene.customer(),
        lambda scene: scene.subscribe(hold=scene.hold()),
    ),
    "/usage.v1.BillingService/CancelSubscription": (
        lambda scene: scene.sign_up(),
        lambda scene: scene.cancel(scene.subscription()),
    ),
    "/usage.v1.BillingService/ReconcileInvoices": (
        lambda scene: (scene.sign_up(), scene.use(5)),
        lambda scene: scene.reconcile(),
    ),
    "/usage.v1.BillingService/FinalizeInvoice": (
        lambda scene: setattr(scene, "invoice", scene.live_a_cycle(7)),
        lambda scene: scene.finalize(scene.invoice),
    ),
    "/usage.v1.BillingService/UpdateCustomerSubscriptionsTaxState": (
        an_address_that_cannot_be_taxed,
        update_tax,
    ),
    "/usage.v1.BillingService/OnChargeDispute": (a_dispute, tell_the_dispute),
}


def test_every_call_that_changes_something_has_a_case() -> None:
    # Who posts events over HTTP: tests/edge/test_posting_events.py.
    changing = {
        call
        for call, role in NEEDED.items()
        if role in {Role.ADMIN, Role.PUBLISH} and call.startswith("/")
    }
    assert set() == changing - set(CASES) - set(BILLING_CASES)


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize("call", CASES)
def test_a_call_writes_down_who_made_it(tmp_path: Path, call: str) -> None:
    arrange, act = CASES[call]
    named, signing = Named(tmp_path), Signing(tmp_path / "keys")
    with Scene(tmp_path / "ledger", tree=True, **signing.settings, **named.settings) as scene:
        with named.calling(scene, ARRANGER):
            arrange(scene)
        before = trail(scene)
        with named.calling(scene, ANN):
            act(scene)
        assert {ANN} == authors_since(scene, before)


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize("call", BILLING_CASES)
def test_a_call_of_billing_writes_down_who_made_it(tmp_path: Path, call: str) -> None:
    arrange, act = BILLING_CASES[call]
    named = Named(tmp_path)
    more = {"directory": Owned(), **named.settings}
    with WebhookScene(tmp_path, data_dir=tmp_path / "ledger", **more) as scene:
        with named.calling(scene, ARRANGER):
            arrange(scene)
            scene.process()
        before = trail(scene)
        with named.calling(scene, ANN):
            act(scene)
        assert {ANN} == authors_since(scene, before)


@pytest.mark.usefixtures("_store")
def test_what_is_beside_the_log_is_shown(tmp_path: Path) -> None:
    named = Named(tmp_path)
    with Scene(tmp_path / "ledger", tree=True, **named.settings) as scene:
        with named.calling(scene, ANN):
            rebuild_tree(scene)
            told = scene.status().acts
        assert [("rebuild-tree", "shard 0", ANN, at("08:00"))] == [
            (each.what, each.detail, each.author, each.time.ToJsonString()) for each in told
        ]
