"""What must hold after every step, and at the end; each check gives what it found wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from events import decode
from tests.laws.adapter import ProductLedger
from tests.laws.asking_why import wrong_about
from tests.laws.histories import broken_sums, oracle_views, product_views
from tests.laws.listings import Question, oracle_page, product_page
from tests.oracle import Oracle

MS_NS = 1_000_000
DAY_MS = 86_400_000
EXPLAINED_AT_ONCE = 7  # parts of a number, so that there are several pages


class Checks:
    """Compares a ledger with its oracle; remembers the log, which only ever grows."""

    def __init__(self, ledger: ProductLedger, oracle: Oracle, rng: random.Random) -> None:
        """Begin before the first step."""
        self._ledger = ledger
        self._oracle = oracle
        self._rng = rng
        self._log: list[tuple[Any, ...]] = []

    def after_step(self, now_ns: int) -> list[str]:
        """Look at every law; a page of a listing is taken by chance."""
        found = list(self._history())
        found += self._counts()
        found += self._ledger.breaches()
        found += self._balances()
        found += self._page(now_ns)
        return found

    def _history(self) -> Iterator[str]:
        """The log is gapless, never changes, and its recorded times never go back."""
        rows = self._ledger.select(
            "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
            " ORDER BY position"
        )
        if rows[: len(self._log)] != self._log:
            yield "the log's past has changed"
        if [row[0] for row in rows] != list(range(1, len(rows) + 1)):
            yield "the log has gaps"
        last = decode(*self._log[-1][3:]).recorded_at if self._log else None
        for row in rows[len(self._log) :]:
            recorded_at = decode(row[3], row[4]).recorded_at
            if last is not None and recorded_at < last:
                yield f"recorded time goes back at {row[0]}"
            last = recorded_at
        self._log = rows

    def _counts(self) -> Iterator[str]:
        """Received = recorded + repeated + rejected for each delivery, and as the oracle counts."""
        kept = {
            name: tuple(counts)
            for name, *counts in self._ledger.select(
                "SELECT name, received, recorded, repeated, rejected FROM deliveries"
            )
        }
        for name, (received, recorded, repeated, rejected) in kept.items():
            if received != recorded + repeated + rejected:
                yield f"{name}: {received} is not {recorded} + {repeated} + {rejected}"
        expected = {
            name: (r.received, r.recorded, r.repeated, r.rejected)
            for name, r in self._oracle.receipts.items()
        }
        if expected != kept:
            yield f"deliveries are {kept}, not {expected}"
        letters = dict(self._ledger.select("SELECT original, times FROM dead_letters"))
        wanted = {line: letter.times for line, letter in self._oracle.dead_letters.items()}
        if wanted != letters:
            yield f"dead letters are {letters}, not {wanted}"

    def _balances(self) -> Iterator[str]:
        for payer in self._oracle.payers():
            expected = self._oracle.balance_cents(payer)
            balance = self._ledger.balance_cents(payer)
            if expected != balance:
                yield f"the balance of {payer} is {balance} cents, not {expected}"

    def _page(self, now_ns: int) -> Iterator[str]:
        rng = self._rng
        payers = self._oracle.payers()
        if not payers:
            return
        payer = rng.choice(payers)
        entries = self._oracle.entries(payer)
        around = [*(entry.effective_ms for entry in entries), now_ns // MS_NS]
        start = rng.choice(around) + rng.choice((-DAY_MS, -1, 0, 1))
        end = max(start, min(rng.choice(around) + rng.choice((0, 1, DAY_MS)), start + 299 * DAY_MS))
        users = [entry.user_id for entry in entries]
        asked = Question(
            payer=payer,
            user_id=rng.choice(["", *users]),
            from_ms=start,
            to_ms=end,
            ascending=rng.random() < 0.5,
            per_page=rng.choice((1, 3, 50)),
            page=rng.choice((1, 1, 2)),
        )
        expected, page = oracle_page(self._oracle, asked), product_page(self._ledger, asked)
        if _numbers(expected) != _numbers(page):
            yield f"{asked} answers {_numbers(page)}, not {_numbers(expected)}"

    def all_views(self) -> list[str]:
        """Everything of every payer: entries, cost center, cycles, lines of instances, and why."""
        expected, views = oracle_views(self._oracle), product_views(self._ledger)
        found = [f"{payer}: {text}" for payer, v in views.items() for text in broken_sums(v)]
        for payer in views:
            told = wrong_about(self._ledger.queries, payer, size=EXPLAINED_AT_ONCE)
            found += [f"{payer}: {text}" for text in told]
        return found + [
            f"{payer} is {views.get(payer)}, not {expected.get(payer)}"
            for payer in sorted(expected.keys() | views.keys())
            if expected.get(payer) != views.get(payer)
        ]


def _numbers(page: Any) -> object:
    """A page without what a repeat may say differently."""
    return page.total, page.total_pages, page.total_cents, [each[:5] for each in page.entries]
