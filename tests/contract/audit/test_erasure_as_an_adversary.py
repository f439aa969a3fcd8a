"""Somebody hides a person wherever a text is taken, has them erased, and searches everything."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from persistence import BillingRun, Transaction
from tests.contract.audit.erasing import broken_laws, erase
from tests.contract.data.scene import PAYER, USER, Line, Scene, note, ran, started
from tests.harness.backends import chosen
from tests.importing.lines import entry, taken
from tests.oracle.events import line_of, named_uuid, payer_of
from tests.proofs.scene import Signing
from usage_ledger.v1 import audit_proofs_pb2 as pb
from usage_ledger.v1 import publishing_pb2, queries_pb2

pytestmark = pytest.mark.sharded

NAME = "Needle Of Ada"
OTHER = named_uuid("other user")
PAYERS = [PAYER, *(payer_of(f"payer {n}") for n in range(5))]
TAKEN = payer_of("taken over")
PERSONAL = {"userName": NAME, "contextUrl": "https://c/?by=Needle%20Of%20Ada"}

# What nobody can take in, each with the name or the ID in another disguise.
REJECTED: list[Line] = [
    line_of({"userId": USER}),
    b"half a line of " + NAME.upper().encode(),
    line_of({"userName": NAME}).replace(b"N", b"\\u004e"),
    line_of({"log": json.dumps({"by": json.dumps({"name": NAME})})}).replace(b"N", b"\\u004e"),
    line_of({"mail": "name=Needle+Of%20Ada"}),
    line_of({"data_base64": base64.urlsafe_b64encode(b"\xff\xfe by " + NAME.encode()).decode()}),
    b"\xff\xfe" + base64.b64encode(base64.b64encode(b"of " + NAME.encode())),
    line_of({"userName": f"{NAME}-Junior"}),
    line_of({"id": USER.upper().replace("-", "")}),
]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


@pytest.fixture
def scene(data_dir: Path, signing: Signing) -> Iterator[Scene]:
    with Scene(data_dir, tree=True, **signing.settings) as scene:
        yield scene


def hide(scene: Scene) -> int:
    """Everywhere; give how many rows of personal data that makes."""
    for n, payer in enumerate(PAYERS):
        scene.record(*ran(f"hers {n}", "06:00", "07:00", payer=payer, **PERSONAL))
    scene.record(
        *ran("another's", "06:00", "07:01", userId=OTHER, userName=NAME.upper()),
        *ran("voided", "06:00", "07:02", userId=OTHER, userName="Bob"),
        started("ended", "06:00", userId=OTHER, contextUrl="https://c/?by=Needle+Of+Ada"),
        note(3, event_id="1", description="hers", userId=USER),
        note(4, event_id="2", description=f"for {NAME}-Junior", userId=OTHER),
        note(5, event_id="3", description="voided", payer=PAYERS[1], userId=OTHER),
    )
    scene.void("voided", reason=f"{NAME} has tried it out")
    scene.end("ended", "07:00")
    (given,) = [each for each in scene.calls.entries(PAYERS[1]) if each.description == "voided"]
    scene.void_note(given.id, payer=PAYERS[1], reason=f"{NAME} had it twice")
    taken(scene, entry(-300, kind="credit_note", description=f"by {NAME}", payer=TAKEN))
    scene.reject(*REJECTED)
    hide_failures(scene)
    scene.reconcile()
    # hers · another's, ended · two notes · two voids · one taken over
    return len(PAYERS) + 2 + 2 + 2 + 1


def hide_failures(scene: Scene) -> None:
    def keep(transaction: Transaction) -> None:
        transaction.add_trouble(bytes(16), f"{NAME} cannot be asked", now=1)
        transaction.put_billing_run(BillingRun(1, 2, 3, 4, f"of {NAME}", 0))
        transaction.job_ran("ledger", started=1, finished=None, error=f"of {NAME}")

    for shard in scene.service.ledger.shards:
        scene.service.wait(shard.beside(keep))


def cells(data_dir: Path) -> Iterator[tuple[str, bytes]]:
    """Every value of every table of every shard, with the name of the table."""
    urls = chosen().settings(data_dir).get("postgres", {}).get("urls", [])
    for url in urls:
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            for (table,) in tables:
                for row in connection.execute(f'SELECT * FROM "{table}"'.encode()).fetchall():
                    yield from ((table, _bytes(value)) for value in row)
    for path in [] if urls else sorted(data_dir.rglob("ledger.db")):
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in rows.fetchall():
                for row in connection.execute(f"SELECT * FROM {table}").fetchall():
                    yield from ((table, _bytes(value)) for value in row)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def traces(data_dir: Path) -> set[str]:
    """Tables with her name in clear, in URLs, in her disguises."""
    clear = (NAME.lower(), "needle%20of%20ada", "needle+of+ada", "needle\\u0020", "eedle of ada")
    found = {
        table
        for table, value in cells(data_dir)
        if any(each.encode() in value.lower() for each in clear)
    }
    hidden = {_bytes(line) for line in REJECTED if isinstance(line, bytes)}
    return found | {table for table, value in cells(data_dir) if value in hidden}


def numbers(scene: Scene) -> list[Any]:
    """Whatever anybody is charged."""
    return [
        (scene.cents(payer), scene.draft_lines(payer), scene.calls.draft(payer).total_cents)
        for payer in (*PAYERS, TAKEN)
    ]


def sign(scene: Scene) -> list[pb.SignedHead]:
    """Heads over all that is recorded."""
    answer = scene.calls.audit.SignHeads(pb.SignHeadsRequest())
    assert 0 == answer.uncovered
    return list(answer.heads)


def verified(scene: Scene) -> int:
    """Findings of a verification of all shards."""
    answers = scene.calls.audit.Verify(pb.VerifyRequest())
    return sum(answer.summary.findings for answer in answers if answer.HasField("summary"))


def test_nothing_of_her_is_left_and_every_number_proof_and_head_stays(
    scene: Scene, data_dir: Path
) -> None:
    rows = hide(scene)
    before, counts = numbers(scene), scene.counts()
    heads = {(head.shard, head.number): head for head in sign(scene)}
    at = publishing_pb2.Position(shard=0, number=heads[0, 1].size)
    proof = pb.GetEventProofRequest(position=at, head=1)
    proved = scene.calls.audit.GetEventProof(proof)
    told = {"personal", "dead_letters", "billing_troubles", "billing_run", "jobs"}
    assert told <= traces(data_dir)
    assert 0 == verified(scene)

    erasure = erase(scene, texts=[NAME])

    assert (rows, len(REJECTED)) == (erasure.personal_rows, erasure.dead_letters)
    assert set() == traces(data_dir)
    assert (before, counts) == (numbers(scene), scene.counts())
    assert [] == broken_laws(scene)
    assert proved == scene.calls.audit.GetEventProof(proof)
    sign(scene)
    assert 0 == verified(scene)
    for (shard, number), head in heads.items():
        request = pb.ListHeadsRequest(shard=shard, number=number)
        assert [head] == list(scene.calls.audit.ListHeads(request).heads)


def test_what_comes_again_brings_nothing_back_and_what_is_new_is_erased_anew(
    scene: Scene, data_dir: Path
) -> None:
    hide(scene)
    erase(scene, texts=[NAME])

    scene.repeat(*ran("hers 0", "06:00", "07:00", payer=PAYERS[0], **PERSONAL))
    scene.repeat(note(3, event_id="1", description=f"hers, {NAME}", userId=USER))
    scene.repeat(*REJECTED)
    assert set() == traces(data_dir)

    scene.record(*ran("new", "06:00", "07:30", payer=PAYERS[3], **PERSONAL))
    assert {"personal"} == traces(data_dir)
    before = numbers(scene)
    erasure = erase(scene, texts=[NAME])
    assert (2, 1, 0) == (erasure.number, erasure.personal_rows, erasure.dead_letters)
    assert set() == traces(data_dir)
    assert before == numbers(scene)
    assert [] == broken_laws(scene)


def test_an_answer_of_every_kind_is_free_of_her(scene: Scene) -> None:
    hide(scene)
    erase(scene, texts=[NAME])
    answers: list[Any] = [scene.status(), *scene.dead_letters()]
    for payer in (*PAYERS, TAKEN):
        answers += [*scene.usage(payer), *scene.calls.entries(payer), *scene.voids(payer)]
    answers += [scene.known(name) for name in ("hers 0", "another's", "voided", "ended")]
    for number in range(len(scene.service.ledger.shards)):
        request = queries_pb2.TailLogRequest(from_position=1, shard=number)
        answers += list(scene.calls.queries.TailLog(request))
    answers += [
        scene.calls.queries.GetDeadLetter(queries_pb2.GetDeadLetterRequest(id=each.id))
        for each in scene.dead_letters()
    ]
    assert not [each for each in map(str, answers) if "eedle" in each.lower()]
