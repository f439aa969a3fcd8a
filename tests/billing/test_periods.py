"""Periods that Stripe tells of: what is noted, what is not, and what cycles come of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from aggregates import EndedSubscription
from ledger.commands.billing_accounts import end_subscription
from ledger.commands.periods import note_period
from ledger.commands.settlements import unclosed_cycles
from ledger.identifiers import parse_payer
from ledger.invoicing.accounts import account_of
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import log_of, submit

KEY = parse_payer(PAYER) or b""
DAY_MS = 86_400_000


class Noted:
    """A payer who has signed up on 1 November."""

    def __init__(self, scene: BillingScene) -> None:
        self.scene = scene
        self.subscription = scene.sign_up()
        self.start = scene.double.clock.now_ms

    def note(self, first_day: float, last_day: float) -> bool:
        """Note what Stripe tells of a period, by days since the start; say whether it was news."""
        act = partial(
            note_period,
            payer=KEY,
            subscription_id=self.subscription,
            start=self.start + int(first_day * DAY_MS),
            end=self.start + int(last_day * DAY_MS),
        )
        return bool(submit(self.scene.service, act, PAYER))

    def end(self, day: float, *, first_day: float, last_day: float) -> None:
        """End the subscription, in a last period that Stripe tells."""
        act = partial(
            end_subscription,
            payer=KEY,
            subscription_id=self.subscription,
            ended_at=self.start + int(day * DAY_MS),
            last_period=(
                self.start + int(first_day * DAY_MS),
                self.start + int(last_day * DAY_MS),
            ),
            default_limit=0,
        )
        assert submit(self.scene.service, act, PAYER)

    def unclosed(self) -> list[tuple[float, float]]:
        """Give cycles whose books are open, by days since the start."""
        act = partial(unclosed_cycles, payer=KEY, subscription_id=self.subscription)
        return [
            ((start - self.start) / DAY_MS, (end - self.start) / DAY_MS)
            for start, end in submit(self.scene.service, act, PAYER)
        ]

    def told(self) -> int:
        """Count what was noted."""
        return len(log_of(self.scene.calls, "subscription-period-told"))


@pytest.fixture
def noted() -> Iterator[Noted]:
    with BillingScene() as scene:
        yield Noted(scene)
        assert [] == scene.calls.breaches()


class TestWhatStripeTells:
    def test_is_no_news_where_it_was_counted(self, noted: Noted) -> None:
        assert not noted.note(0, 30)
        assert not noted.note(30, 61)
        assert 0 == noted.told()

    def test_is_noted_once(self, noted: Noted) -> None:
        assert noted.note(10, 40)
        assert not noted.note(10, 40)
        assert 1 == noted.told()

    def test_of_before_the_subscription_began_is_not_its_own(self, noted: Noted) -> None:
        assert not noted.note(-20, 0)

    def test_of_no_length_is_none(self, noted: Noted) -> None:
        assert not noted.note(10, 10)

    def test_that_others_cut_off_is_not_noted_again_and_again(self, noted: Noted) -> None:
        """Two that contradict each other: nobody goes round in circles."""
        assert noted.note(0, 20)
        assert noted.note(10, 40)
        assert not noted.note(0, 20)

    def test_of_a_subscription_that_is_not_known_changes_nothing(self, noted: Noted) -> None:
        noted.subscription = "sub_unknown"
        assert not noted.note(10, 40)

    def test_is_what_cycles_are_counted_by(self, noted: Noted) -> None:
        noted.note(10, 40)  # to 11 December
        noted.scene.double.advance(days=75)
        assert [(0, 10), (10, 40), (40, 71)] == noted.unclosed()


class TestTheLastPeriod:
    def test_is_cut_off_where_the_subscription_ends(self, noted: Noted) -> None:
        noted.end(45, first_day=30, last_day=61)
        assert [(0, 30), (30, 45)] == noted.unclosed()
        assert 0 == noted.told()

    def test_that_nobody_had_told_of_is_noted(self, noted: Noted) -> None:
        noted.end(45, first_day=40, last_day=70)
        assert [(0, 30), (30, 40), (40, 45)] == noted.unclosed()

    def test_that_is_longer_than_a_month_is_one(self, noted: Noted) -> None:
        noted.end(80, first_day=10, last_day=100)
        assert [(0, 10), (10, 80)] == noted.unclosed()

    @pytest.mark.parametrize(("day", "first_day"), [(20, 10), (80, 10)])
    def test_that_ends_with_the_subscription_by_stripes_word_is_cut_off_there(
        self, noted: Noted, day: int, first_day: int
    ) -> None:
        """It might be told so: it is no whole period, and its last second is billed."""
        noted.end(day, first_day=first_day, last_day=day)
        assert [(0, first_day), (first_day, day)] == noted.unclosed()
        account = noted.scene.service.wait(account_of(noted.scene.service.ledger, KEY))
        ended = account.known(noted.subscription)
        assert isinstance(ended, EndedSubscription)
        start, end = (noted.start + one * DAY_MS for one in (first_day, day))
        assert end + 1_000 == account.billed_until(noted.subscription, start=start, end=end)

    def test_of_no_length_counts_if_it_began(self, noted: Noted) -> None:
        noted.end(30, first_day=30, last_day=61)
        assert [(0, 30), (30, 30)] == noted.unclosed()

    def test_of_no_length_does_not_count_if_it_did_not_begin(self, noted: Noted) -> None:
        noted.end(30, first_day=0, last_day=30)
        assert [(0, 30)] == noted.unclosed()
