"""Billing's rows are a function of the log, however it is cut, and its sums are the log's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from events import (
    BillingCycleClosed,
    InvoiceCorrected,
    InvoiceSettled,
    Recorded,
    ReportedCycleClosed,
    UnsettledUsageKept,
    UsageReported,
    UsageReportRejected,
    UsageReportRequested,
)
from ledger.replay import compare_with_log
from persistence import Reader, WritableStore
from persistence.sql.tables import TABLES
from persistence.sqlite import SQLiteReader, SQLiteStore
from projections import ReadModel, Report, Reported, Reporting
from tests.laws.billing import PAYERS, History, histories
from tests.laws.histories import examples
from tests.laws.replay import READ_MODEL, Rows, replayed, rows_of

FOLDED = ("stored_events", "projections", *READ_MODEL)


def fold(store: WritableStore, log: Sequence[Recorded], *, guarded: bool = True) -> None:
    """Append and fold in one transaction."""
    with store.transaction() as transaction:
        appended = transaction.append(log)
        standing, paused = transaction.standing()
        model = ReadModel(
            transaction.rows, transaction.positions, standing, paused, guarded=guarded
        )
        model.fold(appended)
        assert {} == paused


@contextmanager
def folded(
    history: History, sizes: Sequence[int], *, in_a_file: bool = False
) -> Iterator[SQLiteStore]:
    """A store with the history, folded in batches of these sizes, again and again."""
    with (
        TemporaryDirectory() as folder,
        closing(SQLiteStore(Path(folder) if in_a_file else None, synchronous="off")) as store,
    ):
        rest, turn = history.log, 0
        while rest:
            size = sizes[turn % len(sizes)]
            fold(store, rest[:size], guarded=turn % 2 == 0)
            rest, turn = rest[size:], turn + 1
        yield store


def rows_at_once(history: History) -> Rows:
    with folded(history, [len(history.log) or 1]) as store:
        return rows_of(store, FOLDED)


class TestTheSameLog:
    @examples(150)
    @given(history=histories(), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3))
    def test_has_the_same_rows_in_batches_of_any_size(
        self, history: History, sizes: list[int]
    ) -> None:
        with folded(history, sizes) as store:
            assert rows_at_once(history) == rows_of(store, FOLDED)

    @examples(15)
    @given(history=histories(), size=st.integers(1, 9))
    def test_has_the_same_rows_in_a_file(self, history: History, size: int) -> None:
        with folded(history, [size], in_a_file=True) as store:
            assert rows_at_once(history) == rows_of(store, FOLDED)

    @examples(50)
    @given(history=histories(), size=st.integers(1, 9), batch=st.integers(1, 40))
    def test_has_the_same_rows_when_it_is_folded_anew(
        self, history: History, size: int, batch: int
    ) -> None:
        with folded(history, [size]) as store, replayed(store, batch_events=batch) as fresh:
            assert rows_of(fresh, FOLDED) == rows_of(store, FOLDED)

    @examples(15)
    @given(history=histories())
    def test_keeps_the_ledgers_laws(self, history: History) -> None:
        with folded(history, [3]) as store, closing(SQLiteReader(store)) as reader:
            laws = [*reader.audit(), *compare_with_log(reader)]
            assert [] == [f"{law}: {breach}" for law, _, breaches in laws for breach in breaches]


class TestRows:
    """Against sums over the whole log, which is another way to say the same."""

    @examples(150)
    @given(history=histories())
    def test_are_what_the_log_says(self, history: History) -> None:
        with folded(history, [4]) as store, closing(SQLiteReader(store)) as reader:
            for account in history.accounts:
                expected = reporting_of(history.log, account.payer)
                assert expected == (reader.reporting(account.payer) or Reporting(account.payer))
                assert invoiced_of(history.log, account.payer) == {
                    invoice.invoice_id: (invoice.credit_cents, invoice.corrected_cents)
                    for invoice in reader.invoices_of(account.payer)
                }
                for subscription in account.subscriptions:
                    sums = reported_of(history.log, subscription.id, account.payer)
                    assert sums == reader.reported(subscription.id)
                    assert len(subscription.unresolved) == sums.waiting
                    assert [(row.state, row.stamped, row.delta) for row in subscription.rows] == [
                        (report.state, report.stamped, report.delta)
                        for report in reports_of(reader, subscription.id, len(subscription.rows))
                    ]
                self._account(reader, history, account.payer)

    @staticmethod
    def _account(reader: Reader, history: History, payer: bytes) -> None:
        known = history.accounts[PAYERS.index(payer)]
        row = reader.billing_account(payer)
        bound = known.subscription.id if known.subscription else ""
        if row is None:
            assert ("", "", "") == (known.state, known.customer, bound)
            return
        assert (known.state, known.customer, bound, len(known.holds)) == (
            row.state,
            row.customer_id,
            row.subscription_id,
            row.holds,
        )


def reports_of(reader: Reader, subscription: str, count: int) -> Iterator[Report]:
    for seq in range(1, count + 1):
        report = reader.report(subscription, seq)
        assert report is not None
        yield report


def events_of(log: Sequence[Recorded], payer: bytes) -> list[object]:
    return [one.event for one in log if getattr(one.event, "payer", b"") == payer]


def put_back(events: Sequence[object], subscription: str | None = None) -> int:
    """Credits of lost rows, and of shortfalls, of one subscription or of all."""
    deltas = {
        (event.subscription_id, event.seq): event.delta
        for event in events
        if isinstance(event, UsageReportRequested)
    }
    total = 0
    for event in events:
        if isinstance(event, UsageReportRejected) and event.outcome == "lost":
            if subscription in {None, event.subscription_id}:
                total += deltas[event.subscription_id, event.seq]
        elif isinstance(event, ReportedCycleClosed) and (
            subscription in {None, event.subscription_id}
        ):
            total += event.shortfall_credits
    return total


def reporting_of(log: Sequence[Recorded], payer: bytes) -> Reporting:
    """Since the last upgrade; what is put back later may have been requested before it."""
    events = events_of(log, payer)
    upgrades = [
        index
        for index, event in enumerate(events)
        if isinstance(event, BillingCycleClosed) and event.reason == "upgrade"
    ]
    since = upgrades[-1] + 1 if upgrades else 0
    present = events[since:]
    unsettled = [event for event in present if isinstance(event, UnsettledUsageKept)]
    requested = sum(event.delta for event in present if isinstance(event, UsageReportRequested))
    return Reporting(
        payer,
        unsettled[-1].unsettled_cents if unsettled else 0,
        sum(
            event.credit_cents
            for event in present
            if isinstance(event, InvoiceSettled | InvoiceCorrected)
        ),
        requested - (put_back(events) - put_back(events[:since])),
    )


def reported_of(log: Sequence[Recorded], subscription: str, payer: bytes) -> Reported:
    events = events_of(log, payer)
    own = [event for event in events if getattr(event, "subscription_id", "") == subscription]
    requested = [event for event in own if isinstance(event, UsageReportRequested)]
    resolved = {event.seq for event in own if isinstance(event, UsageReported)} | {
        event.seq
        for event in own
        if isinstance(event, UsageReportRejected) and event.outcome in {"lost", "closed"}
    }
    return Reported(
        subscription,
        payer,
        len(requested),
        sum(event.delta for event in requested) - put_back(events, subscription),
        -sum(event.credit_cents for event in own if isinstance(event, InvoiceSettled)),
        len(requested) - len(resolved),
    )


def invoiced_of(log: Sequence[Recorded], payer: bytes) -> dict[str, tuple[int, int]]:
    events = events_of(log, payer)
    corrected: dict[str, int] = {}
    for event in events:
        if isinstance(event, InvoiceCorrected):
            corrected[event.invoice_id] = corrected.get(event.invoice_id, 0) + event.credit_cents
    return {
        event.invoice_id: (event.credit_cents, corrected.get(event.invoice_id, 0))
        for event in events
        if isinstance(event, InvoiceSettled)
    }


class TestAFoldThatFails:
    @examples(30)
    @given(history=histories(), after=st.integers(0, 8), size=st.integers(1, 9))
    def test_pauses_billing_only_and_leaves_its_rows(
        self, history: History, after: int, size: int
    ) -> None:
        left = after

        def break_down(name: str) -> None:
            nonlocal left
            if name == "billing":
                left -= 1
                if left < 0:
                    raise RuntimeError("planted")

        with closing(SQLiteStore(None)) as store:
            for start in range(0, len(history.log), size):
                with store.transaction() as transaction:
                    appended = transaction.append(history.log[start : start + size])
                    model = ReadModel(
                        transaction.rows,
                        transaction.positions,
                        *transaction.standing(),
                        wrap=break_down,
                    )
                    model.fold(appended)
            with store.transaction() as transaction:
                standing, paused = transaction.standing()
            assert paused.keys() == ({"billing"} if left < 0 else set())
            head = len(history.log)
            assert {head} == {at for name, at in standing.items() if name != "billing"}
            with replayed_to(history, standing["billing"]) as expected:
                tables = TABLES["billing"]
                assert rows_of(expected, tables) == rows_of(store, tables)


@contextmanager
def replayed_to(history: History, position: int) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(None)) as store:
        if position:
            fold(store, history.log[:position])
        yield store
