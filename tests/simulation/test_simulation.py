"""Laws hold after every step of many lives; planted bugs are found, which proves the checks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulator import Simulation

FIRST = int(os.environ.get("USAGE_LEDGER_SIMULATION_FIRST", "0"))
SEEDS = int(os.environ.get("USAGE_LEDGER_SIMULATION_SEEDS", "120"))  # 0.2 s each
SEEDS_IN_TEST = 30
SEEDS_ON_FILE = 3
SEEDS_PER_BUG = 60  # the shiest needs nine


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of planted faults would be logged, each with a traceback."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, SEEDS_IN_TEST))
def test_laws_hold_at_every_step_for_seeds(first: int) -> None:
    for seed in range(first, min(first + SEEDS_IN_TEST, FIRST + SEEDS)):
        Simulation(seed).run()


@pytest.mark.parametrize("seed", range(SEEDS_ON_FILE))
def test_laws_hold_at_every_step_on_a_file(seed: int, tmp_path: Path) -> None:
    Simulation(seed, tmp_path / "data").run()


def test_a_seed_is_the_same_life_again() -> None:
    lives = []
    for _ in range(2):
        simulation = Simulation(3)
        simulation.run()
        lives.append(simulation.told)
    assert lives[0] == lives[1]


@pytest.mark.parametrize("bug", MUTANTS)
def test_a_planted_bug_is_found(bug: str) -> None:
    assert seeds_until_found(bug) <= SEEDS_PER_BUG


def seeds_until_found(bug: str) -> int:
    """Whatever ends a life early has found the bug: a broken law, or the product's own asserts."""
    for seed in range(SEEDS_PER_BUG):
        simulation = Simulation(seed)
        with MUTANTS[bug]():
            try:
                simulation.run()
            except Exception:  # noqa: BLE001  # see above
                return seed + 1
    return SEEDS_PER_BUG + 1
