"""An alternative history is what a ledger shows that lived through it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregates import PriceBook
from events import PriceListPublished
from events.money import AS_RECORDED, Mode, Rounding, charge, rounded
from events.readable import TIME_MAX, TIME_MIN, attribution_id
from ledger.audit.alternative import Outcome, try_rules
from ledger.audit.rules import Rules
from ledger.audit.what_if import Account, Shown
from tests.laws.acts import payer_bytes
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.histories import admissible_scenarios, examples, without_blank_lines
from tests.laws.test_seeded_run import history
from tests.oracle import DEFAULT_RATES, instant
from tests.oracle.events import payer_of
from tests.oracle.operations import (
    GetCostCenter,
    Operation,
    Publish,
    PublishPrices,
    Reconcile,
    ResetUsage,
    SetCostCenter,
)
from tests.oracle.strategies import deliveries
from tests.oracle.trace import (
    FOLDER_VARIABLE,
    NASA,
    Job,
    class_of,
    read_jobs,
    trace_file,
    trace_lines,
)

EVER = Shown(TIME_MIN, TIME_MAX + 1)
FALLBACK = "1/6"
MODES: tuple[Mode, ...] = ("half-up", "half-even", "up", "down")

rates = st.decimals(0, 5, places=4).map(lambda rate: f"{rate:f}")
# Of these classes, and of one that no list knows.
price_lists = st.fixed_dictionaries({"default": rates, "g1-standard": rates, "g1-large": rates})
modes = st.sampled_from(MODES)
roundings = st.builds(Rounding, st.sampled_from((1, 7, 60, 900, 3_600)), modes, modes)


@st.composite
def lives(draw: st.DrawFn) -> list[Operation]:
    return without_blank_lines(draw(deliveries(draw(admissible_scenarios()))))


def what_if(
    ledger: ProductLedger, rules: Rules, shown: Shown = EVER, *, batch: int = EVERYTHING
) -> dict[str, Account]:
    outcome = tried(ledger, rules, shown, batch=batch)
    return {attribution_id(account.payer): account for account in outcome.accounts}


def tried(ledger: ProductLedger, rules: Rules, shown: Shown = EVER, *, batch: int) -> Outcome:
    outcome = try_rules([ledger.reader], rules, shown, batch=batch)
    assert [] == outcome.breaches
    return outcome


def lived(operations: Sequence[Operation]) -> ProductLedger:
    return ProductLedger().apply_all(operations)


def book(of: dict[str, str], *, since: int | None = None) -> PriceBook:
    return PriceBook([PriceListPublished(0, "", 1, since, of, FALLBACK)])


def with_prices(operations: Sequence[Operation], of: dict[str, str]) -> list[Operation]:
    """The same life under one price list from its beginning."""
    first = PublishPrices(at_ns=operations[0].at_ns, revision=1, rates=tuple(of.items()))
    return [first, *(each for each in operations if not isinstance(each, PublishPrices))]


def with_limit(operations: Sequence[Operation], limit: int) -> list[Operation]:
    return [
        replace(each, spending_limit=limit) if isinstance(each, SetCostCenter) else each
        for each in operations
    ]


def balances(ledger: ProductLedger) -> dict[str, int]:
    """Of payers that owe, or are owed, something."""
    found = {payer: ledger.balance_cents(payer) for payer in ledger.payers()}
    return {payer: cents for payer, cents in found.items() if cents}


def would_be(accounts: dict[str, Account]) -> dict[str, int]:
    return {
        payer: account.balance.what_if
        for payer, account in accounts.items()
        if account.balance.what_if
    }


class TestTodaysRules:
    @examples(150)
    @given(lives(), st.sampled_from([1, 2, 7, EVERYTHING]))
    def test_give_todays_numbers(self, operations: list[Operation], batch: int) -> None:
        with closing(lived(operations)) as ledger:
            outcome = tried(ledger, Rules(), batch=batch)
            shown = {row[0] for row in ledger.reader.rows_of("balances")}
            assert outcome.compared == len(shown | {each.payer for each in outcome.accounts})
            for account in outcome.accounts:
                payer = attribution_id(account.payer)
                assert ledger.balance_cents(payer) == account.balance.recorded
                for both in (account.balance, account.written_off, *account.classes.values()):
                    assert both.recorded == both.what_if

    @examples(100)
    @given(lives(), st.integers(-3, 40), st.integers(0, 40))
    def test_give_the_usage_that_a_listing_sums(
        self, operations: list[Operation], first_day: int, days: int
    ) -> None:
        day = 86_400_000
        start = operations[0].at_ns // 1_000_000 + first_day * day
        shown = Shown(start, start + days * day)
        with closing(lived(operations)) as ledger:
            accounts = what_if(ledger, Rules(), shown)
            for payer in ledger.payers():
                listing = ledger.queries.list_usage(
                    payer_bytes(payer), b"", start=shown.start, end=shown.end,
                    ascending=True, page=1, per_page=1,
                )  # fmt: skip
                account = accounts.get(payer, Account(b""))
                assert listing.total == sum(account.instances.values())
                assert listing.cents == account.usage.recorded == account.usage.what_if

    @examples(60)
    @given(lives(), st.data())
    def test_give_the_same_of_some_payers_alone(
        self, operations: list[Operation], data: st.DataObject
    ) -> None:
        with closing(lived(operations)) as ledger:
            every = what_if(ledger, Rules())
            chosen = data.draw(st.sets(st.sampled_from(sorted(every)))) if every else set()
            if chosen:
                some = EVER._replace(payers=frozenset(map(payer_bytes, chosen)))
                assert {p: every[p] for p in chosen} == what_if(ledger, Rules(), some, batch=3)


class TestOtherPrices:
    @examples(150)
    @given(lives(), price_lists, st.sampled_from([3, EVERYTHING]))
    def test_give_the_balances_of_who_lived_under_them(
        self, operations: list[Operation], of: dict[str, str], batch: int
    ) -> None:
        with (
            closing(lived(operations)) as ledger,
            closing(lived(with_prices(operations, of))) as other,
        ):
            accounts = what_if(ledger, Rules(prices=book(of)), batch=batch)
            assert balances(other) == would_be(accounts)

    @examples(60)
    @given(lives(), price_lists)
    def test_give_the_listings_and_write_offs_too(
        self, operations: list[Operation], of: dict[str, str]
    ) -> None:
        with (
            closing(lived(operations)) as ledger,
            closing(lived(with_prices(operations, of))) as other,
        ):
            for payer, account in what_if(ledger, Rules(prices=book(of))).items():
                entries = other.entries(payer)
                by_class: dict[str, int] = {}
                for entry in entries:
                    if entry.kind == "workspace_instance":
                        known = by_class.get(entry.workspace_class, 0)
                        by_class[entry.workspace_class] = known + entry.cents
                assert by_class == {
                    name: both.what_if
                    for name, both in account.classes.items()
                    if account.instances[name]
                }
                written_off = sum(entry.cents for entry in entries if entry.kind == "invoice")
                assert written_off == account.written_off.what_if
                notes = sum(entry.cents for entry in entries if entry.kind == "credit_note")
                assert notes == account.note_cents

    @examples(40)
    @given(lives(), price_lists, st.integers(0, 20))
    def test_leave_what_started_before_them(
        self, operations: list[Operation], of: dict[str, str], day: int
    ) -> None:
        since = operations[0].at_ns // 1_000_000 + day * 86_400_000
        with closing(lived(operations)) as ledger:
            rules = Rules(prices=book(of, since=since))
            expected: dict[str, int] = {}
            for row in ledger.select(
                "SELECT payer, started, effective, workspace_class, cents FROM entries"
            ):
                payer, started, effective, workspace_class, cents = row
                if started is not None and started >= since:
                    cents = charge(of.get(workspace_class, FALLBACK), started, effective)[1]
                key = attribution_id(payer)
                expected[key] = expected.get(key, 0) + cents
            drafts = dict(ledger.select("SELECT payer, 1 FROM accruals"))
            for payer, account in what_if(ledger, rules).items():
                if payer_bytes(payer) not in drafts:
                    assert expected.get(payer, 0) == account.usage.what_if


class TestOtherResets:
    @examples(80)
    @given(lives(), price_lists)
    def test_with_the_limit_0_everywhere(
        self, operations: list[Operation], of: dict[str, str]
    ) -> None:
        """Also of those who never set one: what a team gets by default is 0 here."""
        other_life = with_limit(with_prices(operations, of), 0)
        with closing(lived(operations)) as ledger, closing(lived(other_life)) as other:
            expected = balances(other)
            for rules in (
                Rules(prices=book(of), spending_limit=0),
                Rules(prices=book(of), resets="everything"),
            ):
                assert expected == would_be(what_if(ledger, rules))

    @examples(60)
    @given(lives())
    def test_that_write_nothing_off_leave_it_owed(self, operations: list[Operation]) -> None:
        with closing(lived(operations)) as ledger:
            upgrades = {
                row[0]
                for row in ledger.select(
                    "SELECT payer FROM cost_centers WHERE strategy = 'stripe'"
                    " UNION SELECT payer FROM closed_cycles"
                )
            }
            for payer, account in what_if(ledger, Rules(resets="nothing")).items():
                if payer_bytes(payer) not in upgrades:
                    assert 0 == account.written_off.what_if
                assert account.balance.difference == account.written_off.difference


class TestOtherRounding:
    @examples(100)
    @given(lives(), roundings)
    def test_rounds_each_instance_by_itself(
        self, operations: list[Operation], rounding: Rounding
    ) -> None:
        with closing(lived(operations)) as ledger:
            accounts = what_if(ledger, Rules(rounding=rounding))
            expected: dict[str, int] = {}
            accrual = ledger.reader.accrual()
            rows = ledger.select(
                "SELECT payer, started, effective, rate FROM entries WHERE started IS NOT NULL"
            ) + [
                (payer, started, accrual.instant, rate)
                for payer, started, rate in ledger.select(
                    "SELECT payer, started, rate FROM open_instances WHERE started IS NOT NULL"
                    " AND stopping IS NULL AND start_position < ?",
                    (accrual.position,),
                )
            ]
            for payer, started, end, rate in rows:
                key = attribution_id(payer)
                expected[key] = expected.get(key, 0) + plainly(rate, started, end, rounding)
            assert {p: cents for p, cents in expected.items() if cents} == {
                p: a.usage.what_if for p, a in accounts.items() if a.usage.what_if
            }


def plainly(rate: str, started: int, end: int, rounding: Rounding) -> int:
    """In fractions, as the words say it."""
    unit = rounding.unit_seconds
    units = plainly_rounded(Fraction(max(end - started, 0), 1_000 * unit), rounding.runtime)
    return plainly_rounded(Fraction(rate) * units * unit / 60 * 100, rounding.cents)


def plainly_rounded(value: Fraction, mode: Mode) -> int:
    match mode:
        case "up":
            return math.ceil(value)
        case "down":
            return math.floor(value)
        case "half-even":
            return round(value)
        case "half-up":
            return math.floor(value + Fraction(1, 2))


class TestTheArithmetic:
    @given(st.integers(0, 10**9), st.integers(1, 10**6), modes)
    def test_rounds_a_fraction(self, numerator: int, denominator: int, mode: Mode) -> None:
        expected = plainly_rounded(Fraction(numerator, denominator), mode)
        assert expected == rounded(numerator, denominator, mode)

    @given(rates, st.integers(0, 10**12), st.integers(-(10**9), 10**9))
    def test_of_today_is_one_of_many(self, rate: str, start: int, length: int) -> None:
        """The contract's rounding, written as any other."""
        assert charge(rate, start, start + length) == (
            rounded(max(length, 0), 1_000, "half-up"),
            plainly(rate, start, start + length, AS_RECORDED),
        )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_long_life_under_other_prices(seed: int) -> None:
    operations = history(seed)
    of = {"default": "0.31", "g1-large": "0.05"}
    with (
        closing(lived(operations)) as ledger,
        closing(lived(with_prices(operations, of))) as other,
    ):
        accounts = what_if(ledger, Rules(prices=book(of)), batch=997)
        assert balances(other) == would_be(accounts)
        assert any(account.usage.difference for account in accounts.values())
        assert any(account.written_off.difference for account in accounts.values())


@pytest.mark.trace
@pytest.mark.slow
def test_a_real_job_log() -> None:
    """Three months of a machine, with a reset a week; other prices cost what a sum costs."""
    path = trace_file(NASA)
    if path is None:
        pytest.skip(f"{NASA} is missing: set {FOLDER_VARIABLE} to the folder that has it")
    jobs = read_jobs(path)
    of = {"default": "0.25", "g1-large": "0.7777777777"}
    with closing(ProductLedger().apply_all(told_by_weeks(jobs))) as ledger:
        same = tried(ledger, Rules(), batch=5_000)
        assert same.compared == len(same.accounts) > 60
        for account in same.accounts:
            assert (0, 0) == (account.balance.difference, account.usage.difference)
            assert account.written_off.recorded <= 0

        expected: dict[str, int] = {}
        for job in jobs:
            rate = Fraction(of.get(class_of(job.processors), FALLBACK))
            cents = math.floor(rate * (job.end_s - job.start_s) * 100 / 60 + Fraction(1, 2))
            payer = payer_of(("nasa", job.payer))
            expected[payer] = expected.get(payer, 0) + cents
        accounts = what_if(ledger, Rules(prices=book(of)), batch=5_000)
        assert expected == {payer: each.usage.what_if for payer, each in accounts.items()}
        # Everything that was owed at the last reset is written off, by whatever prices.
        assert any(account.written_off.difference for account in accounts.values())


def told_by_weeks(jobs: Sequence[Job]) -> list[Operation]:
    lines = trace_lines(jobs, name="nasa")
    first, last = min(job.start_s for job in jobs), max(job.stopped_s for job in jobs)
    week_s = 7 * 86_400
    weeks: list[list[bytes]] = [[] for _ in range((last - first) // week_s + 1)]
    for line in lines:
        at_s = instant(json.loads(line)["time"]) // 1_000_000_000
        weeks[(at_s - first) // week_s].append(line)
    operations: list[Operation] = [
        PublishPrices(at_ns=first * 10**9, revision=1, rates=tuple(DEFAULT_RATES.items()))
    ]
    payers = sorted({payer_of(("nasa", job.payer)) for job in jobs})
    for number, week in enumerate(weeks, start=1):
        at_ns = (first + number * week_s) * 10**9
        operations.append(Publish(at_ns=at_ns, lines=tuple(week)))
        if number == 1:
            operations += [GetCostCenter(at_ns=at_ns, payer=payer) for payer in payers]
        operations += [Reconcile(at_ns=at_ns), ResetUsage(at_ns=at_ns)]
    return operations
