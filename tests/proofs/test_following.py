"""The tree follows the log whatever happens to its follower, and what breaks it stops nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ledger.audit.following import TreeTail
from ledger.audit.looking import look
from ledger.audit.tiles import Subtrees
from persistence import Head, PositionMovedError, Reader, StoreUnavailableError
from tests.contract.data.scene import Scene
from tests.proofs.scene import BackDoor, add_notes, tree_scene, until_current, wait_for


def root_in(scene: Scene, size: int) -> bytes:
    """The root as the product reads it."""
    reader = scene.service.ledger.shards[0].new_queries().reader
    try:
        return Subtrees(reader.tree.tiles).root(size)
    finally:
        reader.close()


def head_of(size: int, root: bytes) -> Head:
    return Head(1, size, root, 0, 0, "a key", "somebody", "a note")


def steps_of(scene: Scene, tail: TreeTail, count: int = 1) -> int:
    """Take steps on the service's own loop; give how many leaves came."""

    async def take() -> int:
        return sum([await tail.step() for _ in range(count)])

    return int(scene.service.wait(take()))


class TestTheTree:
    def test_is_that_of_the_log(self, place: BackDoor) -> None:
        with tree_scene(place) as scene:
            for first in (0, 300, 301, 320, 700):
                add_notes(scene, 5 if first == 700 else 1, first=first)
            add_notes(scene, 700, first=1_000)
            size = until_current(place)
            assert size > 700
            for each in (1, 2, 255, 256, 257, 511, 512, size - 1, size):
                assert place.root(each) == root_in(scene, each)

    def test_goes_on_after_a_restart(self, place: BackDoor) -> None:
        for first in (0, 300, 600):
            with tree_scene(place) as scene:
                add_notes(scene, 300, first=first)
                until_current(place)
        assert 0 < place.size() == len(place.events())
        with tree_scene(place) as scene:
            assert place.root(place.size()) == root_in(scene, place.size())

    def test_begins_with_what_was_recorded_before_there_was_one(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            add_notes(scene, 600)
            assert 0 == place.size()
        with tree_scene(place) as scene:
            size = until_current(place)
            assert place.root(size) == root_in(scene, size)

    def test_takes_a_log_in_small_steps(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            add_notes(scene, 600)
            tail = TreeTail(scene.service.ledger.shards[0], batch_max=71)
            while steps_of(scene, tail):
                pass
            size = place.size()
            assert len(place.events()) == size
            assert place.root(size) == root_in(scene, size)
            tail._close()

    def test_has_a_name_of_its_own_in_every_shard(self, tmp_path: Path) -> None:
        names = []
        for _ in range(2):  # and keeps it
            with Scene(tmp_path, shards={"count": 3}) as scene:
                readers = [shard.queries.reader for shard in scene.service.ledger.shards]
                names.append([reader.tree.state().origin for reader in readers])
        first, *others = names[0]
        ledger = first.removesuffix("/0")
        assert [f"{ledger}/1", f"{ledger}/2"] == others
        assert names[0] == names[1]
        assert len("usage-ledger/") + 36 == len(ledger)


class TestAFollower:
    def test_that_another_has_overtaken_adds_nothing_twice(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            add_notes(scene, 200)
            shard = scene.service.ledger.shards[0]
            one, other = TreeTail(shard, batch_max=50), TreeTail(shard, batch_max=80)
            steps_of(scene, one)
            steps_of(scene, other)  # goes on behind the first
            with pytest.raises(PositionMovedError):
                steps_of(scene, one)
            assert 130 == place.size()
            one._is_positioned = False  # as after any trouble
            steps_of(scene, one, 3)
            assert place.root(place.size()) == root_in(scene, place.size())
            for tail in (one, other):
                tail._close()

    def test_whose_transaction_failed_takes_the_batch_again(self, place: BackDoor) -> None:
        failures = 3

        def fail(name: str) -> None:
            nonlocal failures
            if name == "tree-grown" and failures:
                failures -= 1
                raise StoreUnavailableError("a test")

        scene = tree_scene(place)
        scene.service._failpoint = fail
        with scene:
            add_notes(scene, 400)
            size = until_current(place)
            assert place.root(size) == root_in(scene, size)
        assert 0 == failures

    def test_that_is_cancelled_while_it_reads_closes_its_connection(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            add_notes(scene, 3_000)
            tail = TreeTail(scene.service.ledger.shards[0])

            async def cancel() -> None:
                task = asyncio.create_task(tail.run())
                await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            scene.service.wait(cancel())
            assert tail._queries is None


class TestABrokenTree:
    """Intake and reads go on, the tree says what is wrong, and goes on once it is mended."""

    def goes_on(self, scene: Scene, *, first: int) -> None:
        before = scene.cents(scene_payer())
        add_notes(scene, 20, first=first)
        assert before - 100 == scene.cents(scene_payer())
        assert [] == scene.calls.breaches()

    def test_that_lacks_its_edge(self, place: BackDoor) -> None:
        with tree_scene(place) as scene:
            add_notes(scene, 300)
            until_current(place)
        tiles = place.rows("SELECT level, number, first_position, hashes FROM tree_tiles")
        place.run("DELETE FROM tree_tiles WHERE level = 0 AND number = 1")
        with tree_scene(place) as scene:
            wait_for("the fault", lambda: "tile 0/1" in place.fault())
            (tail,) = scene.service.tree_tails
            assert "the tree to be mended: tile 0/1" in tail.waiting
            assert not tail.stands_by
            self.goes_on(scene, first=300)
            lost = next(row for row in tiles if row[:2] == (0, 1))
            place.run("INSERT INTO tree_tiles VALUES (?, ?, ?, ?)", values=lost)
            size = until_current(place)
            assert ("", "") == (place.fault(), tail.waiting)
            assert place.root(size) == root_in(scene, size)

    def test_whose_table_is_gone(self, place: BackDoor) -> None:
        """A transaction of the tree's that fails takes no command along."""
        with tree_scene(place) as scene:
            add_notes(scene, 300)
            until_current(place)
            place.run("ALTER TABLE tree_tiles RENAME TO elsewhere")
            (tail,) = scene.service.tree_tails
            for number in range(10):
                self.goes_on(scene, first=300 + 20 * number)
            wait_for("the trouble", lambda: "tree_tiles" in tail.waiting)
            assert "" == scene.service.ledger.shards[0].writer.refused
            place.run("ALTER TABLE elsewhere RENAME TO tree_tiles")
            size = until_current(place)
            assert place.root(size) == root_in(scene, size)

    def test_that_is_not_the_one_a_head_was_signed_for(self, place: BackDoor) -> None:
        with tree_scene(place) as scene:
            add_notes(scene, 300)
            size = until_current(place)
            with scene.service.ledger.shards[0].store.beside() as transaction:
                transaction.tree.add_head(head_of(size - 1, place.root(size - 1)))
        with tree_scene(place) as scene:
            add_notes(scene, 1, first=900)
            until_current(place)
            assert "" == place.fault()
        place.run("UPDATE tree_heads SET root = ?", values=(bytes(32),))
        with tree_scene(place) as scene:
            wait_for("the fault", lambda: "not the one that head 1" in place.fault())
            self.goes_on(scene, first=400)
            assert size + 1 == place.size()

    def test_whose_log_was_cut_below_a_head(self, place: BackDoor) -> None:
        with tree_scene(place) as scene:
            add_notes(scene, 30)
            size = until_current(place)
            with scene.service.ledger.shards[0].store.beside() as transaction:
                transaction.tree.add_head(head_of(size + 5, bytes(32)))
        with tree_scene(place) as scene:
            wait_for("the fault", lambda: "head 1 covers" in place.fault())
            self.goes_on(scene, first=400)

    def test_whose_next_event_is_damaged(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            add_notes(scene, 30)
            shard = scene.service.ledger.shards[0]
            tail = TreeTail(shard)
            position, state = place.events()[17][0], place.events()[17][4]
            damage = "UPDATE stored_events SET state = ? WHERE position = ?"
            place.run(damage, values=(b"\x01", position))

            async def go_on() -> float:
                return await tail._go_on()

            assert scene.service.wait(go_on()) > 1
            assert f"the event at position {position}, credit-note:" in place.fault()
            assert place.fault().endswith("is damaged")
            place.run(damage, values=(state, position))
            tail._is_positioned = False
            steps_of(scene, tail)
            assert ("", len(place.events())) == (place.fault(), place.size())
            tail._close()

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ("DELETE FROM tails WHERE name = 'tree'", "follows the log at position 0"),
            ("UPDATE tails SET position = 20 WHERE name = 'tree'", "position 20 is not the one"),
            ("UPDATE tails SET position = 99 WHERE name = 'tree'", "position 99 is not the one"),
        ],
    )
    def test_whose_size_and_position_contradict_each_other(
        self, place: BackDoor, change: str, fault: str
    ) -> None:
        """Else events would become leaves twice, or never."""
        with tree_scene(place) as scene:
            add_notes(scene, 30)
            size = until_current(place)
        place.run(change)
        with tree_scene(place) as scene:
            wait_for("the fault", lambda: fault in place.fault())
            self.goes_on(scene, first=400)
            assert size == place.size()


def scene_payer() -> str:
    from tests.oracle.events import payer_of  # noqa: PLC0415

    return payer_of("payer 0")


def test_looking_reads_one_event(place: BackDoor) -> None:
    """Else a start would read the whole log."""
    with tree_scene(place) as scene:
        add_notes(scene, 300)
        size = until_current(place)
        reader: Reader = scene.service.ledger.shards[0].new_queries().reader
        asked: list[str] = []
        ask = reader._all  # type: ignore[attr-defined]

        def noted(statement: str, values: object = ()) -> object:
            asked.append(statement)
            return ask(statement, values)

        reader._all = noted  # type: ignore[attr-defined]
        assert size == look(reader).state.size
        reads = [each for each in asked if "stored_events" in each]
        assert (1, True) == (len(reads), "LIMIT ?" in reads[0])
        reader.close()
