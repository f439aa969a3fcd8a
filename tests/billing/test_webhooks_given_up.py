"""A webhook that can never be done is given up after three days; one that may heal never is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing import (
    GatewayError,
    InvoiceQuantityError,
    StripeAnswerError,
    StripeCardError,
    StripeConflictError,
    StripeCredentialsError,
    StripeIdempotencyError,
    StripeMissingError,
    StripeRefusedError,
    StripeTimeoutError,
    StripeUnavailableError,
)
from ledger.errors import (
    FailedPreconditionError,
    LedgerError,
    NotFoundError,
    TroubleError,
    UnavailableError,
)
from ledger.invoicing.told import is_hopeless, told
from persistence import StoreUnavailableError
from tests.billing.calls.failing import DOWN, INTERNAL, Failure
from tests.billing.scene import PAYER, Shop
from tests.billing.test_billing_commands import run as run_command
from tests.billing.webhook_scene import WebhookScene, event
from tests.contract.calls.asking import log_of
from tests.oracle.events import payer_of
from usage.v1 import billing_pb2 as usage_pb
from usage_ledger.v1 import billing_pb2 as pb

WRONG_KEY = Failure(None, INTERNAL)
MISSING = "invoice.finalized", "in_nobodys"
RIVAL = payer_of("rival")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WebhookScene]:
    with WebhookScene(tmp_path) as scene:
        yield scene
        assert [] == scene.calls.breaches()


def tell(scene: WebhookScene, kind: str, object_id: str) -> None:
    """Stripe tells it, and it is tried for the first time."""
    assert 200 == scene.signed(event(kind, object_id)).status_code
    scene.until_tried()


def pass_days(scene: WebhookScene, days: int) -> None:
    """Let days pass in which webhooks are tried."""
    for _ in range(4 * days):
        scene.double.advance(hours=6)
        scene.process()


def bill(scene: WebhookScene) -> None:
    scene.calls.billing.ReconcileInvoices(usage_pb.ReconcileInvoicesRequest())


REJECTED = "v1.billing.meter.error_report_triggered"


def only(scene: WebhookScene, kind: str = "") -> pb.Webhook:
    (found,) = [one for one in scene.kept() if not kind or one.type == kind]
    return found


def status(scene: WebhookScene) -> pb.GetBillingStatusResponse:
    return scene.calls.billing_status.GetBillingStatus(pb.GetBillingStatusRequest())


def replay(scene: WebhookScene) -> pb.Webhook:
    request = pb.ReplayWebhookRequest(event_id=only(scene).event_id)
    return scene.calls.billing_status.ReplayWebhook(request).webhook


def given_up(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.ERROR and "given up" in record.getMessage()
    ]


def disputed(scene: WebhookScene) -> tuple[str, str]:
    """A dispute about a payment of a customer who is none of ours; give dispute and customer."""
    stripe = scene.shop.client.v1
    customer = stripe.customers.create({"email": "x@example.org"}).id
    request: Any = {
        "amount": 100, "currency": "usd", "customer": customer, "capture_method": "manual",
        "setup_future_usage": "off_session",
    }  # fmt: skip
    intent = stripe.payment_intents.create(request).id
    scene.double.outside.confirm_payment(intent)
    return scene.double.outside.open_dispute(payment_intent=intent)["id"], customer


class TestOneThatStripeDoesNotHave:
    def test_is_given_up_after_three_days_and_said_once(
        self, scene: WebhookScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        tell(scene, *MISSING)
        scene.double.advance(hours=71)
        scene.process()
        assert ("waiting", 2) == (only(scene).state, only(scene).attempts)
        assert [] == given_up(caplog)
        assert (1, 1, 0) == counts(scene)
        scene.double.advance(hours=1)
        scene.process()
        assert "given-up" == only(scene).state
        assert "Failed to get invoice with ID in_nobodys" in only(scene).error
        assert (0, 0, 1) == counts(scene)
        pass_days(scene, 2)
        scene.service.run_job("ledger")
        assert 3 == only(scene).attempts
        (said,) = given_up(caplog)
        assert "evt_invoice.finalized" in said
        assert "Failed to get invoice with ID in_nobodys" in said

    def test_is_listed_by_its_state(self, scene: WebhookScene) -> None:
        tell(scene, *MISSING)
        pass_days(scene, 4)
        assert ["evt_invoice.finalized"] == [one.event_id for one in scene.kept("given-up")]
        assert [] == scene.kept("waiting")

    def test_stays_given_up_over_a_restart(self, tmp_path: Path) -> None:
        shop, data_dir = Shop(), tmp_path / "data"
        with WebhookScene(tmp_path, shop=shop, data_dir=data_dir) as before:
            tell(before, *MISSING)
        shop.double.advance(days=3)
        with WebhookScene(tmp_path, shop=shop, data_dir=data_dir) as after:
            after.process()
            assert ("given-up", 2) == (only(after).state, only(after).attempts)

    def test_told_again_stays_given_up(self, scene: WebhookScene) -> None:
        tell(scene, *MISSING)
        pass_days(scene, 4)
        tell(scene, *MISSING)
        assert "given-up" == only(scene).state

    def test_is_not_given_up_for_what_happened_before_three_days_of_it(
        self, scene: WebhookScene
    ) -> None:
        """Stripe was down for a week, and then says once that it does not have it."""
        with DOWN.of(scene):
            tell(scene, *MISSING)
            pass_days(scene, 7)
        scene.double.advance(hours=1)
        scene.process()
        assert "waiting" == only(scene).state

    def test_is_hopeless_anew_once_something_else_was_wrong(self, scene: WebhookScene) -> None:
        tell(scene, *MISSING)
        pass_days(scene, 2)
        with WRONG_KEY.of(scene):
            pass_days(scene, 1)
        pass_days(scene, 2)
        assert "waiting" == only(scene).state
        pass_days(scene, 2)
        assert "given-up" == only(scene).state


class TestAnInvoiceOfOurs:
    def test_that_was_given_up_is_settled_by_the_next_run(self, scene: WebhookScene) -> None:
        """For days our key was another account's, which has none of our objects."""
        invoice = scene.live_a_cycle(7)
        ours = scene.double.world.invoices
        hidden = ours.pop(invoice)
        scene.deliver(None, "invoice.finalized")
        scene.until_tried()
        pass_days(scene, 4)
        assert ["given-up"] == [one.state for one in scene.kept()]
        ours[invoice] = hidden
        assert 700 == scene.cents()
        bill(scene)
        assert 0 == scene.cents()


class TestOneAboutSomebodyElse:
    def test_is_given_up_and_done_by_hand_once_it_can_be(
        self, scene: WebhookScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The customer is said to be a payer's after all."""
        dispute, customer = disputed(scene)
        tell(scene, "charge.dispute.created", dispute)
        pass_days(scene, 4)
        assert "given-up" == only(scene).state
        still = replay(scene)
        assert ("given-up", True) == (still.state, "attribution ID in metadata" in still.error)
        assert 1 == len(given_up(caplog))
        scene.shop.client.v1.customers.update(customer, {"metadata": {"attributionId": PAYER}})
        done = replay(scene)
        assert ("done", "") == (done.state, done.error)
        (recorded,) = log_of(scene.calls, "dispute-opened")
        assert dispute == json.loads(recorded.json)["dispute_id"]
        assert (0, 0, 0) == counts(scene)

    def test_waits_again_where_a_try_by_hand_meets_what_may_heal(self, scene: WebhookScene) -> None:
        dispute, customer = disputed(scene)
        tell(scene, "charge.dispute.created", dispute)
        pass_days(scene, 4)
        scene.shop.client.v1.customers.update(customer, {"metadata": {"attributionId": PAYER}})
        with DOWN.of(scene):
            assert "waiting" == replay(scene).state
        scene.double.advance(hours=1)
        scene.process()
        assert "done" == only(scene).state

    def test_is_done_with_all_others_by_one_command(self, scene: WebhookScene) -> None:
        dispute, customer = disputed(scene)
        tell(scene, "charge.dispute.created", dispute)
        tell(scene, *MISSING)
        pass_days(scene, 4)
        listed = run_command(scene, "billing", "status").stdout
        assert "2 webhooks were given up" in listed
        scene.shop.client.v1.customers.update(customer, {"metadata": {"attributionId": PAYER}})
        ended = run_command(scene, "billing", "replay", "--given-up")
        assert 3 == ended.returncode
        assert "2 webhooks were given up; 1 of them failed again." in ended.stdout
        assert "evt_charge.dispute.created is done." in ended.stdout
        assert ["evt_invoice.finalized"] == [one.event_id for one in scene.kept("given-up")]


class TestOneThatMayHeal:
    @pytest.mark.parametrize("failure", [DOWN, WRONG_KEY], ids=["down", "wrong key"])
    def test_is_never_given_up(self, scene: WebhookScene, failure: Failure) -> None:
        scene.live_a_cycle(7)
        with failure.of(scene):
            scene.deliver(None, "invoice.finalized")
            scene.until_tried()
            pass_days(scene, 10)
        (waiting,) = [one for one in scene.kept() if one.type == "invoice.finalized"]
        assert "waiting" == waiting.state
        assert 40 < waiting.attempts
        scene.double.advance(hours=1)
        scene.process()
        assert 0 == scene.cents()

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (StripeMissingError("x"), True),
            (StripeRefusedError("x", code="parameter_invalid"), True),
            (StripeCardError("x"), True),
            (StripeUnavailableError("x"), False),
            (StripeTimeoutError("x"), False),
            (StripeConflictError("x"), False),
            (StripeCredentialsError("x"), False),
            (StripeIdempotencyError("x"), False),
            (StripeAnswerError("x"), False),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
    )
    def test_is_known_by_what_stripe_said(self, error: GatewayError, *, expected: bool) -> None:
        with pytest.raises(LedgerError) as caught:
            raise told(error, "it is done") from error
        assert (expected, expected) == (is_hopeless(caught.value), is_hopeless(error))

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (NotFoundError("x"), True),
            (FailedPreconditionError("a draft"), True),
            (TroubleError("no customer"), True),
            (UnavailableError("the directory"), False),
            (StoreUnavailableError("disk full"), False),
            (ZeroDivisionError(), False),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
    )
    def test_is_known_by_what_the_ledger_says(self, error: Exception, *, expected: bool) -> None:
        assert expected is is_hopeless(error)

    def test_is_none_whose_credits_cannot_be_counted(self) -> None:
        with pytest.raises(TroubleError) as caught:
            raise TroubleError("x") from InvoiceQuantityError("x")
        assert is_hopeless(caught.value)


class TestOneAboutTheMeter:
    def test_compares_everybody_though_one_cannot_be(self, scene: WebhookScene) -> None:
        """One payer's customer is gone; the other's usage was rejected late."""
        unlucky, rejected = sorted((PAYER, RIVAL))
        for payer in (unlucky, rejected):
            scene.sign_up(payer)
            scene.use(7, payer)
        scene.double.outside.refuse_late(times=2)
        scene.reconcile()
        scene.double.advance(hours=1)
        scene.double._account.world.customers.pop(scene.known_customer(unlucky).id)
        tell(scene, REJECTED, scene.shop.meter)
        found = {one.attribution_id: one.waits_for for one in status(scene).payers}
        assert "Stripe does not have it" in found[unlucky]
        assert "Stripe has 0 credits of the open cycle" in found[rejected]
        assert "done" == only(scene, REJECTED).state

    def test_waits_while_somebody_cannot_be_compared_now(self, scene: WebhookScene) -> None:
        scene.sign_up()
        scene.use(7)
        scene.reconcile()
        scene.double.advance(hours=1)
        with DOWN.of(scene):
            tell(scene, REJECTED, scene.shop.meter)
            pass_days(scene, 4)
        assert "waiting" == only(scene, REJECTED).state
        assert "the usage of 1 payers cannot be compared now" in only(scene, REJECTED).error
        scene.double.advance(hours=1)
        scene.process()
        assert "done" == only(scene, REJECTED).state


def counts(scene: WebhookScene) -> tuple[int, int, int]:
    """Those that wait, those of them that failed, those that were given up."""
    found = status(scene)
    return found.webhooks_waiting, found.webhooks_failing, found.webhooks_given_up
