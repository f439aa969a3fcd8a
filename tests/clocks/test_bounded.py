"""An answer costs by what it is about, and not by what else a payer's history holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing

import pytest

from events.readable import uuid_text
from ledger import commands
from ledger.audit.clocks import At, Moment, look
from ledger.audit.cuts import KnownAt
from ledger.audit.differences import BATCH, Differences
from ledger.audit.sealing import Sealing
from persistence import UsageRow
from tests.clocks.comparing import EVER, log_of, plain_says, product_says, totals_of
from tests.clocks.dense import void_of
from tests.clocks.plain import Log
from tests.clocks.sealed import seal
from tests.clocks.test_every_moment import KEY, act, publish
from tests.contract.data.scene import at, note, ran, started, stopped, stopping
from tests.laws.acts import OPENING
from tests.laws.adapter import ProductLedger
from tests.oracle import instant
from tests.oracle.operations import PublishPrices

BLOCK = 20
FEW, MANY = 400, 1_600
GROWTH_MAX = 1.3  # indexes have one level more, perhaps


def told(ledger: ProductLedger, time: str, happens: Callable[[ProductLedger, int], object]) -> None:
    ledger.clock.set_ns(instant(at(time)))
    happens(ledger, instant(at(time)))


def as_of(time: str, position: int | None = None) -> Moment:
    return Moment(instant(at(time)) // 1_000_000, KnownAt(position=position))


def begun() -> ProductLedger:
    ledger = ProductLedger()
    ledger.apply(PublishPrices(at_ns=instant(at("10-20 11:00")), revision=1, rates=()))
    return ledger


def work(ledger: ProductLedger, question: Callable[[], object]) -> int:
    """How many tens of SQLite's instructions a question takes."""
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    ledger.store.connection.set_progress_handler(counted, 10)
    try:
        with ledger.reader.snapshot():
            question()
    finally:
        ledger.store.connection.set_progress_handler(None, 0)
    return count


def look_at(ledger: ProductLedger, moment: Moment) -> At:
    return look(ledger.queries, KEY, moment)


def says_the_same(ledger: ProductLedger, moment: Moment) -> None:
    position = moment.known_at.position
    events = [e for e in log_of(ledger.reader) if position is None or e.position <= position]
    assert plain_says(Log(KEY, events), moment.as_of) == product_says(ledger.queries, KEY, moment)


def instances(name: str, day: int, count: int) -> Callable[[ProductLedger, int], object]:
    return publish(
        *(
            line
            for n in range(count)
            for line in ran(
                f"{name}{n}", f"10-{day} 0{n % 9}:{n % 60:02}", f"10-{day} 1{n % 9}:{n % 60:02}"
            )
        )
    )


class TestADraft:
    def _with_a_future_entry(self, later: int) -> int:
        """A boundary that knows an entry dated ahead, and many that came and are dated later."""
        with closing(begun()) as ledger:
            told(ledger, "10-20 12:00", publish(*ran("ahead", "10-20 11:00", "11-30 11:00")))
            told(
                ledger,
                "10-20 13:00",
                act(lambda group: commands.open_cost_center(group, KEY, OPENING)),
            )
            told(ledger, "10-23 23:00", instances("later", 22, later))
            seal(ledger, Sealing(block_events=BLOCK))
            moment = as_of("10-20 14:00")
            says_the_same(ledger, moment)
            return work(ledger, lambda: look_at(ledger, moment).draft())

    def test_with_an_entry_dated_ahead(self) -> None:
        few, many = self._with_a_future_entry(FEW), self._with_a_future_entry(MANY)
        assert many < GROWTH_MAX * few

    def _with_a_late_entry(self, started: str) -> int:
        with closing(begun()) as ledger:
            told(ledger, "10-20 12:00", publish(*ran("first", started, started)))
            told(
                ledger,
                "10-20 13:00",
                act(lambda group: commands.open_cost_center(group, KEY, OPENING)),
            )
            told(ledger, "10-23 23:00", instances("own", 22, 2 * BLOCK))
            told(ledger, "10-24 23:00", publish(*ran("late", "09-02 10:00", "09-02 11:00")))
            told(ledger, "10-25 23:00", instances("more", 23, 2 * BLOCK))
            seal(ledger, Sealing(block_events=BLOCK))
            moment = as_of("10-26 14:00")
            return work(ledger, lambda: look_at(ledger, moment).draft())

    def test_with_an_entry_of_a_thousand_years_ago(self) -> None:
        near, far = (
            self._with_a_late_entry("09-01 10:00"),
            self._with_a_late_entry("0026-09-01T10:00:00Z"),
        )
        assert far < 2 * near  # the months of one more stretch of years are looked at

    def _in_a_first_cycle(self, corrected: int) -> int:
        """Nothing was there when it began, so nothing of that was corrected or voided."""
        with closing(begun()) as ledger:
            names = [f"own {n}" for n in range(corrected)]
            lived = ((started(x, "10-22 09:00"), stopped(x, "10-22 11:00")) for x in names)
            told(ledger, "10-23 23:00", publish(*itertools.chain.from_iterable(lived)))
            told(ledger, "10-24 23:00", publish(*(stopping(x, "10-22 10:00") for x in names)))
            assert [(corrected,)] == ledger.select("SELECT count(*) FROM entry_versions")
            notes = [note(1, event_id=f"{n}", time="10-22 10:00") for n in range(corrected // 8)]
            told(ledger, "10-25 12:00", publish(*notes))
            for (entry_id,) in ledger.select("SELECT entry_id FROM other_entries"):
                told(ledger, "10-25 13:00", act(void_of(KEY, uuid_text(entry_id))))
            seal(ledger, Sealing(block_events=BLOCK))
            moment = as_of("10-26 14:00")
            says_the_same(ledger, moment)
            return work(ledger, lambda: look_at(ledger, moment).draft())

    def test_of_a_first_cycle_in_which_much_was_corrected(self) -> None:
        few, many = self._in_a_first_cycle(FEW), self._in_a_first_cycle(MANY)
        assert many < GROWTH_MAX * few


class TestInvoicesAndCreditNotes:
    def _given(self, ledger: ProductLedger, count: int) -> None:
        told(ledger, "10-21 12:00", publish(note(3, event_id="kept", time="10-20 12:00")))
        notes = [note(1, event_id=f"note {n}", time="10-22 10:00") for n in range(count)]
        told(ledger, "10-22 12:00", publish(*notes))

    def _with_voids(self, voids: int) -> int:
        with closing(begun()) as ledger:
            self._given(ledger, voids)
            position = ledger.core.head
            rows = ledger.select("SELECT entry_id FROM other_entries WHERE cents = -100")
            for (entry_id,) in rows:
                told(ledger, "10-23 12:00", act(void_of(KEY, uuid_text(entry_id))))
            assert len(rows) == len(ledger.select("SELECT * FROM voids"))
            seal(ledger, Sealing(block_events=BLOCK))
            moment = as_of("10-20 13:00", position)
            says_the_same(ledger, moment)
            return work(ledger, lambda: look_at(ledger, moment).balance())

    def test_of_which_many_were_voided_later(self) -> None:
        few, many = self._with_voids(FEW // 4), self._with_voids(MANY // 4)
        assert many < GROWTH_MAX * few

    def _a_page(self, notes: int) -> int:
        with closing(begun()) as ledger:
            self._given(ledger, notes)
            seal(ledger, Sealing(block_events=BLOCK))
            moments = as_of("10-20 13:00", 1), as_of("10-23 13:00")

            def question() -> None:
                first, second = (look_at(ledger, each).standing for each in moments)
                page = Differences(first, second).page(None, 10)
                assert 10 == len(page.differences)

            return work(ledger, question)

    def test_a_page_of_those_that_differ(self) -> None:
        few, many = self._a_page(2 * BATCH), self._a_page(6 * BATCH)
        assert many < GROWTH_MAX * few

    def test_have_blocks_too(self) -> None:
        with closing(begun()) as ledger:
            self._given(ledger, 3 * BLOCK)
            seal(ledger, Sealing(block_events=BLOCK))
            assert [(3,)] == ledger.select("SELECT count(*) FROM sealed_blocks")
            says_the_same(ledger, as_of("10-22 13:00"))


START, END = EVER


def page_of(
    at_: At, key: tuple[int, bytes] | None, *, ascending: bool, limit: int
) -> list[UsageRow]:
    found = at_.usage(user=b"", start=START, end=END, key=key, ascending=ascending, limit=limit)
    return found.rows


class TestWhatWasRecordedLater:
    """It lies among the dates that are looked through, and costs an old cut nothing."""

    def _listing(self, later: int, *, known: bool, ascending: bool = True) -> int:
        with closing(begun()) as ledger:
            if known:
                for name, end in (("first", "10-20"), ("near", "10-24"), ("far", "11-30")):
                    lines = ran(name, "10-20 11:00", f"{end} 11:30")
                    told(ledger, "10-20 12:00", publish(*lines))
            position = ledger.core.head
            told(ledger, "10-23 23:00", instances("later", 22, later))
            seal(ledger, Sealing(block_events=BLOCK))
            moment = Moment(None, KnownAt(position=position))
            says_the_same(ledger, moment)

            def question() -> None:
                rows = page_of(look_at(ledger, moment), None, ascending=ascending, limit=5)
                assert (3 if known else 0) == len(rows)

            return work(ledger, question)

    def test_for_a_listing_before_the_first_entry(self) -> None:
        few, many = self._listing(FEW, known=False), self._listing(MANY, known=False)
        assert many < GROWTH_MAX * few

    def test_for_a_listing_of_what_is_dated_ahead(self) -> None:
        for ascending in (True, False):
            few = self._listing(FEW, known=True, ascending=ascending)
            many = self._listing(MANY, known=True, ascending=ascending)
            assert many < GROWTH_MAX * few

    def _comparison(self, later: Callable[[ProductLedger, int], object], count: int) -> int:
        """Between two times, of one cut that knows an entry and a note dated ahead."""
        with closing(begun()) as ledger:
            told(
                ledger,
                "10-20 12:00",
                publish(
                    *ran("ahead", "10-20 11:00", "11-30 11:00"),
                    note(3, event_id="ahead", time="11-30 12:00"),
                ),
            )
            position = ledger.core.head
            told(ledger, "10-23 23:00", later)
            seal(ledger, Sealing(block_events=BLOCK))
            known = KnownAt(position=position)
            moments = as_of("10-20 14:00", position), Moment(None, known)
            for moment in moments:
                says_the_same(ledger, moment)

            def question() -> None:
                first, second = (look_at(ledger, each).standing for each in moments)
                assert 2 == len(Differences(first, second).page(None, 10).differences)

            assert count <= len(ledger.select("SELECT 1 FROM entries")) + len(
                ledger.select("SELECT 1 FROM other_entries")
            )
            return work(ledger, question)

    def test_for_differences_between_two_times(self) -> None:
        few, many = (
            self._comparison(instances("later", 22, count), count) for count in (FEW, MANY)
        )
        assert many < GROWTH_MAX * few

    def test_for_invoices_and_credit_notes_between_two_times(self) -> None:
        few, many = (
            self._comparison(
                publish(*(note(1, event_id=f"note {n}", time="10-22 10:00") for n in range(count))),
                count,
            )
            for count in (FEW, MANY)
        )
        assert many < GROWTH_MAX * few


class TestPages:
    @pytest.mark.parametrize("ascending", [True, False])
    @pytest.mark.parametrize("limit", [1, 3])
    def test_make_up_the_whole(self, ascending: bool, limit: int) -> None:
        """Over days with many, days with one, and weeks without any."""
        days = ("09-01", "10-02", "10-03", "10-04", "10-20", "10-20", "10-20", "11-30")
        with closing(begun()) as ledger:
            for round_ in range(6):
                lines = [
                    line
                    for n, day in enumerate(days)
                    for line in ran(f"{round_} {n}", f"{day} 0{n}:00", f"{day} 1{n}:00")
                ]
                told(ledger, f"11-0{round_ + 1} 12:00", publish(*lines))
            seal(ledger, Sealing(block_events=BLOCK))
            for position in (*range(1, ledger.core.head, 11), ledger.core.head):
                at_ = look_at(ledger, Moment(None, KnownAt(position=position)))
                whole = page_of(at_, None, ascending=ascending, limit=1_000)
                assert len(whole) == totals_of(at_)[0]
                pages: list[UsageRow] = []
                key = None
                while page := page_of(at_, key, ascending=ascending, limit=limit):
                    pages += page
                    key = page[-1].effective, page[-1].entry_id
                assert whole == pages
