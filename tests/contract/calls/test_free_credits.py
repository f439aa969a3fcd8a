"""Default limits, free credits and the directory: section 7 of the contract."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.ledger import FreeCreditClaimed
from ledger.commands.cost_centers import claims_of
from ledger.group import Group
from ledger.settings import load_settings
from tests.contract.calls.asking import (
    PAYER,
    RIVAL,
    STRIPE,
    UNAVAILABLE,
    cost_centers,
    get_cost_center,
    head,
    log_of,
    refused,
    set_cost_center,
    submit,
    together,
)
from tests.contract.calls.directories import Api, member, organization, serving
from tests.harness import InProcessService, ManualClock, settings_for
from tests.oracle.events import named_uuid, payer_of

LATER = "2026-02-02T00:00:00Z"


class Organizations:
    """A directory of either kind, and a service that asks it."""

    def __init__(self, service: InProcessService, kind: str, path: Path, api: Api) -> None:
        self.service = service
        self.calls = service.calls
        self.kind = kind
        self.path = path
        self.api = api
        self._known: dict[str, list[dict[str, str]]] = {}

    def has(self, payer: str, *members: dict[str, str]) -> None:
        self._known[organization(payer)] = list(members)
        self.api.has(payer, *members)
        content = [{"id": name, "members": found} for name, found in self._known.items()]
        self.path.write_text(json.dumps(content))

    def becomes_unreachable(self) -> None:
        if self.kind == "file":
            self.path.unlink()
        else:
            self.api.answers.clear()
            for payer in (PAYER, RIVAL):
                self.api.breaks(payer, 503, b"busy")

    def limit(self, payer: str = PAYER) -> int:
        return get_cost_center(self.calls, payer).spending_limit


@pytest.fixture(params=["file", "connect"])
def organizations(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> Iterator[Organizations]:
    path, token = tmp_path / "organizations.json", tmp_path / "token"
    path.write_text("[]")
    token.write_text("secret-token\n")
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(serving())
        directory: dict[str, Any] = {"kind": "file", "path": str(path)}
        if request.param == "connect":
            directory = {"kind": "connect", "url": api.url, "token_file": str(token)}
        settings = settings_for(tmp_path / "data", directory=directory)
        service = stack.enter_context(InProcessService(settings, clock=clock))
        yield Organizations(service, request.param, path, api)


class TestDefaultLimits:
    def test_are_0_for_teams_500_for_users_and_0_for_users_on_stripe(self, tmp_path: Path) -> None:
        limits = load_settings(None, data_dir=tmp_path).default_spending_limit
        assert (0, 500, 0) == (limits.for_teams, limits.for_users, limits.min_for_users_on_stripe)

    def test_without_a_directory_every_new_cost_center_gets_for_teams(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        limits = {"for_teams": 30, "for_users": 600}
        settings = settings_for(tmp_path, default_spending_limit=limits)
        with InProcessService(settings, clock=clock) as service:
            for payer in (PAYER, RIVAL):
                assert 30 == get_cost_center(service.calls, payer).spending_limit
            assert [] == log_of(service.calls, "free-credit-claimed")

    def test_of_configuration_hold_with_a_directory_too(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        path = tmp_path / "organizations.json"
        payers = payer_of("1"), payer_of("2")
        known = [{"id": organization(payer), "members": [member("ann")]} for payer in payers]
        path.write_text(json.dumps(known))
        settings = settings_for(
            tmp_path / "data",
            directory={"kind": "file", "path": str(path)},
            default_spending_limit={"for_teams": 30, "for_users": 600},
        )
        with InProcessService(settings, clock=clock) as service:
            assert 600 == get_cost_center(service.calls, payer_of("1")).spending_limit
            assert 30 == get_cost_center(service.calls, payer_of("2")).spending_limit
            assert 30 == get_cost_center(service.calls, payer_of("3")).spending_limit


class TestFreeCredits:
    def test_go_to_the_first_cost_center_that_a_first_member_brings_them_to(
        self, organizations: Organizations
    ) -> None:
        organizations.has(PAYER, member("ann"))
        assert 500 == organizations.limit()

    def test_go_by_user_id_to_no_second_organisation(self, organizations: Organizations) -> None:
        organizations.has(PAYER, member("ann", email="ann@one.test"))
        organizations.has(RIVAL, member("ann", email="ann@two.test"))
        assert (500, 0) == (organizations.limit(PAYER), organizations.limit(RIVAL))

    def test_go_by_e_mail_to_no_second_organisation(self, organizations: Organizations) -> None:
        organizations.has(PAYER, member("ann", email="ann@acme.test"))
        organizations.has(RIVAL, member("ann again", email="Ann@ACME.test"))
        assert (500, 0) == (organizations.limit(PAYER), organizations.limit(RIVAL))

    def test_are_each_members_own(self, organizations: Organizations) -> None:
        organizations.has(PAYER, member("ann", email="ann@acme.test"))
        organizations.has(RIVAL, member("bob", email="bob@acme.test"))
        assert (500, 500) == (organizations.limit(PAYER), organizations.limit(RIVAL))

    def test_without_an_e_mail_are_told_apart_by_user_id(
        self, organizations: Organizations
    ) -> None:
        organizations.has(PAYER, member("ann"))
        organizations.has(RIVAL, member("bob"))
        assert (500, 500) == (organizations.limit(PAYER), organizations.limit(RIVAL))

    def test_follow_the_member_who_joined_first(self, organizations: Organizations) -> None:
        organizations.has(PAYER, member("ann"))
        organizations.has(RIVAL, member("bob", joined=LATER), member("ann"))
        assert (500, 0) == (organizations.limit(PAYER), organizations.limit(RIVAL))

    def test_do_not_mind_members_who_joined_later(self, organizations: Organizations) -> None:
        organizations.has(PAYER, member("ann"))
        organizations.has(RIVAL, member("ann", joined=LATER), member("bob"))
        assert (500, 500) == (organizations.limit(PAYER), organizations.limit(RIVAL))

    def test_are_none_for_an_organisation_without_members(
        self, organizations: Organizations
    ) -> None:
        organizations.has(PAYER)
        assert 0 == organizations.limit()

    def test_are_none_for_an_organisation_that_the_directory_does_not_know(
        self, organizations: Organizations
    ) -> None:
        assert 0 == organizations.limit()
        assert [PAYER] == cost_centers(organizations.calls)

    def test_refused_by_e_mail_do_not_use_up_the_claim_of_the_user(
        self, organizations: Organizations
    ) -> None:
        third = payer_of("third")
        organizations.has(PAYER, member("ann", email="ann@acme.test"))
        organizations.has(RIVAL, member("bob", email="ann@acme.test"))
        organizations.has(third, member("bob", email="bob@acme.test"))
        assert 500 == organizations.limit(PAYER)
        assert 0 == organizations.limit(RIVAL)
        assert 500 == organizations.limit(third)

    def test_come_with_set_cost_center_too_and_are_its_limit_under_other(
        self, organizations: Organizations
    ) -> None:
        organizations.has(PAYER, member("ann"))
        set_cost_center(organizations.calls, limit=7, strategy=STRIPE)
        assert 500 == set_cost_center(organizations.calls, limit=9).spending_limit

    def test_are_granted_once_by_concurrent_first_reads(self, organizations: Organizations) -> None:
        payers = [payer_of(number) for number in range(6)]
        for payer in payers:
            organizations.has(payer, member("ann", email="ann@acme.test"))
        limits = together(12, lambda number: organizations.limit(payers[number % 6]))
        assert [0] * 5 + [500] == sorted(limits[:6])
        assert limits[:6] == limits[6:]

    def test_survive_a_restart(self, tmp_path: Path, clock: ManualClock) -> None:
        path = tmp_path / "organizations.json"
        known = [{"id": organization(p), "members": [member("ann")]} for p in (PAYER, RIVAL)]
        path.write_text(json.dumps(known))
        settings = settings_for(tmp_path / "data", directory={"kind": "file", "path": str(path)})
        for payer, limit in ((PAYER, 500), (RIVAL, 0), (PAYER, 500)):
            with InProcessService(settings, clock=clock) as service:
                assert limit == get_cost_center(service.calls, payer).spending_limit


class TestTheClaim:
    def test_comes_first_in_streams_of_its_own_and_names_the_cost_center(
        self, organizations: Organizations
    ) -> None:
        organizations.has(PAYER, member("ann", email="ann@acme.test"))
        organizations.limit()
        events = log_of(organizations.calls)
        by_user, by_email, opened = events[-3:]
        assert "free-credit:user:" + named_uuid("user", "ann") == by_user.stream
        assert by_email.stream.startswith("free-credit:email:")
        assert "cost-center-opened" == opened.topic
        for claim in (by_user, by_email):
            assert "free-credit-claimed" == claim.topic
            assert PAYER == json.loads(claim.json)["attribution_id"]

    def test_names_no_e_mail_address_anywhere(
        self, organizations: Organizations, tmp_path: Path
    ) -> None:
        organizations.has(PAYER, member("ann", email="ann.unique@acme.test"))
        organizations.limit()
        for file in (tmp_path / "data").rglob("*"):
            assert not file.is_file() or b"ann.unique" not in file.read_bytes()

    def test_by_the_same_cost_center_again_has_it(self, organizations: Organizations) -> None:
        """A crash between claim and opening: the grant is claimed, the cost center is not there."""
        organizations.has(PAYER, member("ann", email="ann@acme.test"))

        def claim(group: Group) -> None:
            stream, *_ = claims_of(bytes.fromhex(named_uuid("user", "ann").replace("-", "")), "")
            payer = bytes.fromhex(organization(PAYER).replace("-", ""))
            group.append(stream, 1, FreeCreditClaimed(group.recorded_at, "local:test", payer))

        submit(organizations.service, claim)
        assert 500 == organizations.limit()

    def test_is_made_once_for_a_cost_center(self, organizations: Organizations) -> None:
        organizations.has(PAYER, member("ann", email="ann@acme.test"))
        together(8, lambda _: organizations.limit())
        assert 2 == len(log_of(organizations.calls, "free-credit-claimed"))


class TestAnUnreachableDirectory:
    def test_is_unavailable_and_nothing_is_opened(self, organizations: Organizations) -> None:
        organizations.has(PAYER, member("ann"))
        organizations.becomes_unreachable()
        before = head(organizations.calls)
        with refused(UNAVAILABLE, "directory"):
            get_cost_center(organizations.calls)
        with refused(UNAVAILABLE, "directory"):
            set_cost_center(organizations.calls, limit=5)
        assert [] == cost_centers(organizations.calls)
        assert before == head(organizations.calls)

    def test_does_not_matter_to_a_cost_center_that_is_open(
        self, organizations: Organizations, clock: ManualClock
    ) -> None:
        organizations.has(PAYER, member("ann"))
        organizations.limit()
        organizations.becomes_unreachable()
        assert 500 == organizations.limit()
        assert 600 == set_cost_center(organizations.calls, limit=600).spending_limit
        clock.set("2026-12-01T08:00:00Z")
        assert 600 == organizations.limit()

    def test_is_asked_again_when_it_is_back(self, organizations: Organizations) -> None:
        organizations.becomes_unreachable()
        with refused(UNAVAILABLE):
            organizations.limit()
        organizations.has(PAYER, member("ann"))
        assert 500 == organizations.limit()
