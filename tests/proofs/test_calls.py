"""AuditService: heads, proofs and verification as callers get them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from ledger.audit.keys import KeyList, Retired, write_key_list
from ledger.audit.merkle import is_consistent, root_by_inclusion
from ledger.audit.notes import parse_note
from ledger.shards import Shard
from persistence import TREE_TAIL, Tile
from tests.contract.data.scene import SOURCE, Scene
from tests.oracle.events import payer_of
from tests.proofs import naive
from tests.proofs.scene import (
    BackDoor,
    Signing,
    add_notes,
    leaf_of,
    tree_scene,
    until_current,
    wait_for,
)
from usage_ledger.v1 import audit_proofs_pb2 as pb
from usage_ledger.v1 import publishing_pb2, queries_pb2


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


@pytest.fixture
def scene(place: BackDoor, signing: Signing) -> Iterator[Scene]:
    with tree_scene(place, **signing.settings) as scene:
        yield scene


def sign(scene: Scene) -> list[pb.SignedHead]:
    answer = scene.calls.audit.SignHeads(pb.SignHeadsRequest())
    assert 0 == answer.uncovered
    return list(answer.heads)


def heads(scene: Scene, **more: Any) -> list[pb.SignedHead]:
    return list(scene.calls.audit.ListHeads(pb.ListHeadsRequest(**more)).heads)


def prove(scene: Scene, head: int = 0, **event: Any) -> pb.GetEventProofResponse:
    return scene.calls.audit.GetEventProof(pb.GetEventProofRequest(head=head, **event))


def at(position: int, shard: int = 0) -> dict[str, Any]:
    return {"position": publishing_pb2.Position(shard=shard, number=position)}


def consistency(scene: Scene, first: Any, second: Any) -> pb.GetConsistencyProofResponse:
    request = pb.GetConsistencyProofRequest(first=first, second=second)
    return scene.calls.audit.GetConsistencyProof(request)


def has_followed(scene: Scene, shard: Shard) -> bool:
    position = scene.service.wait(shard.beside(lambda t: t.tail_position(TREE_TAIL)))
    return bool(shard.head == position)


def head(number: int) -> pb.TreePoint:
    return pb.TreePoint(head=number)


def size(events: int) -> pb.TreePoint:
    return pb.TreePoint(size=events)


def refused(code: grpc.StatusCode, text: str) -> Any:
    return pytest.raises(grpc.RpcError, match=rf"(?s){code.name}.*{text}")


def status(scene: Scene) -> queries_pb2.GetStatusResponse:
    return scene.calls.queries.GetStatus(queries_pb2.GetStatusRequest())


INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class TestSigning:
    def test_covers_all_that_was_recorded_before(
        self, scene: Scene, place: BackDoor, signing: Signing
    ) -> None:
        add_notes(scene, 300)
        (signed,) = sign(scene)
        count = len(place.events())
        assert (1, count, place.root(count)) == (signed.number, signed.size, signed.root)
        assert (signing.name, scene.service.ledger.operator) == (signed.key_name, signed.author)
        note = parse_note(signed.note)
        assert "" == signing.keys.judge(note).objection
        assert (signed.size, signed.root) == note.checkpoint[1:3]
        (tree,) = status(scene).trees
        assert (signed, tree.origin) == (tree.newest_head, note.checkpoint.origin)
        assert [signed] == heads(scene)

    def test_of_what_is_signed_already_makes_no_other_head(self, scene: Scene) -> None:
        add_notes(scene, 3)
        assert sign(scene) == sign(scene)
        add_notes(scene, 1, first=3)
        assert [2] == [each.number for each in sign(scene)]

    def test_by_another_key_makes_one(
        self, scene: Scene, place: BackDoor, signing: Signing
    ) -> None:
        add_notes(scene, 3)
        (first,) = sign(scene)
        signing.rotate("next-key")
        (second,) = sign(scene)
        assert (first.size, first.root) == (second.size, second.root)
        assert ("test-key", "next-key") == (first.key_name, second.key_name)
        assert [first] == heads(scene, newest_of_key="test-key")

    def test_pages_through_heads(self, scene: Scene) -> None:
        for number in range(5):
            add_notes(scene, 1, first=number)
            sign(scene)
        found, cursor = [], ""
        while True:
            request = pb.ListHeadsRequest(page_size=2, cursor=cursor)
            answer = scene.calls.audit.ListHeads(request)
            found += [each.number for each in answer.heads]
            cursor = answer.next_cursor
            if not cursor:
                break
        assert [5, 4, 3, 2, 1] == found
        assert [3] == [each.number for each in heads(scene, number=3)]
        assert [] == heads(scene, newest_of_key="nobody")
        with refused(NOT_FOUND, "head 9 of shard 0 is not there"):
            heads(scene, number=9)
        with refused(INVALID, "give one of them"):
            heads(scene, number=1, newest_of_key="x")
        with refused(INVALID, "shard 7"):
            heads(scene, shard=7)


class TestWithoutAKey:
    """No head is signed; events are taken in and shown, and everybody can tell."""

    def goes_on(self, scene: Scene, *, first: int) -> None:
        before = scene.cents(payer_of("payer 0"))
        add_notes(scene, 20, first=first)
        assert before - 100 == scene.cents(payer_of("payer 0"))

    def test_that_was_never_there_nothing_is_signed_and_nothing_is_wrong(
        self, place: BackDoor
    ) -> None:
        with tree_scene(place) as scene:
            add_notes(scene, 3)
            scene.service.run_job("heads")
            told = status(scene)
            assert ("", []) == (told.heads_held, heads(scene))
            with refused(PRECONDITION, r"audit\.signing_key_file .* cannot be read"):
                sign(scene)

    @pytest.mark.parametrize("which", ["key_file", "keys_file"])
    def test_that_is_gone_the_job_fails_until_it_is_back(
        self, scene: Scene, place: BackDoor, signing: Signing, which: str
    ) -> None:
        add_notes(scene, 3)
        scene.service.run_job("heads")
        path: Path = getattr(signing, which)
        hidden = path.with_suffix(".hidden")
        os.rename(path, hidden)  # noqa: PTH104
        self.goes_on(scene, first=20)
        scene.service.run_job("heads")
        assert f"{path} cannot be read" in status(scene).heads_held
        assert f"{path} cannot be read" in scene.service.ledger.heads.trouble
        assert 1 == len(heads(scene))
        self.goes_on(scene, first=40)
        os.rename(hidden, path)  # noqa: PTH104
        until_current(place)
        scene.service.run_job("heads")
        assert ("", "") == (status(scene).heads_held, scene.service.ledger.heads.trouble)
        assert len(place.events()) == heads(scene)[0].size

    def test_in_the_list_nobody_could_check_a_head(self, scene: Scene, signing: Signing) -> None:
        add_notes(scene, 3)
        write_key_list(signing.keys_file, KeyList(()))
        with refused(PRECONDITION, "usage-ledger keys add"):
            sign(scene)

    def test_that_is_not_retired(self, scene: Scene, signing: Signing) -> None:
        add_notes(scene, 3)
        retired = signing.keys.retiring(signing.name, Retired("today", "somebody", ()))
        write_key_list(signing.keys_file, retired)
        with refused(PRECONDITION, "is retired since today"):
            sign(scene)

    def test_an_empty_log_has_no_head(self, tmp_path: Path, signing: Signing) -> None:
        """The first shard has the prices; the others may have nothing at all."""
        settings = signing.settings | {"shards": {"count": 2, "open": [0]}}
        with Scene(tmp_path / "ledger", tree=True, **settings) as scene:
            add_notes(scene, 3)
            assert {0, 1} == {each.shard for each in sign(scene)}


class TestABrokenTree:
    def test_is_not_signed_and_says_so(
        self, scene: Scene, place: BackDoor, signing: Signing
    ) -> None:
        add_notes(scene, 600)
        sign(scene)
        add_notes(scene, 1, first=600)
        until_current(place)
        rows = place.rows("SELECT hashes FROM tree_tiles WHERE level = 1")
        place.run("UPDATE tree_tiles SET hashes = ? WHERE level = 1", values=(bytes(64),))
        scene.service.run_job("heads")
        told = status(scene)
        assert "is broken, and is not signed" in told.heads_held
        assert "not the one that head 1" in told.trees[0].fault
        assert 1 == len(heads(scene))
        add_notes(scene, 5, first=700)
        place.run("UPDATE tree_tiles SET hashes = ? WHERE level = 1", values=rows[0])
        scene.service.run_job("heads")
        told = status(scene)
        assert ("", "") == (told.heads_held, told.trees[0].fault)
        assert 2 == len(heads(scene))

    def test_whose_newest_event_was_changed_is_not_signed(
        self, scene: Scene, place: BackDoor
    ) -> None:
        add_notes(scene, 5)
        count = until_current(place)
        state = place.events()[-1][4]
        place.run(
            f"UPDATE stored_events SET state = ? WHERE position = {count}",
            values=(state[:-1] + bytes([state[-1] ^ 1]),),
        )
        with refused(PRECONDITION, "is not the one in the tree"):
            sign(scene)

    @pytest.mark.parametrize("change", ["note", "root"])
    def test_over_a_forged_head_is_not_signed(
        self, scene: Scene, place: BackDoor, signing: Signing, change: str
    ) -> None:
        """Else a head over a log that was changed would be followed by one that holds."""
        add_notes(scene, 5)
        (signed,) = sign(scene)
        add_notes(scene, 5, first=5)
        until_current(place)
        if change == "note":
            forged = signed.note.replace("recorded 2026", "recorded 2025")
            place.run("UPDATE tree_heads SET note = ?", values=(forged,))
        else:
            # With the right root in the row, over a note that says another.
            other = parse_note(signed.note).checkpoint._replace(root=bytes(32))
            place.run("UPDATE tree_heads SET note = ?", values=(signing.note(other),))
        with refused(PRECONDITION, "is broken, and is not signed: .*head 1"):
            sign(scene)
        assert "head 1" in place.fault()

    def test_is_built_anew_when_an_operator_says_so(self, scene: Scene, place: BackDoor) -> None:
        add_notes(scene, 600)
        (signed,) = sign(scene)
        place.run("UPDATE tree_tiles SET hashes = ? WHERE level = 1", values=(bytes(64),))
        with refused(PRECONDITION, "the tree is not the one that head 1 was signed for"):
            prove(scene, **at(3))
        scene.calls.audit.RebuildTree(pb.RebuildTreeRequest())
        wait_for("the tree", lambda: place.size() >= signed.size)
        assert signed == prove(scene, **at(3)).head
        assert [signed] == sign(scene)

    def test_while_it_is_built_anew_nothing_is_signed_or_proved(
        self, place: BackDoor, signing: Signing
    ) -> None:
        with tree_scene(place, **signing.settings) as scene:
            add_notes(scene, 30)
            sign(scene)
        with Scene(place.data_dir, **signing.settings) as scene:  # nobody follows
            scene.calls.audit.RebuildTree(pb.RebuildTreeRequest())
            with refused(PRECONDITION, "is being built anew"):
                scene.calls.audit.SignHeads(pb.SignHeadsRequest())
            with refused(PRECONDITION, "came later"):
                prove(scene, **at(3))
            with refused(PRECONDITION, "is being built anew"):
                consistency(scene, head(1), head(1))


class TestProofsOfEvents:
    def is_proved(self, place: BackDoor, proof: pb.GetEventProofResponse) -> None:
        """By the formulas of the RFC, over a leaf that the test encodes itself."""
        leaves = place.leaves()
        leaf = leaves[proof.leaf_number]
        assert naive.path(proof.leaf_number, leaves[: proof.head.size]) == list(proof.hashes)
        root = root_by_inclusion(leaf, proof.leaf_number, proof.head.size, proof.hashes)
        assert proof.head.root == root
        position, *event = place.events()[proof.leaf_number]
        told = proof.event
        assert [told.stream, told.version, told.topic, told.state] == event
        assert position == proof.position.number

    def test_of_every_event(self, scene: Scene, place: BackDoor) -> None:
        add_notes(scene, 300)
        sign(scene)
        for position in range(1, len(place.events()) + 1, 37):
            self.is_proved(place, prove(scene, **at(position)))

    def test_in_an_older_head(self, scene: Scene, place: BackDoor) -> None:
        for count in (5, 300):
            add_notes(scene, count, first=count)
            sign(scene)
        proof = prove(scene, head=1, **at(3))
        assert 1 == proof.head.number
        self.is_proved(place, proof)
        with refused(PRECONDITION, "head 1 covers 6 events, and the event at position 200"):
            prove(scene, head=1, **at(200))
        with refused(NOT_FOUND, "head 9 is not there: the newest is 2"):
            prove(scene, head=9, **at(3))
        with refused(INVALID, "head -1"):
            prove(scene, head=-1, **at(3))

    def test_named_by_its_place_in_its_stream(self, scene: Scene, place: BackDoor) -> None:
        add_notes(scene, 30)
        sign(scene)
        position, stream, version, *_ = place.events()[17]
        named = pb.StreamVersion(stream=stream, version=version)
        proof = prove(scene, stream_version=named)
        assert position == proof.position.number
        self.is_proved(place, proof)
        with refused(NOT_FOUND, "as version 2"):
            prove(scene, stream_version=pb.StreamVersion(stream=stream, version=2))

    def test_named_by_what_was_published(self, scene: Scene, place: BackDoor) -> None:
        add_notes(scene, 30)
        sign(scene)
        proof = prove(scene, recorded_id=pb.RecordedId(source=SOURCE, id="note 17"))
        self.is_proved(place, proof)
        assert proof.event.stream.startswith("credit-note:team:")
        for source, event_id in ((SOURCE, "note 99"), ("/elsewhere", "note 17")):
            with refused(NOT_FOUND, "no event was recorded from source"):
                prove(scene, recorded_id=pb.RecordedId(source=source, id=event_id))

    def test_that_cannot_be_given(self, scene: Scene) -> None:
        add_notes(scene, 3)
        with refused(PRECONDITION, "no head was signed yet"):
            prove(scene, **at(3))
        sign(scene)
        add_notes(scene, 3, first=3)
        with refused(PRECONDITION, "came later: `usage-ledger heads sign` covers it"):
            prove(scene, **at(6))
        for position in (0, -1, 99, 2**63 - 1, -(2**63)):
            with refused(NOT_FOUND, f"at position {position}"):
                prove(scene, **at(position))
        with refused(INVALID, "shard 7: there are 1"):
            prove(scene, **at(3, shard=7))
        with refused(NOT_FOUND, "in stream"):
            prove(scene, stream_version=pb.StreamVersion(stream="a\0b", version=1))
        with refused(NOT_FOUND, "from source"):
            prove(scene, recorded_id=pb.RecordedId(source="a\0b", id="c\0d"))
        with refused(INVALID, "name the event by one of them"):
            prove(scene)

    def test_of_an_event_that_was_changed_there_is_none(
        self, scene: Scene, place: BackDoor
    ) -> None:
        add_notes(scene, 300)
        sign(scene)
        state = place.events()[16][4]
        place.run(
            "UPDATE stored_events SET state = ? WHERE position = 17",
            values=(state[:-1] + b"\x07",),
        )
        told = "the event at position 17 is not the one in the tree: `usage-ledger verify`"
        with refused(PRECONDITION, told):
            prove(scene, **at(17))
        place.run("UPDATE stored_events SET state = ? WHERE position = 17", values=(b"\x01",))
        with refused(PRECONDITION, "the event at position 17 is damaged"):
            prove(scene, **at(17))
        assert 18 == prove(scene, **at(18)).position.number


class TestProofsOfConsistency:
    @pytest.fixture
    def grown(self, scene: Scene, place: BackDoor) -> list[pb.SignedHead]:
        for number, count in enumerate((5, 250, 90)):
            add_notes(scene, count, first=number * 1_000)
            sign(scene)
        return heads(scene)[::-1]

    def test_between_any_two_heads_and_sizes(
        self, scene: Scene, place: BackDoor, grown: list[pb.SignedHead]
    ) -> None:
        leaves = place.leaves()
        last = len(leaves)
        for first, second in ((head(1), head(3)), (head(2), head(2)), (size(1), size(last)),
                              (size(256), head(3)), (head(2), size(last))):  # fmt: skip
            proof = consistency(scene, first, second)
            one, two = proof.first, proof.second
            assert naive.root(leaves[: one.size]) == one.root
            assert naive.root(leaves[: two.size]) == two.root
            assert naive.consistency(one.size, leaves[: two.size]) == list(proof.hashes)
            assert is_consistent(one.size, one.root, two.size, two.root, proof.hashes)
        assert grown[0] == consistency(scene, head(1), head(3)).first.head
        assert not consistency(scene, size(2), head(3)).first.HasField("head")

    def test_that_cannot_be_given(self, scene: Scene, grown: list[pb.SignedHead]) -> None:
        with refused(INVALID, "name the smaller one first"):
            consistency(scene, head(2), head(1))
        for events in (0, -1, 10_000):
            with refused(INVALID, f"size {events:,}: the tree has"):
                consistency(scene, size(events), head(1))
        with refused(NOT_FOUND, "head 7 is not there"):
            consistency(scene, head(7), head(1))
        with refused(INVALID, "second is missing"):
            consistency(scene, head(1), pb.TreePoint())

    def test_with_a_head_that_was_forged_there_is_none(
        self, scene: Scene, place: BackDoor, grown: list[pb.SignedHead]
    ) -> None:
        place.run("UPDATE tree_heads SET root = ? WHERE number = 2", values=(bytes(32),))
        with refused(PRECONDITION, "the tree is not the one that head 2 was signed for"):
            consistency(scene, head(1), head(2))


def verify(scene: Scene, **more: Any) -> tuple[list[pb.VerifyFinding], list[pb.VerifySummary]]:
    answers = list(scene.calls.audit.Verify(pb.VerifyRequest(**more)))
    assert any(answer.HasField("progress") for answer in answers)
    return (
        [answer.finding for answer in answers if answer.HasField("finding")],
        [answer.summary for answer in answers if answer.HasField("summary")],
    )


class TestVerify:
    def test_finds_nothing_in_a_ledger_as_it_was_recorded(
        self, scene: Scene, place: BackDoor
    ) -> None:
        add_notes(scene, 300)
        (signed,) = sign(scene)
        findings, (summary,) = verify(scene)
        assert [] == findings
        assert (signed.size, 1, 0, 0) == (
            summary.events,
            summary.heads,
            summary.uncovered,
            summary.findings,
        )

    def test_names_what_was_changed(self, scene: Scene, place: BackDoor) -> None:
        add_notes(scene, 300)
        sign(scene)
        place.run("DELETE FROM stored_events WHERE position = 17")
        (finding,), (summary,) = verify(scene)
        assert ("missing", 17, 16) == (finding.kind, finding.position.number, finding.leaf_number)
        assert 1 == summary.findings

    def test_believes_the_keys_that_it_is_given(self, scene: Scene, signing: Signing) -> None:
        add_notes(scene, 3)
        sign(scene)
        text = signing.keys_file.read_bytes()
        assert [] == verify(scene, keys=text)[0]
        write_key_list(signing.keys_file, KeyList(()))
        assert ["unlisted-key"] == [finding.kind for finding in verify(scene)[0]]
        assert [] == verify(scene, keys=text)[0]
        with refused(INVALID, "keys is no list of keys"):
            verify(scene, keys=b"{}")

    def test_compares_heads_that_were_kept(self, scene: Scene, place: BackDoor) -> None:
        add_notes(scene, 30)
        (signed,) = sign(scene)
        assert [] == verify(scene, kept_heads=[signed.note])[0]
        other = signed.note.replace("/0\n", "/1\n", 1)
        with refused(INVALID, "but the trees here are"):
            verify(scene, kept_heads=[other])
        with refused(INVALID, "kept_heads: "):
            verify(scene, kept_heads=["nothing"])

    def test_can_be_left_at_any_time(self, scene: Scene) -> None:
        """Its thread may be reading just then."""
        add_notes(scene, 300)
        for number in range(30):
            call = scene.calls.audit.Verify(pb.VerifyRequest())
            if number % 3:
                next(iter(call))
            time.sleep(0.001 * (number % 7))
            call.cancel()
        add_notes(scene, 1, first=300)
        assert [] == verify(scene)[0]


class TestShards:
    def test_are_signed_though_the_tree_of_another_is_broken(
        self, tmp_path: Path, signing: Signing
    ) -> None:
        settings = signing.settings | {"shards": {"count": 3}}
        with Scene(tmp_path / "ledger", tree=True, **settings) as scene:
            add_notes(scene, 60)
            sign(scene)
            add_notes(scene, 60, first=60)
            for shard in scene.service.ledger.shards:
                wait_for("the tree", partial(has_followed, scene, shard))
            scene.service.wait(
                scene.service.ledger.shards[1].beside(
                    lambda transaction: transaction.tree.put([Tile(0, 0, 1, bytes(32))])
                )
            )
            with refused(PRECONDITION, "the tree of shard 1 is broken"):
                sign(scene)
            assert [2, 1, 2] == [heads(scene, shard=number)[0].number for number in range(3)]

    def test_each_have_a_tree_and_heads_of_their_own(
        self, tmp_path: Path, signing: Signing
    ) -> None:
        settings = signing.settings | {"shards": {"count": 3}}
        with Scene(tmp_path / "ledger", tree=True, **settings) as scene:
            add_notes(scene, 60)
            signed = sign(scene)
            assert [0, 1, 2] == [each.shard for each in signed]
            assert 3 == len({parse_note(each.note).checkpoint.origin for each in signed})
            for number in range(0, 60, 7):
                named = pb.RecordedId(source=SOURCE, id=f"note {number}")
                proof = prove(scene, recorded_id=named)
                leaf = naive_leaf(proof.event)
                root = root_by_inclusion(
                    leaf, proof.leaf_number, proof.head.size, list(proof.hashes)
                )
                assert signed[proof.position.shard].root == root
            findings, summaries = verify(scene)
            assert ([], [0, 1, 2]) == (findings, [each.shard for each in summaries])
            kept = [each.note for each in signed]
            assert [1] == [each.shard for each in verify(scene, shard=1, kept_heads=kept)[1]]
            assert signed == [tree.newest_head for tree in status(scene).trees]


def naive_leaf(event: pb.StoredEvent) -> bytes:
    return leaf_of(event.stream, event.version, event.topic, event.state)
