"""Two of anything at once, or sixteen, have the effect of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.billing.scene import PAYER, BillingScene, Shop
from tests.billing.webhook_scene import WebhookScene
from tests.contract.calls.asking import STRIPE, log_of, set_cost_center, together
from tests.harness.backends import POSTGRES, choose
from tests.servers.postgres import PostgresServer
from usage.v1 import billing_pb2 as pb

MANY = pytest.mark.parametrize("count", [2, 16])
# What a call may be told that came while another was at work on the same: it may try again.
AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WebhookScene]:
    shop = Shop()
    shop.double.settings.turns_in_flight = 5
    with WebhookScene(tmp_path, shop=shop) as scene:
        yield scene
        assert [] == scene.calls.breaches()


def outcome(act: Callable[[], Any]) -> Any:
    """What a call gives, or the status that it is refused with."""
    try:
        return act()
    except grpc.RpcError as error:
        return error.code()


class TestCustomers:
    @MANY
    def test_asked_for_at_once_are_one(self, scene: WebhookScene, count: int) -> None:
        """C1."""
        made = together(count, lambda _: scene.customer())
        assert 1 == len({one.id for one in made})
        assert 1 == len(list(scene.shop.client.v1.customers.list().auto_paging_iter()))
        assert 1 == len(log_of(scene.calls, "stripe-customer-bound"))

    @MANY
    @pytest.mark.parametrize("fault", ["server_error", "server_error_after", "still_running"])
    def test_of_which_the_first_request_fails_are_one(
        self, scene: WebhookScene, fault: str, count: int
    ) -> None:
        """C1: a stored failure is given up for another key, by one of them."""
        scene.double.faults.add(fault, method="POST", path="/v1/customers", times=1)
        together(count, lambda _: outcome(scene.customer))
        scene.double.advance(minutes=1)
        made = scene.customer()
        assert [made.id] == list(scene.double.world.customers)

    def test_asked_for_in_two_currencies_are_one(self, scene: WebhookScene) -> None:
        """C1."""
        currencies = ("eur", "usd")
        made = together(8, lambda n: outcome(lambda: scene.customer(currency=currencies[n % 2])))
        assert 1 == len(list(scene.shop.client.v1.customers.list().auto_paging_iter()))
        assert 4 == sum(one is grpc.StatusCode.ALREADY_EXISTS for one in made)


class TestSubscriptions:
    @MANY
    def test_asked_for_at_once_are_one(self, scene: WebhookScene, count: int) -> None:
        """C4."""
        scene.customer()
        hold = scene.hold()
        made = together(count, lambda _: outcome(lambda: scene.subscribe(hold=hold)))
        subscription = scene.subscription()
        assert set(made) <= {subscription, grpc.StatusCode.ALREADY_EXISTS}
        assert subscription in made
        assert STRIPE == scene.cost_center().billing_strategy
        assert 1 == len(log_of(scene.calls, "subscription-activated"))

    def test_asked_for_with_two_holds_are_one(self, scene: WebhookScene) -> None:
        """C4."""
        scene.customer()
        holds = [scene.hold(), scene.hold()]
        made = together(8, lambda n: outcome(lambda: scene.subscribe(hold=holds[n % 2])))
        subscription = scene.subscription()
        assert set(made) <= {subscription, grpc.StatusCode.ALREADY_EXISTS}
        assert subscription in made

    def test_of_a_bad_hold_are_refused_alike(self, scene: WebhookScene) -> None:
        scene.customer()
        hold = scene.hold(card="declined")
        made = together(8, lambda _: outcome(lambda: scene.subscribe(hold=hold)))
        assert {grpc.StatusCode.INVALID_ARGUMENT} == set(made)

    @MANY
    @pytest.mark.parametrize("fault", ["server_error", "server_error_after", "still_running"])
    def test_of_which_the_first_request_fails_are_one(
        self, scene: WebhookScene, fault: str, count: int
    ) -> None:
        """C4: a stored failure is given up for another key, by one of them."""
        scene.customer()
        hold = scene.hold()
        scene.double.faults.add(fault, method="POST", path="/v1/subscriptions", times=1)
        together(count, lambda _: outcome(lambda: scene.subscribe(hold=hold)))
        scene.double.advance(minutes=1)
        outcome(lambda: scene.subscribe(hold=hold))  # there may be one already
        assert scene.subscription()
        assert 1 == len(scene.double.world.subscriptions)
        assert 1 == len(log_of(scene.calls, "subscription-activated"))

    def test_asked_for_beside_the_run_and_the_webhook_are_one(self, scene: WebhookScene) -> None:
        """B12."""
        scene.customer()
        hold = scene.hold()
        acts: list[Callable[[], Any]] = [
            lambda: scene.subscribe(hold=hold),
            lambda: scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest()),
            lambda: set_cost_center(scene.calls, PAYER, limit=1_000, strategy=STRIPE),
        ]
        together(12, lambda n: outcome(acts[n % 3]))
        scene.deliver(None)
        scene.until_done()
        assert scene.subscription()
        assert 1 == len(log_of(scene.calls, "subscription-activated"))


class TestInvoices:
    @MANY
    def test_finalised_at_once_count_once(self, scene: WebhookScene, count: int) -> None:
        """B1."""
        invoice = scene.live_a_cycle(7)
        together(count, lambda _: scene.finalize(invoice))
        assert 1 == len(log_of(scene.calls, "invoice-settled"))
        assert 0 == scene.cents()

    def test_finalised_by_call_webhook_and_run_at_once_count_once(
        self, scene: WebhookScene
    ) -> None:
        """B2."""
        invoice = scene.live_a_cycle(7)
        told = [one for one in scene.taken() if one.kind.startswith("invoice.")]
        acts: list[Callable[[], Any]] = [
            lambda: scene.finalize(invoice),
            lambda: scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest()),
            lambda: scene.deliver(told),
        ]
        together(12, lambda n: acts[n % 3]())
        scene.until_done()
        assert 1 == len(log_of(scene.calls, "invoice-settled"))
        assert 0 == scene.cents()

    def test_voided_at_once_are_owed_again_once(self, scene: WebhookScene) -> None:
        """B6."""
        scene.double.settings.collects_payments = False
        invoice = scene.live_a_cycle(7)
        scene.double.outside.void_invoice(invoice)
        together(8, lambda _: scene.finalize(invoice))
        assert 1 == len(log_of(scene.calls, "invoice-corrected"))
        assert 700 == scene.cents()


class TestRuns:
    @MANY
    def test_at_once_report_once(self, scene: WebhookScene, count: int) -> None:
        """C4, B4."""
        subscription = scene.sign_up()
        for _ in range(3):
            scene.use(7)
            together(count, lambda _: scene.reconcile())
        scene.reconcile()
        (money,) = scene.double.money()
        assert (subscription, 21) == (money.subscription, money.reported)
        assert 0 == len(log_of(scene.calls, "usage-report-rejected"))

    def test_and_cancellations_at_once_end_it_once(self, scene: WebhookScene) -> None:
        subscription = scene.sign_up()
        scene.use(7)
        scene.reconcile()
        scene.double.advance(hours=1)
        acts: list[Callable[[], Any]] = [
            lambda: scene.cancel(subscription),
            lambda: scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest()),
        ]
        together(8, lambda n: outcome(acts[n % 2]))
        scene.reconcile()
        assert 1 == len(log_of(scene.calls, "subscription-ended"))
        scene.double.advance(hours=2)
        scene.reconcile()
        assert 7 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()


class TestUpgrades:
    @MANY
    def test_at_once_forgive_once(self, scene: WebhookScene, count: int) -> None:
        """B11: a second write-off would give what nobody owed."""
        scene.use(7)
        together(count, lambda _: set_cost_center(scene.calls, PAYER, limit=9, strategy=STRIPE))
        assert 0 == scene.cents()
        assert 1 == len(log_of(scene.calls, "billing-cycle-closed"))


@pytest.mark.postgres
class TestTwoProcesses:
    """Two ledgers on one PostgreSQL database, each with a connection to Stripe of its own."""

    @pytest.fixture
    def pair(
        self, postgres_server: PostgresServer, tmp_path: Path
    ) -> Iterator[tuple[BillingScene, BillingScene]]:
        shop = Shop()
        shop.double.settings.turns_in_flight = 5
        with (
            choose(POSTGRES, postgres_server) as backend,
            BillingScene(shop, tmp_path) as first,
            BillingScene(shop, tmp_path) as second,
        ):
            yield first, second
            assert [] == first.calls.breaches()
        backend.close()

    @staticmethod
    def until_told(act: Callable[[], Any]) -> Any:
        """Try again as long as another process is at work on the same."""
        while True:
            told = outcome(act)
            if not isinstance(told, grpc.StatusCode) or told not in AGAIN:
                return told

    def test_make_one_customer_and_one_subscription(
        self, pair: tuple[BillingScene, BillingScene]
    ) -> None:
        """C1, C4."""
        made = together(8, lambda n: self.until_told(pair[n % 2].customer))
        assert 1 == len({one.id for one in made})
        hold = pair[0].hold()
        given = together(8, lambda n: self.until_told(lambda: pair[n % 2].subscribe(hold=hold)))
        subscription = pair[1].subscription()
        assert set(given) <= {subscription, grpc.StatusCode.ALREADY_EXISTS}
        assert 1 == len(list(pair[0].shop.client.v1.customers.list().auto_paging_iter()))
        assert 1 == len(log_of(pair[0].calls, "subscription-activated"))

    def test_settle_an_invoice_once(self, pair: tuple[BillingScene, BillingScene]) -> None:
        """B1, B2."""
        invoice = pair[0].live_a_cycle(7)
        acts: list[Callable[[], Any]] = [
            lambda: pair[0].finalize(invoice),
            lambda: pair[1].finalize(invoice),
            lambda: pair[0].calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest()),
            lambda: pair[1].calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest()),
        ]
        together(8, lambda n: self.until_told(acts[n % 4]))
        assert 1 == len(log_of(pair[1].calls, "invoice-settled"))
        assert 0 == pair[1].cents()

    def test_report_usage_once(self, pair: tuple[BillingScene, BillingScene]) -> None:
        """B4, C4."""
        pair[0].sign_up()
        for _ in range(3):
            pair[0].use(7)
            together(4, lambda n: pair[n % 2].reconcile())
        pair[1].reconcile()
        (money,) = pair[0].double.money()
        assert 21 == money.reported
