"""`kill -9` after every step of saga and reporter: one customer, subscription and charge."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from ledger.failpoints import OF_BILLING
from tests.billing.life import LIMIT, Life, hook_of, reconcile
from tests.billing.scene import PAYER
from tests.billing.webhook_scene import event
from tests.cluster.processes import wait_until
from tests.stripe_double import Fault
from usage.v1 import usage_pb2
from usage_ledger.v1 import billing_pb2 as status_pb


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path)
    with life.served:
        yield life


def lead_to(life: Life, failpoint: str) -> None:
    """Let happen what a failpoint needs that no undisturbed life passes."""
    if failpoint == "subscription-renewed":
        life.double.faults.add(Fault.SERVER_ERROR, method="POST", path="/v1/subscriptions", times=1)


def test_undisturbed(life: Life) -> None:
    with life.service() as service:
        life.tell(service.calls)
        life.check(service.calls)


@pytest.mark.parametrize("failpoint", OF_BILLING)
def test_after_a_step_goes_on_where_it_was(life: Life, failpoint: str) -> None:
    lead_to(life, failpoint)
    dying = life.service(failpoint).start()
    with contextlib.suppress(grpc.RpcError):
        life.tell(dying.calls)
    assert -9 == dying.wait_dead()
    with life.service() as service:
        # The scheduled run goes on with what is unfinished; then it is all asked for again.
        reconcile(service.calls)
        life.tell(service.calls)
        life.check(service.calls)


@pytest.mark.parametrize(
    "failpoint", [name for name in OF_BILLING if name.startswith("subscription-")][:5]
)
def test_in_the_saga_needs_nobody_to_ask_again(life: Life, failpoint: str) -> None:
    """B12: a paying customer is never left unbilled."""
    lead_to(life, failpoint)
    dying = life.service(failpoint).start()
    with contextlib.suppress(grpc.RpcError):
        life.subscribe(dying.calls)
    assert -9 == dying.wait_dead()
    with life.service() as service:
        reconcile(service.calls)
        request = usage_pb2.GetCostCenterRequest(attribution_id=PAYER)
        center = service.calls.usage.GetCostCenter(request).cost_center
        assert (usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE, LIMIT) == (
            center.billing_strategy,
            center.spending_limit,
        )
        assert 1 == len(life.double.world.subscriptions)


def test_after_a_webhook_was_answered_it_is_done_all_the_same(life: Life) -> None:
    """C7: killed while the invoice is fetched, which takes for ever."""
    listening = ("--http-listen", "127.0.0.1:0")
    with life.service("", *listening, "--no-jobs") as service:
        life.tell_until_the_invoice(service.calls)
    (invoice,) = life.double.world.invoices
    dying = life.service("", *listening, "--no-jobs").start()
    rule = life.double.faults.add("timeout", path=f"/v1/invoices/{invoice}")
    body = event("invoice.finalized", invoice)
    headers = {"Stripe-Signature": life.double.webhooks.sign(body)}
    assert 200 == httpx.post(hook_of(dying), content=body, headers=headers).status_code
    dying.kill()
    life.double.faults.remove(rule)
    with life.service("", *listening) as service:
        wait_until(lambda: service.calls.balance_cents(PAYER) == 0)
        request = status_pb.ListWebhooksRequest(state="done")
        wait_until(lambda: service.calls.billing_status.ListWebhooks(request).webhooks)
        life.check(service.calls)
