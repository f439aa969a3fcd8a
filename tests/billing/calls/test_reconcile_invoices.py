"""ReconcileInvoices: section 4.7 of the billing contract, by the design of 3.4."""

from __future__ import annotations

from pathlib import Path

from tests.billing.calls.failing import DOWN, Failure, each_failure
from tests.billing.scene import PAYER, BillingScene, Shop
from tests.contract.calls.asking import STRIPE, log_of, refused, set_cost_center
from tests.oracle.events import payer_of
from tests.stripe_double import Fault
from tests.stripe_double.journal import JournalEntry
from usage.v1 import billing_pb2 as pb
from usage.v1 import usage_pb2

OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
RIVAL = payer_of("rival")
EVENTS = "/v1/billing/meter_events"
EVENTS_OF_STRIPE = "/v1/events"  # of which webhooks tell
INVOICES_AND_EVENTS = "/v1/[ie]*"


class TestARun:
    def test_answers_nothing(self, scene: BillingScene) -> None:
        answer = scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest())
        assert b"" == answer.SerializeToString()

    def test_reports_whole_credits_rounded_up_over_all_time(self, scene: BillingScene) -> None:
        """Of three times 0.40 credits two are reported, not three."""
        scene.sign_up()
        for number, expected in enumerate((1, 1, 2)):
            scene.double.advance(hours=1)
            scene.minutes(f"i{number}", 40)
            scene.reconcile()
            assert expected == scene.reported()

    def test_again_reports_nothing(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(5)
        for _ in range(3):
            scene.reconcile()
        assert 1 == len(scene.double.journal.of("POST", EVENTS))

    def test_within_the_same_second_reports_the_difference(self, scene: BillingScene) -> None:
        """B4: the original posts totals, and two within a second add up."""
        scene.sign_up()
        for _ in range(3):
            scene.use(5)
            scene.reconcile()
        assert 15 == scene.reported()

    def test_reports_no_credit(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(-5)
        scene.reconcile()
        assert [] == scene.double.journal.of("POST", EVENTS)

    def test_reports_to_the_bound_subscription_only(self, scene: BillingScene) -> None:
        """B3: the original reports the whole usage to each customer that it finds."""
        scene.sign_up()
        metadata = {"attributionId": PAYER, "preferredCurrency": "EUR"}
        twin = scene.shop.client.v1.customers.create({"metadata": metadata})
        scene.shop.client.v1.subscriptions.create(
            {"customer": twin.id, "items": [{"price": scene.shop.prices["eur"]}]}
        )
        scene.double.advance(minutes=2)
        scene.use(5)
        scene.reconcile()
        payloads = [one.parameters["payload"] for one in scene.double.journal.of("POST", EVENTS)]
        assert [scene.known_customer().id] == [one["stripe_customer_id"] for one in payloads]

    def test_sends_nothing_of_a_payer_without_subscription_and_says_so(
        self, scene: BillingScene
    ) -> None:
        set_cost_center(scene.calls, PAYER, limit=9, strategy=STRIPE)
        scene.use(5)
        scene.reconcile()
        assert [] == scene.double.journal.of("POST", EVENTS)
        assert (True, 500) == (scene.standing().unbilled, scene.standing().billable_cents)

    def test_opens_no_cost_center(self, scene: BillingScene) -> None:
        """In the original loading the balances creates and resets cost centers."""
        scene.use(5)
        before = len(log_of(scene.calls))
        scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest())
        assert before == len(log_of(scene.calls))


class TestOnePayersTrouble:
    def test_is_its_own_and_is_told(self, scene: BillingScene) -> None:
        """D18: in the original nobody hears of it."""
        for payer in (PAYER, RIVAL):
            scene.sign_up(payer)
            scene.use(5, payer)
        unlucky, lucky = PAYER, RIVAL
        customer = scene.known_customer(unlucky).id
        scene.double.faults.add(Fault.UNREACHABLE, path=EVENTS, times=3, naming=customer)
        scene.reconcile()
        assert (0, 5) == (scene.reported(unlucky), scene.reported(lucky))
        assert "Stripe cannot be asked now" in scene.standing(unlucky).waits_for
        assert "" == scene.standing(lucky).waits_for
        scene.reconcile()
        assert 5 == scene.reported(unlucky)
        assert "" == scene.standing(unlucky).waits_for

    def test_that_stripe_refuses_stops_that_payer_and_skips_nothing(
        self, scene: BillingScene
    ) -> None:
        """What was refused is not passed over by what comes later."""
        scene.sign_up()
        scene.double.faults.add(Fault.REFUSED, path=EVENTS)
        for _ in range(2):
            scene.use(5)
            scene.reconcile()
        assert 1 == len(log_of(scene.calls, "usage-report-rejected"))
        assert 1 == len(log_of(scene.calls, "usage-report-requested"))
        assert scene.standing().waits_for
        assert 5 == scene.standing().waiting_credits


class TestStripe:
    @each_failure
    def test_failing_loses_and_doubles_nothing(self, scene: BillingScene, failure: Failure) -> None:
        """C5: the same row under the same name, until it is there."""
        scene.sign_up()
        scene.use(5)
        with failure.of(scene):
            scene.reconcile()
            scene.use(3)
            scene.reconcile()
        assert scene.standing().waits_for
        scene.double.advance(hours=1)
        scene.reconcile()
        assert 8 == scene.reported()
        assert "" == scene.standing().waits_for
        asked = [one for one in scene.double.journal.of("POST", EVENTS) if one.executed]
        names = {str(one.parameters["identifier"]).rpartition(":")[2] for one in asked}
        assert {"1", "2"} == names

    def test_answering_each_attempt_with_a_stored_500_is_asked_under_another_key(
        self, scene: BillingScene
    ) -> None:
        """C5: the identifier stays, the key does not, for a key repeats its failure for a day."""
        scene.sign_up()
        scene.use(5)
        scene.double.faults.add(Fault.SERVER_ERROR, path=EVENTS, times=1)
        scene.reconcile()
        scene.double.advance(minutes=1)
        scene.reconcile()
        assert 5 == scene.reported()
        asked = scene.double.journal.of("POST", EVENTS)
        assert 1 == len({one.parameters["identifier"] for one in asked})
        assert 2 == len({one.idempotency_key for one in asked})

    @each_failure
    def test_failing_over_the_end_of_a_cycle_bills_it_in_the_next(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """What was to be reported before an outage of days is invoiced once all the same."""
        scene.sign_up()
        scene.double.advance(days=29)
        scene.use(5)
        with failure.of(scene):
            scene.reconcile()
            scene.double.advance(days=5)
        for _ in range(40):
            scene.double.advance(days=1)
            scene.reconcile()
        assert 5 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()

    @each_failure
    def test_failing_while_invoices_are_listed_is_made_up_for(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        scene.live_a_cycle(5)
        with failure.of(scene, INVOICES_AND_EVENTS):
            scene.reconcile()
        assert 500 == scene.cents()
        scene.reconcile()
        assert 0 == scene.cents()


class TestRepair:
    def test_settles_every_invoice_of_which_no_webhook_came(self, scene: BillingScene) -> None:
        """D1, D2: the original looks at one page, and rarely at that."""
        scene.sign_up()
        for credits in range(1, 6):
            scene.use(credits)
            scene.report()
            end = scene.cost_center().next_billing_time.seconds
            scene.double.advance_to((end + 2 * 3_600) * 1_000)
            with DOWN.of(scene, INVOICES_AND_EVENTS):
                scene.reconcile()  # it moves the cycle, and hears of no invoice
        assert 1_500 == scene.cents()
        scene.double.settings.page_size = 2
        with DOWN.of(scene, EVENTS_OF_STRIPE):
            scene.reconcile()
        assert 5 == len(log_of(scene.calls, "invoice-settled"))
        assert 0 == scene.cents()

    def test_settles_the_last_invoice_of_a_subscription_that_has_ended(
        self, scene: BillingScene
    ) -> None:
        """D1: the original repairs only who is on STRIPE today."""
        subscription = scene.sign_up()
        scene.use(5)
        scene.reconcile()
        scene.double.advance(hours=2)
        scene.cancel(subscription)
        scene.double.advance(hours=2)
        scene.reconcile()
        assert 0 == scene.cents()
        before = len(scene.double.journal)
        scene.reconcile()
        (asked,) = scene.double.journal[before:]
        assert ("GET", EVENTS_OF_STRIPE) == (asked.method, asked.path)

    def test_moves_the_cycle_without_an_invoice(self, scene: BillingScene) -> None:
        """D4: a quiet month brings none."""
        scene.sign_up()
        first = scene.cost_center()
        scene.double.advance(days=100)
        scene.reconcile()
        assert [] == scene.invoices()
        center = scene.cost_center()
        now = scene.double.clock.now
        assert center.billing_cycle_start.seconds <= now < center.next_billing_time.seconds
        assert first.billing_cycle_start.seconds < center.billing_cycle_start.seconds

    def test_leaves_a_draft_alone(self, scene: BillingScene) -> None:
        """B7."""
        scene.sign_up()
        scene.use(5)
        scene.reconcile()
        end = scene.cost_center().next_billing_time.seconds
        scene.double.advance_to((end + 60) * 1_000)
        scene.reconcile()
        assert 500 == scene.cents()
        scene.double.advance(hours=2)
        scene.reconcile()
        assert 0 == scene.cents()


class TestLostWebhooks:
    """By the call alone, without the job: what Stripe told and nobody heard is listed."""

    def run(self, scene: BillingScene) -> None:
        scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest())

    def listings(self, scene: BillingScene, since: int = 0) -> list[JournalEntry]:
        asked = scene.double.journal[since:]
        return [one for one in asked if one.path == EVENTS_OF_STRIPE]

    def test_of_an_invoice_that_was_voided_after_its_cycle_are_found(
        self, scene: BillingScene
    ) -> None:
        scene.double.settings.collects_payments = False
        invoice = scene.live_a_cycle(6)
        self.run(scene)
        assert 0 == scene.cents()
        scene.double.outside.void_invoice(invoice)
        self.run(scene)
        assert 600 == scene.cents()

    def test_of_an_end_are_found_before_the_cycle_ends(self, scene: BillingScene) -> None:
        subscription = scene.sign_up()
        scene.double.advance(days=2)
        scene.shop.client.v1.subscriptions.cancel(subscription)
        self.run(scene)
        assert OTHER == scene.cost_center().billing_strategy

    def test_are_listed_from_the_newest_that_was_listed(self, scene: BillingScene) -> None:
        """A run costs one request if little has happened, however much was told before."""
        scene.double.settings.page_size = 2
        scene.sign_up(RIVAL)
        scene.live_a_cycle(6)
        self.run(scene)
        assert 1 < len(self.listings(scene))
        newest = max(one.created for one in scene.double.world.events.records.values())
        scene.double.advance(days=3)
        before = len(scene.double.journal)
        self.run(scene)
        asked = self.listings(scene, before)
        assert {str(newest - 3_600)} == {one.parameters["created"]["gte"] for one in asked[:1]}
        assert 2 >= len(asked)

    def test_are_not_listed_from_the_beginning_by_another_process(self, tmp_path: Path) -> None:
        shop = Shop()
        with BillingScene(shop, tmp_path) as first:
            first.sign_up()
            self.run(first)
        before = len(shop.double.journal)
        shop.double.advance(days=1)
        with BillingScene(shop, tmp_path) as second:
            self.run(second)
            (asked,) = self.listings(second, before)
            month_ago = shop.double.clock.now - 30 * 86_400
            assert int(asked.parameters["created"]["gte"]) > month_ago + 86_400

    @each_failure
    def test_that_cannot_be_listed_now_are_found_by_the_next_run(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """D18: the call succeeds all the same."""
        subscription = scene.sign_up()
        scene.shop.client.v1.subscriptions.cancel(subscription)
        with failure.of(scene, EVENTS_OF_STRIPE):
            self.run(scene)
        if failure.fault is not None:
            assert STRIPE == scene.cost_center().billing_strategy
        self.run(scene)
        assert OTHER == scene.cost_center().billing_strategy


class TestTheJob:
    def test_reconciles_and_then_reports(self, scene: BillingScene) -> None:
        """C8: one registration; the original's jobs run twice."""
        scene.sign_up()
        scene.use(5)
        scene.service.run_job("ledger")
        assert 5 == scene.reported()
        assert ["heads", "ledger", "reset"] == sorted(
            plan.name for plan in scene.service.scheduler.plans
        )
        assert 1 == len(scene.double.journal.of("POST", EVENTS))

    def test_that_cannot_reach_stripe_keeps_the_ledger_going(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(5)
        with DOWN.of(scene):
            scene.service.run_job("ledger")
            scene.use(4)
            assert 900 == scene.cents()
            with refused(DOWN.code):
                scene.calls.billing.GetPriceInformation(
                    pb.GetPriceInformationRequest(attribution_id=PAYER)
                )
        scene.service.run_job("ledger")
        assert 9 == scene.reported()
