"""Rows of live meters and alerts by SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from persistence.live import AlertPlace, LiveRow, RunningRow
from persistence.sql.session import Session
from projections.alerts import Alert

_ALERT_KEY = ("payer", "cycle", "threshold")
_ALERT = (*_ALERT_KEY, "recorded_at", "balance_cents", "spending_limit", "position")
_ROW = LiveRow._fields
_PLACE = "(recorded_at, payer, cycle, threshold)"
_GREATEST = b"\xff" * 17  # beyond every payer
_BALANCES = "SELECT payer, booked_cents + running_cents FROM balances WHERE payer "
_RUNNING = (
    "SELECT payer, workspace_class, rate, count(*) FROM open_instances"
    " WHERE started IS NOT NULL AND stopping IS NULL AND stopped IS NULL AND payer {payers}"
    " GROUP BY payer, workspace_class, rate"
)

Select = Callable[[str, Sequence[Any]], list[Any]]


class SqlLiveRows:
    """Implements `persistence.LiveRows` inside a transaction."""

    def __init__(self, session: Session) -> None:
        """Take the transaction's session."""
        self._session = session

    def states(self, payers: Sequence[bytes]) -> dict[bytes, bytes]:
        """Load states; payers without one are left out."""
        return dict(
            self._session.among("SELECT payer, state FROM meters WHERE payer {among}", payers)
        )

    def running(self, *, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Load the states of payers with something running, by payer."""
        return self._session.all(
            "SELECT payer, state FROM meters WHERE has_running = 1 AND payer > ?"
            " ORDER BY payer LIMIT ?",
            (after, limit),
        )

    def put(self, rows: Iterable[LiveRow]) -> None:
        """Write states."""
        self._session.put("meters", ("payer",), _ROW, list(rows), changed=_ROW[1:])

    def add_alerts(self, alerts: Iterable[Alert]) -> None:
        """Keep alerts; one that is there already, by its ID, stays as it is."""
        rows = [tuple(getattr(alert, column) for column in _ALERT) for alert in alerts]
        self._session.insert("alerts", _ALERT, rows, missing_only=True)

    def clear(self) -> None:
        """Forget states and alerts, so that the log can be folded anew."""
        self._session.change("DELETE FROM meters")
        self._session.change("DELETE FROM alerts")


class SqlLiveReader:
    """Implements `persistence.LiveReader` by a reader's own means."""

    def __init__(
        self, select: Select, snapshot: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Ask on the reader's connection."""
        self._all = select
        self._snapshot = snapshot

    def state(self, payer: bytes) -> bytes | None:
        """Give one payer's state."""
        rows = self._all("SELECT state FROM meters WHERE payer = ?", (payer,))
        return rows[0][0] if rows else None

    def states(self, *, after: bytes, limit: int) -> list[bytes]:
        """Give states by payer."""
        rows = self._all(
            "SELECT state FROM meters WHERE payer > ? ORDER BY payer LIMIT ?", (after, limit)
        )
        return [row[0] for row in rows]

    def alerts(self, payer: bytes | None, *, before: AlertPlace | None, limit: int) -> list[Alert]:
        """Give alerts, newest first, of one payer or of all; without the number of the shard."""
        conditions: list[str] = []
        values: list[Any] = []
        if payer is not None:
            conditions.append("payer = ?")
            values.append(payer)
        if before is not None:
            conditions.append(f"{_PLACE} < (?, ?, ?, ?)")
            values += before
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._all(
            "SELECT payer, cycle, threshold, balance_cents, spending_limit, 0, position,"
            f" recorded_at FROM alerts{where} ORDER BY recorded_at DESC, payer DESC, cycle DESC,"
            " threshold DESC LIMIT ?",
            (*values, limit),
        )
        return [Alert(*row) for row in rows]

    def ledger(self, *, after: bytes, limit: int) -> list[RunningRow]:
        """Give what the ledger's own rows say, by payer."""
        with self._snapshot():
            balances = dict(self._all(_BALANCES + "> ? ORDER BY payer LIMIT ?", (after, limit)))
            last = max(balances) if len(balances) == limit else _GREATEST
            running = self._all(_RUNNING.format(payers="> ? AND payer <= ?"), (after, last))
        return _rows(balances, running)

    def ledger_of(self, payer: bytes) -> RunningRow:
        """The same of one payer."""
        with self._snapshot():
            balances = dict(self._all(_BALANCES + "= ?", (payer,)))
            running = self._all(_RUNNING.format(payers="= ?"), (payer,))
        balances.setdefault(payer, 0)
        return _rows(balances, running)[0]


def _rows(
    balances: dict[bytes, int], running: Sequence[tuple[bytes, str, str, int]]
) -> list[RunningRow]:
    rows = {payer: RunningRow(payer, cents, {}) for payer, cents in balances.items()}
    for payer, workspace_class, rate, count in running:
        row = rows.setdefault(payer, RunningRow(payer, 0, {}))
        row.running[workspace_class, rate] = count
    return [rows[payer] for payer in sorted(rows)]
