"""ListUsage over any range, user, order and page answers what the oracle answers; pages tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws.adapter import ProductLedger
from tests.laws.histories import admissible_scenarios, examples, told, without_blank_lines
from tests.laws.listings import MS, RANGE_MS_MAX, Page, Question, oracle_page, product_page
from tests.oracle import DEFAULT_RATES, Oracle
from tests.oracle.events import named_uuid
from tests.oracle.operations import Operation, Publish, PublishPrices, Reconcile
from tests.oracle.strategies import deliveries
from tests.oracle.synthetic import START_S, synthetic_lines

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
USERS = ("", named_uuid("user", 1), named_uuid("user", 2), named_uuid("nobody"))


@dataclass(frozen=True, kw_only=True)
class Both:
    """A payer's usage in either ledger, with the users and the dates that occur in it."""

    oracle: Oracle
    ledger: ProductLedger
    payer: str
    users: tuple[str, ...]
    times: tuple[int, ...]

    def all_of_it(self, *, ascending: bool, per_page: int) -> Question:
        return Question(
            payer=self.payer,
            user_id="",
            from_ms=self.times[0],
            to_ms=self.times[-1] + 1,
            ascending=ascending,
            per_page=per_page,
            page=1,
        )


def effective_times(oracle: Oracle) -> list[int]:
    entries = [entry for payer in oracle.payers() for entry in oracle.entries(payer)]
    return sorted({entry.effective_ms for entry in entries}) or [0]


def instants(times: Sequence[int]) -> st.SearchStrategy[int]:
    """At and beside the dates of entries, and the hours and days around them."""
    at = st.sampled_from(times)
    return st.one_of(
        st.builds(int.__add__, at, st.integers(-2, 2)),
        st.builds(
            lambda ms, unit, n: (ms // unit + n) * unit,
            at,
            st.sampled_from((HOUR_MS, DAY_MS)),
            st.integers(-2, 2),
        ),
        st.builds(int.__add__, at, st.integers(-40 * DAY_MS, 40 * DAY_MS)),
    )


@st.composite
def questions(
    draw: st.DrawFn,
    *,
    payers: Sequence[str],
    users: Sequence[str],
    times: Sequence[int],
    per_page_max: int = 7,
) -> Question:
    ends = instants(times)
    first, last = sorted((draw(ends), draw(ends)))
    return Question(
        payer=draw(st.sampled_from(payers)),
        user_id=draw(st.sampled_from(users)),
        from_ms=max(first, last - RANGE_MS_MAX),
        to_ms=last,
        ascending=draw(st.booleans()),
        per_page=draw(st.integers(1, per_page_max)),
        page=draw(st.integers(1, 4)),
    )


def all_pages(ledger: ProductLedger, asked: Question) -> Iterator[Page]:
    first = product_page(ledger, replace(asked, page=1))
    yield first
    for number in range(2, first.total_pages + 1):
        yield product_page(ledger, replace(asked, page=number))


def tiled(ledger: ProductLedger, asked: Question) -> Page:
    """All pages put together; each says the same totals."""
    pages = list(all_pages(ledger, asked))
    assert 1 == len({(page.total, page.total_pages, page.total_cents) for page in pages})
    entries = tuple(entry for page in pages for entry in page.entries)
    return replace(pages[0], entries=entries)


class TestSmallHistories:
    @examples(100)
    @given(st.data())
    def test_are_listed_as_the_oracle_lists_them(self, data: st.DataObject) -> None:
        scenario = data.draw(admissible_scenarios(instances_max=8))
        operations = without_blank_lines(data.draw(deliveries(scenario)))
        oracle = told(operations)
        if not oracle.payers():
            return
        with closing(ProductLedger()) as ledger:
            ledger.apply_all(operations)
            asking = questions(
                payers=sorted(oracle.payers()), users=USERS, times=effective_times(oracle)
            )
            for asked in data.draw(st.lists(asking, min_size=3, max_size=6)):
                assert oracle_page(oracle, asked) == product_page(ledger, asked)
                whole = oracle_page(oracle, replace(asked, per_page=1000, page=1))
                assert whole.entries == tiled(ledger, asked).entries


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    oracle, operations = _busy_payers()
    payer = oracle.payers()[0]
    entries = oracle.entries(payer)
    with closing(ProductLedger(batch_lines=500)) as ledger:
        ledger.apply_all(operations)
        yield Both(
            oracle=oracle,
            ledger=ledger,
            payer=payer,
            users=("", "", *sorted({entry.user_id for entry in entries})),
            times=tuple(sorted({entry.effective_ms for entry in entries})),
        )


class TestAPayerWithManyEntries:
    """Hundreds of entries, so that pages far down are found by the sums of hours and days."""

    @examples(100)
    @given(data=st.data())
    def test_is_listed_as_the_oracle_lists_it(self, both: Both, data: st.DataObject) -> None:
        asked = data.draw(
            questions(payers=[both.payer], users=both.users, times=both.times, per_page_max=60)
        )
        last_page = product_page(both.ledger, asked).total_pages
        asked = replace(asked, page=data.draw(st.integers(1, last_page + 1)))
        assert oracle_page(both.oracle, asked) == product_page(both.ledger, asked)

    @pytest.mark.parametrize("ascending", [True, False])
    @pytest.mark.parametrize("per_page", [1, 37, 50])
    def test_has_pages_that_tile(self, both: Both, ascending: bool, per_page: int) -> None:
        asked = both.all_of_it(ascending=ascending, per_page=per_page)
        whole = oracle_page(both.oracle, replace(asked, per_page=1000))
        assert 500 < whole.total < 1000
        assert whole.entries == tiled(both.ledger, asked).entries

    def test_has_nothing_behind_its_last_page_however_far(self, both: Both) -> None:
        asked = replace(both.all_of_it(ascending=True, per_page=1000), page=2**63 - 1)
        page = product_page(both.ledger, asked)
        assert () == page.entries
        assert page.total == product_page(both.ledger, replace(asked, page=1)).total


def _busy_payers() -> tuple[Oracle, list[Operation]]:
    """Two payers; a tenth of the instances runs at the accrual instant, near the end of the rest.

    Before it lie enough entries for pages to be found by walking the sums, up and down.
    """
    lines = list(synthetic_lines(7, 1100, 2, days=20, running_share=0.1))
    start_ns = START_S * 1_000_000_000
    late_ns, end_ns = start_ns + 17 * DAY_MS * MS, start_ns + 20 * DAY_MS * MS
    operations: list[Operation] = [
        PublishPrices(at_ns=start_ns, revision=1, rates=tuple(DEFAULT_RATES.items())),
        Publish(at_ns=start_ns, lines=tuple(lines)),
        Reconcile(at_ns=end_ns),
        # The clock was put back, and many entries are dated after the accrual instant.
        Reconcile(at_ns=late_ns),
    ]
    return told(operations), operations
