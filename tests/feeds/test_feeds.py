"""A partition feeds the ledger: each message once, whatever its consumer goes through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.arrivals import RejectedError
from ledger.cloudevents import parse_line
from ledger.feeds import Feed, Message, SourceMovedError
from ledger.intake import Line
from persistence import Counts, SourceKey, StoreUnavailableError
from tests.contract.data.scene import Scene, bytes_of, note
from tests.oracle.events import payer_of

PARTITION = SourceKey("cluster", "topic-id", 3)
DELIVERY = "kafka:cluster:usage.events:topic-id:3"
PAYERS = [payer_of(f"payer {number}") for number in range(6)]


def line(original: bytes, offset: int) -> Line:
    try:
        return Line(offset, original, parse_line(original))
    except RejectedError as error:
        return Line(offset, original, None, str(error))


def messages(lines: Sequence[Any], *, first: int = 0) -> list[Message]:
    return [
        Message(offset, [line(original, offset)])
        for offset, original in enumerate(bytes_of(lines), start=first)
    ]


def notes(count: int, *, first: int = 0) -> list[Any]:
    return [
        note(1, event_id=f"note {number}", payer=PAYERS[number % len(PAYERS)])
        for number in range(first, first + count)
    ]


def open_feed(scene: Scene) -> Feed:
    return scene.service.ledger.feed(PARTITION, "usage.events")


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path / "ledger", shards={"count": request.param}) as opened:
        yield opened


class TestABatch:
    def test_is_taken_in_and_moves_the_position(self, scene: Scene) -> None:
        feed = open_feed(scene)
        assert None is feed.position()
        receipt = feed.take(messages(notes(12), first=100), 112)
        assert Counts(12, 12, 0, 0) == receipt.counts
        assert 112 == feed.position() == open_feed(scene).position()
        assert (12, 12, 0, 0) == scene.counts(DELIVERY)
        assert [-200] * 6 == [scene.cents(payer) for payer in PAYERS]

    def test_that_comes_again_is_not_counted_again(self, scene: Scene) -> None:
        feed = open_feed(scene)
        batch = messages(notes(12))
        feed.take(batch, 12)
        again = feed.take(batch, 12)
        assert (Counts(), 12) == (again.counts, feed.position())
        assert (12, 12, 0, 0) == scene.counts(DELIVERY)

    def test_may_overlap_what_was_taken(self, scene: Scene) -> None:
        open_feed(scene).take(messages(notes(8)), 8)
        feed = open_feed(scene)
        assert Counts(4, 4, 0, 0) == feed.take(messages(notes(12)), 12).counts
        assert (12, 12, 0, 0) == scene.counts(DELIVERY)

    def test_may_have_no_messages(self, scene: Scene) -> None:
        feed = open_feed(scene)
        feed.take(messages(notes(2)), 2)
        feed.take([], 7)  # offsets of transactions or of what was compacted away
        assert 7 == feed.position()

    def test_keeps_what_cannot_be_read_once(self, scene: Scene) -> None:
        feed = open_feed(scene)
        receipt = feed.take(messages([*notes(3), b"{", b"\xff", *notes(3)]), 8)
        assert Counts(8, 3, 3, 2) == receipt.counts
        assert [3, 4] == [reject.line for reject in receipt.rejects]
        assert 2 == len(scene.dead_letters())
        assert [] == scene.calls.breaches()


class TestAConsumerThatWasThoughtDead:
    def test_cannot_add_to_what_another_took(self, scene: Scene) -> None:
        zombie, heir = open_feed(scene), open_feed(scene)
        zombie.take(messages(notes(4)), 4)
        heir.position()
        heir.take(messages(notes(8, first=4), first=4), 12)
        with pytest.raises(SourceMovedError):
            zombie.take(messages(notes(12, first=4), first=4), 16)
        assert (12, 12, 0, 0) == scene.counts(DELIVERY)

    def test_goes_on_from_where_the_other_stands(self, scene: Scene) -> None:
        zombie, heir = open_feed(scene), open_feed(scene)
        zombie.take(messages(notes(4)), 4)
        heir.position()
        heir.take(messages(notes(8, first=4), first=4), 12)
        with pytest.raises(SourceMovedError):
            zombie.take(messages(notes(12, first=4), first=4), 16)
        assert 12 == zombie.position()
        zombie.take(messages(notes(4, first=12), first=12), 16)
        with pytest.raises(SourceMovedError):
            heir.take(messages(notes(4, first=12), first=12), 16)
        assert (16, 16, 0, 0) == scene.counts(DELIVERY)
        assert [] == scene.calls.breaches()


class TestAPartThatFailed:
    def test_is_made_up_for_by_the_same_batch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One shard could not store its part; the others have stored theirs."""
        with Scene(tmp_path / "ledger", shards={"count": 3}) as scene:
            feed = open_feed(scene)
            feed.position()
            broken = scene.service.ledger.shards[1]
            fails = True

            def break_it(name: str) -> None:
                if fails and name == "after-intake-position":
                    raise StoreUnavailableError("the disk is full")

            monkeypatch.setattr(broken.core, "failpoint", break_it)
            batch = messages(notes(30))
            with pytest.raises(Exception, match="nothing can be stored"):
                feed.take(batch, 30)
            _, recorded, _, _ = scene.counts(DELIVERY)
            assert 0 < recorded < 30
            fails = False
            receipt = feed.take(batch, 30)
            assert 30 == recorded + receipt.counts.recorded
            assert (30, 30, 0, 0) == scene.counts(DELIVERY)
            assert 30 == feed.position()

    def test_is_not_lost_when_another_consumer_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first batch of all failed in one shard: that shard must not begin behind it."""
        with Scene(tmp_path / "ledger", shards={"count": 3}) as scene:
            broken = scene.service.ledger.shards[2]

            def break_it(name: str) -> None:
                if name == "before-intake-position":
                    raise StoreUnavailableError("the disk is full")

            with monkeypatch.context() as patch:
                patch.setattr(broken.core, "failpoint", break_it)
                with pytest.raises(Exception, match="nothing can be stored"):
                    open_feed(scene).take(messages(notes(30)), 30)
            heir = open_feed(scene)
            assert 0 == heir.position()
            heir.take(messages(notes(30)), 30)
            assert (30, 30, 0, 0) == scene.counts(DELIVERY)


class TestAShardThatIsOpenedLater:
    def test_begins_where_the_others_stand(self, tmp_path: Path) -> None:
        with Scene(tmp_path / "ledger") as scene:
            open_feed(scene).take(messages(notes(12)), 12)
        with Scene(tmp_path / "ledger", shards={"count": 2, "open": [1]}) as scene:
            feed = open_feed(scene)
            assert 12 == feed.position()
            fresh = payer_of("fresh")
            feed.take(messages([note(1, event_id="fresh", payer=fresh)], first=12), 13)
            assert (13, 13, 0, 0) == scene.counts(DELIVERY)
            assert -100 == scene.cents(fresh)
            assert [1, 1] == [len(rows) for rows in _intake_rows(scene)]


def _intake_rows(scene: Scene) -> list[Any]:
    return [shard.queries.reader.intake_positions() for shard in scene.service.ledger.shards]


class TestAnyHistoryOfConsumers:
    @given(st.data())
    def test_counts_every_message_once(self, data: st.DataObject) -> None:
        """Consumers come and go, each with a batch of its own idea, some die in the middle."""
        total = 40
        stream = messages(notes(total))
        with Scene(None, shards={"count": data.draw(st.integers(1, 3))}) as scene:
            feeds = [open_feed(scene) for _ in range(3)]
            positions: list[int | None] = [None] * 3
            for _ in range(data.draw(st.integers(3, 12))):
                who = data.draw(st.integers(0, 2))
                if positions[who] is None or data.draw(st.booleans()):
                    positions[who] = feeds[who].position() or 0
                start = positions[who] or 0
                end = min(start + data.draw(st.integers(0, 15)), total)
                try:
                    feeds[who].take(stream[start:end], end)
                    positions[who] = end
                except SourceMovedError:
                    positions[who] = None
                received, recorded, repeated, rejected = scene.counts()
                assert received == recorded + repeated + rejected
                assert received <= total
            last = open_feed(scene)
            last.take(stream[last.position() or 0 :], total)
            assert (total, total, 0, 0) == scene.counts(DELIVERY)
            assert [] == scene.calls.breaches()
