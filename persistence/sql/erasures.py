"""Erasing by SQL: finding what names a user, overwriting it, and how far that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from persistence.erasures import (
    ERASED,
    MARK,
    ErasureRow,
    Letter,
    Personal,
    Sentence,
    mark_of,
)
from persistence.sql.rows import storable
from persistence.sql.session import Session, listed

_ROW = ErasureRow._fields
_KEY = ("user",)
_ROWS = f"SELECT {listed(_ROW)} FROM erasures"
_IS_ERASED = f"substr(salt, 1, {len(MARK)}) = ?"
_SENTENCES = {  # key and column by table
    "billing_troubles": ("payer", "reason"),
    "billing_run": ("one", "error"),
    "webhooks": ("event_id", "error"),
    "jobs": ("name", "last_error"),
}


class SqlErasureReads(ABC):
    """Implements `persistence.ErasureReads`."""

    @property
    @abstractmethod
    def _select(self) -> Callable[[str, Sequence[Any]], list[Any]]:
        """Give the rows that a statement answers with."""

    def erasure(self, user: bytes) -> ErasureRow | None:
        """Give a user's erasure that is not finished."""
        rows = self._select(f'{_ROWS} WHERE "user" = ?', (user,))
        return ErasureRow(*rows[0]) if rows else None

    def erasures(self) -> list[ErasureRow]:
        """Give the erasures that are not finished, by user."""
        return [ErasureRow(*row) for row in self._select(f'{_ROWS} ORDER BY "user"', ())]

    def newest_letter(self) -> int:
        """Give the highest number of a dead letter; 0 without any."""
        number: int = self._select("SELECT coalesce(max(id), 0) FROM dead_letters", ())[0][0]
        return number

    def sentences(self) -> list[Sentence]:
        """Give why billing waits, and what webhooks and jobs have failed of."""
        return [
            Sentence(table, key, text)
            for table, (key_column, column) in _SENTENCES.items()
            for key, text in self._select(
                f"SELECT {key_column}, {column} FROM {table} WHERE {column} <> ''", ()
            )
        ]


class SqlErasureSearch(SqlErasureReads):
    """Implements `persistence.ErasureSearch`."""

    # Whether bytes are part of a column: every database has a word of its own for it.
    contains: ClassVar[str]

    @abstractmethod
    def _among(self, statement: str, keys: Sequence[Any], values: Sequence[Any] = ()) -> list[Any]:
        """Give the rows whose column, before `{among}`, is one of the keys."""

    def events_naming(self, user: bytes, *, after: int, through: int) -> list[tuple[str, str]]:
        """Give (topic, stream) of events in (after, through] that may name a user.

        Requests of customers at Stripe name users as text in any spelling: all of them are given.
        """
        rows = self._select(
            "SELECT topic, originator_id FROM stored_events WHERE position > ? AND position <= ?"
            f" AND (topic = 'stripe-customer-requested' OR {self.contains.format('state')})"
            " ORDER BY position",
            (after, through, user),
        )
        return [(row[0], row[1]) for row in rows]

    def personal_between(self, *, after: int, through: int) -> list[Personal]:
        """Give the rows of events in (after, through] that still hold something."""
        rows = self._select(
            "SELECT position, salt, fields FROM personal WHERE position > ? AND position <= ?"
            f" AND NOT ({_IS_ERASED}) ORDER BY position",
            (after, through, MARK),
        )
        return [Personal(*row) for row in rows]

    def personal_among(self, positions: Sequence[int]) -> dict[int, Personal]:
        """Give rows by position, erased ones, too."""
        statement = "SELECT position, salt, fields FROM personal WHERE position {among}"
        return {row[0]: Personal(*row) for row in self._among(statement, positions)}

    def letters(self, *, after: int, through: int, limit: int) -> list[Letter]:
        """Give dead letters that have their bytes, by number."""
        rows = self._select(
            "SELECT id, kind, original, reason FROM dead_letters WHERE id > ? AND id <= ?"
            " AND kind <> ? ORDER BY id LIMIT ?",
            (after, through, ERASED, limit),
        )
        return [Letter(*row) for row in rows]

    def marks(self) -> dict[int, int]:
        """Count erased rows by the position of their erasure."""
        rows = self._select(
            f"SELECT salt, count(*) FROM personal WHERE {_IS_ERASED} GROUP BY salt", (MARK,)
        )
        return {Personal(0, salt, b"").erased_by: count for salt, count in rows}


class SqlErasureWrites(SqlErasureReads):
    """Implements `persistence.ErasureWrites`."""

    _session: Session

    def put_erasure(self, row: ErasureRow) -> None:
        """Keep how far an erasure is."""
        self._session.put("erasures", _KEY, _ROW, [row])

    def end_erasure(self, user: bytes) -> None:
        """Forget an erasure that is finished."""
        self._session.remove("erasures", _KEY, [(user,)])

    def erase_personal(self, positions: Sequence[int], erasure: int) -> int:
        """Overwrite rows of personal data with a mark; give how many still held something."""
        statement = "SELECT position, salt, length(fields) FROM personal WHERE position {among}"
        mark = mark_of(erasure)
        rows = [
            # As long as before: SQLite writes such a row over the old one, where it stands.
            (position, mark, bytes(length))
            for position, salt, length in self._session.among(statement, positions)
            if not salt.startswith(MARK)
        ]
        self._session.update("personal", ("position",), ("salt", "fields"), rows)
        return len(rows)

    def erase_dead_letters(self, ids: Sequence[int], reason: str) -> int:
        """Take the bytes out of dead letters; give how many still had them."""
        statement = "SELECT id FROM dead_letters WHERE kind <> ? AND id {among}"
        rows = [
            (letter_id, ERASED, b"", storable(reason))
            for (letter_id,) in self._session.among(statement, ids, (ERASED,))
        ]
        self._session.update("dead_letters", ("id",), ("kind", "original", "reason"), rows)
        return len(rows)

    def erase_sentences(self, sentences: Sequence[Sentence]) -> None:
        """Overwrite what they say."""
        for table, key, text in sentences:
            key_column, column = _SENTENCES[table]
            length = len(text.encode())  # as long as before, as above
            row = (key, ERASED[:length].ljust(length))
            self._session.update(table, (key_column,), (column,), [row])

    def scrub_pages(self) -> None:
        """Nothing to do, unless a database says otherwise."""
