"""Projections that are paused, of whose rows no sum is made: sums are kept all the same."""

from __future__ import annotations

from contextlib import closing

from ledger.audit.sealing import Sealing
from tests.clocks.dense import Dense
from tests.clocks.sealed import seal
from tests.laws.adapter import ProductLedger


def paused_ledger(name: str) -> tuple[ProductLedger, Dense]:
    """A ledger one projection of which does not get over its next event."""

    def before_fold(projection: str) -> None:
        if broken and projection == name:
            raise RuntimeError("a mistake of ours")

    broken = False
    ledger = ProductLedger(before_fold=before_fold)
    dense = Dense(ledger)
    dense.take([(0, number, 1, 1, 1) for number in range(5)])
    broken = True
    dense.take([(2, number, 0, 1, 1) for number in range(5)])
    assert name in ledger.core.paused
    return ledger, dense


def test_the_follower_goes_on_to_the_end_of_the_log() -> None:
    ledger, _ = paused_ledger("billing")
    with closing(ledger):
        assert ledger.reader.clocks.head() == seal(ledger, Sealing(block_events=2))
        assert ledger.select("SELECT 1 FROM sealed_blocks")


def test_it_waits_for_those_that_it_reads() -> None:
    ledger, dense = paused_ledger("invoice-drafts")
    with closing(ledger):
        stands = seal(ledger, Sealing(block_events=2))
        assert 0 < stands < ledger.reader.clocks.head()
        dense.take([(2, number, 3, 1, 1) for number in range(5)])
        assert stands == seal(ledger, Sealing(block_events=2))
