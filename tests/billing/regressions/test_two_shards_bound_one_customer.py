"""Claims of Stripe's ids lay in the shard of each payer, so two payers could have one customer."""

from __future__ import annotations

import grpc
import pytest

from ledger.identifiers import parse_payer
from tests.billing.scene import PAYER, BillingScene
from tests.harness.backends import SHARDS, choose
from tests.oracle.events import named_uuid


def test_a_customer_is_one_payers_whatever_their_shards() -> None:
    with choose(SHARDS), BillingScene() as scene:
        scene.customer()
        customer = scene.known_customer().id
        other = payer_of_another_shard(scene)
        # As a server does that moves an organisation's customer.
        scene.shop.client.v1.customers.update(customer, {"metadata": {"attributionId": other}})
        scene.double.advance(hours=1)
        with pytest.raises(grpc.RpcError) as refused:
            scene.known_customer(other)
        assert grpc.StatusCode.FAILED_PRECONDITION == refused.value.code()
        assert PAYER in str(refused.value.details())
        assert customer == scene.known_customer().id


def payer_of_another_shard(scene: BillingScene) -> str:
    chosen = scene.service.ledger.placing.chosen
    home = parse_payer(PAYER)
    assert home is not None
    for number in range(100):
        name = f"team:{named_uuid(f'other {number}')}"
        payer = parse_payer(name)
        assert payer is not None
        if chosen(payer) != chosen(home):
            return name
    raise AssertionError("all live in one shard")
