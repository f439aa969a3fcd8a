"""Three thousand instances of forty payers in three months, and all that moves a balance."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from tests.laws.adapter import ProductLedger
from tests.laws.histories import MS, broken_sums, new_oracle, oracle_views, product_views
from tests.laws.listings import RANGE_MS_MAX, Question, oracle_page, product_page
from tests.laws.replay import READ_MODEL, replayed, rows_of
from tests.oracle import DEFAULT_RATES, Oracle, Strategy
from tests.oracle.operations import (
    AddCreditNote,
    GetCostCenter,
    Operation,
    Publish,
    PublishPrices,
    Reconcile,
    ResetUsage,
    SetCostCenter,
    apply_all,
)
from tests.oracle.strategies import DAY_NS
from tests.oracle.synthetic import START_S, synthetic_lines

INSTANCES, PAYERS, DAYS = 3_000, 40, 90
STEPS = 60
START_NS = START_S * 1_000_000_000


def history(seed: int) -> list[Operation]:
    """Lines of about a day and a half at a time, some days late, out of order and twice.

    In the middle of each come boundaries of payers that have something running.
    """
    rng = random.Random(seed)
    lines = list(synthetic_lines(seed, INSTANCES, PAYERS, days=DAYS, running_share=0.03))
    operations: list[Operation] = [
        PublishPrices(at_ns=START_NS, revision=1, rates=tuple(DEFAULT_RATES.items()))
    ]
    size = -(-len(lines) // STEPS)
    late: list[bytes] = []
    for step in range(STEPS):
        at_ns = START_NS + (step + 1) * DAYS * DAY_NS // STEPS + rng.randrange(10 * MS)
        fresh = lines[step * size : (step + 1) * size]
        held_back = {line for line in fresh if rng.random() < 0.1}
        told = [line for line in fresh if line not in held_back] + late
        late = sorted(held_back)
        told += rng.sample(told, len(told) // 10)
        rng.shuffle(told)
        half = len(told) // 2
        operations.append(Publish(at_ns=at_ns, lines=tuple(told[:half])))
        operations += _barriers(rng, step, [_payer_in(line) for line in told], at_ns)
        operations.append(Publish(at_ns=at_ns, lines=tuple(told[half:])))
    operations.append(Publish(at_ns=at_ns, lines=tuple(late)))
    return operations


def _payer_in(line: bytes) -> str:
    at = line.index(b'"team:') + 1
    return line[at : at + 41].decode()


def _barriers(rng: random.Random, step: int, payers: list[str], at_ns: int) -> list[Operation]:
    barriers: list[Operation] = [Reconcile(at_ns=at_ns)] if rng.random() < 0.5 else []
    if step == 20:
        rates = (("default", "0.2"), ("g1-large", "1"))
        barriers.append(PublishPrices(at_ns=at_ns, revision=2, rates=rates))
    if rng.random() < 0.5:
        barriers.append(ResetUsage(at_ns=at_ns))
    for payer in rng.sample(payers, 5):
        strategy: Strategy = rng.choice(("STRIPE", "OTHER"))
        limit = rng.choice((0, 5, 500))
        note = rng.randint(-50, 50)
        barriers += rng.sample(
            [
                GetCostCenter(at_ns=at_ns, payer=payer),
                SetCostCenter(at_ns=at_ns, payer=payer, spending_limit=limit, strategy=strategy),
                AddCreditNote(at_ns=at_ns, payer=payer, credits_given=note, description="sorry"),
            ],
            1,
        )
    rng.shuffle(barriers)
    return barriers


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_run_says_what_the_oracle_says(seed: int, tmp_path: Path) -> None:
    operations = history(seed)
    oracle = apply_all(new_oracle(), operations)
    with closing(ProductLedger(tmp_path, batch_lines=97, batches_in_group=2)) as ledger:
        for step, operation in enumerate(operations):
            if step % 50 == 49:
                ledger.reopen()
            ledger.apply(operation)
        views = product_views(ledger)
        assert oracle_views(oracle) == views
        assert [] == [broken for view in views.values() for broken in broken_sums(view)]
        assert [] == ledger.breaches()
        assert sum(map(_lines_in, operations)) == ledger.counts().received
        _compare_listings(random.Random(seed), oracle, ledger)
        with replayed(ledger.store, batch_events=1_000) as fresh:
            assert rows_of(ledger.store, READ_MODEL) == rows_of(fresh, READ_MODEL)


def _lines_in(operation: Operation) -> int:
    return len(operation.lines) if isinstance(operation, Publish) else 0


def _compare_listings(rng: random.Random, oracle: Oracle, ledger: ProductLedger) -> None:
    payers = oracle.payers()
    for _ in range(60):
        payer = rng.choice(payers)
        entries = [e for e in oracle.entries(payer) if e.kind == "workspace_instance"]
        if not entries:
            continue
        first, last = sorted(rng.choice(entries).effective_ms + rng.randint(-1, 1) for _ in "ab")
        asked = Question(
            payer=payer,
            user_id=rng.choice(("", rng.choice(entries).user_id)),
            from_ms=max(first, last - RANGE_MS_MAX),
            to_ms=last,
            ascending=rng.random() < 0.5,
            per_page=rng.choice((1, 10, 50, 1000)),
            page=rng.randint(1, 5),
        )
        assert oracle_page(oracle, asked) == product_page(ledger, asked)
