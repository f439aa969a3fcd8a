"""Two sorted sets of rows: what differs is found, by its key, wherever it stands."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ledger.rebuilding import comparing
from ledger.rebuilding.comparing import Comparison, difference_of, differing_rows

Row = tuple[object, ...]
keys = st.tuples(st.integers(0, 9), st.binary(max_size=2))
rows = st.dictionaries(keys, st.tuples(st.integers(0, 2), st.one_of(st.none(), st.text())))


def as_rows(table: dict[tuple[int, bytes], tuple[object, ...]]) -> list[Row]:
    return [(*key, *rest) for key, rest in sorted(table.items())]


def found(
    live: list[Row], anew: list[Row], chunk: int
) -> tuple[list[tuple[Row | None, Row | None]], int]:
    counted: list[int] = []
    before = comparing.CHUNK
    comparing.CHUNK = chunk
    try:
        pairs = list(differing_rows(iter(live), iter(anew), 2, counted.append))
    finally:
        comparing.CHUNK = before
    return pairs, sum(counted)


class TestDifferingRows:
    @given(live=rows, anew=rows, chunk=st.integers(1, 5))
    def test_are_those_of_a_plain_comparison(
        self,
        live: dict[tuple[int, bytes], tuple[object, ...]],
        anew: dict[tuple[int, bytes], tuple[object, ...]],
        chunk: int,
    ) -> None:
        pairs, _ = found(as_rows(live), as_rows(anew), chunk)

        def row(
            table: dict[tuple[int, bytes], tuple[object, ...]], key: tuple[int, bytes]
        ) -> Row | None:
            return (*key, *table[key]) if key in table else None

        expected = [
            (row(live, key), row(anew, key))
            for key in sorted(live.keys() | anew.keys())
            if live.get(key) != anew.get(key)
        ]
        assert Counter(expected) == Counter(pairs)

    @given(table=rows, chunk=st.integers(1, 5))
    def test_are_none_where_all_are_the_same(
        self, table: dict[tuple[int, bytes], tuple[object, ...]], chunk: int
    ) -> None:
        assert ([], len(table)) == found(as_rows(table), as_rows(table), chunk)


class TestAComparison:
    columns = ("payer", "booked_cents", "entries")
    payer = bytes(16)

    def test_names_the_columns_that_differ(self) -> None:
        difference = difference_of(
            "balances", self.columns, 1, (self.payer, 5, 1), (self.payer, 7, 1)
        )
        assert ("balances.booked_cents",) == difference.kinds
        assert "booked_cents live 5, new 7" in difference.text
        assert "team:00000000-0000-0000-0000-000000000000" in difference.text

    def test_names_rows_that_one_side_lacks(self) -> None:
        missing = difference_of("balances", self.columns, 1, (self.payer, 5, 1), None)
        added = difference_of("balances", self.columns, 1, None, (self.payer, 5, 1))
        assert (("balances:missing",), ("balances:added",)) == (missing.kinds, added.kinds)

    def test_refuses_what_nobody_meant(self) -> None:
        comparison = Comparison()
        for anew in ((self.payer, 7, 1), (self.payer, 5, 2), (self.payer, 8, 3)):
            live = (self.payer, 5, 1)
            comparison.add(difference_of("balances", self.columns, 1, live, anew))
        assert {"balances.booked_cents": 2, "balances.entries": 2} == comparison.kinds
        assert ["balances.entries"] == comparison.refused(["balances.booked_cents"])
        assert [] == comparison.refused(["balances.entries", "balances.booked_cents"])
