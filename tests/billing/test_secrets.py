"""Secrets lie nowhere: not in the log, not in an error, not in an event, not in the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx

from tests.billing.life import Life, hook_of, reconcile
from tests.billing.scene import PAYER
from tests.contract.calls.asking import log_of
from tests.contract.calls.directories import member, serving
from tests.oracle.events import named_uuid
from usage.v1 import billing_pb2
from usage_ledger.v1 import billing_pb2 as status_pb

KEY = "sk_test_NobodyMayReadThisKey"
WEBHOOK_SECRET = "whsec_NobodyMayReadThisSecret"
TOKEN = "NobodyMayReadThisToken"
NAME, EMAIL = "Particular Person", "particular@person.example"
FAULTS = (
    "unreachable",
    "answer_lost",
    "timeout",
    "conflict",
    "rate_limited",
    "server_error",
    "server_error_after",
)


class Told:
    """Everything that callers were told went wrong."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def by(self, act: Callable[[], Any]) -> Any:
        """Do it, and note how it fails."""
        try:
            return act()
        except grpc.RpcError as error:
            self.texts.append(f"{error!r} {error.trailing_metadata()}")
            return None


def customer() -> billing_pb2.CreateStripeCustomerRequest:
    return billing_pb2.CreateStripeCustomerRequest(
        attribution_id=PAYER, name=NAME, email=EMAIL, currency="EUR"
    )


def go_wrong(life: Life, calls: Any, told: Told) -> None:
    """Every call, while Stripe fails in every way, and while it does not take our key."""
    billing = calls.billing
    acts: list[Callable[[], Any]] = [
        lambda: billing.CreateStripeCustomer(customer()),
        lambda: billing.GetStripeCustomer(
            billing_pb2.GetStripeCustomerRequest(stripe_customer_id="cus_x")
        ),
        lambda: billing.CreateHoldPaymentIntent(
            billing_pb2.CreateHoldPaymentIntentRequest(attribution_id=PAYER)
        ),
        lambda: billing.CreateStripeSubscription(
            billing_pb2.CreateStripeSubscriptionRequest(
                attribution_id=PAYER, payment_intent_id="pi_1_secret_of_somebody", usage_limit=1
            )
        ),
        lambda: billing.GetPriceInformation(
            billing_pb2.GetPriceInformationRequest(attribution_id=PAYER)
        ),
        lambda: billing.FinalizeInvoice(billing_pb2.FinalizeInvoiceRequest(invoice_id="in_x")),
        lambda: billing.OnChargeDispute(billing_pb2.OnChargeDisputeRequest(dispute_id="du_x")),
        lambda: reconcile(calls),
    ]
    for fault in FAULTS:
        life.served.ask("POST", "faults", fault=fault)
        for act in acts:
            told.by(act)
        life.served.ask("POST", "faults/clear")
    account = life.double._account
    account._authorization = "Bearer sk_test_another"
    for act in acts:
        told.by(act)
    account._authorization = f"Bearer {KEY}"
    for act in acts:
        told.by(act)


def in_trouble(life: Life, calls: Any) -> str:
    """What the status says of a payer whose usage cannot be reported, for each reason there is."""
    said = []
    life.subscribe(calls)
    life.use(calls)
    request = status_pb.GetBillingStatusRequest()
    for fault in FAULTS:
        life.served.ask("POST", "faults", fault=fault)
        reconcile(calls)
        said.append(calls.billing_status.GetBillingStatus(request))
        life.served.ask("POST", "faults/clear")
    life.double._account._authorization = "Bearer sk_test_another"
    reconcile(calls)
    said.append(calls.billing_status.GetBillingStatus(request))
    life.double._account._authorization = f"Bearer {KEY}"
    assert all(one.payers[0].waits_for for one in said)
    return "\n".join(map(str, said))


def test_lie_nowhere(tmp_path: Path) -> None:
    """Signing up, paying and disputing with faults, logged as talkatively as can be."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    told = Told()
    with serving() as api:
        api.has(PAYER, member("ann") | {"role": "TEAM_ROLE_OWNER"})
        more = {
            "log": {"level": "debug"},
            "directory": {"kind": "connect", "url": api.url, "token_file": str(token)},
        }
        life = Life(tmp_path, more=more, stripe={"timeout": "500ms", "retries": 0}, secret_key=KEY,
                    webhook_secret=WEBHOOK_SECRET)  # fmt: skip
        with (
            life.served,
            life.service("", "--http-listen", "127.0.0.1:0", "--no-jobs") as service,
        ):
            calls = service.calls
            go_wrong(life, calls, told)
            told.by(lambda: calls.billing.CreateStripeCustomer(customer()))
            status = in_trouble(life, calls)
            life.tell(calls)
            life.check(calls)
            dispute = life.served.ask("POST", "disputes", payment_intent=life.hold)["id"]
            api.users[named_uuid("user", "ann")] = 500, TOKEN.encode()
            request = billing_pb2.OnChargeDisputeRequest(dispute_id=dispute)
            told.by(lambda: calls.billing.OnChargeDispute(request))
            refused = deliver(life, hook_of(service))
            status += f"{calls.billing_status.ListWebhooks(status_pb.ListWebhooksRequest())}"
            events = "\n".join(f"{one.stream} {one.topic} {one.json}" for one in log_of(calls))
            log = service.log
    assert len(told.texts) > 40
    assert "refused our key" in log
    clients = [f"{name}_secret_double" for name in life.double.world.payment_intents]
    places = {
        "log": log,
        "errors": "\n".join(told.texts),
        "events": events,
        "answers": refused,
        "status": status,
    }
    for place, text in places.items():
        for secret in (KEY, KEY[8:], WEBHOOK_SECRET, TOKEN, NAME, EMAIL, *clients):
            assert secret not in text, (place, secret)
    files = [path for path in life.data_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    for path in files:
        content = path.read_bytes()
        for secret in (KEY, KEY[8:], WEBHOOK_SECRET, TOKEN, *clients):
            assert secret.encode() not in content, (path, secret)


def deliver(life: Life, hook: str) -> str:
    """Deliver every webhook, and some that are not Stripe's; give what was answered."""
    answers = []
    life.double.deliver()
    for delivery in life.double.outbox:
        headers = {"Stripe-Signature": delivery.signature}
        answers.append(httpx.post(hook, content=delivery.body, headers=headers).text)
        headers = {"Stripe-Signature": f"t={int(time.time())},v1={'0' * 64}"}
        answers.append(httpx.post(hook, content=delivery.body, headers=headers).text)
    return "\n".join(answers)
