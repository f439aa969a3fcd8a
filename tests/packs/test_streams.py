"""Every event lies where the verifier expects events of its topic, or honest packs are refused."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from ledger.commands.ledger import CLOCK_STREAM, PRICES_STREAM, RECONCILED_STREAM
from ledger.commands.settlements import invoice_stream
from persistence import StreamEvent
from tests.laws.adapter import ProductLedger
from tests.packs.scene import Packed
from tests.simulation.simulator import Simulation
from tests.stored import ledgers

SEEDS = 8
EVERYTHING = 1_000_000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def misplaced(verifier: ModuleType, log: Iterable[StreamEvent]) -> list[tuple[str, int, str]]:
    """Events that the verifier would refuse for where they lie."""
    return [
        (each.stream, each.version, each.topic)
        for each in log
        if not verifier._belongs(
            each.stream, each.version, each.topic, verifier.decoded(each.topic, each.state)
        )
    ]


def lain(log: Iterable[StreamEvent]) -> set[tuple[str, str]]:
    """Each topic with the kind of stream that it lies in."""
    return {(each.topic, each.stream.partition(":")[0]) for each in log}


class TestWhereEventsLie:
    def test_in_the_ledger_of_these_tests(self, packed: Packed, verifier: ModuleType) -> None:
        log = packed.ledger.reader.log(after=0, limit=EVERYTHING)
        assert [] == misplaced(verifier, log)
        # What follows is of little worth if nothing of it was there to be looked at.
        streams = lain(log)
        for topic, beginnings in verifier._LIES_IN.items():
            seen = {beginning for told, beginning in streams if told == topic}
            assert {beginning.removesuffix(":") for beginning in beginnings} == seen, topic

    @pytest.mark.parametrize("schema", ledgers.recorded())
    def test_in_ledgers_of_older_versions(
        self, verifier: ModuleType, tmp_path: Path, schema: int
    ) -> None:
        ledgers.unpack(schema, tmp_path)
        with closing(ProductLedger(tmp_path)) as ledger:
            assert [] == misplaced(verifier, ledger.reader.log(after=0, limit=EVERYTHING))

    def test_in_simulated_lives(self, verifier: ModuleType, tmp_path: Path) -> None:
        topics: set[str] = set()
        for seed in range(SEEDS):
            Simulation(seed, tmp_path / f"{seed}").run()
            with closing(ProductLedger(tmp_path / f"{seed}")) as ledger:
                log = ledger.reader.log(after=0, limit=EVERYTHING)
            assert [] == misplaced(verifier, log), seed
            topics |= {each.topic for each in log}
        assert {"credit-note-voided", "instance-voided", "billing-cycle-closed"} <= topics

    def test_by_the_names_that_the_ledger_gives(self, verifier: ModuleType) -> None:
        """Stripe's invoices and the clock's events are in none of these ledgers."""
        for topic in ("invoice-settled", "invoice-corrected"):
            assert verifier._belongs(invoice_stream("in_1"), 1, topic, {})
        streams = {
            "clock-confirmed": CLOCK_STREAM,
            "price-list-published": PRICES_STREAM,
            "usage-reconciled": RECONCILED_STREAM,
        }
        assert streams == verifier._FACT_STREAMS
