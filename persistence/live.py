"""The ports of live meters and alerts: their rows in a transaction, and reading them.

A state is what `projections.live` encodes. It lies here because the embedded views follow the log
with their rows and their position in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from projections.alerts import Alert


class LiveRow(NamedTuple):
    """One payer's live state, encoded."""

    payer: bytes
    position: int
    has_running: bool  # a reconcile changes it
    state: bytes


class AlertPlace(NamedTuple):
    """Where an alert stands among all of them; newer ones are greater."""

    recorded_at: int
    payer: bytes
    cycle: int
    threshold: int


class RunningRow(NamedTuple):
    """What the ledger's own rows say of a payer: balance, and how many run by (class, rate)."""

    payer: bytes
    balance_cents: int
    running: dict[tuple[str, str], int]


class LiveRows(Protocol):
    """Live states and alerts inside a transaction."""

    def states(self, payers: Sequence[bytes]) -> dict[bytes, bytes]:
        """Load states; payers without one are left out."""

    def running(self, *, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Load the states of payers with something running, by payer."""

    def put(self, rows: Iterable[LiveRow]) -> None:
        """Write states."""

    def add_alerts(self, alerts: Iterable[Alert]) -> None:
        """Keep alerts; one that is there already, by its ID, stays as it is."""

    def clear(self) -> None:
        """Forget states and alerts, so that the log can be folded anew."""


class LiveReader(Protocol):
    """Reading live states and alerts, and what to compare them with."""

    def state(self, payer: bytes) -> bytes | None:
        """Give one payer's state."""

    def states(self, *, after: bytes, limit: int) -> list[bytes]:
        """Give states by payer."""

    def alerts(self, payer: bytes | None, *, before: AlertPlace | None, limit: int) -> list[Alert]:
        """Give alerts, newest first, of one payer or of all; without the number of the shard."""

    def ledger(self, *, after: bytes, limit: int) -> list[RunningRow]:
        """Give what the ledger's own rows say, by payer."""

    def ledger_of(self, payer: bytes) -> RunningRow:
        """The same of one payer."""


def place_of(alert: Alert) -> AlertPlace:
    """Tell where an alert stands among all of them."""
    return AlertPlace(alert.recorded_at, alert.payer, alert.cycle, alert.threshold)
