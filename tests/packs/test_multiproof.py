"""Many leaves proved at once: whatever is shown, the root is that of the naive tree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.audit.packs.multiproof import Climb, gap_subtrees
from tests.proofs import naive

SIZE_MAX = 300


class TestClimb:
    @given(size=st.integers(1, SIZE_MAX), data=st.data())
    def test_leads_to_the_root_whatever_is_shown(self, size: int, data: st.DataObject) -> None:
        leaves = [naive.leaf(b"%d" % number) for number in range(size)]
        shown = sorted(data.draw(st.sets(st.integers(0, size - 1))))
        climb = Climb()
        for leaf in (*shown, size):
            for height, number in gap_subtrees(climb.size, leaf):
                begin = number << height
                climb.add(height, naive.root(leaves[begin : begin + (1 << height)]))
            if leaf < size:
                climb.add(0, leaves[leaf])
        assert size == climb.size
        assert naive.root(leaves) == climb.root()


class TestGaps:
    @given(start=st.integers(0, 10_000), count=st.integers(0, 10_000))
    def test_are_cut_into_neighbours_that_are_subtrees(self, start: int, count: int) -> None:
        at = start
        for height, number in gap_subtrees(start, start + count):
            assert at == number << height
            at += 1 << height
        assert start + count == at

    @given(start=st.integers(0, 1 << 40), count=st.integers(0, 1 << 40))
    def test_are_few_subtrees_however_large(self, start: int, count: int) -> None:
        assert 2 * 41 >= len(gap_subtrees(start, start + count))
