"""The laws of billing hold in many lives; planted bugs are found, which proves that they look."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.billing.simulation.mutants import MUTANTS
from tests.billing.simulation.plans import EVERYTHING, REPORTER, Plan
from tests.billing.simulation.simulator import Simulation
from tests.billing.simulation.stage import BrokenLawError

FIRST = int(os.environ.get("USAGE_LEDGER_BILLING_FIRST", "0"))
# A seed takes about a second: a minute's worth on two cores is what every change is tried with.
SEEDS = int(os.environ.get("USAGE_LEDGER_BILLING_SEEDS", "24"))
REPORTER_SEEDS = int(os.environ.get("USAGE_LEDGER_BILLING_REPORTER_SEEDS", "16"))
SEEDS_OF_ENDURANCE = 1_000
REPORTER_SEEDS_OF_ENDURANCE = 400
SEEDS_IN_TEST = 8
SEEDS_IN_TEST_OF_ENDURANCE = 50
SECONDS_IN_TEST_OF_ENDURANCE = 600  # on a busy machine
IN_MEMORY = 4  # every so-manieth life is one without a restart, in memory
SEEDS_PER_BUG = 40


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of planted faults would be logged, each with a traceback."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def live(plan: Plan, seeds: range, folder: Path) -> None:
    """Live these lives; BrokenLawError names the seed."""
    for seed in seeds:
        is_kept = plan.kills and seed % IN_MEMORY
        Simulation(seed, plan, folder / str(seed) if is_kept else None).run()


def spans(first: int, seeds: int, together: int) -> list[range]:
    """Split seeds into what one test lives."""
    end = first + seeds
    return [range(start, min(start + together, end)) for start in range(first, end, together)]


@pytest.mark.parametrize("seeds", spans(FIRST, REPORTER_SEEDS, SEEDS_IN_TEST), ids=str)
def test_the_reporter_alone_bills_what_is_owed(seeds: range, tmp_path: Path) -> None:
    live(REPORTER, seeds, tmp_path)


@pytest.mark.parametrize("seeds", spans(FIRST, SEEDS, SEEDS_IN_TEST), ids=str)
def test_no_credit_is_billed_twice_and_none_is_forgotten(seeds: range, tmp_path: Path) -> None:
    live(EVERYTHING, seeds, tmp_path)


@pytest.mark.endurance
@pytest.mark.timeout(SECONDS_IN_TEST_OF_ENDURANCE)
@pytest.mark.parametrize(
    "seeds", spans(0, REPORTER_SEEDS_OF_ENDURANCE, SEEDS_IN_TEST_OF_ENDURANCE), ids=str
)
def test_the_reporter_alone_in_four_hundred_lives(seeds: range, tmp_path: Path) -> None:
    live(REPORTER, seeds, tmp_path)


@pytest.mark.endurance
@pytest.mark.timeout(SECONDS_IN_TEST_OF_ENDURANCE)
@pytest.mark.parametrize("seeds", spans(0, SEEDS_OF_ENDURANCE, SEEDS_IN_TEST_OF_ENDURANCE), ids=str)
def test_a_thousand_lives(seeds: range, tmp_path: Path) -> None:
    live(EVERYTHING, seeds, tmp_path)


def test_a_seed_is_the_same_life_again(tmp_path: Path) -> None:
    lives = []
    for attempt in ("one", "another"):
        simulation = Simulation(5, EVERYTHING, tmp_path / attempt)
        simulation.run()
        lives.append(simulation.told)
    assert lives[0] == lives[1]


@pytest.mark.endurance
@pytest.mark.timeout(SECONDS_IN_TEST_OF_ENDURANCE)
@pytest.mark.parametrize("bug", MUTANTS)
def test_a_planted_bug_is_found(bug: str, tmp_path: Path) -> None:
    plan = MUTANTS[bug].plan
    found = None
    for seed in range(SEEDS_PER_BUG):
        with MUTANTS[bug].plant():
            try:
                live(plan, range(seed, seed + 1), tmp_path)
            except BrokenLawError as broken:
                found = broken
                break
    assert found is not None
