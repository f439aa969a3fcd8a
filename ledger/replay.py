"""Folding the whole log anew beside the live rows, to compare the two."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from events import UnreadableEventError, decode
from ledger.folding import REBUILD_BATCH, fold_events
from persistence import Reader, StreamEvent
from persistence.sqlite import TABLES, SQLiteReader, SQLiteStore

BREACHES_SHOWN = 100

Law = tuple[str, int, list[str]]  # the law, how many were compared, the first breaches


def compare_with_log(reader: Reader) -> Iterator[Law]:
    """Fold the log into a fresh store and compare every row; compare personal fields, too.

    The reader sees one state throughout, while the service goes on.
    """
    with (
        reader.snapshot(),
        tempfile.TemporaryDirectory(prefix="usage-ledger-replay-") as folder,
    ):
        # Nothing of it outlives the comparison, so it need not survive a power cut.
        fresh = SQLiteStore(Path(folder), synchronous="normal")
        try:
            try:
                yield _fold(reader, fresh)
            except UnreadableEventError as error:
                yield "every event of the log can be read", 0, [str(error)]
                return
            anew = SQLiteReader(fresh)
            try:
                for projection, tables in TABLES.items():
                    yield _compare(reader, anew, projection, tables)
            finally:
                anew.close()
        finally:
            fresh.close()


def _fold(reader: Reader, fresh: SQLiteStore) -> Law:
    """Fold the log as far as the live rows are, and compare personal fields on the way.

    Each event's fields are compared with what the event commits to.
    """
    position, compared = 0, 0
    breaches: list[str] = []
    end = max(reader.standing().values())
    while stored := reader.log(after=position, limit=min(REBUILD_BATCH, end - position)):
        with fresh.transaction() as transaction:
            fold_events(transaction, stored)
        fresh.checkpoint()
        position = stored[-1].position
        for event in stored:
            is_kept, breach = _compare_personal(reader, event)
            compared += is_kept
            if breach and len(breaches) < BREACHES_SHOWN:
                breaches.append(breach)
    return "personal fields are those that their events commit to", compared, breaches


def _compare_personal(reader: Reader, stored: StreamEvent) -> tuple[bool, str]:
    """Say whether there are personal fields, and what is wrong with them."""
    commitment = getattr(decode(stored.topic, stored.state), "commitment", b"")
    if not commitment:
        return False, ""
    kept = reader.personal(stored.position)
    if kept is None:
        return False, ""  # erased, which is no breach
    if hashlib.sha256(kept.salt + kept.fields).digest() == commitment:
        return True, ""
    return True, f"position {stored.position}: not the fields that {stored.stream} commits to"


def _compare(reader: Reader, anew: Reader, projection: str, tables: Sequence[str]) -> Law:
    compared = 0
    breaches: list[str] = []
    for table in tables:
        pairs = itertools.zip_longest(reader.rows_of(table), anew.rows_of(table))
        for live, folded in pairs:
            compared += 1
            if live != folded:
                # One row too many shifts all that follow: the first difference of a table tells.
                breaches.append(f"{table}: live {_shown(live)}, folded {_shown(folded)}")
                break
    return f"{projection}: the live rows are those of the log folded anew", compared, breaches


def _shown(row: tuple[object, ...] | None) -> str:
    if row is None:
        return "no more rows"
    return "(" + ", ".join(v.hex() if isinstance(v, bytes) else str(v) for v in row) + ")"
