"""Texts that nobody expects, in every call: an answer, and nothing that stands in anybody's way."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from facade.boundary import status_of
from ledger.directory import OWNER, Member
from ledger.errors import UnavailableError
from tests.billing.calls.failing import INVALID, UNAVAILABLE
from tests.billing.calls.test_on_charge_dispute import Organization, dispute
from tests.billing.scene import BillingScene
from tests.contract.calls.asking import log_of, refused
from tests.contract.calls.odd_texts import ANSWERS, ODD_TEXTS, code_of, requests_with
from tests.harness.backends import POSTGRES, SQLITE, choose
from tests.oracle.events import named_uuid
from usage.v1 import billing_pb2 as pb
from usage_ledger.v1 import billing_pb2 as status_pb

SERVICES = [
    file.DESCRIPTOR.services_by_name[name]
    for file, name in ((pb, "BillingService"), (status_pb, "BillingStatusService"))
]
BLANK = {"space": " ", "tab": "\t", "line": "\n", "wide space": "\u3000"}
# Nothing of it can be an id of Stripe.
NO_IDS = {
    "dot": ".",
    "dots": "..",
    "space within": "in 1",
    "newline": "in_1\nx",
    "escape": "in_\x1b[31m",
    "not ascii": "\xefn_\xe9",
    "256 signs": "x" * 256,
    **ODD_TEXTS,
}


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)])
def scene(request: pytest.FixtureRequest) -> Iterator[BillingScene]:
    server = request.getfixturevalue("postgres_server") if request.param == POSTGRES else None
    with choose(request.param, server) as backend:
        with BillingScene() as scene:
            yield scene
        backend.close()


Ask = Callable[[BillingScene, str], Any]


def known_by_id(scene: BillingScene, customer_id: str) -> Any:
    return scene.calls.billing.GetStripeCustomer(
        pb.GetStripeCustomerRequest(stripe_customer_id=customer_id)
    )


def tax(scene: BillingScene, customer_id: str) -> Any:
    return scene.calls.billing.UpdateCustomerSubscriptionsTaxState(
        pb.UpdateCustomerSubscriptionsTaxStateRequest(customer_id=customer_id)
    )


def open_dispute(scene: BillingScene, dispute_id: str) -> Any:
    return scene.calls.billing.OnChargeDispute(pb.OnChargeDisputeRequest(dispute_id=dispute_id))


# Each call that names something at Stripe, and the original's text where it names nothing.
CALLS: list[Any] = [
    pytest.param(known_by_id, "empty stripe customer ID supplied", id="GetStripeCustomer"),
    pytest.param(tax, "Missing CustomerID", id="UpdateCustomerSubscriptionsTaxState"),
    pytest.param(BillingScene.finalize, "Missing InvoiceID", id="FinalizeInvoice"),
    pytest.param(BillingScene.cancel, "subscriptionId is required", id="CancelSubscription"),
    pytest.param(open_dispute, "dispute ID is required", id="OnChargeDispute"),
    pytest.param(
        lambda scene, hold: scene.subscribe(hold=hold),
        "Invalid payment_intent_id",
        id="CreateStripeSubscription",
    ),
]


@pytest.mark.parametrize(("ask", "text"), CALLS)
def test_a_blank_id_is_an_empty_one(scene: BillingScene, ask: Ask, text: str) -> None:
    scene.customer()
    asked, recorded = len(scene.double.journal), len(log_of(scene.calls))
    for blank in BLANK.values():
        with refused(INVALID, text):
            ask(scene, blank)
    assert (asked, recorded) == (len(scene.double.journal), len(log_of(scene.calls)))


@pytest.mark.parametrize(("ask", "_text"), CALLS)
def test_what_can_be_no_id_is_refused_before_anything_is_asked_or_recorded(
    scene: BillingScene, ask: Ask, _text: str
) -> None:
    scene.customer()
    asked, recorded = len(scene.double.journal), len(log_of(scene.calls))
    for odd in NO_IDS.values():
        with refused(INVALID, "id"):
            ask(scene, odd)
    assert (asked, recorded) == (len(scene.double.journal), len(log_of(scene.calls)))


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_every_text_of_every_call_gets_an_answer(scene: BillingScene, odd: str) -> None:
    scene.customer()
    for service in SERVICES:
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            for field, request in requests_with(method, ODD_TEXTS[odd]):
                code = code_of(scene.calls.channel, path, request)
                assert code in ANSWERS, (path, field, code)


@pytest.mark.parametrize("key", [b"\0" * 9, b"12345678", b"12345678\xff", b"12345678evt_\0"])
def test_a_cursor_of_webhooks_that_is_not_ours_is_refused(scene: BillingScene, key: bytes) -> None:
    cursor = base64.urlsafe_b64encode(key).decode()
    with refused(INVALID, "use next_cursor of the page before"):
        scene.calls.billing_status.ListWebhooks(status_pb.ListWebhooksRequest(cursor=cursor))


@pytest.mark.parametrize("sign", ["", "\U0001f4b3", "%"])
def test_what_is_told_of_very_many_is_cut(sign: str) -> None:
    """A status travels in trailers; of more than they hold the caller hears a broken stream."""
    owners = [f"{named_uuid('owner', f'{number}')}{sign * 9}" for number in range(500)]

    class Crowd(Organization):
        def members(self, organization: bytes) -> list[Member]:
            return [Member(user, 0, "", OWNER) for user in owners]

        def block(self, user_id: str, reason: str) -> None:
            raise UnavailableError("the directory is down")

    with BillingScene(directory=Crowd()) as scene:
        disputed = dispute(scene)
        with refused(UNAVAILABLE, f"failed to block users: {owners[0]}"):
            open_dispute(scene, disputed)


def test_half_a_sign_is_told_as_text() -> None:
    """JSON of others may have one, and no status can."""
    assert "\\ud800" == status_of(UnavailableError("\ud800"))[1]
