"""How billing goes on, by SQL: troubles of payers, the last run, and counts of what waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from persistence.billing import BillingRun, BillingTallies, Trouble, WebhookTallies
from persistence.sql.session import listed

_TROUBLE, _RUN = Trouble._fields, BillingRun._fields
_TROUBLES = f"SELECT {listed(_TROUBLE)} FROM billing_troubles"

PUT_TROUBLE = (
    f"INSERT INTO billing_troubles ({listed(_TROUBLE)}) VALUES (?, ?, ?, ?, 1)"
    " ON CONFLICT (payer) DO UPDATE SET reason = excluded.reason, tried_at = excluded.tried_at,"
    " attempts = billing_troubles.attempts + 1"
)
# Two processes may run at once, and the one that ends last may have begun first.
PUT_RUN = (
    f"INSERT INTO billing_run (one, {listed(_RUN)}) VALUES (1, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (one) DO UPDATE SET started_at = excluded.started_at,"
    " ended_at = excluded.ended_at, done = excluded.done, failed = excluded.failed,"
    " error = excluded.error, succeeded_at ="
    " CASE WHEN excluded.succeeded_at > billing_run.succeeded_at"
    " THEN excluded.succeeded_at ELSE billing_run.succeeded_at END"
)
# The states word for word as the partial index has them: SQLite proves nothing, it compares.
COUNT_REPORTS = (
    "SELECT state = 'refused', count(*), coalesce(sum(delta), 0) FROM billing_reports"
    " INDEXED BY billing_reports_unresolved"
    " WHERE state IN ('waiting', 'stamped', 'refused') GROUP BY 1"
)
COUNT_WEBHOOKS = (
    "SELECT state, count(*), coalesce(sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END), 0),"
    " min(received_at) FROM webhooks WHERE state IN ('waiting', 'given-up') GROUP BY state"
)


class SqlTroubleReads(ABC):
    """Implements that part of `persistence.BillingReads`."""

    @property
    @abstractmethod
    def _select(self) -> Callable[[str, Sequence[Any]], list[Any]]:
        """Ask for all rows."""

    def trouble(self, payer: bytes) -> Trouble | None:
        """Give why a payer's billing does not go on; None while it does."""
        rows = self._select(f"{_TROUBLES} WHERE payer = ?", (payer,))
        return Trouble(*rows[0]) if rows else None

    def troubles(self, *, after: bytes, upto: bytes) -> list[Trouble]:
        """Give the troubles of payers behind one up to another, by payer."""
        rows = self._select(
            f"{_TROUBLES} WHERE payer > ? AND payer <= ? ORDER BY payer", (after, upto)
        )
        return [Trouble(*row) for row in rows]

    def billing_run(self) -> BillingRun | None:
        """Give how the last run went; None before the first."""
        rows = self._select(f"SELECT {listed(_RUN)} FROM billing_run", ())
        return BillingRun(*rows[0]) if rows else None

    def billing_tallies(self) -> BillingTallies:
        """Count what waits in this shard."""
        in_trouble = self._select("SELECT count(*) FROM billing_troubles", ())[0][0]
        counted = {bool(row[0]): (row[1], int(row[2])) for row in self._select(COUNT_REPORTS, ())}
        waiting, refused = (counted.get(is_refused, (0, 0)) for is_refused in (False, True))
        return BillingTallies(in_trouble, *waiting, refused[0])

    def webhook_tallies(self) -> WebhookTallies:
        """Count webhooks that are not done."""
        counted = {row[0]: row[1:] for row in self._select(COUNT_WEBHOOKS, ())}
        waiting, failing, oldest = counted.get("waiting", (0, 0, None))
        return WebhookTallies(waiting, int(failing), counted.get("given-up", (0,))[0], oldest)
