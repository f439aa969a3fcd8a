"""Usage totals: counts and cents of entries by payer, user, hour and day.

They answer the totals of a listing over any [from, to) while reading entries only of the partial
hours at its two edges, and lead a page number to the hour it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence

from projections.rows import BUCKET_MS, DAILY, HOURLY, Entry, EntryChange, RollupKey, Rows

ALL_USERS = b""


class UsageTotalsFold:
    """Adds up entry changes."""

    def __init__(self, rows: Rows) -> None:
        """Start with nothing folded."""
        self._rows = rows
        self._deltas: dict[RollupKey, tuple[int, int]] = {}

    def fold(self, changes: Sequence[EntryChange]) -> None:
        """Take changes of entries."""
        for change in changes:
            if change.before is not None:
                self._add(change.before, -1)
            self._add(change.after, 1)

    def _add(self, entry: Entry, sign: int) -> None:
        deltas = self._deltas
        cents = sign * entry.cents
        hour = entry.effective // BUCKET_MS[HOURLY]
        day = entry.effective // BUCKET_MS[DAILY]
        for user in (ALL_USERS, entry.user) if entry.user else (ALL_USERS,):
            for key in ((entry.payer, user, HOURLY, hour), (entry.payer, user, DAILY, day)):
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
