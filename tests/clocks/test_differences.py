"""What lies between two answers: all of it, once, with its cause."""

from __future__ import annotations

from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from ledger.audit.clocks import At, look
from ledger.audit.differences import Difference, Differences, Place, Side
from ledger.audit.sealing import Sealing
from tests.clocks.comparing import log_of
from tests.clocks.plain import Log
from tests.clocks.sealed import seal
from tests.clocks.test_any_moment import moments
from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger
from tests.laws.histories import examples
from tests.laws.test_histories import disturbed
from tests.oracle.operations import Operation

Sides = dict[tuple[str, int], Side]


def all_of(first: At, second: At, *, limit: int) -> list[Difference]:
    found: list[Difference] = []
    place: Place | None = None
    while True:
        page = Differences(first.standing, second.standing).page(place, limit)
        assert len(page.differences) <= limit
        found += page.differences
        place = page.place
        if place is None:
            return found


def plain_sides(log: Log, as_of: int | None) -> Sides:
    sides: Sides = {
        ("workspace_instance", item.life): Side(item.dated, item.cents, item.running)
        for item in log.items(as_of)
    }
    for other in log.others_by(as_of):
        sides[other.kind, other.position] = Side(other.dated, other.cents, running=False)
    return sides


class TestBetweenAnyTwoMoments:
    @examples(60)
    @given(disturbed(), st.data())
    def test_every_entry_that_differs_is_told_once(
        self, operations: list[Operation], data: st.DataObject
    ) -> None:
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            if data.draw(st.booleans()):
                seal(ledger, Sealing(batch_max=50, block_events=data.draw(st.integers(1, 6))))
            events = log_of(ledger.reader)
            for payer in ledger.payers()[:2]:
                key = payer_bytes(payer)
                for _ in range(3):
                    (one, cut), (two, other_cut) = (
                        data.draw(moments(events)),
                        data.draw(moments(events)),
                    )
                    logs = Log(key, cut), Log(key, other_cut)
                    before = plain_sides(logs[0], one.as_of)
                    after = plain_sides(logs[1], two.as_of)
                    with ledger.reader.snapshot():
                        first, second = (look(ledger.queries, key, m) for m in (one, two))
                        told = all_of(first, second, limit=data.draw(st.integers(1, 5)))
                    expected = sorted(
                        (
                            (life[0], before.get(life), after.get(life))
                            for life in before.keys() | after.keys()
                            if before.get(life) != after.get(life)
                        ),
                        key=repr,
                    )
                    assert expected == sorted(
                        ((each.kind, each.first, each.second) for each in told), key=repr
                    )
                    difference = sum(
                        (each.second.cents if each.second else 0)
                        - (each.first.cents if each.first else 0)
                        for each in told
                    )
                    assert second.balance() - first.balance() == difference
