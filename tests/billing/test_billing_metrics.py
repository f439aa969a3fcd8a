"""What an operator's alarms look at: requests to Stripe, our key, who waits, webhooks, runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.billing.calls.failing import DOWN, INTERNAL, Failure
from tests.billing.scene import PAYER
from tests.billing.webhook_scene import WebhookScene, event
from tests.edge.requests import address
from tests.edge.test_metrics import Samples, parsed, value
from tests.oracle.events import payer_of
from tests.stripe_double import Fault
from usage.v1 import billing_pb2 as pb

RIVAL = payer_of("rival")
WRONG_KEY = Failure(None, INTERNAL)
SHARD = {"shard": "0"}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WebhookScene]:
    with WebhookScene(tmp_path) as scene:
        yield scene


def scrape(scene: WebhookScene) -> Samples:
    """Figures of the ledger are read now and then, so a test that looks at them looks once."""
    answer = httpx.get(address(scene.service, "/metrics"))
    assert 200 == answer.status_code
    return parsed(answer.text)


def bill(scene: WebhookScene) -> None:
    scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest())


def requests(samples: Samples, call: str, outcome: str) -> float:
    return value(samples, "stripe_requests_total", call=call, outcome=outcome)


def names(samples: Samples) -> set[str]:
    return {name.removeprefix("usage_ledger_") for name, _ in samples}


class TestRequests:
    def test_are_counted_by_what_was_asked_and_what_came_of_it(self, scene: WebhookScene) -> None:
        scene.sign_up()
        scene.use(5)
        with DOWN.of(scene, "/v1/billing/meter_events"):
            bill(scene)
        bill(scene)
        samples = scrape(scene)
        assert 1 == requests(samples, "customers.create", "ok")
        assert 1 == requests(samples, "meter_events.create", "unavailable")
        assert 1 == requests(samples, "meter_events.create", "ok")

    def test_that_our_key_is_not_taken_for_are_one_series(self, scene: WebhookScene) -> None:
        scene.sign_up()
        scene.use(5)
        assert 0 == value(scrape(scene), "stripe_key_refused_total")
        with WRONG_KEY.of(scene):
            bill(scene)
            scene.service.run_job("ledger")
        samples = scrape(scene)
        assert 2 == requests(samples, "meter_events.create", "credentials")
        assert 2 == requests(samples, "events.list", "credentials")
        assert 4 == value(samples, "stripe_key_refused_total")
        bill(scene)
        assert 4 == value(scrape(scene), "stripe_key_refused_total")


class TestWhatWaits:
    def test_is_told_by_shard(self, scene: WebhookScene) -> None:
        for payer in (PAYER, RIVAL):
            scene.sign_up(payer)
        scene.use(5)
        scene.use(3, RIVAL)
        with WRONG_KEY.of(scene):
            bill(scene)
        samples = scrape(scene)
        assert 2 == value(samples, "billing_payers_in_trouble", **SHARD)
        assert 2 == value(samples, "billing_reports_waiting", **SHARD)
        assert 8 == value(samples, "billing_credits_waiting", **SHARD)
        assert 0 == value(samples, "billing_reports_refused", **SHARD)

    def test_is_nothing_while_all_is_well(self, scene: WebhookScene) -> None:
        scene.sign_up()
        scene.use(5)
        bill(scene)
        samples = scrape(scene)
        for name in ("payers_in_trouble", "reports_waiting", "credits_waiting", "reports_refused"):
            assert 0 == value(samples, f"billing_{name}", **SHARD)
        for name in ("waiting", "failing", "given_up"):
            assert 0 == value(samples, f"webhooks_{name}")
        assert "webhooks_oldest_waiting_timestamp_seconds" not in names(samples)

    def test_does_not_count_what_was_refused(self, scene: WebhookScene) -> None:
        scene.sign_up()
        scene.use(5)
        scene.double.faults.add(Fault.REFUSED, path="/v1/billing/meter_events")
        bill(scene)
        samples = scrape(scene)
        assert 1 == value(samples, "billing_reports_refused", **SHARD)
        assert 0 == value(samples, "billing_credits_waiting", **SHARD)


class TestWebhooks:
    def test_are_counted_and_the_oldest_is_told(self, scene: WebhookScene) -> None:
        for number, pause in ((1, 3), (2, 1), (3, 0)):
            body = event("invoice.finalized", f"in_{number}", id=f"evt_{number}")
            assert 200 == scene.signed(body).status_code
            scene.until_tried()
            came = scene.double.clock.now
            scene.double.advance(days=pause)
            scene.process()
        samples = scrape(scene)
        assert 1 == value(samples, "webhooks_given_up")
        assert 2 == value(samples, "webhooks_waiting")
        assert 2 == value(samples, "webhooks_failing")
        oldest = value(samples, "webhooks_oldest_waiting_timestamp_seconds")
        assert came - 86_400 == oldest


class TestRuns:
    def test_are_not_told_before_the_first(self, scene: WebhookScene) -> None:
        told = names(scrape(scene))
        assert {"webhooks_waiting", "billing_payers_in_trouble"} <= told
        assert not [name for name in told if "last_run" in name or "last_success" in name]

    def test_that_fail_as_a_whole_leave_the_last_success_where_it_is(
        self, scene: WebhookScene
    ) -> None:
        scene.sign_up()
        bill(scene)
        succeeded = scene.double.clock.now
        scene.double.advance(hours=1)
        scene.use(5)
        with WRONG_KEY.of(scene):
            bill(scene)
        samples = scrape(scene)
        assert succeeded == value(samples, "billing_last_success_timestamp_seconds")
        assert succeeded + 3_600 == value(samples, "billing_last_run_timestamp_seconds")
        assert 0 == value(samples, "billing_last_run_payers", outcome="done")
        assert 1 == value(samples, "billing_last_run_payers", outcome="failed")
