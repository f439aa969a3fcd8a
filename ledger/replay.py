"""Folding the whole log anew beside the live rows, to compare the two, for `usage-ledger check`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from events import UnreadableEventError, decode
from ledger.errors import FailedPreconditionError
from ledger.rebuilding.comparing import Comparison, Side
from ledger.rebuilding.replaying import Replay, Wanted
from persistence import Reader, StreamEvent
from persistence.sql.tables import TABLES
from persistence.sqlite import ReplayFile

BREACHES_SHOWN = 100

Law = tuple[str, int, list[str]]  # the law, how many were compared, the first breaches


def compare_with_log(reader: Reader) -> Iterator[Law]:
    """Fold the log into a fresh file and compare every row; compare personal fields, too.

    The service goes on. The reader sees one state while rows are compared.
    """
    personal = _Personal(reader)
    with (
        tempfile.TemporaryDirectory(prefix="usage-ledger-replay-") as folder,
        closing(ReplayFile(Path(folder))) as file,
    ):
        replay = Replay(reader, file, Wanted(), looked_at=personal.look)
        try:
            replay.run(reader.stands_at(reader.serves()))
            with reader.snapshot():
                serves = reader.serves()
                # What came meanwhile, so that both stand at the same position.
                replay.run(reader.stands_at(serves))
                yield personal.law()
                yield from _compared(replay, Side(reader, serves, reader.structure(serves)))
        except UnreadableEventError as error:
            yield "every event of the log can be read", 0, [str(error)]
        except FailedPreconditionError as error:
            yield "every event of the log can be folded", 0, [str(error)]


class _Personal:
    """Compares personal fields with what their events commit to."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._left_through = reader.packs.personal_left_through()
        self._compared = 0
        self._breaches: list[str] = []

    def look(self, stored: Sequence[StreamEvent]) -> None:
        for event in stored:
            is_kept, breach = _compare_personal(self._reader, event, self._left_through)
            self._compared += is_kept
            if breach and len(self._breaches) < BREACHES_SHOWN:
                self._breaches.append(breach)

    def law(self) -> Law:
        law = "personal fields are those that their events commit to, or an erasure took them"
        return law, self._compared, self._breaches


def _compare_personal(reader: Reader, stored: StreamEvent, left_through: int) -> tuple[bool, str]:
    """Say whether there are personal fields, and what is wrong with them."""
    commitment = getattr(decode(stored.topic, stored.state), "commitment", b"")
    if not commitment:
        return False, ""
    kept = reader.personal(stored.position)
    if kept is None and stored.position <= left_through:
        return False, ""  # they stayed in the ledger from which this one was taken over
    if kept is None:
        return True, f"position {stored.position}: the fields of {stored.stream} are lost"
    if kept.erased_by:
        return False, ""  # that there is such an erasure is a law of its own
    if hashlib.sha256(kept.salt + kept.fields).digest() == commitment:
        return True, ""
    return True, f"position {stored.position}: not the fields that {stored.stream} commits to"


def _compared(replay: Replay, live: Side) -> Iterator[Law]:
    for projection in TABLES:
        comparison = Comparison(replay.position)
        breaches: list[str] = []
        for difference in replay.compare(live, comparison, projections=(projection,)):
            if len(breaches) < BREACHES_SHOWN:
                breaches.append(difference.text)
        # What cannot be compared is not known to be right.
        breaches += comparison.not_compared
        law = f"{projection}: the live rows are those of the log folded anew"
        yield law, sum(comparison.rows.values()), breaches
