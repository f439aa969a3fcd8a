"""What the two directories are asked and how they may fail: section 7 of the contract."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import prometheus_client
import pytest

from tests.contract.calls.asking import (
    PAYER,
    UNAVAILABLE,
    cost_centers,
    get_cost_center,
    refused,
    set_cost_center,
)
from tests.contract.calls.directories import PATH, Api, member, organization, serving
from tests.harness import InProcessService, ManualClock, settings_for
from tests.oracle.events import named_uuid
from usage.v1 import usage_pb2 as pb

WAIT_SECONDS_MAX = 10


class TestTheFile:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[",
            b"{}",
            b"\xff\xfe",
            b'[{"id": 7, "members": []}]',
            b'[{"id": "ID", "members": [{"user_id": "nobody", "joined": "2026-01-01T00:00:00Z"}]}]',
            b'[{"id": "ID", "members": [{"user_id": "USER", "joined": "yesterday"}]}]',
        ],
    )
    def test_that_cannot_be_read_is_unavailable(
        self, tmp_path: Path, clock: ManualClock, content: bytes
    ) -> None:
        path = tmp_path / "organizations.json"
        content = content.replace(b"ID", organization(PAYER).encode())
        path.write_bytes(content.replace(b"USER", named_uuid("user", "ann").encode()))
        directory = {"kind": "file", "path": str(path)}
        settings = settings_for(tmp_path / "data", directory=directory)
        with InProcessService(settings, clock=clock) as service:
            with refused(UNAVAILABLE, "directory"):
                get_cost_center(service.calls)
            assert [] == cost_centers(service.calls)


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as api:
        yield api


@pytest.fixture
def patience() -> str:
    """How long the directory may take; parametrize it where it does not answer."""
    return "20s"


@pytest.fixture
def asking(
    tmp_path: Path, clock: ManualClock, api: Api, patience: str
) -> Iterator[InProcessService]:
    token = tmp_path / "token"
    token.write_text("secret-token\n")
    directory = {
        "kind": "connect",
        "url": api.url + "/",
        "token_file": str(token),
        "timeout": patience,
    }
    settings = settings_for(tmp_path / "data", directory=directory)
    with InProcessService(settings, clock=clock) as service:
        yield service


def counted(counter: prometheus_client.Counter) -> float:
    """All that was counted, whatever the labels."""
    return sum(sample.value for metric in counter.collect() for sample in metric.samples)


def wait_until_given_up(service: InProcessService) -> None:
    """The caller's clock and the service's end a call on their own: wait for the service's."""
    calls = service.service.edge.calls
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while counted(calls.handled) < counted(calls.started):
        assert time.monotonic() < deadline, "a call whose deadline has passed still waits"
        time.sleep(0.01)


class TestThePublicApi:
    def test_is_asked_for_the_team_over_connect_with_the_token(
        self, asking: InProcessService, api: Api
    ) -> None:
        api.has(PAYER, member("ann"))
        get_cost_center(asking.calls, "team:" + organization(PAYER).upper())
        ((path, headers, body),) = api.asked
        assert PATH == path
        assert {"teamId": organization(PAYER)} == body
        assert "Bearer secret-token" == headers["Authorization"]
        assert "1" == headers["Connect-Protocol-Version"]
        assert "application/json" == headers["Content-Type"]

    def test_is_not_asked_for_a_cost_center_that_is_open(
        self, asking: InProcessService, api: Api
    ) -> None:
        api.has(PAYER, member("ann"))
        for _ in range(3):
            get_cost_center(asking.calls)
            set_cost_center(asking.calls, limit=5)
        assert 1 == len(api.asked)

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (500, b"oops"),
            (401, b'{"code": "unauthenticated"}'),
            (403, b'{"code": "permission_denied"}'),
            (404, b"no such page: a proxy says so, not the API"),
            (302, b""),
            (200, b"no JSON"),
            (200, b"[]"),
            (200, b"null"),
            (200, b'{"team": []}'),
            (200, b'{"team": {"members": 7}}'),
            (200, b'{"team": {"members": ["ann"]}}'),
            (200, b'{"team": {"members": [{"userId": 7, "memberSince": "x"}]}}'),
            (200, b'{"team": {"members": [{"userId": "nobody"}]}}'),
            (200, b'{"team": {"members": [{"userId": "USER", "memberSince": 7}]}}'),
            (200, b'{"team": {"members": [{"primaryEmail": 7}]}}'),
        ],
    )
    def test_that_answers_nonsense_is_unavailable_and_nothing_is_opened(
        self, asking: InProcessService, api: Api, status: int, body: bytes
    ) -> None:
        api.breaks(PAYER, status, body.replace(b"USER", named_uuid("user", "ann").encode()))
        with refused(UNAVAILABLE, "directory"):
            get_cost_center(asking.calls)
        assert [] == cost_centers(asking.calls)

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b'{"team": null}',
            b'{"team": {"members": null}}',
            b'{"team": {"members": []}}',
        ],
    )
    def test_that_knows_no_members_in_any_legal_spelling_gives_for_teams(
        self, asking: InProcessService, api: Api, body: bytes
    ) -> None:
        api.breaks(PAYER, 200, body)
        assert 0 == get_cost_center(asking.calls).spending_limit

    def test_is_read_with_null_for_an_e_mail(self, asking: InProcessService, api: Api) -> None:
        api.has(PAYER, member("ann", email="x"))
        status, body = api.answers[organization(PAYER)]
        api.breaks(PAYER, status, body.replace(b'"x"', b"null"))
        assert 500 == get_cost_center(asking.calls).spending_limit

    @pytest.mark.parametrize("patience", ["300ms"])
    def test_that_does_not_answer_in_time_is_unavailable(
        self, asking: InProcessService, api: Api
    ) -> None:
        api.has(PAYER, member("ann"))
        api.may_answer.clear()
        with refused(UNAVAILABLE, "directory"):
            get_cost_center(asking.calls)
        assert [] == cost_centers(asking.calls)

    def test_that_answers_after_the_calls_deadline_opens_nothing(
        self, asking: InProcessService, api: Api
    ) -> None:
        api.has(PAYER, member("ann"))
        api.may_answer.clear()
        request = pb.GetCostCenterRequest(attribution_id=PAYER)
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
            asking.calls.usage.GetCostCenter(request, timeout=0.1)
        wait_until_given_up(asking)
        api.may_answer.set()
        time.sleep(0.4)  # time enough to hear the answer
        assert [] == cost_centers(asking.calls)

    def test_that_nobody_serves_is_unavailable(self, tmp_path: Path, clock: ManualClock) -> None:
        token = tmp_path / "token"
        token.write_text("t")
        with serving() as api:
            url = api.url
        directory = {"kind": "connect", "url": url, "token_file": str(token)}
        settings = settings_for(tmp_path / "data", directory=directory)
        with InProcessService(settings, clock=clock) as service:
            with refused(UNAVAILABLE, "directory"):
                get_cost_center(service.calls)
            assert [] == cost_centers(service.calls)

    def test_never_sees_its_token_in_a_message(self, asking: InProcessService, api: Api) -> None:
        api.breaks(PAYER, 401, b"secret-token")
        with pytest.raises(grpc.RpcError) as caught:
            get_cost_center(asking.calls)
        assert "secret-token" not in (caught.value.details() or "")
