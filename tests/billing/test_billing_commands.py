"""What operators type: `usage-ledger billing …` and the invoice draft beside it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.billing.scene import PAYER, BillingScene
from tests.billing.test_life_of_a_payer import minutes
from tests.publishing.command import command_line, environment


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
    assert "on no final invoice yet" in run(scene, "invoice-draft", "show", PAYER).stdout


def test_reconcile_settles_and_reports(scene: BillingScene) -> None:
    scene.sign_up()
    scene.double.advance(days=2)
    scene.record(*minutes("a", "02", 601))
    run(scene, "billing", "reconcile")
    scene.double.advance(days=31)
    report = told(scene, "billing", "reconcile", "--report")
    assert {"payers": 1, "cycles": 1, "breaks": []} == report
    (invoice,) = told(scene, "invoice-draft", "show", PAYER)["billed"]["invoices"]
    assert (7, 0) == (invoice["credits"], invoice["corrected_credits"])


def test_reconcile_ends_with_3_where_something_differs(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    scene.shop.client.v1.subscriptions.cancel(subscription)
    ended = run(scene, "billing", "reconcile", "--report")
    assert 3 == ended.returncode
    assert "bound-subscription-has-ended-at-stripe" in ended.stdout
    assert "CancelSubscription" in ended.stdout


def test_cancel_ends_the_subscription(scene: BillingScene) -> None:
    subscription = scene.sign_up()
    assert 0 == run(scene, "billing", "cancel", subscription).returncode
    (payer,) = told(scene, "billing", "status", PAYER)["payers"]
    assert ("customer", "") == (payer["state"], payer["subscription_id"])


def test_webhooks_are_listed_and_replayed(scene: BillingScene) -> None:
    assert [] == told(scene, "billing", "webhooks")["webhooks"]
    missing = run(scene, "billing", "replay", "evt_unknown")
    assert (1, True) == (missing.returncode, "evt_unknown is not known" in missing.stderr)
