"""Usage totals: counts and cents of entries by payer, hour and day, and by user and day.

They answer the totals of a listing over any [from, to) while reading entries only of the partial
hours (of one user: days) at its two edges, and lead a page number to the hour or day it lies in.
"""

from __future__ import annotations

from projections.rows import BUCKET_MS, DAILY, HOURLY, Entry, RollupKey, Rows, Told

ALL_USERS = b""


class UsageTotalsFold:
    """Adds up entry changes."""

    def __init__(self, rows: Rows) -> None:
        """Start with nothing folded."""
        self._rows = rows
        self._deltas: dict[RollupKey, tuple[int, int]] = {}

    def fold(self, told: Told) -> None:
        """Take changes of entries."""
        for change in told.changes:
            if change.before is not None:
                self._add(change.before, -1)
            self._add(change.after, 1)
        for entry, was_running in told.voided:
            if not was_running:
                self._add(entry, -1)

    def _add(self, entry: Entry, sign: int) -> None:
        deltas = self._deltas
        cents = sign * entry.cents
        hour = entry.effective // BUCKET_MS[HOURLY]
        day = entry.effective // BUCKET_MS[DAILY]
        payer, user = entry.payer, entry.user
        keys: list[RollupKey] = [(payer, ALL_USERS, HOURLY, hour), (payer, ALL_USERS, DAILY, day)]
        if user:  # a user's day is short enough to be read: no sums by hour
            keys.append((payer, user, DAILY, day))
        for key in keys:
            known = deltas.get(key)
            if known is None:
                deltas[key] = sign, cents
            else:
                deltas[key] = known[0] + sign, known[1] + cents

    def flush(self) -> None:
        """Write what was folded and forget it."""
        if self._deltas:
            self._rows.add_rollups(self._deltas)
            self._deltas = {}
