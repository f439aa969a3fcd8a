"""Why an operator voided or ended something is for those who do it, and for auditors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.data.scene import PAYER, Scene, instance, note, ran, started
from tests.edge.callers import TokensFile, calls_with
from tests.harness import Calls
from tests.harness.backends import POSTGRES, SQLITE, choose
from usage_ledger.v1 import audit_corrections_pb2, audit_why_pb2, queries_pb2

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

WHY = "Ada tried it out"
ROLES: dict[str, tuple[str, ...]] = {
    "reader": ("read",),
    "publisher": ("publish", "read"),
    "operator": ("admin",),
    "auditor": ("audit",),
    "both": ("read", "audit"),
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokensFile:
    everything = ("publish", "read", "admin", "audit")
    return TokensFile(tmp_path_factory.mktemp("tokens"), {**ROLES, "all": everything})


@pytest.fixture(scope="module", params=[SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)])
def scene(request: pytest.FixtureRequest, tokens: TokensFile) -> Iterator[Scene]:
    """An instance and a note that were voided, and an instance that was ended, each with why."""
    server: PostgresServer | None = None
    if request.param == POSTGRES:
        server = request.getfixturevalue("postgres_server")
    with choose(request.param, server) as backend:
        yield from _told(Scene(**tokens.settings(), **backend.settings(None)), tokens)
        backend.close()


def _told(scene: Scene, tokens: TokensFile) -> Iterator[Scene]:
    with scene:
        scene.service.calls = calls_with(scene.service, tokens.tokens["all"])
        scene.record(*ran("a", "06:00", "07:00"), started("b", "06:00"), note(3))
        scene.void("a", reason=WHY)
        (given,) = [
            each
            for each in scene.calls.entries(PAYER)
            if each.kind == queries_pb2.ENTRY_KIND_CREDIT_NOTE
        ]
        scene.void_note(given.id, reason=WHY)
        scene.end("b", "07:00")
        yield scene


def reasons(calls: Calls) -> set[str]:
    """Whatever a caller is told of why."""
    voids = calls.audit.ListVoids(audit_corrections_pb2.ListVoidsRequest(attribution_id=PAYER))
    told = {void.reason for void in voids.voids}
    assert 2 == len(voids.voids)
    assert all(void.author for void in voids.voids)
    known = calls.queries.GetInstance(
        queries_pb2.GetInstanceRequest(workspace_instance_id=instance("a"))
    )
    (void,) = known.voids
    told.add(void.reason)
    for name in "ab":
        explained = calls.audit.ExplainEntry(
            audit_why_pb2.ExplainEntryRequest(
                attribution_id=PAYER, workspace_instance_id=instance(name)
            )
        )
        told |= reasons_in(explained.explanation.number)
    return told - {""}


def reasons_in(number: audit_why_pb2.ExplainedNumber) -> set[str]:
    told = {event.reason for event in number.events}
    for part in number.parts:
        told |= reasons_in(part)
    return told


@pytest.mark.parametrize("name", ["operator", "auditor", "both"])
def test_are_told_to_who_gives_them_and_to_who_examines(
    scene: Scene, tokens: TokensFile, name: str
) -> None:
    calls = calls_with(scene.service, tokens.tokens[name])
    assert {WHY, "it hung"} == reasons(calls)
    calls.close()


@pytest.mark.parametrize("name", ["reader", "publisher"])
def test_are_not_told_to_who_only_reads(scene: Scene, tokens: TokensFile, name: str) -> None:
    calls = calls_with(scene.service, tokens.tokens[name])
    assert set() == reasons(calls)
    calls.close()


def test_are_told_where_nobody_is_asked_who_they_are(tmp_path: Path) -> None:
    with Scene(tmp_path / "ledger") as scene:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.void("a", reason=WHY)
        assert [WHY] == [void.reason for void in scene.voids()]
