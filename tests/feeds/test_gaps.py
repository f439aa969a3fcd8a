"""A partition whose next messages are gone goes on when an operator says so, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ledger.feeds import Feed, Message, SourceMovedError
from ledger.intake import Line
from persistence import Counts, SourceKey
from tests.cli.running import usage_ledger
from tests.contract.data.scene import Scene
from usage_ledger.v1 import admin_pb2

PARTITION = SourceKey("cluster", "topic-id", 3)
NAME = "cluster:usage.events:topic-id:3"
DELIVERY = f"kafka:{NAME}"


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path / "ledger", shards={"count": request.param}) as opened:
        yield opened


def open_feed(scene: Scene) -> Feed:
    return scene.service.ledger.feed(PARTITION, "usage.events")


def rejects(first: int, count: int) -> list[Message]:
    """Messages that nobody can read: what they say does not matter here."""
    return [
        Message(offset, [Line(offset, b"%d" % offset, None, "no event")])
        for offset in range(first, first + count)
    ]


def accept(scene: Scene, *, lost_from: int, go_on_at: int, source: str = NAME) -> None:
    scene.calls.admin.AcceptGap(
        admin_pb2.AcceptGapRequest(source=source, lost_from=lost_from, go_on_at=go_on_at)
    )


def refused(scene: Scene, *, lost_from: int, go_on_at: int, source: str = NAME) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        accept(scene, lost_from=lost_from, go_on_at=go_on_at, source=source)
    return caught.value.code().name, str(caught.value.details())


class TestAGap:
    """`AcceptGap`."""

    @pytest.mark.parametrize("source", [NAME, DELIVERY])
    def test_is_passed_without_an_event(self, scene: Scene, source: str) -> None:
        feed = open_feed(scene)
        feed.take(rejects(0, 4), 4)
        head = [position.number for position in scene.status().heads]
        accept(scene, lost_from=4, go_on_at=9, source=source)
        assert 9 == open_feed(scene).position()
        assert head == [position.number for position in scene.status().heads]
        assert (4, 0, 0, 4) == scene.counts(DELIVERY)
        again = open_feed(scene)
        again.position()
        assert Counts(2, 0, 0, 2) == again.take(rejects(9, 2), 11).counts
        assert [] == scene.calls.breaches()

    def test_may_lead_back_to_where_the_log_ends(self, scene: Scene) -> None:
        open_feed(scene).take(rejects(0, 9), 9)
        accept(scene, lost_from=9, go_on_at=5)
        feed = open_feed(scene)
        assert 5 == feed.position()
        assert 2 == feed.take(rejects(20, 2), 7).counts.received

    def test_stops_who_had_read_across_it(self, scene: Scene) -> None:
        zombie = open_feed(scene)
        zombie.take(rejects(0, 4), 4)
        accept(scene, lost_from=4, go_on_at=9)
        with pytest.raises(SourceMovedError):
            zombie.take(rejects(4, 20), 24)
        assert 9 == open_feed(scene).position()

    def test_of_another_place_is_refused(self, scene: Scene) -> None:
        open_feed(scene).take(rejects(0, 4), 4)
        code, sentence = refused(scene, lost_from=3, go_on_at=9)
        assert ("FAILED_PRECONDITION", True) == (
            code,
            sentence.startswith(f"{DELIVERY} goes on at offset 4, not 3: "),
        )
        accept(scene, lost_from=4, go_on_at=9)
        assert "FAILED_PRECONDITION" == refused(scene, lost_from=4, go_on_at=9)[0]

    def test_of_a_partition_that_was_never_read_is_not_found(self, scene: Scene) -> None:
        assert ("NOT_FOUND", f"nothing was taken from {DELIVERY}") == refused(
            scene, lost_from=4, go_on_at=9
        )

    @pytest.mark.parametrize(
        ("source", "lost_from", "go_on_at", "sentence"),
        [
            ("a:b:c", 1, 2, "source 'a:b:c': must be CLUSTER:TOPIC:TOPIC-ID:PARTITION"),
            ("a:b:c:x", 1, 2, "source 'a:b:c:x': must be CLUSTER:TOPIC:TOPIC-ID:PARTITION"),
            ("a::c:1", 1, 2, "source 'a::c:1': must be CLUSTER:TOPIC:TOPIC-ID:PARTITION"),
            (NAME, -1, 2, "lost_from and go_on_at must not be negative"),
            (NAME, 2, 2, "lost_from and go_on_at are the same: there is no gap"),
        ],
    )
    def test_says_what_to_change(
        self, scene: Scene, source: str, lost_from: int, go_on_at: int, sentence: str
    ) -> None:
        assert ("INVALID_ARGUMENT", sentence) == refused(
            scene, lost_from=lost_from, go_on_at=go_on_at, source=source
        )

    def test_is_accepted_by_the_command_that_the_intake_names(self, scene: Scene) -> None:
        open_feed(scene).take(rejects(0, 4), 4)
        told = usage_ledger(
            "accept-gap", NAME, "--from", "4", "--to", "9", "--target", scene.service.target
        )
        assert f"{NAME} goes on at offset 9" in told
        assert 9 == open_feed(scene).position()
