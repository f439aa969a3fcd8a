"""States of entries at any position of the log, by SQL, from the rows that the folds keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from persistence.clocks import (
    SUMMED_PROJECTIONS,
    Boundary,
    Change,
    Details,
    Ended,
    Life,
    Stand,
)
from persistence.sql.others import Select, SqlOthersReader
from persistence.sql.session import listed
from projections import Accrual, Amount

Among = Callable[[str, Sequence[Any], Sequence[Any]], list[Any]]

STATE_BYTES = 16  # of a stored event: more than its recorded time needs
_ENTRY_COLUMNS = listed(Stand._fields[:-1])
_NOW = f"SELECT {_ENTRY_COLUMNS}, NULL FROM entries"
_ONCE = f"SELECT {_ENTRY_COLUMNS}, known_to FROM entry_versions"
_LIFE = listed(Life._fields)
_DATED = " WHERE payer = ? AND effective >= ? AND effective < ? AND changed_position <= ?"
_DATED_NOW = f" INDEXED BY entries_by_payer{_DATED}"
_DATED_ONCE = f" INDEXED BY entry_versions_by_date{_DATED} AND known_to > ?"
_DETAILS = (
    "e.start_position, e.instance, e.workspace_id, e.workspace_type, e.workspace_class, e.creation,"
    ' e.started, e."user", p.fields'
)
# Of each table no more than are wanted of all; an event is one, however many rows it changed.
_CHANGED = (
    " UNION ".join(
        f"SELECT * FROM (SELECT {column} FROM {table} WHERE payer = ? AND {column} > ?"
        f" AND {column} <= ?{more} ORDER BY {column} LIMIT ?) AS of_{number}"
        for number, (table, column, more) in enumerate(
            (
                ("entries INDEXED BY entries_by_change", "changed_position", ""),
                ("entry_versions INDEXED BY entry_versions_by_change", "changed_position", ""),
                ("other_entries INDEXED BY other_entries_by_position", "position", ""),
                ("voids INDEXED BY voids_by_note", "made_position", " AND kind = 'credit_note'"),
                ("voids", "position", ""),
            )
        )
    )
    + " ORDER BY 1 LIMIT ?"
)


class SqlClockReader(SqlOthersReader):
    """Implements `persistence.ClockReader` by a reader's own means."""

    def __init__(self, select: Select, among: Among) -> None:
        """Ask on the reader's connection."""
        super().__init__(select)
        self._among = among

    # The log -----------------------------------------------------------------------------------

    def head(self) -> int:
        """Give the position of the newest event."""
        head: int = self._all("SELECT coalesce(max(position), 0) FROM stored_events", ())[0][0]
        return head

    def folded(self) -> int:
        """Give the position up to which entries and cycles are folded."""
        rows = self._all(
            "SELECT coalesce(min(position), 0) FROM projections"
            f" WHERE name IN ({', '.join('?' * len(SUMMED_PROJECTIONS))})",
            SUMMED_PROJECTIONS,
        )
        folded: int = rows[0][0]
        return folded

    def states(self, positions: Sequence[int]) -> list[tuple[int, bytes]]:
        """Give (position, beginning of the stored state) of events, by position."""
        statement = (
            f"SELECT position, substr(state, 1, {STATE_BYTES}) FROM stored_events"
            " WHERE position {among}"
        )
        return sorted((row[0], row[1]) for row in self._among(statement, positions, ()))

    def next_states(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Give the same of the events behind a position."""
        rows = self._all(
            f"SELECT position, substr(state, 1, {STATE_BYTES}) FROM stored_events"
            " WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        return [(row[0], row[1]) for row in rows]

    def last_state(self, position: int) -> tuple[int, bytes] | None:
        """Give the same of the newest event at or before a position; None before the first."""
        rows = self._all(
            f"SELECT position, substr(state, 1, {STATE_BYTES}) FROM stored_events"
            " WHERE position <= ? ORDER BY position DESC LIMIT 1",
            (position,),
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def accrual(self, position: int) -> Accrual:
        """Give the last reconcile at or before a position."""
        rows = self._all(
            "SELECT instant, position FROM reconciles WHERE position <= ?"
            " ORDER BY position DESC LIMIT 1",
            (position,),
        )
        return Accrual(*rows[0]) if rows else Accrual(0, 0)

    # Entries -----------------------------------------------------------------------------------

    def dated(self, payer: bytes, position: int, *, start: int, end: int) -> list[Stand]:
        """Give the states known at a position and dated in [start, end)."""
        dated = (payer, start, end, position)
        rows = self._all(
            f"{_NOW}{_DATED_NOW} UNION ALL {_ONCE}{_DATED_ONCE}", (*dated, *dated, position)
        )
        return [Stand(*row) for row in rows]

    def dated_sums(
        self, payer: bytes, position: int, *, start: int, end: int
    ) -> list[tuple[str, Amount]]:
        """Sum the states known at a position and dated in [start, end), by workspace class."""
        rows = self._all(
            "SELECT workspace_class, count(*), sum(cents), sum(seconds) FROM"
            f" (SELECT workspace_class, cents, seconds FROM entries{_DATED_NOW}"
            " UNION ALL SELECT workspace_class, cents, seconds"
            f" FROM entry_versions{_DATED_ONCE}) AS known GROUP BY workspace_class",
            (*(payer, start, end, position) * 2, position),
        )
        return [(row[0], Amount(row[1], int(row[2]), int(row[3]))) for row in rows]

    def ending(
        self, payer: bytes, position: int, *, started: int, start: int, end: int
    ) -> list[Life]:
        """Give what is known at a position as started by a time and dated in [start, end)."""
        dated = (payer, start, end, position)
        rows = self._all(
            f"SELECT {_LIFE} FROM entries{_DATED_NOW} AND started <= ? UNION ALL"
            f" SELECT {_LIFE} FROM entry_versions{_DATED_ONCE} AND started <= ?",
            (*dated, started, *dated, position, started),
        )
        return [Life(*row) for row in rows]

    def changes(self, payer: bytes, *, after: int, upto: int) -> list[Change]:
        """Give what came and went between two positions; what ran until its void never came."""
        stretch = (payer, after, upto)
        now, once = (each.replace("SELECT", "SELECT 1,", 1) for each in (_NOW, _ONCE))
        gone = _ONCE.replace("SELECT", "SELECT -1,", 1)
        rows = self._all(
            f"{now} INDEXED BY entries_by_change WHERE payer = ? AND changed_position > ?"
            f" AND changed_position <= ? UNION ALL {once} INDEXED BY entry_versions_by_change"
            " WHERE payer = ? AND changed_position > ? AND changed_position <= ?"
            f" AND changed_position < known_to UNION ALL {gone} WHERE payer = ? AND known_to > ?"
            " AND known_to <= ? AND changed_position < known_to",
            stretch * 3,
        )
        return [Change(row[0], Stand(*row[1:])) for row in rows]

    def open_now(self, payer: bytes, position: int) -> list[Life]:
        """Give what runs to this day and had started by a position."""
        rows = self._all(
            f"SELECT {_LIFE} FROM open_instances WHERE payer = ? AND started IS NOT NULL"
            " AND stopping IS NULL AND start_position <= ?",
            (payer, position),
        )
        return [Life(*row) for row in rows]

    def ended_between(self, payer: bytes, *, after: int, upto: int | None, by: int) -> list[Ended]:
        """Give what had started by a position and became an entry, or void, between two others."""
        stretch = (payer, after, upto if upto is not None else 2**62, by)
        ended = (
            " WHERE payer = ? AND changed_position > ? AND changed_position <= ?"
            " AND start_position <= ? AND ended_position = changed_position"
            " AND started IS NOT NULL"
        )
        rows = self._all(
            f"SELECT {_LIFE}, ended_position FROM entries INDEXED BY entries_by_change{ended}"
            f" UNION ALL SELECT {_LIFE}, ended_position FROM entry_versions"
            f" INDEXED BY entry_versions_by_change{ended}",
            stretch * 2,
        )
        return [Ended(Life(*row[:-1]), row[-1]) for row in rows]

    def learned(self, payer: bytes, *, after: int, upto: int, limit: int) -> list[tuple[int, int]]:
        """Give (position, start position) where an entry was last changed, or was voided."""
        stretch = (payer, after, upto)
        rows = self._all(
            "SELECT changed_position, start_position FROM entries INDEXED BY entries_by_change"
            " WHERE payer = ? AND changed_position > ? AND changed_position <= ?"
            " ORDER BY changed_position LIMIT ?",
            (*stretch, limit),
        )
        rows += self._all(
            "SELECT changed_position, start_position FROM entry_versions"
            " INDEXED BY entry_versions_by_change WHERE payer = ? AND changed_position > ?"
            " AND changed_position <= ? AND known_to > ? ORDER BY changed_position LIMIT ?",
            (*stretch, upto, limit),
        )
        rows += self._all(
            "SELECT position, made_position FROM voids WHERE payer = ? AND position > ?"
            " AND position <= ? AND kind = 'workspace_instance' AND made_position > 0"
            " ORDER BY position LIMIT ?",
            (*stretch, limit),
        )
        return sorted((row[0], row[1]) for row in rows)[:limit]

    def voided_at(self, start_position: int) -> int | None:
        """Give the position at which a life of an instance was voided."""
        rows = self._all(
            "SELECT known_to FROM entry_versions v INDEXED BY entry_versions_by_start"
            " WHERE start_position = ? AND NOT EXISTS (SELECT 1 FROM entries e"
            " WHERE e.start_position = v.start_position) ORDER BY known_to DESC LIMIT 1",
            (start_position,),
        )
        return rows[0][0] if rows else None

    def changed(self, payer: bytes, *, after: int, upto: int, limit: int) -> list[int]:
        """Give the first positions between two at which anything came, changed or was voided."""
        rows = self._all(_CHANGED, (*(payer, after, upto, limit) * 5, limit))
        return [row[0] for row in rows]

    def stands_of(self, start_positions: Sequence[int]) -> list[Stand]:
        """Give every state of the entries of some instances."""
        rows = self._among(f"{_NOW} WHERE start_position {{among}}", start_positions, ())
        rows += self._among(
            f"{_ONCE} WHERE changed_position < known_to AND start_position {{among}}",
            start_positions,
            (),
        )
        return [Stand(*row) for row in rows]

    def details(self, payer: bytes, start_positions: Sequence[int]) -> dict[int, Details]:
        """Give what listings show of a payer's instances, by the position of their start."""
        found: dict[int, Details] = {}
        # By the payer, what runs: by the position of its start it has no index.
        for table, condition, values in (
            ("entries", "", ()),
            ("open_instances", "e.payer = ? AND ", (payer,)),
            ("entry_versions", "", ()),
        ):
            missing = [position for position in start_positions if position not in found]
            if missing:
                rows = self._among(
                    f"SELECT {_DETAILS} FROM {table} e LEFT JOIN personal p ON"
                    f" p.position = e.start_position WHERE {condition}e.start_position {{among}}",
                    missing,
                    values,
                )
                found.update((row[0], Details(*row)) for row in rows)
        return found

    def page(
        self,
        payer: bytes,
        position: int,
        *,
        user: bytes,
        start: int,
        end: int,
        key: tuple[int, bytes] | None,
        ascending: bool,
        limit: int,
    ) -> list[Stand]:
        """Give states known at a position, dated in [start, end) beyond a (time, id), in order."""
        beyond, values = "", [payer, start, end, position]
        if user:
            beyond += ' AND "user" = ? AND "user" <> x\'\''
            values.append(user)
        if key is not None:
            sign = ">" if ascending else "<"
            beyond += f" AND effective {sign}= ? AND (effective {sign} ? OR entry_id > ?)"
            values += [key[0], key[0], key[1]]
        index = "entries_by_user" if user else "entries_by_payer"
        wanted = "payer = ? AND effective >= ? AND effective < ? AND changed_position <= ?"
        order = f"ORDER BY effective {'ASC' if ascending else 'DESC'}, entry_id ASC LIMIT ?"
        rows = self._all(
            f"{_NOW} INDEXED BY {index} WHERE {wanted}{beyond} {order}", (*values, limit)
        )
        rows += self._all(
            f"{_ONCE} INDEXED BY entry_versions_by_date WHERE {wanted}{beyond} AND known_to > ?"
            f" {order}",
            (*values, position, limit),
        )
        direction = 1 if ascending else -1
        stands = [Stand(*row) for row in rows]
        return sorted(stands, key=lambda each: (direction * each.effective, each.entry_id))[:limit]

    def user_totals(
        self, payer: bytes, position: int, *, user: bytes, start: int, end: int
    ) -> tuple[int, int]:
        """Give (count, cents) of a user's states known at a position and dated in [start, end)."""
        wanted = (payer, user, start, end, position)
        sums = "SELECT count(*), coalesce(sum(cents), 0)"
        where = (
            ' WHERE payer = ? AND "user" = ? AND "user" <> x\'\' AND effective >= ?'
            " AND effective < ? AND changed_position <= ?"
        )
        rows = self._all(
            f"{sums} FROM entries INDEXED BY entries_by_user{where} UNION ALL {sums}"
            f" FROM entry_versions INDEXED BY entry_versions_by_date{where} AND known_to > ?",
            (*wanted, *wanted, position),
        )
        return sum(row[0] for row in rows), sum(int(row[1]) for row in rows)

    def boundaries(self, payer: bytes, position: int) -> list[Boundary]:
        """Give the cycles that had begun by a position, newest first."""
        columns = "number, start, opened_position, accrued_to, accrual_position, carried_cents"
        rows = self._all(
            f"SELECT {columns} FROM closed_cycles WHERE payer = ? AND opened_position <= ?"
            f" UNION ALL SELECT {columns} FROM open_cycles WHERE payer = ?"
            " AND opened_position <= ? ORDER BY 3 DESC",
            (payer, position, payer, position),
        )
        return [Boundary(*row) for row in rows]

    def gone(self, payer: bytes, *, after: int, upto: int) -> list[Stand]:
        """Give the states that went between two positions and had come before."""
        if after == 0:
            return []  # nothing had come; all that was corrected would be read to find that
        rows = self._all(
            f"{_ONCE} WHERE payer = ? AND known_to > ? AND known_to <= ? AND changed_position <= ?",
            (payer, after, upto, after),
        )
        return [Stand(*row) for row in rows]
