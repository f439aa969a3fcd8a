"""A new generation of one shard's projections: folded from the first event, and compared.

It is built while the served one serves, never beyond where that one stands, so that the two can be
compared. Whatever kills this process, the next run goes on from what was committed.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from events import Recorded, UsageReconciled
from ledger.errors import FailedPreconditionError, UnavailableError
from ledger.folding import decoded
from ledger.rebuilding.comparing import Comparison, Side, compare
from ledger.rebuilding.folds import explaining, fold, upto
from persistence import FoldingTransaction, Generation, Generations, Reader, StreamEvent
from persistence.sql.generations import structure_of
from persistence.sql.tables import TABLES
from projections import VERSION

BATCH_FIRST, BATCH_MIN, BATCH_MAX = 500, 100, 20_000  # events folded in one transaction
# What is left of the log is folded in one transaction for which others wait: so many take a tenth
# of a second. Before it they are fewer, or it is put off.
REST_MAX = 4_000
REST_WANTED = 1_000
GROWTH_MAX = 2.0  # of a batch to the next: one that happened to be quick proves little

FOLDING, COMPARING, CHANGING, DROPPING = "folding", "comparing", "changing", "dropping"

Progressed = Callable[[str, int, int], None]  # what is being done, how much of how much


class Builder:
    """Works on the generations of one shard, which this process has claimed."""

    def __init__(
        self,
        generations: Generations,
        *,
        author: str,
        progressed: Progressed = lambda _what, _done, _of: None,
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Take the shard's generations; `author` is who is written down."""
        self.generations = generations
        self.author = author
        self.progressed = progressed
        self.failpoint = failpoint
        # Payers of whom something was folded since rows were compared; None: of any payer.
        self.touched: set[bytes] | None = None
        self._batch = BATCH_FIRST

    def served(self) -> int:
        """Give the generation that this version serves, else the one that was promoted last."""
        served = self.generations.served()
        if VERSION in served:
            return served[VERSION]
        there = {each.number for each in self.generations.all() if each.dropped_at is None}
        promoted = [
            each.generation for each in self.generations.promotions() if each.generation in there
        ]
        found = promoted or list(served.values())
        if not found:
            raise FailedPreconditionError(
                f"{self.generations.name}: every generation is dropped, so there is none to compare"
                " with: restore a backup"
            )
        return found[-1]

    def coming(self) -> Generation | None:
        """Give the newest generation of this version that is not served and may be."""
        served = self.generations.served().get(VERSION, 0)
        ours = [
            each
            for each in self.generations.all()
            if each.version == VERSION and each.dropped_at is None and each.number > served
        ]
        return ours[-1] if ours else None

    def begun(self) -> int:
        """Give the generation to build: the one that was begun, or a new one."""
        coming = self.coming()
        if coming is not None:
            return coming.number
        number = self.generations.begin(self.author)
        self.failpoint("rebuild-begun")
        return number

    # Folding -----------------------------------------------------------------------------------

    def catch_up(self, number: int, served: int) -> None:
        """Fold until little is left before where the served generation stands."""
        reader = self.generations.reader()
        try:
            while True:
                position = reader.stands_at(number)
                end = reader.stands_at(served)
                if end - position <= REST_WANTED:
                    return
                stored = reader.log(after=position, limit=min(self._batch, end - position))
                stored = upto(stored, end)
                self._fold_next(number, position, stored)
                self.progressed(FOLDING, stored[-1].position, end)
        finally:
            reader.close()

    def _fold_next(self, number: int, position: int, stored: Sequence[StreamEvent]) -> None:
        batch = decoded(stored)
        with (
            self.explaining(number),
            self.generations.folding(number) as transaction,
        ):
            began = time.monotonic()
            fold(transaction, position, batch)
            self.failpoint("rebuild-folding")
        self.failpoint("rebuild-folded")
        self._touch(batch)
        share = self.generations.seconds_a_batch() / max(time.monotonic() - began, 1e-6)
        self._batch = min(max(int(len(batch) * min(share, GROWTH_MAX)), BATCH_MIN), BATCH_MAX)
        self.generations.let_others()

    def explaining(self, number: int) -> AbstractContextManager[None]:
        """Tell what cannot be folded, should something be."""
        begin = functools.partial(self.generations.folding, number)
        return explaining(begin, f"of generation {number}")

    def fold_rest(self, transaction: FoldingTransaction, end: int) -> int:
        """Fold what is left in a transaction that has begun, or a batch of it; give how far."""
        standing, _ = transaction.standing()
        position = min(standing.values())
        if position > end:
            raise UnavailableError(
                f"the new generation stands at {position}, and the served one only at {end}: try"
                " again when that has been folded"
            )
        limit = end - position if end - position <= REST_MAX else self._batch
        stored = upto(transaction.log(after=position, limit=limit), end)
        if not stored:
            return position
        batch = decoded(stored)
        fold(transaction, position, batch)
        self._touch(batch)
        return stored[-1].position

    def _touch(self, batch: Sequence[Recorded]) -> None:
        if self.touched is None:
            return
        for recorded in batch:
            payer = getattr(recorded.event, "payer", None)
            if payer is not None:
                self.touched.add(payer)
            elif isinstance(recorded.event, UsageReconciled):
                self.touched = None
                return

    # Comparing ---------------------------------------------------------------------------------

    def compare_all(
        self, number: int, served: int, *, projections: Sequence[str] = tuple(TABLES)
    ) -> Comparison:
        """Compare every row of the two, in one state in which both stand at one position."""
        comparison = Comparison()
        left_out = {
            name: f"paused at position {pause.position} in generation {served}"
            for name, pause in self.generations.progress(served).paused.items()
        }
        with (
            self.explaining(number),
            self.generations.level(served, number, self.fold_rest) as reader,
        ):
            self.touched = set()  # what was folded before is compared now
            comparison.position = reader.stands_at(number)
            live, anew = self.sides(reader, number, served)
            for done, projection in enumerate(projections):
                self.progressed(COMPARING, done, len(projections))
                differing = compare(
                    live, anew, comparison, left_out=left_out, projections=(projection,)
                )
                for _ in differing:  # `comparison` counts them
                    pass
        self.failpoint("rebuild-compared")
        return comparison

    def sides(self, reader: Reader, number: int, served: int) -> tuple[Side, Side]:
        """Give the served generation and the new one as a reader sees them."""
        written = self._generation(served).structure
        structure = structure_of(written) if written else reader.structure(served)
        return (
            Side(reader, served, structure),
            Side(reader, number, reader.structure(number)),
        )

    def keep(self, number: int, served: int, comparison: Comparison) -> None:
        """Write the outcome of a comparison down, for whoever asks."""
        self.generations.keep_comparison(
            self._generation(number)._replace(
                compared_at=int(time.time() * 1_000),
                compared_with=served,
                compared_position=comparison.position,
                differences=json.dumps(dict(sorted(comparison.kinds.items()))),
            )
        )
        self.failpoint("comparison-kept")

    def _generation(self, number: int) -> Generation:
        return next(each for each in self.generations.all() if each.number == number)
