"""Name and e-mail address that were given for a customer are erased with who gave them."""

from __future__ import annotations

import grpc
import pytest

from tests.billing.scene import PAYER, BillingScene
from tests.oracle.events import named_uuid
from tests.stripe_double.faults import Fault
from usage_ledger.v1 import audit_erasure_pb2 as pb
from usage_ledger.v1 import queries_pb2

USER = named_uuid("owner")
PATH = "/v1/customers"


def erase(scene: BillingScene, user: str = USER, **asked: object) -> int:
    request = pb.EraseUserRequest(user_id=user, reason="request 17", **asked)  # type: ignore[arg-type]
    return list(scene.calls.audit.EraseUser(request))[-1].erasure.personal_rows


def kept(scene: BillingScene) -> list[bytes]:
    """Personal fields of the payer's requests that are still there."""
    reader = scene.service.ledger.shards[0].new_queries().reader
    stream = reader.stream(f"billing-account:{PAYER}")
    rows = [reader.personal(event.position) for event in stream]
    reader.close()
    return [row.fields for row in rows if row is not None and not row.erased_by]


def test_of_a_customer_that_is_made_are_gone_and_it_stays() -> None:
    with BillingScene() as scene:
        made = scene.customer(billing_creator_user_id=USER.upper())
        assert 1 == len(kept(scene))

        assert 1 == erase(scene)

        assert [] == kept(scene)
        assert made.id == scene.customer(billing_creator_user_id=USER).id
        assert [] == kept(scene)
        laws = scene.calls.queries.Check(queries_pb2.CheckRequest(fold_log=True)).laws
        assert [] == [breach for law in laws for breach in law.breaches]


def test_of_nobody_are_found_by_the_address() -> None:
    with BillingScene() as scene:
        scene.customer()
        assert 0 == erase(scene)

        assert 1 == erase(scene, texts=["OWNER@example.org"])

        assert [] == kept(scene)


def test_of_a_request_that_is_open_are_gone_and_another_one_makes_the_customer() -> None:
    with BillingScene() as scene:
        scene.double.faults.add(Fault.UNREACHABLE, path=PATH, method="POST", times=3)
        with pytest.raises(grpc.RpcError):
            scene.customer(billing_creator_user_id=USER)
        erase(scene)

        with pytest.raises(grpc.RpcError) as early:
            scene.customer(billing_creator_user_id=USER)
        assert grpc.StatusCode.UNAVAILABLE == early.value.code()
        assert "try again in 10 minutes" in (early.value.details() or "")
        scene.double.advance(minutes=11)
        scene.customer(billing_creator_user_id=USER, name="Another", email="b@example.org")

        (customer,) = scene.double.world.customers.values()
        assert "Another" == customer.name


def test_of_a_request_whose_answer_was_lost_are_gone_and_its_customer_is_bound() -> None:
    with BillingScene() as scene:
        scene.double.faults.add(Fault.ANSWER_LOST, path=PATH, method="POST", times=3)
        with pytest.raises(grpc.RpcError):
            scene.customer(billing_creator_user_id=USER)
        scene.double.advance(seconds=1)
        erase(scene)

        scene.customer(billing_creator_user_id=USER)

        assert 1 == len(scene.double.world.customers)
