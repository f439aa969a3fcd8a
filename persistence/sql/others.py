"""Invoices and credit notes at any position of the log, by SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from persistence.clocks import OtherChange, OtherStand

Select = Callable[[str, Sequence[Any]], list[Any]]

_OTHER = 'position, effective, entry_id, kind, cents, "user"'
_OTHERS_NOW = f"SELECT {_OTHER}, NULL FROM other_entries"
_OTHERS_ONCE = 'SELECT made_position, effective, entry_id, kind, cents, "user", position FROM voids'


class SqlOthersReader:
    """The part of `persistence.ClockReader` that is of entries without an instance."""

    def __init__(self, select: Select) -> None:
        """Ask on the reader's connection."""
        self._all = select

    def others_dated(
        self, payer: bytes, position: int, *, start: int, end: int
    ) -> list[OtherStand]:
        """Give the invoices and credit notes known at a position and dated in [start, end)."""
        dated = (payer, start, end, position)
        rows = self._all(
            f"{_OTHERS_NOW} WHERE payer = ? AND effective >= ? AND effective < ?"
            f" AND position <= ? UNION ALL {_OTHERS_ONCE} INDEXED BY voids_by_date"
            " WHERE payer = ? AND effective >= ? AND effective < ? AND made_position <= ?"
            " AND position > ? AND kind = 'credit_note'",
            (*dated, *dated, position),
        )
        return [OtherStand(*row) for row in rows]

    def other_changes(self, payer: bytes, *, after: int, upto: int) -> list[OtherChange]:
        """Give the invoices and credit notes that came and went between two positions."""
        stretch = (payer, after, upto)
        now, once = (each.replace("SELECT", "SELECT 1,", 1) for each in (_OTHERS_NOW, _OTHERS_ONCE))
        gone = _OTHERS_ONCE.replace("SELECT", "SELECT -1,", 1)
        rows = self._all(
            f"{now} INDEXED BY other_entries_by_position WHERE payer = ? AND position > ?"
            f" AND position <= ? UNION ALL {once} INDEXED BY voids_by_note WHERE payer = ?"
            " AND made_position > ? AND made_position <= ? AND kind = 'credit_note'"
            f" UNION ALL {gone} WHERE payer = ? AND position > ? AND position <= ?"
            " AND kind = 'credit_note'",
            stretch * 3,
        )
        return [OtherChange(row[0], OtherStand(*row[1:])) for row in rows]

    def others_learned(
        self, payer: bytes, *, after: int, upto: int, limit: int
    ) -> list[tuple[int, OtherStand]]:
        """Give (position, invoice or credit note) where it came, or was voided."""
        stretch = (payer, after, upto)
        now = _OTHERS_NOW.replace("SELECT", "SELECT position,", 1)
        came = _OTHERS_ONCE.replace("SELECT", "SELECT made_position,", 1)
        gone = _OTHERS_ONCE.replace("SELECT", "SELECT position,", 1)
        rows = self._all(
            f"{now} INDEXED BY other_entries_by_position WHERE payer = ? AND position > ?"
            " AND position <= ? ORDER BY position LIMIT ?",
            (*stretch, limit),
        )
        rows += self._all(
            f"{came} INDEXED BY voids_by_note WHERE payer = ? AND made_position > ?"
            " AND made_position <= ? AND position > ? AND kind = 'credit_note'"
            " ORDER BY made_position LIMIT ?",
            (*stretch, upto, limit),
        )
        rows += self._all(
            f"{gone} WHERE payer = ? AND position > ? AND position <= ? AND kind = 'credit_note'"
            " ORDER BY position LIMIT ?",
            (*stretch, limit),
        )
        rows.sort(key=lambda row: row[0])
        return [(row[0], OtherStand(*row[1:])) for row in rows[:limit]]

    def others_page(
        self,
        payer: bytes,
        position: int,
        *,
        start: int,
        end: int,
        key: tuple[int, bytes] | None,
        limit: int,
    ) -> list[OtherStand]:
        """Give those known at a position, dated in [start, end) beyond a (time, id), in order."""
        beyond, values = "", [payer, start, end]
        if key is not None:
            beyond = " AND effective >= ? AND (effective > ? OR entry_id > ?)"
            values += [key[0], key[0], key[1]]
        dated = f" WHERE payer = ? AND effective >= ? AND effective < ?{beyond}"
        order = "ORDER BY effective, entry_id LIMIT ?"
        rows = self._all(
            f"{_OTHERS_NOW}{dated} AND position <= ? {order}", (*values, position, limit)
        )
        rows += self._all(
            f"{_OTHERS_ONCE} INDEXED BY voids_by_date{dated} AND made_position <= ?"
            f" AND position > ? AND kind = 'credit_note' {order}",
            (*values, position, position, limit),
        )
        stands = [OtherStand(*row) for row in rows]
        return sorted(stands, key=lambda each: (each.effective, each.entry_id))[:limit]

    def voided_notes(self, payer: bytes, *, after: int, upto: int) -> list[OtherStand]:
        """Give the credit notes that were voided between two positions and had come before."""
        if after == 0:
            return []
        rows = self._all(
            f"{_OTHERS_ONCE} WHERE payer = ? AND position > ? AND position <= ?"
            " AND made_position <= ? AND kind = 'credit_note'",
            (payer, after, upto, after),
        )
        return [OtherStand(*row) for row in rows]
