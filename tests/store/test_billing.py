"""Rows of billing, the inbox of webhooks, troubles and runs, on every backend."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from persistence import (
    WEBHOOK_DONE,
    WEBHOOK_GIVEN_UP,
    WEBHOOK_IGNORED,
    WEBHOOK_WAITING,
    BillingReads,
    BillingRun,
    BillingTallies,
    Reader,
    ReportPlace,
    Sentence,
    Transaction,
    Trouble,
    Webhook,
    WebhookPlace,
    WebhookTallies,
    WritableStore,
)
from persistence.sql import billing as statements
from persistence.sql import troubles as counting
from persistence.sqlite import SQLiteStore
from projections import (
    BillingAccount,
    ClosedBooks,
    CostCenterRow,
    Invoice,
    Report,
    Reported,
    Reporting,
)
from tests.store.facts import OTHER_PAYER, PAYER, run

BEGIN = ReportPlace()
MINUTE = 60_000
STATES = (
    "", "customer-requested", "customer", "subscription-requested", "hold-verified",
    "subscription-created", "active", "cancelling",
)  # fmt: skip


def payer(number: int) -> bytes:
    return number.to_bytes(16, "big")


def account(number: int, state: str, subscription: str = "", holds: int = 0) -> BillingAccount:
    return BillingAccount(payer(number), state, f"cus_{number}", subscription, 7, holds)


def report(
    seq: int,
    state: str = "waiting",
    *,
    of: bytes = PAYER,
    subscription: str = "sub",
    stamped: int | None = None,
    delta: int = 1,
) -> Report:
    identifier = f"credits:{subscription}:{seq}"
    return Report(
        subscription, seq, of, delta, seq, "cus", "credits", identifier, state, stamped, 5, ""
    )


def invoice(invoice_id: str, finalized_at: int, *, of: bytes = PAYER) -> Invoice:
    return Invoice(invoice_id, of, "sub", -500, 100, finalized_at, 0, finalized_at)


def books(start: int, *, of: bytes = PAYER, subscription: str = "sub") -> ClosedBooks:
    return ClosedBooks(subscription, start, start + 10, of, "in", 9, 7, 2)


def webhook(number: int, *, received_at: int = 0, state: str = WEBHOOK_WAITING) -> Webhook:
    return Webhook(
        f"evt_{number}", "invoice.finalized", f"in_{number}", 1_793_520_000, received_at, "", state
    )


def put(
    store: WritableStore,
    *,
    accounts: tuple[BillingAccount, ...] = (),
    reportings: tuple[Reporting, ...] = (),
    reporteds: tuple[Reported, ...] = (),
    reports: tuple[Report, ...] = (),
    invoices: tuple[Invoice, ...] = (),
    books: tuple[ClosedBooks, ...] = (),
) -> None:
    with store.folding() as transaction:
        transaction.rows.put_billing(
            accounts=accounts,
            reportings=reportings,
            reporteds=reporteds,
            reports=reports,
            invoices=invoices,
            books=books,
        )


class TestRows:
    """What the fold asks for is what it wrote."""

    def test_are_written_and_written_again(self, store: WritableStore) -> None:
        first = BillingAccount(PAYER, "customer", "cus", "", 5)
        put(store, accounts=(first,), reportings=(Reporting(PAYER, 1, -2, 3),))
        put(store, reporteds=(Reported("sub", PAYER, 1, 2, 3, 4),), reports=(report(1),))
        second = BillingAccount(PAYER, "active", "cus", "sub", 6, 2)
        sent = report(1, "stamped", stamped=4_000)
        put(store, accounts=(second,), reports=(sent, report(2)), invoices=(invoice("in", 9),))
        with store.transaction() as transaction:
            rows = transaction.rows
            assert {PAYER: second} == rows.billing_accounts([PAYER, OTHER_PAYER])
            assert {PAYER: Reporting(PAYER, 1, -2, 3)} == rows.reportings([PAYER, OTHER_PAYER])
            assert {"sub": Reported("sub", PAYER, 1, 2, 3, 4)} == rows.reporteds(["sub", "none"])
            wanted = [("sub", 1), ("sub", 2), ("sub", 3), ("none", 1)]
            assert {("sub", 1): sent, ("sub", 2): report(2)} == rows.reports(wanted)
            assert {"in": invoice("in", 9)} == rows.invoices(["in", "none"])

    def test_that_are_not_there_are_none(self, store: WritableStore, reader: Reader) -> None:
        with store.transaction() as transaction:
            rows = transaction.rows
            for none in (rows.billing_accounts([]), rows.reportings([]), rows.reporteds([])):
                assert not none
            assert ({}, {}) == (rows.reports([]), rows.invoices([]))
            for told in (transaction, reader):
                assert [None] * 6 == [
                    told.billing_account(PAYER),
                    told.reporting(PAYER),
                    told.reported("sub"),
                    told.report("sub", 1),
                    told.invoice("in"),
                    told.webhook("evt"),
                ]

    def test_are_read_in_transactions_and_beside_them(
        self, store: WritableStore, reader: Reader
    ) -> None:
        put(
            store,
            accounts=(account(1, "active", "sub"),),
            reportings=(Reporting(PAYER, 1, -2, 3),),
            reporteds=(Reported("sub", PAYER, 1, 2, 3, 4),),
            reports=(report(1, "stamped", stamped=4_000),),
            invoices=(invoice("in", 9),),
        )

        def told(by: BillingReads) -> list[object]:
            return [
                by.billing_account(payer(1)),
                by.reporting(PAYER),
                by.reported("sub"),
                by.report("sub", 1),
                by.invoice("in"),
            ]

        expected = [
            account(1, "active", "sub"),
            Reporting(PAYER, 1, -2, 3),
            Reported("sub", PAYER, 1, 2, 3, 4),
            report(1, "stamped", stamped=4_000),
            invoice("in", 9),
        ]
        assert expected == told(reader)
        with store.transaction() as transaction:
            assert expected == told(transaction)

    def test_go_when_everything_is_folded_anew_but_what_no_fold_wrote_stays(
        self, store: WritableStore, reader: Reader
    ) -> None:
        put(
            store,
            accounts=(account(1, "active", "sub"),),
            reportings=(Reporting(PAYER),),
            reporteds=(Reported("sub", PAYER),),
            reports=(report(1),),
            invoices=(invoice("in", 9),),
            books=(books(0),),
        )
        with store.beside() as transaction:
            transaction.add_webhook(webhook(1))
            transaction.add_trouble(PAYER, "down", now=5)
            transaction.put_billing_run(BillingRun(1, 2, 3, 4, "", 2))
        store.clear_read_model()
        assert [] == [
            row
            for table in ("accounts", "reporting", "reported", "reports", "invoices", "books")
            for row in reader.rows_of(f"billing_{table}")
        ]
        assert webhook(1) == reader.webhook("evt_1")
        assert Trouble(PAYER, "down", 5, 5, 1) == reader.trouble(PAYER)
        assert BillingRun(1, 2, 3, 4, "", 2) == reader.billing_run()


class TestAccounts:
    def test_that_are_unfinished_are_given_by_payer(
        self, store: WritableStore, reader: Reader
    ) -> None:
        accounts = tuple(account(n, state) for n, state in enumerate(STATES))
        put(store, accounts=accounts)
        unfinished = [accounts[n] for n in (1, 3, 4, 5, 7)]
        assert unfinished == reader.unfinished_accounts(after=b"", limit=9)
        first = reader.unfinished_accounts(after=b"", limit=2)
        rest = reader.unfinished_accounts(after=first[-1].payer, limit=9)
        assert (unfinished[:2], unfinished[2:]) == (first, rest)

    def test_with_a_subscription_are_given_by_payer(
        self, store: WritableStore, reader: Reader
    ) -> None:
        accounts = tuple(account(n, "active", f"sub_{n}" if n % 2 else "") for n in range(6))
        put(store, accounts=accounts)
        assert list(accounts[1::2]) == reader.accounts_with_subscription(after=b"", limit=9)
        after = reader.accounts_with_subscription(after=payer(1), limit=1)
        assert [accounts[3]] == after

    def test_and_cost_centers_on_stripe_are_looked_after(
        self, store: WritableStore, reader: Reader
    ) -> None:
        put(
            store,
            accounts=(
                account(1, "customer"),
                account(2, "customer", holds=1),
                account(3, "cancelling", "sub"),
                account(4, ""),
                account(5, "", "sub of a customer who is gone"),
            ),
            reporteds=(
                Reported("ended", payer(8), 1, 2, 199, 0),
                Reported("settled", payer(9), 1, 2, 200, 0),
            ),
        )
        centers = [
            CostCenterRow(payer(n), 5, strategy, 1, 0, 9)
            for n, strategy in ((3, "stripe"), (4, "other"), (6, "stripe"), (7, "stripe"))
        ]
        with store.folding() as transaction:
            transaction.rows.put_cost_centers(centers)
            assert [payer(n) for n in (2, 3, 5, 6, 7, 8)] == transaction.billed_payers(
                after=b"", limit=9
            )
        assert [payer(n) for n in (5, 6)] == reader.billed_payers(after=payer(3), limit=2)
        assert [centers[n] for n in (0, 2, 3)] == reader.stripe_cost_centers(after=b"", limit=9)
        assert [centers[2]] == reader.stripe_cost_centers(after=payer(3), limit=1)


class TestReports:
    def test_that_are_not_sent_are_given_by_payer_and_number(
        self, store: WritableStore, reader: Reader
    ) -> None:
        states = ("delivered", "waiting", "stamped", "lost", "closed", "waiting")
        own = [report(n, state, of=OTHER_PAYER, subscription="a") for n, state in enumerate(states)]
        other = [report(n, subscription="z") for n in (10, 9)]
        put(store, reports=(*own, *other))
        unsent = [*other[::-1], own[1], own[2], own[5]]
        assert unsent == reader.unsent_reports(after=BEGIN, limit=9)
        pages: list[Report] = []
        while True:
            last = pages[-1] if pages else None
            after = ReportPlace(last.payer, last.seq, last.subscription_id) if last else BEGIN
            page = reader.unsent_reports(after=after, limit=2)
            if not page:
                break
            pages += page
        assert unsent == pages

    def test_of_two_subscriptions_with_one_number_are_both_given(
        self, store: WritableStore, reader: Reader
    ) -> None:
        both = [report(1, subscription="a"), report(1, subscription="b")]
        put(store, reports=tuple(both))
        assert both[1:] == reader.unsent_reports(after=ReportPlace(PAYER, 1, "a"), limit=9)

    def test_that_are_refused_hold_up_their_payer_only(
        self, store: WritableStore, reader: Reader
    ) -> None:
        refused = report(1, "refused", subscription="old")
        held_up = [report(n, subscription="new") for n in (1, 2)]
        others = report(1, of=OTHER_PAYER, subscription="other")
        put(store, reports=(refused, *held_up, others))
        assert [others] == reader.unsent_reports(after=BEGIN, limit=9)
        assert [refused] == reader.refused_reports(limit=9)
        put(store, reports=(report(1, "lost", subscription="old"),))
        assert [*held_up, others] == reader.unsent_reports(after=BEGIN, limit=9)
        assert [] == reader.refused_reports(limit=9)

    def test_of_a_subscription_are_open_until_they_are_resolved(
        self, store: WritableStore, reader: Reader
    ) -> None:
        states = ("delivered", "refused", "stamped", "waiting", "lost", "closed")
        reports = [report(n, state) for n, state in enumerate(states)]
        put(store, reports=(*reports[::-1], report(7, subscription="other")))
        assert reports[1:4] == reader.open_reports("sub")

    def test_are_summed_over_a_cycle_by_when_they_count(
        self, store: WritableStore, reader: Reader
    ) -> None:
        stamped = [
            report(1, "delivered", stamped=9_000, delta=1),
            report(2, "delivered", stamped=10_000, delta=2),
            report(3, "stamped", stamped=19_000, delta=-4),
            report(4, "refused", stamped=19_000, delta=8),
            report(5, "lost", stamped=19_000, delta=16),
            report(6, "closed", stamped=19_000, delta=32),
            report(7, "delivered", stamped=20_000, delta=64),
        ]
        open_ones = [report(8, delta=128), report(9, "lost", delta=256), report(10, delta=-512)]
        other = report(1, "delivered", subscription="other", stamped=15_000, delta=1_024)
        assert (0, 0) == reader.reports_in_cycle("sub", start=10_000, end=20_000)
        put(store, reports=(*stamped, *open_ones, other))
        assert (38, -384) == reader.reports_in_cycle("sub", start=10_000, end=20_000)


class TestInvoicesAndBooks:
    def test_of_a_payer_are_given_newest_first(self, store: WritableStore, reader: Reader) -> None:
        invoices = (invoice("in_b", 1), invoice("in_a", 5), invoice("in_c", 5))
        closed = (books(0), books(20), books(10), books(10, subscription="z"))
        other = invoice("in_d", 7, of=OTHER_PAYER)
        put(store, invoices=(*invoices, other), books=(*closed, books(5, of=OTHER_PAYER)))
        assert [invoices[2], invoices[1], invoices[0]] == reader.invoices_of(PAYER)
        assert [closed[1], closed[3], closed[2], closed[0]] == reader.books_of(PAYER)
        assert [other] == reader.invoices_of(OTHER_PAYER)

    def test_of_a_cycle_are_summed_by_where_their_period_begins(
        self, store: WritableStore, reader: Reader
    ) -> None:
        def settled(name: str, start: int, cents: int, subscription: str = "sub") -> Invoice:
            return Invoice(name, PAYER, subscription, -cents, 0, 50, start, start + 5)

        invoices = (
            settled("in_1", 9, 100),
            settled("in_2", 10, 200),
            settled("in_3", 19, 400),
            settled("in_4", 20, 800),
            settled("in_5", 12, 0),  # of a fee
            settled("in_6", 12, 1_600, "other"),
        )
        assert (0, "") == reader.settled_in_cycle(PAYER, "sub", start=10, end=20)
        put(store, invoices=(*invoices, invoice("in_7", 1, of=OTHER_PAYER)))
        assert (600, "in_3") == reader.settled_in_cycle(PAYER, "sub", start=10, end=20)
        assert (200, "in_2") == reader.settled_in_cycle(PAYER, "sub", start=10, end=10)
        with store.transaction() as transaction:
            assert (100, "in_1") == transaction.settled_in_cycle(PAYER, "sub", start=0, end=10)


class TestWebhooks:
    def test_are_kept_once(self, store: WritableStore, reader: Reader) -> None:
        first = webhook(1)._replace(detail="address", state=WEBHOOK_IGNORED)
        with store.beside() as transaction:
            assert transaction.add_webhook(first)
            assert not transaction.add_webhook(webhook(1, received_at=9))
        with store.beside() as transaction:
            assert not transaction.add_webhook(webhook(1))
            assert transaction.add_webhook(webhook(2))
        assert first == reader.webhook("evt_1")
        assert [webhook(2)] == reader.waiting_webhooks(now=0, limit=9)

    def test_wait_in_the_order_in_which_they_came(
        self, store: WritableStore, reader: Reader
    ) -> None:
        came = [webhook(n, received_at=10 - n) for n in range(4)]
        run(store, *[_adds(each) for each in came])
        assert came[::-1] == reader.waiting_webhooks(now=0, limit=9)
        assert came[:1:-1] == reader.waiting_webhooks(now=0, limit=2)

    def test_that_failed_are_tried_again_after_longer_and_longer(
        self, store: WritableStore, reader: Reader
    ) -> None:
        run(store, _adds(webhook(1)))
        now = 5_000
        for attempt in range(1, 63):
            run(store, _done("evt_1", WEBHOOK_WAITING, "not \0 there", now))
            pause = min(attempt, 60) * MINUTE
            assert [] == reader.waiting_webhooks(now=now + pause - 1, limit=9)
            (due,) = reader.waiting_webhooks(now=now + pause, limit=9)
            assert (attempt, now, "not \\0 there") == (due.attempts, due.tried_at, due.error)
            now += pause

    @pytest.mark.parametrize("state", [WEBHOOK_DONE, WEBHOOK_IGNORED, WEBHOOK_GIVEN_UP])
    def test_that_are_done_wait_no_more(
        self, store: WritableStore, reader: Reader, state: str
    ) -> None:
        run(store, _adds(webhook(1)), _done("evt_1", state, "", 5))
        assert [] == reader.waiting_webhooks(now=2**60, limit=9)
        assert webhook(1, state=state)._replace(attempts=1, tried_at=5) == reader.webhook("evt_1")

    def test_remember_since_when_they_are_hopeless_until_they_are_not(
        self, store: WritableStore, reader: Reader
    ) -> None:
        run(store, _adds(webhook(1)))
        for since in (7, 7, 0):
            run(store, _done("evt_1", WEBHOOK_WAITING, "missing", 9, since))
            (found,) = reader.webhooks(state="", before=None, limit=9)
            assert since == found.hopeless_since

    def test_that_are_not_done_are_counted(self, store: WritableStore, reader: Reader) -> None:
        assert WebhookTallies(0, 0, 0, None) == reader.webhook_tallies()
        states = (
            WEBHOOK_DONE, WEBHOOK_WAITING, WEBHOOK_WAITING, WEBHOOK_IGNORED, WEBHOOK_GIVEN_UP,
            WEBHOOK_WAITING, WEBHOOK_GIVEN_UP,
        )  # fmt: skip
        came = [webhook(n, received_at=n + 3, state=state) for n, state in enumerate(states)]
        run(store, *[_adds(each) for each in came])
        run(store, _done("evt_2", WEBHOOK_WAITING, "down", 9))
        with store.transaction() as transaction:
            for told in (transaction, reader):
                assert WebhookTallies(3, 1, 2, 4) == told.webhook_tallies()

    def test_are_listed_newest_first(self, store: WritableStore, reader: Reader) -> None:
        states = (WEBHOOK_WAITING, WEBHOOK_GIVEN_UP)
        came = [webhook(n, received_at=n // 2, state=states[n % 2]) for n in range(6)]
        run(store, *[_adds(each) for each in came])
        assert came[::-1] == reader.webhooks(state="", before=None, limit=9)
        assert came[5::-2] == reader.webhooks(state=WEBHOOK_GIVEN_UP, before=None, limit=9)
        first = reader.webhooks(state="", before=None, limit=3)
        before = WebhookPlace(first[-1].received_at, first[-1].event_id)
        assert came[2::-1] == reader.webhooks(state="", before=before, limit=9)
        assert came[1:2] == reader.webhooks(state=WEBHOOK_GIVEN_UP, before=before, limit=9)


def _adds(each: Webhook) -> Callable[[Transaction], object]:
    return lambda transaction: transaction.add_webhook(each)


def _done(
    event_id: str, state: str, error: str, now: int, hopeless_since: int = 0
) -> Callable[[Transaction], object]:
    return lambda transaction: transaction.webhook_done(
        event_id, state=state, error=error, now=now, hopeless_since=hopeless_since
    )


class TestTroubles:
    def test_keep_since_when_and_count(self, store: WritableStore, reader: Reader) -> None:
        assert reader.trouble(PAYER) is None
        for now, reason in ((5, "down"), (7, "down"), (9, "not \0 there")):
            with store.beside() as transaction:
                transaction.add_trouble(PAYER, reason, now=now)
        expected = Trouble(PAYER, "not \\0 there", 5, 9, 3)
        with store.beside() as transaction:
            for told in (transaction, reader):
                assert expected == told.trouble(PAYER)
                assert told.trouble(OTHER_PAYER) is None

    def test_are_gone_once_removed_and_begin_anew(
        self, store: WritableStore, reader: Reader
    ) -> None:
        run(store, lambda transaction: transaction.add_trouble(PAYER, "down", now=5))
        for _ in range(2):  # there, and not there
            run(store, lambda transaction: transaction.remove_trouble(PAYER))
            assert reader.trouble(PAYER) is None
        run(store, lambda transaction: transaction.add_trouble(PAYER, "down", now=9))
        assert Trouble(PAYER, "down", 9, 9, 1) == reader.trouble(PAYER)

    def test_are_given_by_payer(self, store: WritableStore, reader: Reader) -> None:
        expected = [Trouble(payer(n), f"reason {n}", n, n, 1) for n in range(5)]
        with store.beside() as transaction:
            for one in reversed(expected):
                transaction.add_trouble(one.payer, one.reason, now=one.since)
        assert expected == reader.troubles(after=b"", upto=b"\xff" * 17)
        assert expected[1:4] == reader.troubles(after=payer(0), upto=payer(3))
        assert [] == reader.troubles(after=payer(4), upto=b"\xff" * 17)

    def test_and_rows_that_wait_are_counted(self, store: WritableStore, reader: Reader) -> None:
        assert BillingTallies(0, 0, 0, 0) == reader.billing_tallies()
        reports = [
            report(1, "delivered", stamped=9, delta=1),
            report(2, "lost", stamped=9, delta=2),
            report(3, "closed", stamped=9, delta=4),
            report(4, "stamped", stamped=9, delta=8),
            report(5, "waiting", delta=16),
            report(6, "waiting", delta=-4),
            report(1, "refused", of=OTHER_PAYER, subscription="other", delta=32),
        ]
        put(store, reports=tuple(reports))
        with store.beside() as transaction:
            transaction.add_trouble(PAYER, "down", now=5)
            transaction.add_trouble(OTHER_PAYER, "down", now=5)
        with store.transaction() as transaction:
            for told in (transaction, reader):
                assert BillingTallies(2, 3, 20, 1) == told.billing_tallies()


class TestTheLastRun:
    def test_is_kept_instead_of_the_one_before(self, store: WritableStore, reader: Reader) -> None:
        assert reader.billing_run() is None
        for each in (BillingRun(1, 5, 7, 0, "", 5), BillingRun(6, 9, 0, 2, "not \0 there", 0)):
            with store.beside() as transaction:
                transaction.put_billing_run(each)
        assert BillingRun(6, 9, 0, 2, "not \\0 there", 5) == reader.billing_run()

    def test_does_not_hide_that_one_succeeded_after_it(
        self, store: WritableStore, reader: Reader
    ) -> None:
        """Another process began later and ended earlier."""
        for each in (BillingRun(3, 8, 7, 0, "", 8), BillingRun(1, 9, 7, 0, "", 6)):
            with store.beside() as transaction:
                transaction.put_billing_run(each)
        assert BillingRun(1, 9, 7, 0, "", 8) == reader.billing_run()


class TestSentences:
    def test_that_name_somebody_are_overwritten_where_they_stand(
        self, store: WritableStore, reader: Reader
    ) -> None:
        with store.beside() as transaction:
            transaction.add_trouble(PAYER, "a trouble", now=1)
            transaction.add_trouble(OTHER_PAYER, "of Ädä", now=1)
            transaction.put_billing_run(BillingRun(1, 2, 3, 4, "a run", 0))
            transaction.add_webhook(Webhook("evt_1", "a.type", "x_1", 1, 2))
            transaction.webhook_done("evt_1", state=WEBHOOK_WAITING, error="a webhook", now=3)
            transaction.add_webhook(Webhook("evt_2", "a.type", "x_1", 1, 2))
            transaction.job_ran("a job", started=1, finished=None, error="a failed job")
            kept = transaction.sentences()
            transaction.erase_sentences([each for each in kept if each.key != OTHER_PAYER])
        assert sorted(map(str, kept)) == sorted(
            map(
                str,
                [
                    Sentence("billing_troubles", PAYER, "a trouble"),
                    Sentence("billing_troubles", OTHER_PAYER, "of Ädä"),
                    Sentence("billing_run", 1, "a run"),
                    Sentence("webhooks", "evt_1", "a webhook"),
                    Sentence("jobs", "a job", "a failed job"),
                ],
            )
        )
        assert {PAYER: "erased   ", OTHER_PAYER: "of Ädä"} == {
            trouble.payer: trouble.reason
            for trouble in reader.troubles(after=b"", upto=bytes([255] * 16))
        }
        run = reader.billing_run()
        assert run is not None
        assert "erase" == run.error
        with store.beside() as transaction:
            assert {"a trouble", "a webhook"}.isdisjoint(
                each.text for each in transaction.sentences()
            )


class TestIndexes:
    """SQLite uses a partial index only for a condition that is written word for word."""

    @pytest.mark.parametrize(
        ("statement", "index"),
        [
            (statements._UNSENT, "billing_reports_unresolved"),
            (statements._REFUSED, "billing_reports_unresolved"),
            (statements._OPEN, "billing_reports_open"),
            (statements._IN_CYCLE, "billing_reports_stamped"),
            (statements._BILLED, "billing_accounts_billed"),
            (statements._BILLED, "cost_centers_of_stripe"),
            (statements._BILLED, "billing_reported_unsettled"),
            (statements._SETTLED, "billing_invoices_by_payer"),
            (statements._DUE_WEBHOOKS, "webhooks_by_state"),
            (counting.COUNT_REPORTS, "billing_reports_unresolved"),
            (counting.COUNT_WEBHOOKS, "webhooks_by_state"),
        ],
    )
    def test_find_what_is_asked_for(self, statement: str, index: str) -> None:
        with closing(SQLiteStore(None)) as store:
            plan = _plan(store.connection, statement)
        assert any(index in step for step in plan), plan
        assert not any("SCAN" in step and " USING " not in step for step in plan[1:]), plan


def _plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    values = [None] * statement.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
