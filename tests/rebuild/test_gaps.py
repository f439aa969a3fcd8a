"""Positions may be missing in a log: so many rows reach further than so many positions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.rebuilding.building import Builder
from ledger.rebuilding.replaying import Replay, Wanted
from persistence.sqlite import ReplayFile, SQLiteGenerations
from tests.clocks.test_every_moment import publish
from tests.contract.data.scene import at, ran
from tests.laws.adapter import ProductLedger
from tests.oracle import instant
from tests.oracle.operations import PublishPrices

LAST = 20  # of thirty events
MISSING = (12, 13, 14)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[ProductLedger]:
    """Instances 4 and 5 have lost events that nothing else needs."""
    with closing(ProductLedger(tmp_path)) as opened:
        opened.apply(PublishPrices(at_ns=instant(at("10-20 11:00")), revision=1, rates=()))
        lines = [line for n in range(10) for line in ran(f"i{n}", "10-20 12:00", "10-20 13:00")]
        publish(*lines)(opened, instant(at("10-21 00:00")))
        for position in MISSING:
            opened.store.connection.execute(
                "DELETE FROM stored_events WHERE position = ?", (position,)
            )
        yield opened


def test_a_replay_goes_up_to_its_end(ledger: ProductLedger, tmp_path: Path) -> None:
    with closing(ReplayFile(tmp_path / "replayed")) as file:
        replay = Replay(ledger.reader, file, Wanted())
        replay.run(LAST)
        assert LAST == replay.position


def test_a_replay_may_end_where_nothing_lies(ledger: ProductLedger, tmp_path: Path) -> None:
    with closing(ReplayFile(tmp_path / "replayed")) as file:
        replay = Replay(ledger.reader, file, Wanted())
        replay.run(MISSING[-1])
        assert MISSING[0] - 1 == replay.position


@pytest.mark.usefixtures("ledger")
def test_a_new_generation_is_folded_no_further_than_it_is_told(tmp_path: Path) -> None:
    with closing(SQLiteGenerations(tmp_path)) as generations:
        generations.claim()
        builder = Builder(generations, author="test")
        number = builder.begun()
        with generations.folding(number) as transaction:
            assert LAST == builder.fold_rest(transaction, LAST)
        with closing(generations.reader()) as reader:
            assert LAST == reader.stands_at(number)
