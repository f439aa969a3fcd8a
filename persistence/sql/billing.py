"""Rows of billing, and the inbox of webhooks, by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from persistence.billing import (
    WEBHOOK_RETRIES_SPREAD_MAX,
    WEBHOOK_RETRY_MS,
    CycleSums,
    ReportPlace,
    SettledSum,
    Webhook,
    WebhookPlace,
)
from persistence.sql.session import Session, listed
from persistence.sql.troubles import SqlTroubleReads
from projections import (
    BillingAccount,
    ClosedBooks,
    CostCenterRow,
    Invoice,
    Report,
    Reported,
    Reporting,
)

OF_PAYER_MAX = 1_000  # invoices and closed cycles shown of a payer: of months, eighty years

_astuple = msgspec.structs.astuple

_ACCOUNT = BillingAccount.__struct_fields__
_REPORTING = Reporting.__struct_fields__
_REPORTED = Reported.__struct_fields__
_REPORT = Report.__struct_fields__
_INVOICE = Invoice.__struct_fields__
_BOOKS = ClosedBooks.__struct_fields__
_COST_CENTER = CostCenterRow.__struct_fields__
_WEBHOOK = Webhook._fields
_REPORT_KEY = ("subscription_id", "seq")
_BOOKS_KEY = ("subscription_id", "period_start")

_ACCOUNTS = f"SELECT {listed(_ACCOUNT)} FROM billing_accounts"
_REPORTS = f"SELECT {listed(_REPORT)} FROM billing_reports"
_INVOICES = f"SELECT {listed(_INVOICE)} FROM billing_invoices"
_WEBHOOKS = f"SELECT {listed(_WEBHOOK)} FROM webhooks"
# Word for word what the partial index says: SQLite proves nothing, it compares.
_UNRESOLVED = "state IN ('waiting', 'stamped', 'refused')"
_REPORT_ORDER = "payer, seq, subscription_id"
_UNFINISHED = (
    "state IN ('customer-requested', 'subscription-requested', 'hold-verified',"
    " 'subscription-created', 'cancelling')"
)
_BILLED = (
    "SELECT payer FROM billing_accounts WHERE"
    " (state NOT IN ('', 'customer') OR subscription_id <> '' OR holds > 0) AND payer > ?"
    " UNION SELECT payer FROM cost_centers INDEXED BY cost_centers_of_stripe"
    " WHERE strategy = 'stripe' AND payer > ?"
    " UNION SELECT payer FROM billing_reported INDEXED BY billing_reported_unsettled"
    " WHERE (settled_cents <> 100 * requested_credits OR waiting > 0) AND payer > ?"
    " ORDER BY payer LIMIT ?"
)
_OPEN = (
    f"{_REPORTS} INDEXED BY billing_reports_open WHERE subscription_id = ? AND {_UNRESOLVED}"
    " ORDER BY seq"
)
_UNSENT = (
    f"{_REPORTS} WHERE {_UNRESOLVED} AND state <> 'refused'"
    f" AND ({_REPORT_ORDER}) > (?, ?, ?) AND payer NOT IN"
    f" (SELECT payer FROM billing_reports WHERE {_UNRESOLVED} AND state = 'refused')"
    f" ORDER BY {_REPORT_ORDER} LIMIT ?"
)
_REFUSED = f"{_REPORTS} WHERE {_UNRESOLVED} AND state = 'refused' ORDER BY {_REPORT_ORDER} LIMIT ?"
_IN_CYCLE = (
    "SELECT (SELECT coalesce(sum(delta), 0) FROM billing_reports WHERE subscription_id = ?"
    " AND stamped >= ? AND stamped < ? AND state <> 'lost'),"
    " (SELECT coalesce(sum(delta), 0) FROM billing_reports INDEXED BY billing_reports_stamped"
    " WHERE subscription_id = ? AND stamped IS NULL AND state <> 'lost')"
)
_TAKEN_BACK = (
    "SELECT coalesce(sum(-delta), 0) FROM billing_reports WHERE subscription_id = ?"
    " AND stamped >= ? AND stamped < ? AND state <> 'lost' AND delta < 0"
)
_SETTLED = (
    "SELECT coalesce(sum(-credit_cents), 0), coalesce(max(invoice_id), '') FROM billing_invoices"
    " WHERE payer = ? AND subscription_id = ? AND period_start >= ? AND period_start < ?"
    " AND credit_cents <> 0"
)
_DUE_WEBHOOKS = (
    f"{_WEBHOOKS} WHERE state = 'waiting' AND tried_at + {WEBHOOK_RETRY_MS} * CASE"
    f" WHEN attempts < {WEBHOOK_RETRIES_SPREAD_MAX} THEN attempts"
    f" ELSE {WEBHOOK_RETRIES_SPREAD_MAX} END <= ? ORDER BY received_at, event_id LIMIT ?"
)


class SqlBillingRows:
    """Implements `projections.BillingRows` inside a transaction."""

    _session: Session

    def billing_accounts(self, payers: Sequence[bytes]) -> dict[bytes, BillingAccount]:
        """Load accounts."""
        statement = f"{_ACCOUNTS} WHERE payer {{among}}"
        return {row[0]: BillingAccount(*row) for row in self._session.among(statement, payers)}

    def reportings(self, payers: Sequence[bytes]) -> dict[bytes, Reporting]:
        """Load what was reported of payers."""
        statement = f"SELECT {listed(_REPORTING)} FROM billing_reporting WHERE payer {{among}}"
        return {row[0]: Reporting(*row) for row in self._session.among(statement, payers)}

    def reporteds(self, subscriptions: Sequence[str]) -> dict[str, Reported]:
        """Load the sums of subscriptions."""
        statement = (
            f"SELECT {listed(_REPORTED)} FROM billing_reported WHERE subscription_id {{among}}"
        )
        return {row[0]: Reported(*row) for row in self._session.among(statement, subscriptions)}

    def reports(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Report]:
        """Load rows of the outbox by (subscription, seq)."""
        rows = self._session.matching("billing_reports", _REPORT, _REPORT_KEY, keys)
        return {(row[0], row[1]): Report(*row) for row in rows}

    def invoices(self, ids: Sequence[str]) -> dict[str, Invoice]:
        """Load invoices."""
        statement = f"{_INVOICES} WHERE invoice_id {{among}}"
        return {row[0]: Invoice(*row) for row in self._session.among(statement, ids)}

    def put_billing(
        self,
        *,
        accounts: Sequence[BillingAccount],
        reportings: Sequence[Reporting],
        reporteds: Sequence[Reported],
        reports: Sequence[Report],
        invoices: Sequence[Invoice],
        books: Sequence[ClosedBooks],
    ) -> None:
        """Write rows."""
        for table, keys, columns, rows in (
            ("billing_accounts", ("payer",), _ACCOUNT, accounts),
            ("billing_reporting", ("payer",), _REPORTING, reportings),
            ("billing_reported", ("subscription_id",), _REPORTED, reporteds),
            ("billing_reports", _REPORT_KEY, _REPORT, reports),
            ("billing_invoices", ("invoice_id",), _INVOICE, invoices),
            ("billing_books", _BOOKS_KEY, _BOOKS, books),
        ):
            if rows:
                self._session.put(table, keys, columns, [_astuple(row) for row in rows])


class SqlBillingReads(SqlTroubleReads):
    """Implements `persistence.BillingReads` by the means of a transaction or a reader."""

    def _first(self, statement: str, values: Sequence[Any]) -> Any:
        rows = self._select(statement, values)
        return rows[0] if rows else None

    def billing_account(self, payer: bytes) -> BillingAccount | None:
        """Give a payer's account; None while it has none."""
        row = self._first(f"{_ACCOUNTS} WHERE payer = ?", (payer,))
        return BillingAccount(*row) if row else None

    def reporting(self, payer: bytes) -> Reporting | None:
        """Give what was reported of a payer; None means zeros."""
        statement = f"SELECT {listed(_REPORTING)} FROM billing_reporting WHERE payer = ?"
        row = self._first(statement, (payer,))
        return Reporting(*row) if row else None

    def reported(self, subscription_id: str) -> Reported | None:
        """Give the sums of a subscription; None when it is not known."""
        statement = f"SELECT {listed(_REPORTED)} FROM billing_reported WHERE subscription_id = ?"
        row = self._first(statement, (subscription_id,))
        return Reported(*row) if row else None

    def report(self, subscription_id: str, seq: int) -> Report | None:
        """Give a row of the outbox."""
        statement = f"{_REPORTS} WHERE subscription_id = ? AND seq = ?"
        row = self._first(statement, (subscription_id, seq))
        return Report(*row) if row else None

    def open_reports(self, subscription_id: str) -> list[Report]:
        """Give a subscription's rows that wait, are stamped or refused, by seq."""
        return [Report(*row) for row in self._select(_OPEN, (subscription_id,))]

    def unsent_reports(self, *, after: ReportPlace, limit: int) -> list[Report]:
        """Give rows that wait or are stamped, by payer and seq; of refused payers none."""
        return [Report(*row) for row in self._select(_UNSENT, (*after, limit))]

    def refused_reports(self, *, limit: int) -> list[Report]:
        """Give refused rows, by payer and seq."""
        return [Report(*row) for row in self._select(_REFUSED, (limit,))]

    def reports_in_cycle(self, subscription_id: str, *, start: int, end: int) -> CycleSums:
        """Sum the rows stamped in [start, end), and those not stamped yet, but for lost ones."""
        row = self._first(_IN_CYCLE, (subscription_id, start, end, subscription_id))
        return CycleSums(*row)

    def reports_stamped_from(self, subscription_id: str, start: int) -> list[Report]:
        """Give rows stamped at a time or later, by seq; lost ones left out."""
        rows = self._select(
            f"{_REPORTS} INDEXED BY billing_reports_stamped WHERE subscription_id = ?"
            " AND stamped >= ? AND state <> 'lost' ORDER BY seq",
            (subscription_id, start),
        )
        return [Report(*row) for row in rows]

    def taken_back_in_cycle(self, subscription_id: str, *, start: int, end: int) -> int:
        """Sum what negative rows stamped in [start, end) take back, lost ones left out."""
        row = self._first(_TAKEN_BACK, (subscription_id, start, end))
        return int(row[0])

    def unfinished_accounts(self, *, after: bytes, limit: int) -> list[BillingAccount]:
        """Give accounts whose customer or subscription is being made or ended, by payer."""
        rows = self._select(
            f"{_ACCOUNTS} WHERE {_UNFINISHED} AND payer > ? ORDER BY payer LIMIT ?", (after, limit)
        )
        return [BillingAccount(*row) for row in rows]

    def accounts_with_subscription(self, *, after: bytes, limit: int) -> list[BillingAccount]:
        """Give accounts that have a subscription, by payer."""
        rows = self._select(
            f"{_ACCOUNTS} WHERE subscription_id <> '' AND payer > ? ORDER BY payer LIMIT ?",
            (after, limit),
        )
        return [BillingAccount(*row) for row in rows]

    def billed_payers(self, *, after: bytes, limit: int) -> list[bytes]:
        """Give payers of whom billing has to look after something."""
        return [row[0] for row in self._select(_BILLED, (after, after, after, limit))]

    def stripe_cost_centers(self, *, after: bytes, limit: int) -> list[CostCenterRow]:
        """Give cost centers on STRIPE, by payer."""
        rows = self._select(
            f"SELECT {listed(_COST_CENTER)} FROM cost_centers"
            " INDEXED BY cost_centers_of_stripe WHERE strategy = 'stripe' AND payer > ?"
            " ORDER BY payer LIMIT ?",
            (after, limit),
        )
        return [CostCenterRow(*row) for row in rows]

    def invoice(self, invoice_id: str) -> Invoice | None:
        """Give a settled invoice."""
        row = self._first(f"{_INVOICES} WHERE invoice_id = ?", (invoice_id,))
        return Invoice(*row) if row else None

    def invoices_of(self, payer: bytes) -> list[Invoice]:
        """Give a payer's newest settled invoices, newest first."""
        rows = self._select(
            f"{_INVOICES} WHERE payer = ? ORDER BY finalized_at DESC, invoice_id DESC LIMIT ?",
            (payer, OF_PAYER_MAX),
        )
        return [Invoice(*row) for row in rows]

    def settled_in_cycle(
        self, payer: bytes, subscription_id: str, *, start: int, end: int
    ) -> SettledSum:
        """Sum what invoices settled of a subscription whose period begins in [start, end)."""
        row = self._first(_SETTLED, (payer, subscription_id, start, max(end, start + 1)))
        return SettledSum(int(row[0]), row[1])

    def books_of(self, payer: bytes) -> list[ClosedBooks]:
        """Give a payer's newest closed cycles, newest first."""
        rows = self._select(
            f"SELECT {listed(_BOOKS)} FROM billing_books WHERE payer = ?"
            " ORDER BY period_start DESC, subscription_id DESC LIMIT ?",
            (payer, OF_PAYER_MAX),
        )
        return [ClosedBooks(*row) for row in rows]

    def webhook(self, event_id: str) -> Webhook | None:
        """Give one webhook."""
        row = self._first(f"{_WEBHOOKS} WHERE event_id = ?", (event_id,))
        return Webhook(*row) if row else None

    def waiting_webhooks(self, *, now: int, limit: int) -> list[Webhook]:
        """Give webhooks that wait and are due, the first received first."""
        return [Webhook(*row) for row in self._select(_DUE_WEBHOOKS, (now, limit))]

    def webhooks(self, *, state: str, before: WebhookPlace | None, limit: int) -> list[Webhook]:
        """Give webhooks in a state, or in any when it is empty, newest first."""
        conditions: list[str] = []
        values: list[Any] = []
        if state:
            conditions.append("state = ?")
            values.append(state)
        if before is not None:
            conditions.append("(received_at, event_id) < (?, ?)")
            values += before
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._select(
            f"{_WEBHOOKS}{where} ORDER BY received_at DESC, event_id DESC LIMIT ?",
            (*values, limit),
        )
        return [Webhook(*row) for row in rows]


def add_webhook(session: Session, webhook: Webhook) -> bool:
    """Keep what Stripe told; False when its event id is there already."""
    marks = ", ".join("?" * len(_WEBHOOK))
    added = session.change(
        f"INSERT INTO webhooks ({listed(_WEBHOOK)}) VALUES ({marks}) ON CONFLICT DO NOTHING",
        webhook,
    )
    return added == 1
