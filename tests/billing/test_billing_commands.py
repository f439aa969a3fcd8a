"""What operators type: `usage-ledger billing …` and the invoice draft beside it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cli.values import time_json, time_text
from tests.billing.calls.failing import INTERNAL, Failure
from tests.billing.scene import PAYER, BillingScene
from tests.billing.test_life_of_a_payer import minutes
from tests.billing.webhook_scene import WebhookScene, event
from tests.contract.calls.asking import log_of
from tests.harness import InProcessService, settings_for
from tests.publishing.command import command_line, environment

METER_EVENTS = "/v1/billing/meter_events"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[BillingScene]:
    with BillingScene(data_dir=tmp_path / "ledger") as opened:
        yield opened


def run(scene: BillingScene, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(*arguments, "--target", scene.service.target),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def told(scene: BillingScene, *arguments: str) -> Any:
    ended = run(scene, *arguments, "--json")
    return json.loads(ended.stdout)


def test_status_and_draft_show_what_is_with_stripe(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    scene.double.advance(days=2)
    scene.record(*minutes("a", "02", 601))
    assert 0 == run(scene, "billing", "reconcile").returncode
    (payer,) = told(scene, "billing", "status")["payers"]
    assert (PAYER, "active", subscription) == (
        payer["attribution_id"],
        payer["state"],
        payer["subscription_id"],
    )
    assert (6.01, 601, 7, 0) == (
        payer["billable_credits"],
        payer["billable_cents"],
        payer["requested_credits"],
        payer["waiting_credits"],
    )
    billed = told(scene, "invoice-draft", "show", PAYER)["billed"]
    assert (7, 7, 7, []) == (
        billed["billable_credits"],
        billed["requested_credits"],
        billed["open_credits"],
        billed["invoices"],
    )
    assert 0 == payer["invoiced_credits"] == billed["invoiced_credits"]


def test_billable_reported_and_invoiced_stand_side_by_side(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    scene.end_a_cycle(7)
    scene.reconcile()
    scene.use(5)
    scene.reconcile()
    scene.use(2)
    shown = run(scene, "invoice-draft", "show", PAYER).stdout
    (heads,) = [line for line in shown.splitlines() if "billable" in line]
    (row,) = [line for line in shown.splitlines() if line.startswith(subscription)]
    columns = ["subscription", "billable", "reported", "of it waiting", "invoiced"]
    assert [*columns, "on no final invoice yet"] == re.split(r"  +", heads.strip())
    assert [subscription, "14", "12", "0", "7", "5"] == row.split()
    status = run(scene, "billing", "status").stdout
    (heads,) = [line for line in status.splitlines() if "billable" in line]
    (row,) = [line for line in status.splitlines() if subscription in line]
    assert ["billable", "reported", "waiting", "invoiced"] == heads.split()[3:7]
    assert ["14.00", "12", "0", "7"] == row.split()[3:7]


def test_what_was_invoiced_is_told_when_the_subscription_has_ended(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    scene.end_a_cycle(7)
    scene.reconcile()
    scene.shop.client.v1.subscriptions.cancel(subscription)
    scene.cancel(subscription)
    billed = told(scene, "invoice-draft", "show", PAYER)["billed"]
    assert ("", 7) == (billed["subscription_id"], billed["invoiced_credits"])


def test_status_begins_with_how_the_last_run_went(scene: BillingScene) -> None:
    scene.sign_up()
    scene.use(5)
    assert "ReconcileInvoices has not run yet." in run(scene, "billing", "status").stdout
    assert told(scene, "billing", "status")["last_run"] is None
    began = scene.double.clock.now
    with Failure(None, INTERNAL).of(scene):
        scene.reconcile()
    shown = run(scene, "billing", "status").stdout
    at = time_text(Timestamp(seconds=began))
    head, failed, *table = shown.splitlines()
    assert f"The last run ended {at}: 0 payers done, 1 failed." == head
    assert (
        "It failed as a whole: Stripe does not take our key; see the log. None has come through"
        " yet." == failed
    )
    (row,) = [line for line in table if PAYER in line]
    assert at in row
    found = told(scene, "billing", "status")
    assert (0, 1, None) == (
        found["last_run"]["payers_done"],
        found["last_run"]["payers_failed"],
        found["last_run"]["last_success"],
    )
    assert (0, 0, 0) == (
        found["webhooks_waiting"],
        found["webhooks_failing"],
        found["webhooks_given_up"],
    )
    (payer,) = found["payers"]
    assert (time_json(Timestamp(seconds=began)), 1) == (
        payer["waits_since"],
        payer["waits_attempts"],
    )
    scene.double.advance(hours=1)
    scene.reconcile()
    with Failure(None, INTERNAL).of(scene):
        scene.double.advance(hours=1)
        scene.use(5)
        scene.reconcile()
    before = time_text(Timestamp(seconds=began + 3_600))
    assert f"The last one that did not ended {before}." in run(scene, "billing", "status").stdout


def test_reconcile_settles_and_reports(scene: BillingScene) -> None:
    scene.sign_up()
    scene.double.advance(days=2)
    scene.record(*minutes("a", "02", 601))
    run(scene, "billing", "reconcile")
    scene.double.advance(days=31)
    run(scene, "billing", "reconcile")
    report = told(scene, "billing", "reconcile", "--report")
    assert {"payers": 1, "cycles": 1, "breaks": []} == report
    (invoice,) = told(scene, "invoice-draft", "show", PAYER)["billed"]["invoices"]
    assert (7, 0) == (invoice["credits"], invoice["corrected_credits"])


def test_reconcile_ends_with_3_where_something_differs(scene: BillingScene) -> None:
    bound = scene.shop.client.v1.subscriptions.retrieve(scene.sign_up())
    scene.shop.client.v1.subscriptions.create(
        {"customer": str(bound.customer), "items": [{"price": scene.shop.prices["eur"]}]}
    )
    ended = run(scene, "billing", "reconcile", "--report")
    assert 3 == ended.returncode
    assert "subscription-at-stripe-is-not-bound" in ended.stdout
    assert "cancel it at Stripe" in ended.stdout


def test_reconcile_hears_of_an_end_that_nobody_told(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    scene.shop.client.v1.subscriptions.cancel(subscription)
    assert 0 == run(scene, "billing", "reconcile").returncode
    (payer,) = told(scene, "billing", "status", PAYER)["payers"]
    assert ("customer", "") == (payer["state"], payer["subscription_id"])


def test_a_report_changes_nothing(scene: BillingScene) -> None:
    """What it finds is there to be looked at, and what waits is not sent by looking."""
    scene.sign_up()
    scene.use(7)
    scene.reconcile()
    scene.use(5)
    before = len(log_of(scene.calls)), len(scene.double.journal.of("POST", METER_EVENTS))
    assert 0 == run(scene, "billing", "reconcile", "--report").returncode
    assert before == (len(log_of(scene.calls)), len(scene.double.journal.of("POST", METER_EVENTS)))


def test_reconcile_tells_how_many_failed(scene: BillingScene) -> None:
    scene.sign_up()
    scene.use(3)
    away = scene.double.faults.add("server_error", path="/v1/billing/meter_events")
    ended = run(scene, "billing", "reconcile")
    assert 1 == ended.returncode
    assert "0 payers done, 1 failed" in ended.stdout
    assert 1 == told(scene, "billing", "reconcile")["last_run"]["payers_failed"]
    scene.double.faults.remove(away)
    scene.double.advance(minutes=2)
    ended = run(scene, "billing", "reconcile")
    assert 0 == ended.returncode
    assert "1 payers done, 0 failed" in ended.stdout


def test_reconcile_of_one_payer_alone_is_refused_but_for_its_report(scene: BillingScene) -> None:
    scene.sign_up()
    before = len(scene.double.journal)
    ended = run(scene, "billing", "reconcile", PAYER)
    assert (2, True) == (ended.returncode, "leave PAYER out" in ended.stderr)
    assert before == len(scene.double.journal)
    assert 1 == told(scene, "billing", "reconcile", PAYER, "--report")["payers"]
    assert 2 == run(scene, "billing", "reconcile", "nobody", "--report").returncode


def test_status_is_one_document_while_webhooks_wait(tmp_path: Path) -> None:
    with WebhookScene(tmp_path) as scene:
        scene.signed(event("invoice.finalized", "in_nobody"))
        scene.until_tried()
        assert [] == told(scene, "billing", "status")["payers"]
        assert "1 webhooks wait, 1 of them failed" in run(scene, "billing", "status").stdout


def test_cancel_ends_the_subscription(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    ended = run(scene, "billing", "cancel", subscription)
    assert (0, True) == (ended.returncode, f"{subscription} of {PAYER}" in ended.stdout)
    (payer,) = told(scene, "billing", "status", PAYER)["payers"]
    assert ("customer", "") == (payer["state"], payer["subscription_id"])


def test_cancel_of_what_nobody_has_says_so(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    scene.cancel(subscription)
    for nobodys in ("sub_typo", subscription):
        ended = run(scene, "billing", "cancel", nobodys)
        assert (1, True) == (ended.returncode, f"No payer has {nobodys}" in ended.stderr)
    assert 2 == run(scene, "billing", "cancel", "").returncode


@pytest.mark.parametrize(
    "command", [("cancel", "sub_1"), ("reconcile",), ("reconcile", "--report")]
)
def test_without_credentials_nothing_is_said_to_be_done(command: tuple[str, ...]) -> None:
    """The calls succeed and do nothing; who types a command wants to know."""
    with InProcessService(settings_for(None)) as service:
        ended = subprocess.run(
            command_line("billing", *command, "--target", service.target),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (1, True) == (ended.returncode, "billing is not configured" in ended.stderr)


def test_webhooks_are_listed_and_replayed(scene: BillingScene) -> None:
    assert [] == told(scene, "billing", "webhooks")["webhooks"]
    missing = run(scene, "billing", "replay", "evt_unknown")
    assert (1, True) == (missing.returncode, "evt_unknown is not known" in missing.stderr)
    assert {"webhooks": []} == told(scene, "billing", "replay", "--given-up")


@pytest.mark.parametrize("arguments", [(), ("evt_1", "--given-up")])
def test_replay_takes_one_event_or_all_that_were_given_up(
    scene: BillingScene, arguments: tuple[str, ...]
) -> None:
    ended = run(scene, "billing", "replay", *arguments)
    assert (2, True) == (ended.returncode, "--given-up" in ended.stderr)
