"""Found by an audit: an odd id or name, once recorded, was refused before Stripe was asked.

Nobody took that for an answer, so the attempt stayed, and no other could begin. Nothing of the kind
is recorded any more; what was, makes way.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from ledger.commands import billing_accounts as commands
from ledger.identifiers import parse_payer
from tests.billing.calls.failing import INVALID, PRECONDITION
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import STRIPE, log_of, refused, submit


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    with BillingScene() as scene:
        yield scene
        assert [] == scene.calls.breaches()


def record(scene: BillingScene, request: Any, **what: Any) -> None:
    """Record a request that no call of today would."""
    submit(scene.service, partial(request, payer=parse_payer(PAYER), **what), PAYER)


def request_subscription(scene: BillingScene, hold: str) -> None:
    record(
        scene,
        commands.request_subscription,
        payment_intent_id=hold,
        usage_limit=1_000,
        price_id=scene.shop.prices["eur"],
    )


def request_customer(scene: BillingScene, name: str) -> None:
    record(
        scene,
        commands.request_customer,
        name=name,
        email="owner@example.org",
        currency="eur",
        creator="",
    )


@pytest.mark.parametrize("hold", [" ", ".", "..", "pi_\0", "x" * 20_000])
class TestAHoldThatIsNone:
    def test_makes_way_for_a_good_one(self, scene: BillingScene, hold: str) -> None:
        scene.customer()
        request_subscription(scene, hold)
        scene.subscribe(hold=scene.hold())
        assert STRIPE == scene.cost_center().billing_strategy

    def test_is_refused_by_the_next_run(self, scene: BillingScene, hold: str) -> None:
        scene.customer()
        request_subscription(scene, hold)
        scene.reconcile()
        assert 1 == len(log_of(scene.calls, "subscription-refused"))


class TestACustomer:
    @pytest.mark.parametrize("name", [".", "..", "..."])
    def test_whose_name_is_dots_is_made(self, scene: BillingScene, name: str) -> None:
        request_customer(scene, name)
        made = scene.customer()
        assert name == scene.shop.client.v1.customers.retrieve(made.id).name

    def test_without_a_name_makes_way_for_one_with(self, scene: BillingScene) -> None:
        request_customer(scene, " ")
        with refused(PRECONDITION, "Failed to create stripe customer: name is empty"):
            scene.customer()
        made = scene.customer()
        assert "Owner" == scene.shop.client.v1.customers.retrieve(made.id).name


def test_what_is_refused_today_is_not_recorded(scene: BillingScene) -> None:
    scene.customer()
    for hold in (" ", ".", "..", "pi_\0", "x" * 20_000):
        with refused(INVALID, "Invalid payment_intent_id"):
            scene.subscribe(hold=hold)
    assert [] == log_of(scene.calls, "subscription-requested")
