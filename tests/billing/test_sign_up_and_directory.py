"""Who signs up has a cost center already, as a rule: then nothing is asked of the directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.directory import Member
from ledger.identifiers import parse_payer
from tests.billing.calls.failing import UNAVAILABLE
from tests.billing.calls.test_on_charge_dispute import Organization
from tests.billing.scene import BillingScene
from tests.contract.calls.asking import STRIPE, refused
from tests.harness.backends import SHARDS, SQLITE, choose
from tests.oracle.events import payer_of

FREE, NONE = 500, 0  # the limit of who has free credits, and of who has not
OTHER_ORGANISATION = payer_of("another organisation of Ann's")


class Joining(Organization):
    """Nobody is a member yet, until somebody is."""

    def __init__(self) -> None:
        super().__init__()
        self.has_members = False

    def members(self, organization: bytes) -> list[Member]:
        return super().members(organization) if self.has_members else []


@pytest.fixture
def people() -> Joining:
    return Joining()


@pytest.fixture(params=[SQLITE, SHARDS])
def scene(request: pytest.FixtureRequest, people: Joining) -> Iterator[BillingScene]:
    with choose(request.param), BillingScene(directory=people) as scene:
        yield scene
        assert [] == scene.calls.breaches()


def payers(scene: BillingScene) -> list[str]:
    """Give a payer of each shard: only the first one's has its claims in its own log."""
    by_shard: dict[int, str] = {}
    for number in range(99):
        payer = payer_of(f"payer {number}")
        key = parse_payer(payer)
        assert key is not None
        by_shard.setdefault(scene.service.ledger.placing.chosen(key), payer)
    assert len(scene.service.ledger.shards) == len(by_shard)
    return list(by_shard.values())


def test_who_has_a_cost_center_signs_up_while_the_directory_is_down(
    scene: BillingScene, people: Joining
) -> None:
    """Otherwise the subscription is made, and its usage is neither counted nor billed."""
    for payer in payers(scene):
        people.is_down = False
        scene.cost_center(payer)
        people.is_down, people.has_members = True, True
        scene.sign_up(payer)
        assert STRIPE == scene.cost_center(payer).billing_strategy


def test_who_has_a_cost_center_claims_no_free_credits_by_signing_up(
    scene: BillingScene, people: Joining
) -> None:
    """They would be spent on nothing: another organisation of theirs is to have them."""
    opened = payers(scene)
    for payer in opened:
        assert NONE == scene.cost_center(payer).spending_limit
    people.has_members = True
    for payer in opened:
        scene.sign_up(payer)
    assert FREE == scene.cost_center(OTHER_ORGANISATION).spending_limit


def test_who_has_none_gets_one_as_the_directory_says(scene: BillingScene, people: Joining) -> None:
    people.is_down = people.has_members = True
    payer = payers(scene)[0]
    scene.customer(payer)
    hold = scene.hold(payer)
    with refused(UNAVAILABLE, "the directory is down"):
        scene.subscribe(payer, hold=hold)
    people.is_down = False
    scene.subscribe(payer, hold=hold)
    assert STRIPE == scene.cost_center(payer).billing_strategy
    assert NONE == scene.cost_center(OTHER_ORGANISATION).spending_limit  # the payer has them
