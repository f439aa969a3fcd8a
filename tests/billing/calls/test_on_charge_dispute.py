"""OnChargeDispute: section 4.10 of the billing contract, and the directory's `block`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.directory import OWNER, Member
from ledger.errors import UnavailableError
from tests.billing.calls.failing import (
    INTERNAL,
    INVALID,
    NOT_FOUND,
    UNAVAILABLE,
    Failure,
    each_failure,
)
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import log_of, refused
from tests.contract.calls.directories import Api, member, organization, serving
from tests.oracle.events import named_uuid
from usage.v1 import billing_pb2 as pb

ANN, BOB, EVE = (named_uuid("user", name) for name in ("ann", "bob", "eve"))
BLOCK = "/gitpod.experimental.v1.UserService/BlockUser"


class Organization:
    """Implements `ledger.directory.Directory`: Ann and Bob own it, Eve is a member."""

    def __init__(self) -> None:
        self.blocked: list[tuple[str, str]] = []
        self.failing: set[str] = set()
        self.is_down = False

    def members(self, organization: bytes) -> list[Member]:
        if self.is_down:
            raise UnavailableError("the directory is down")
        roles = ((ANN, OWNER), (BOB, OWNER), (EVE, "member"))
        return [Member(user, 0, "", role) for user, role in roles]

    def block(self, user_id: str, reason: str) -> None:
        if user_id in self.failing:
            raise UnavailableError("the directory is down")
        self.blocked.append((user_id, reason))


@pytest.fixture
def people() -> Organization:
    return Organization()


@pytest.fixture
def scene(people: Organization) -> Iterator[BillingScene]:
    with BillingScene(directory=people) as scene:
        yield scene
        assert [] == scene.calls.breaches()


def dispute(scene: BillingScene, *, with_intent: bool = True, payer: str = PAYER) -> str:
    """A payment of the payer is disputed at its bank."""
    scene.customer(payer)
    intent = scene.intent(scene.hold(payer))
    of = {"payment_intent": intent.id} if with_intent else {"charge": intent.latest_charge}
    return str(scene.double.outside.open_dispute(**of)["id"])


def tell(scene: BillingScene, dispute_id: str) -> None:
    answer = scene.calls.billing.OnChargeDispute(pb.OnChargeDisputeRequest(dispute_id=dispute_id))
    assert b"" == answer.SerializeToString()


def reason(dispute_id: str) -> str:
    return f"User has created a Stripe dispute ID: {dispute_id}"


class TestInput:
    def test_an_empty_id_is_refused(self, scene: BillingScene) -> None:
        """B10."""
        asked = len(scene.double.journal)
        with refused(INVALID, "dispute ID is required"):
            tell(scene, "")
        assert asked == len(scene.double.journal)

    def test_a_dispute_that_stripe_does_not_have_is_not_found(self, scene: BillingScene) -> None:
        with refused(NOT_FOUND, "failed to retrieve dispute ID du_none from stripe"):
            tell(scene, "du_none")


class TestADispute:
    def test_blocks_the_owners_and_nobody_else(
        self, scene: BillingScene, people: Organization
    ) -> None:
        dispute_id = dispute(scene)
        before = scene.cents()
        tell(scene, dispute_id)
        assert [(ANN, reason(dispute_id)), (BOB, reason(dispute_id))] == people.blocked
        assert before == scene.cents()

    def test_told_again_blocks_nobody_again(
        self, scene: BillingScene, people: Organization
    ) -> None:
        """D16."""
        dispute_id = dispute(scene)
        for _ in range(3):
            tell(scene, dispute_id)
        assert 2 == len(people.blocked)
        assert 1 == len(log_of(scene.calls, "dispute-opened"))
        assert 2 == len(log_of(scene.calls, "disputing-user-blocked"))

    def test_of_one_failed_block_tries_that_one_again(
        self, scene: BillingScene, people: Organization
    ) -> None:
        """D16: each block is its own."""
        dispute_id = dispute(scene)
        people.failing.add(ANN)
        for _ in range(2):
            with refused(UNAVAILABLE, f"failed to block users: {ANN}"):
                tell(scene, dispute_id)
        assert [BOB] == [user for user, _ in people.blocked]
        people.failing.clear()
        tell(scene, dispute_id)
        assert [BOB, ANN] == [user for user, _ in people.blocked]

    def test_that_is_another_blocks_again(self, scene: BillingScene, people: Organization) -> None:
        """Once per dispute and user: somebody may have let them in again."""
        for _ in range(2):
            tell(scene, dispute(scene))
        assert [ANN, BOB, ANN, BOB] == [user for user, _ in people.blocked]

    def test_without_a_payment_intent_is_that_of_the_charges_customer(
        self, scene: BillingScene, people: Organization
    ) -> None:
        """D16: the original fails for ever."""
        dispute_id = dispute(scene, with_intent=False)
        tell(scene, dispute_id)
        assert [ANN, BOB] == [user for user, _ in people.blocked]

    def test_of_a_customer_that_was_deleted_is_that_of_the_bound_payer(
        self, scene: BillingScene, people: Organization
    ) -> None:
        """D15."""
        dispute_id = dispute(scene)
        scene.double.outside.delete_customer(scene.known_customer().id)
        tell(scene, dispute_id)
        assert [ANN, BOB] == [user for user, _ in people.blocked]

    def test_of_a_customer_that_is_not_bound_is_that_of_its_metadata(
        self, scene: BillingScene, people: Organization
    ) -> None:
        tell(scene, self.foreign_dispute(scene, {"attributionId": PAYER}))
        assert [ANN, BOB] == [user for user, _ in people.blocked]

    @pytest.mark.parametrize(
        ("metadata", "told"),
        [
            ({"x": "y"}, "object did not contain attribution ID in metadata"),
            ({"attributionId": "team:7"}, "failed to parse attribution ID from customer metadata"),
        ],
    )
    def test_of_nobody_of_ours_is_trouble(
        self, scene: BillingScene, people: Organization, metadata: dict[str, str], told: str
    ) -> None:
        with refused(INTERNAL, told):
            tell(scene, self.foreign_dispute(scene, metadata))
        assert [] == people.blocked

    def test_of_a_payment_without_customer_is_trouble(self, scene: BillingScene) -> None:
        told = "dispute did not contain customer of payment intent in expanded fields"
        with refused(INTERNAL, told):
            tell(scene, self.foreign_dispute(scene, None))

    @staticmethod
    def foreign_dispute(scene: BillingScene, metadata: dict[str, str] | None) -> str:
        """A dispute about a payment that another program took."""
        params: Any = {"amount": 500, "currency": "eur"}
        if metadata is not None:
            params["customer"] = scene.shop.client.v1.customers.create({"metadata": metadata}).id
        payment = scene.shop.client.v1.payment_intents.create(params)
        scene.double.outside.confirm_payment(payment.id)
        return str(scene.double.outside.open_dispute(payment_intent=payment.id)["id"])


class TestTheDirectory:
    def test_that_cannot_be_asked_is_told(self, scene: BillingScene, people: Organization) -> None:
        dispute_id = dispute(scene)
        people.is_down = True
        text = f"failed to lookup team details for team ID: {organization(PAYER)}"
        with refused(UNAVAILABLE, text):
            tell(scene, dispute_id)
        assert [] == log_of(scene.calls, "dispute-opened")
        people.is_down = False
        tell(scene, dispute_id)
        assert 2 == len(people.blocked)

    def test_that_is_not_configured_blocks_nobody_and_says_so(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with BillingScene() as scene:
            dispute_id = dispute(scene)
            tell(scene, dispute_id)
        assert f"dispute {dispute_id}" in caplog.text
        assert "nobody is blocked" in caplog.text


class TestStripe:
    @each_failure
    def test_failing_is_told_and_the_next_try_blocks(
        self, scene: BillingScene, people: Organization, failure: Failure
    ) -> None:
        dispute_id = dispute(scene)
        text = f"failed to retrieve dispute ID {dispute_id} from stripe"
        with failure.of(scene), refused(failure.code, text):
            tell(scene, dispute_id)
        assert [] == people.blocked
        tell(scene, dispute_id)
        assert 2 == len(people.blocked)


class TestTheFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "organizations.json"
        people = [member("ann") | {"role": "owner"}, member("eve")]
        path.write_text(json.dumps([{"id": organization(PAYER), "members": people}]))
        return path

    def test_of_blocked_ones_has_each_owner_once(self, path: Path) -> None:
        with BillingScene(directory_settings={"kind": "file", "path": str(path)}) as scene:
            first, second = dispute(scene), dispute(scene)
            for dispute_id in (first, first, second):
                tell(scene, dispute_id)
        blocked = path.with_suffix(".blocked.jsonl").read_text().splitlines()
        assert [{"user_id": ANN, "reason": reason(first)}] == [json.loads(one) for one in blocked]

    def test_that_cannot_be_written_is_unavailable(self, path: Path) -> None:
        path.with_suffix(".blocked.jsonl").write_text("not one of ours\n")
        with BillingScene(directory_settings={"kind": "file", "path": str(path)}) as scene:
            dispute_id = dispute(scene)
            with refused(UNAVAILABLE, f"failed to block users: {ANN}"):
                tell(scene, dispute_id)


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as api:
        yield api


class TestThePublicApi:
    @pytest.fixture
    def patience(self) -> str:
        """How long the directory may take; parametrize it where it does not answer."""
        return "20s"

    @pytest.fixture
    def asking(self, api: Api, tmp_path: Path, patience: str) -> Iterator[BillingScene]:
        token = tmp_path / "token"
        token.write_text("secret-token\n")
        settings = {
            "kind": "connect",
            "url": api.url,
            "token_file": str(token),
            "timeout": patience,
        }
        api.has(PAYER, *[self.person("ann", "TEAM_ROLE_OWNER"), self.person("bob", 1)])
        with BillingScene(directory_settings=settings) as scene:
            yield scene

    @staticmethod
    def person(name: str, role: Any) -> dict[str, Any]:
        return {**member(name), "role": role}

    @staticmethod
    def blocks(api: Api) -> list[Any]:
        return [body for path, _, body in api.asked if path == BLOCK]

    def test_is_told_of_each_owner_with_the_token(self, asking: BillingScene, api: Api) -> None:
        api.has(
            PAYER,
            self.person("ann", "TEAM_ROLE_OWNER"),
            self.person("bob", 1),
            self.person("eve", "TEAM_ROLE_MEMBER"),
        )
        dispute_id = dispute(asking)
        for _ in range(2):
            tell(asking, dispute_id)
        expected = [{"userId": user, "reason": reason(dispute_id)} for user in (ANN, BOB)]
        assert expected == self.blocks(api)
        assert all("Bearer secret-token" == headers["Authorization"] for _, headers, _ in api.asked)

    @pytest.mark.parametrize("status", [401, 403, 429, 500, 501])
    def test_that_refuses_one_is_told_of_that_one_again(
        self, asking: BillingScene, api: Api, status: int
    ) -> None:
        api.users[BOB] = status, b'{"code": "unimplemented"}'
        dispute_id = dispute(asking)
        with refused(UNAVAILABLE, f"failed to block users: {BOB}"):
            tell(asking, dispute_id)
        api.users.clear()
        tell(asking, dispute_id)
        assert [ANN, BOB, BOB] == [body["userId"] for body in self.blocks(api)]

    def test_that_does_not_know_a_user_has_nobody_to_block(
        self, asking: BillingScene, api: Api
    ) -> None:
        api.users[BOB] = 404, b'{"code": "not_found"}'
        dispute_id = dispute(asking)
        for _ in range(2):
            tell(asking, dispute_id)
        assert [ANN, BOB] == [body["userId"] for body in self.blocks(api)]

    @pytest.mark.parametrize("patience", ["2s"])
    def test_that_does_not_answer_in_time_is_told_again(
        self, asking: BillingScene, api: Api
    ) -> None:
        dispute_id = dispute(asking)
        api.may_answer.clear()
        with refused(UNAVAILABLE, "failed to lookup team details"):
            tell(asking, dispute_id)
        api.may_answer.set()
        tell(asking, dispute_id)
        assert {ANN, BOB} == {body["userId"] for body in self.blocks(api)}
