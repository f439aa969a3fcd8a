"""The real traces and the synthetic one through the oracle."""

import itertools
from fractions import Fraction

import pytest

from . import DEFAULT_RATES, Oracle, instant
from .events import payer_of
from .synthetic import START_S, synthetic_lines
from .trace import (
    FOLDER_VARIABLE,
    NASA,
    Job,
    class_of,
    read_jobs,
    shift_to_end_at,
    shuffled,
    trace_file,
    trace_lines,
    with_repeats,
)

NASA_CENTS = 6_061_918


def balances(lines: list[bytes]) -> dict[str, int]:
    oracle = Oracle()
    oracle.publish_price_list(1, DEFAULT_RATES, 0)
    for line in lines:
        assert "rejected" != oracle.publish(line, 0)
    return {payer: oracle.balance_cents(payer) for payer in sorted(oracle.payers())}


@pytest.fixture(scope="module")
def nasa_jobs() -> list[Job]:
    path = trace_file(NASA)
    if path is None:
        pytest.skip(f"{NASA} is missing: set {FOLDER_VARIABLE} to the folder that has it")
    return read_jobs(path)


@pytest.mark.trace
class TestNasa:
    def test_is_read_whole(self, nasa_jobs: list[Job]) -> None:
        assert (18_239, 69) == (len(nasa_jobs), len({job.payer for job in nasa_jobs}))

    def test_costs_what_a_sum_over_its_jobs_costs(self, nasa_jobs: list[Job]) -> None:
        rates = {name: Fraction(text) for name, text in DEFAULT_RATES.items()}
        by_payer: dict[str, int] = {}
        for job in nasa_jobs:
            rate = rates.get(class_of(job.processors), Fraction(1, 6))
            cents = int(rate * (job.end_s - job.start_s) * 100 / 60 + Fraction(1, 2))
            payer = payer_of(("nasa", job.payer))
            by_payer[payer] = by_payer.get(payer, 0) + cents
        told = balances(trace_lines(nasa_jobs, name="nasa"))
        assert (NASA_CENTS, by_payer) == (sum(told.values()), told)

    def test_costs_the_same_shuffled_shifted_and_repeated(self, nasa_jobs: list[Job]) -> None:
        orderly = trace_lines(nasa_jobs, name="nasa")
        end_ns = instant("2026-11-22T00:00:00Z")
        shift_s = shift_to_end_at(nasa_jobs, end_ns)
        shifted = trace_lines(nasa_jobs, name="nasa", shift_s=shift_s)
        assert b'"stoppedTime":"2026-11-22T00:00:00Z"' in shifted[-1]
        disturbed = shuffled(with_repeats(shifted, every=50), window=500)
        assert len(orderly) + 1_095 == len(disturbed)
        assert balances(orderly) == balances(disturbed)


class TestDisorder:
    def test_repeats_every_so_many_th(self) -> None:
        lines = [b"0", b"1", b"2", b"3"]
        assert [b"0", b"0", b"1", b"2", b"2", b"3"] == list(with_repeats(lines, every=2))

    def test_moves_a_line_within_the_window(self) -> None:
        lines = [str(index).encode() for index in range(2_000)]
        moved = shuffled(lines, window=50)
        assert sorted(lines) == sorted(moved)
        distances = [abs(place - int(line)) for place, line in enumerate(moved)]
        assert 10 < max(distances) <= 50


class TestSynthetic:
    def test_is_the_same_from_the_same_seed(self) -> None:
        assert list(synthetic_lines(1, 50, 3)) == list(synthetic_lines(1, 50, 3))
        assert list(synthetic_lines(1, 50, 3)) != list(synthetic_lines(2, 50, 3))

    def test_is_valid_ordered_and_costs_the_same_shuffled(self) -> None:
        lines = list(synthetic_lines(7, 5_000, 20))
        times = [line.split(b'"time":"')[1][:20] for line in lines]
        assert (15_000, sorted(times)) == (len(lines), times)
        told = balances(lines)
        assert 20 == len(told)
        assert told == balances(shuffled(with_repeats(lines, every=9), window=3_000))

    def test_leaves_a_share_running(self) -> None:
        lines = list(synthetic_lines(7, 1_000, 20, running_share=1.0))
        assert 1_000 == len(lines)

    def test_starts_when_it_says(self) -> None:
        assert instant("2026-08-01T00:00:00Z") == START_S * 10**9

    def test_is_drawn_as_it_is_asked_for(self) -> None:
        assert 3 == len(list(itertools.islice(synthetic_lines(1, 10**9, 5), 3)))
