"""Folding the log of one shard into a fresh file: all of it, one payer's, or a range.

The service goes on meanwhile. Nothing is read but the log, so what comes out depends on nothing
else; compared with the live rows, it proves them.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from events import Recorded, decode, type_registry
from ledger.errors import FailedPreconditionError, UnavailableError
from ledger.rebuilding.comparing import Comparison, Difference, Side, compare
from ledger.rebuilding.folds import explaining, fold, upto
from persistence import FIRST, Reader, StreamEvent
from persistence.sql.tables import TABLES
from persistence.sqlite import Replayed, ReplayFile, nothing_of

BATCH_MAX = 50_000  # events folded in one transaction: some 40 MB of memory
BATCH_AHEAD = 100_000  # where the next batch is read meanwhile: some 150 MB
STOP_LOOK_SECONDS = 0.1

Progressed = Callable[[int, int], None]  # up to which position, of which

# Of nobody in particular, so they count for everybody.
_OF_EVERYBODY = frozenset(
    topic for topic, cls in type_registry.items() if "payer" not in cls.__struct_fields__
)


class Wanted(NamedTuple):
    """Which events are folded."""

    payer: bytes = b""  # empty: everybody's
    first: int = 1
    last: int | None = None  # None: up to the end of the log, as it is at the start


class Replay:
    """Folds a log into a file; the caller closes both."""

    def __init__(
        self,
        reader: Reader,
        file: ReplayFile,
        wanted: Wanted,
        *,
        progressed: Progressed = lambda _done, _of: None,
        failpoint: Callable[[str], None] = lambda _name: None,
        looked_at: Callable[[Sequence[StreamEvent]], None] = lambda _stored: None,
        reads_ahead: bool = False,
    ) -> None:
        """Go on with what the file holds; FailedPreconditionError when it is something else.

        `looked_at` is handed every event that was read. A process that does nothing else should
        read ahead: a second thread folds meanwhile, and garbage waits.
        """
        self._reads_ahead = reads_ahead
        self._reader = reader
        self._looked_at = looked_at
        self._file = file
        self._wanted = wanted
        self._progressed = progressed
        self._failpoint = failpoint
        self._replayed = self._found()
        self.folded = 0  # events, by this process

    @property
    def position(self) -> int:
        """Up to which the log was read."""
        return self._replayed.position

    def _found(self) -> Replayed:
        wanted = self._wanted
        begun = nothing_of(wanted.payer, wanted.first)
        found = self._file.replayed()
        if found is None:
            return begun
        if found[:3] != begun[:3]:
            raise FailedPreconditionError(
                f"{self._file.folder} holds a replay of something else: of another payer, from"
                " another position on, or by another version; name another folder"
            )
        event = self._reader.log(after=found.position - 1, limit=1) if found.digest else []
        if found.digest and (not event or _digest(event[0]) != found.digest):
            raise FailedPreconditionError(
                f"{self._file.folder} holds a replay of another log, or the log has changed: its"
                f" event at position {found.position} is another one"
            )
        return found

    def run(self, last: int) -> None:
        """Fold up to a position."""
        if self._reads_ahead:
            with _garbage_left(), ThreadPoolExecutor(max_workers=1) as beside:
                self._run_ahead(last, beside)
            return
        while (read := self._read(self.position, last)) is not None:
            self._fold(*read)
            self._progressed(self.position, last)

    def _run_ahead(self, last: int, beside: ThreadPoolExecutor) -> None:
        """Fold, and read the next batch while one is folded."""
        ahead = self._read(self.position, last)
        while ahead is not None:
            newest, batch = ahead
            folding = beside.submit(self._fold, newest, batch)
            try:
                del batch, ahead  # the fold's own now: two batches are in memory, and no third
                try:
                    ahead = self._read(newest.position, last)
                except Exception:
                    folding.result()  # what cannot be folded lies before what cannot be read
                    raise
                folding.result()
            except BaseException:
                self._stop(folding)
                raise
            self._progressed(self.position, last)
            gc.collect(0)

    def _stop(self, folding: Future[None]) -> None:
        """End a fold soon, for whoever called is about to close the file and waits for it there."""
        while not folding.done():
            self._file.interrupt()
            wait([folding], timeout=STOP_LOOK_SECONDS)

    def _read(self, after: int, last: int) -> tuple[StreamEvent, list[Recorded]] | None:
        """Give the newest event of the next batch, and those that count; None at the end."""
        if after >= last:
            return None
        most = BATCH_AHEAD if self._reads_ahead else BATCH_MAX
        stored = self._reader.log(after=after, limit=min(most, last - after))
        if not stored:
            raise UnavailableError(f"the log ends at position {after}")
        stored = upto(stored, last)
        if not stored:
            return None
        self._looked_at(stored)
        return stored[-1], self._wanted_of(stored)

    def _fold(self, newest: StreamEvent, batch: Sequence[Recorded]) -> None:
        replayed = self._replayed._replace(position=newest.position, digest=_digest(newest))
        with (
            explaining(self._file.folding, f"in {self._file.folder}"),
            self._file.folding() as transaction,
        ):
            if batch:
                standing, _ = transaction.standing()
                fold(transaction, max(standing.values()), batch)
            self._file.keep(replayed)
            self._failpoint("replay-folding")
        self._replayed = replayed
        self.folded += len(batch)
        self._failpoint("replay-folded")
        self._file.checkpoint()

    def _wanted_of(self, stored: Sequence[StreamEvent]) -> list[Recorded]:
        """Give the events that count.

        From a position on, these are the events of what began there, and facts for everybody: of
        the rest the beginning is missing.
        """
        wanted = self._wanted
        if wanted.first > 1:
            later = {event.stream for event in stored if event.version > 1}
            begun = self._reader.begun_before(sorted(later), wanted.first)
            stored = [
                event
                for event in stored
                if event.topic in _OF_EVERYBODY or event.stream not in begun
            ]
        if not wanted.payer:
            # As by calling Recorded, which takes twice as long.
            make: Callable[[tuple[object, ...]], Recorded] = partial(tuple.__new__, Recorded)
            return [
                make((stream, version, decode(topic, state), position))
                for position, stream, version, topic, state in stored
            ]
        return list(_of_payer(stored, wanted.payer))

    def compare(
        self, live: Side, comparison: Comparison, *, projections: Sequence[str] = tuple(TABLES)
    ) -> Iterator[Difference]:
        """Compare with the live rows, as a snapshot of the reader shows them at this position."""
        paused = self._reader.paused(live.generation)
        fresh = self._file.reader()
        try:
            yield from compare(
                live,
                Side(fresh, FIRST, fresh.structure(FIRST)),
                comparison,
                left_out={name: f"paused at {pause.position}" for name, pause in paused.items()},
                payer=self._wanted.payer or None,
                projections=projections,
            )
        finally:
            fresh.close()


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Let the caller say when to collect: each look costs most while batches are at hand."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _of_payer(stored: Sequence[StreamEvent], payer: bytes) -> Iterator[Recorded]:
    """Give the events of a payer, and those of nobody."""
    for position, stream, version, topic, state in stored:
        # The bytes are looked at first: decoding everybody's events costs ten times as much.
        if topic not in _OF_EVERYBODY and payer not in state:
            continue
        event = decode(topic, state)
        if getattr(event, "payer", payer) == payer:
            yield Recorded(stream, version, event, position)


def _digest(event: StreamEvent) -> bytes:
    text = f"{event.position} {event.stream} {event.version} {event.topic} ".encode()
    return hashlib.sha256(text + event.state).digest()
