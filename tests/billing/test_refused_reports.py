"""Reports that Stripe refuses: what waits for somebody to look, and what only waits.

A row that is refused stops its payer's reports and the end of its subscription; `billing resume`
sends it again. A meter that is archived is no fault of a row: it waits, with an alarm.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.billing.scene import PAYER, BillingScene
from tests.billing.test_billing_commands import run
from tests.contract.calls.asking import log_of, refused
from tests.stripe_double import Fault
from usage_ledger.v1 import billing_pb2

EVENTS = "/v1/billing/meter_events"


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    with BillingScene() as scene:
        yield scene
        assert [] == scene.calls.breaches()


def resume(scene: BillingScene) -> billing_pb2.ResumeReportsResponse:
    request = billing_pb2.ResumeReportsRequest(attribution_id=PAYER)
    return scene.calls.billing_status.ResumeReports(request)


def refuse_a_report(scene: BillingScene) -> str:
    """Sign up, use five credits, have their report refused; give the subscription."""
    subscription = scene.sign_up()
    scene.double.advance(days=2)
    scene.use(5)
    rule = scene.double.faults.add(Fault.REFUSED, path=EVENTS)
    scene.reconcile()
    scene.double.faults.remove(rule)
    return subscription


class TestARefusedReport:
    def test_is_sent_again_under_its_name(self, scene: BillingScene) -> None:
        refuse_a_report(scene)
        scene.use(3)
        scene.reconcile()
        assert (0, True) == (
            scene.reported(),
            "was refused by Stripe" in scene.standing().waits_for,
        )
        answer = resume(scene)
        assert (1, "") == (answer.resumed, answer.waits_for)
        assert (8, "") == (scene.reported(), scene.standing().waits_for)
        taken = [one for each in scene.double.world.usage.by_payer.values() for one in each]
        assert [("1", 5), ("2", 3)] == [(one.identifier[-1], one.value) for one in taken]

    def test_keeps_its_time(self, scene: BillingScene) -> None:
        refuse_a_report(scene)
        tried = scene.double.clock.now
        scene.double.advance(hours=5)
        resume(scene)
        (taken,) = next(iter(scene.double.world.usage.by_payer.values()))
        assert tried == taken.timestamp

    def test_that_is_refused_again_says_so(self, scene: BillingScene) -> None:
        refuse_a_report(scene)
        rule = scene.double.faults.add(Fault.REFUSED, path=EVENTS)
        answer = resume(scene)
        scene.double.faults.remove(rule)
        assert 1 == answer.resumed
        assert "parameter_invalid" in answer.waits_for
        resume(scene)
        assert 5 == scene.reported()

    def test_is_resumed_while_stripe_is_away(self, scene: BillingScene) -> None:
        refuse_a_report(scene)
        rule = scene.double.faults.add(Fault.UNREACHABLE)
        assert "cannot be asked now" in resume(scene).waits_for
        scene.double.faults.remove(rule)
        scene.reconcile()
        assert 5 == scene.reported()

    def test_that_stripe_had_all_the_same_counts_once(self, scene: BillingScene) -> None:
        """An earlier try had come through, and nobody knew."""
        scene.sign_up()
        scene.double.advance(days=2)
        scene.use(5)
        for fault in (Fault.ANSWER_LOST, Fault.REFUSED):
            rule = scene.double.faults.add(fault, path=EVENTS)
            scene.reconcile()
            scene.double.faults.remove(rule)
        resume(scene)
        assert 5 == scene.reported()

    def test_that_is_resumed_a_day_later_is_looked_for_first(self, scene: BillingScene) -> None:
        """Stripe may have forgotten its name by then."""
        refuse_a_report(scene)
        scene.double.advance(days=2)
        resume(scene)
        for _ in range(2):
            scene.reconcile()
        assert (5, "") == (scene.reported(), scene.standing().waits_for)
        scene.double.advance(days=31)
        scene.reconcile()
        assert 0 == scene.cents()

    def test_lets_a_subscription_end_once_it_is_resumed(self, scene: BillingScene) -> None:
        subscription = refuse_a_report(scene)
        scene.cancel(subscription)
        scene.reconcile()
        client = scene.shop.client.v1.subscriptions
        assert "active" == client.retrieve(subscription).status
        resume(scene)
        scene.double.advance(hours=2)
        scene.reconcile()
        assert "canceled" == client.retrieve(subscription).status
        scene.double.advance(hours=2)
        scene.reconcile()
        assert (5, 0) == (
            scene.double.invoiced_credits(scene.known_customer().id),
            scene.cents(),
        )

    def test_is_resumed_by_the_command(self, scene: BillingScene) -> None:
        refuse_a_report(scene)
        done = run(scene, "billing", "resume", PAYER)
        assert (0, True) == (done.returncode, "1 refused reports" in done.stdout)
        assert 5 == scene.reported()

    def test_none_of_which_there_is_changes_nothing(self, scene: BillingScene) -> None:
        scene.sign_up()
        before = len(log_of(scene.calls))
        answer = resume(scene)
        assert (0, "") == (answer.resumed, answer.waits_for)
        assert before == len(log_of(scene.calls))

    def test_of_nobody_is_an_invalid_argument(self, scene: BillingScene) -> None:
        with refused(grpc.StatusCode.INVALID_ARGUMENT):
            scene.calls.billing_status.ResumeReports(billing_pb2.ResumeReportsRequest())


class TestAMeterThatIsArchived:
    def archived(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.double.advance(days=2)
        scene.use(5)
        scene.shop.client.v1.billing.meters.deactivate(scene.shop.meter)
        scene.reconcile()

    def test_for_an_hour_stops_nothing(self, scene: BillingScene) -> None:
        self.archived(scene)
        scene.shop.client.v1.billing.meters.reactivate(scene.shop.meter)
        for _ in range(10):
            scene.double.advance(days=1)
            scene.use(5)
            scene.reconcile()
        assert 55 == scene.reported()

    def test_is_told_and_logged(
        self, scene: BillingScene, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.archived(scene)
        assert "its meter is archived at Stripe" in scene.standing().waits_for
        assert any(one.levelname == "ERROR" and "archived" in one.message for one in caplog.records)
        assert [] == log_of(scene.calls, "usage-report-rejected")

    def test_over_the_end_of_a_cycle_loses_and_doubles_nothing(self, scene: BillingScene) -> None:
        self.archived(scene)
        for _ in range(35):
            scene.double.advance(days=1)
            scene.reconcile()
        scene.shop.client.v1.billing.meters.reactivate(scene.shop.meter)
        for _ in range(40):
            scene.double.advance(days=1)
            scene.reconcile()
        assert 5 == scene.double.invoiced_credits(scene.known_customer().id)
        assert 0 == scene.cents()


class TestAMeterThatIsNotThere:
    def test_waits_until_the_setting_is_right(self) -> None:
        with BillingScene() as scene:
            scene.sign_up()
            scene.double.advance(days=2)
            scene.use(5)
            (meter,) = scene.double.world.meters.values()
            meter.event_name, known = "another", meter.event_name
            scene.reconcile()
            assert "stripe.meter_event_name" in scene.standing().waits_for
            meter.event_name = known
            scene.double.advance(minutes=1)
            scene.reconcile()
            assert 5 == scene.reported()
