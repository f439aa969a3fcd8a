"""Shards change one after the other: what was interrupted in between goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.errors import FailedPreconditionError, InvalidArgumentError
from ledger.rebuilding.building import Builder
from ledger.rebuilding.shards import build_all, drop_all, promote_all, roll_back_all
from persistence.sqlite import SQLiteGenerations
from tests.clocks.test_every_moment import publish
from tests.contract.data.scene import at, ran
from tests.laws.adapter import ProductLedger
from tests.oracle import instant
from tests.oracle.operations import PublishPrices


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Builder]]:
    """Two shards that nobody serves meanwhile."""
    opened = []
    for name in ("one", "two"):
        with closing(ProductLedger(tmp_path / name)) as ledger:
            ledger.apply(PublishPrices(at_ns=instant(at("10-20 11:00")), revision=1, rates=()))
            publish(*ran(name, "10-20 12:00", "10-20 13:00"))(ledger, instant(at("10-21 00:00")))
        generations = SQLiteGenerations(tmp_path / name, alone=True)
        generations.claim()
        opened.append(generations)
    yield [Builder(each, author="test") for each in opened]
    for each in opened:
        each.close()


def served(made: list[Builder]) -> list[int]:
    return [builder.served() for builder in made]


def test_a_promotion_that_was_interrupted_goes_on_with_the_rest(made: list[Builder]) -> None:
    build_all(made)
    promote_all(made[:1], [])
    assert [2, 1] == served(made)
    (promoted,) = promote_all(made, []).items()
    assert (1, 2) == (promoted[0], promoted[1].generation)
    assert [2, 2] == served(made)
    with pytest.raises(FailedPreconditionError, match="no generation of version"):
        promote_all(made, [])


def test_a_shard_of_which_nothing_was_built_is_not_left_out(made: list[Builder]) -> None:
    build_all(made[:1])
    with pytest.raises(FailedPreconditionError, match="no generation of version"):
        promote_all(made, [])
    assert [1, 1] == served(made)


def promoted(made: list[Builder], times: int) -> None:
    for _ in range(times):
        build_all(made)
        promote_all(made, [])


def rolled_back(made: list[Builder]) -> list[tuple[int, int]]:
    return list(roll_back_all(made))


class TestRollback:
    def test_that_was_interrupted_goes_on_with_the_rest(self, made: list[Builder]) -> None:
        promoted(made, 2)
        assert (0, 2) == next(roll_back_all(made))
        assert [2, 3] == served(made)
        assert [(1, 2)] == rolled_back(made)
        assert [2, 2] == served(made)
        assert (0, 1) == next(roll_back_all(made))
        assert [(1, 1)] == rolled_back(made)
        assert [1, 1] == served(made)
        with pytest.raises(FailedPreconditionError, match="no generation was served before"):
            rolled_back(made)

    def test_of_a_promotion_that_was_interrupted_is_of_those_that_changed(
        self, made: list[Builder]
    ) -> None:
        promoted(made, 1)
        build_all(made)
        promote_all(made[:1], [])
        assert [3, 2] == served(made)
        assert [(0, 2)] == rolled_back(made)
        assert [2, 2] == served(made)

    def test_of_shards_whose_numbers_are_not_the_same(self, made: list[Builder]) -> None:
        promoted(made[:1], 1)
        promoted(made, 1)
        assert [3, 2] == served(made)
        assert (0, 2) == next(roll_back_all(made))
        assert [(1, 1)] == rolled_back(made)
        assert [2, 1] == served(made)

    def test_changes_nothing_where_one_of_them_cannot(self, made: list[Builder]) -> None:
        promoted(made, 1)
        list(drop_all(made[1:], 1, force=False))
        with pytest.raises(FailedPreconditionError, match="no generation was served before"):
            rolled_back(made)
        assert [2, 2] == served(made)


class TestDrop:
    def test_that_was_interrupted_goes_on_with_the_rest(self, made: list[Builder]) -> None:
        promoted(made, 2)
        assert 0 == next(drop_all(made, 2, force=False))
        assert [0, 1] == list(drop_all(made, 2, force=False))
        assert all(builder.generations.all()[1].dropped_at for builder in made)

    def test_changes_nothing_where_one_of_them_is_served(self, made: list[Builder]) -> None:
        promoted(made, 2)
        assert (0, 2) == next(roll_back_all(made))
        with pytest.raises(FailedPreconditionError, match="generation 3 is served"):
            list(drop_all(made, 3, force=False))
        assert all(builder.generations.all()[2].dropped_at is None for builder in made)

    def test_of_what_only_some_have(self, made: list[Builder]) -> None:
        promoted(made[:1], 1)
        build_all(made[:1])
        assert [0] == list(drop_all(made, 3, force=False))
        with pytest.raises(InvalidArgumentError, match="there is no generation 4"):
            list(drop_all(made, 4, force=False))

    def test_after_a_rollback_is_no_promotion(self, made: list[Builder]) -> None:
        """Of the shard that has dropped it, and was taken back since, nothing is to be promoted."""
        promoted(made, 2)
        rolled_back(made)
        assert 0 == next(drop_all(made, 3, force=False))
        with pytest.raises(FailedPreconditionError, match="no generation of version"):
            promote_all(made, [])
        assert [2, 2] == served(made)
