"""What the ledger itself takes away or makes anew changes no head, and what was proved stays so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.rebuilding.building import Builder
from ledger.rebuilding.promoting import change, compared
from persistence import Generations
from persistence.postgres import Database, PostgresGenerations
from persistence.sqlite import SQLiteGenerations
from tests.contract.data.scene import PAYER, USER, Scene, note, ran, started
from tests.proofs.scene import BackDoor, Signing, tree_scene, until_current
from usage_ledger.v1 import audit_erasure_pb2, publishing_pb2
from usage_ledger.v1 import audit_proofs_pb2 as pb


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


@pytest.fixture
def scene(place: BackDoor, signing: Signing) -> Iterator[Scene]:
    with tree_scene(place, **signing.settings) as scene:
        scene.record(*ran("a", "06:00", "07:00", userName="Ada"), started("b", "07:10"))
        scene.record(note(3, description="from Ada", userId=USER))
        yield scene


def prove_all(scene: Scene, head: int, events: int) -> list[pb.GetEventProofResponse]:
    named = (publishing_pb2.Position(number=number) for number in range(1, events + 1))
    return [
        scene.calls.audit.GetEventProof(pb.GetEventProofRequest(head=head, position=position))
        for position in named
    ]


def findings(scene: Scene) -> list[str]:
    answers = scene.calls.audit.Verify(pb.VerifyRequest())
    return [answer.finding.text for answer in answers if answer.HasField("finding")]


def test_an_erasure_and_a_void_leave_every_head_and_proof(
    scene: Scene, place: BackDoor, signing: Signing
) -> None:
    events = until_current(place)
    (before,) = signing.sign(scene)
    proofs = prove_all(scene, before.number, events)
    cents = scene.cents()

    request = audit_erasure_pb2.EraseUserRequest(user_id=USER, reason="17", texts=["Ada"])
    erasure = list(scene.calls.audit.EraseUser(request))[-1].erasure
    assert 2 <= erasure.personal_rows
    assert cents == scene.cents()
    scene.void("b", payer=PAYER, reason="of nobody")

    assert until_current(place) > events
    assert proofs == prove_all(scene, before.number, events)
    (after,) = signing.sign(scene)
    assert after.size > before.size
    between = pb.GetConsistencyProofRequest(
        first=pb.TreePoint(head=before.number), second=pb.TreePoint(head=after.number)
    )
    scene.calls.audit.GetConsistencyProof(between)
    assert [] == findings(scene)


def test_another_generation_has_the_same_tree(
    scene: Scene, place: BackDoor, signing: Signing
) -> None:
    until_current(place)
    (before,) = signing.sign(scene)
    generations: Generations = (
        PostgresGenerations(Database(place.url)) if place.url else SQLiteGenerations(place.data_dir)
    )
    with closing(generations):
        generations.claim()
        builder = Builder(generations, author="a test")
        builder.catch_up(builder.begun(), 1)
        assert change(builder, compared(builder)).promoted

    scene.record(note(4, event_id="another"))
    until_current(place)
    (after,) = signing.sign(scene)
    assert before.size + 1 == after.size
    assert [] == findings(scene)
