"""Serving another generation: promoted, taken back, and what is no longer wanted dropped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import NamedTuple

from ledger.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from ledger.rebuilding.building import CHANGING, DROPPING, REST_MAX, Builder
from ledger.rebuilding.comparing import ADDED, MISSING, Comparison, difference_of
from persistence import Promotion, StoreUnavailableError, Switch
from projections import VERSION

BALANCES = "balances"  # the projection, and its table

# What is left is folded, and the payers that it touches are compared, while nothing else is folded:
# a tenth of a second or two.
EVENTS_MAX = 8_000
PAYERS_MAX = 5_000
TRIES = 50


class Outcome(NamedTuple):
    """What came of a comparison, and whether the generation is served now."""

    generation: int
    served: int  # what it was compared with
    comparison: Comparison
    refused: list[str]  # kinds of differences that nobody meant
    promoted: bool


class _NotNowError(Exception):
    """More came in than one transaction should hold up."""


def build(builder: Builder) -> Outcome:
    """Build the next generation, or go on with the one that was begun, and compare it."""
    number, served = builder.begun(), builder.served()
    builder.catch_up(number, served)
    comparison = builder.compare_all(number, served)
    builder.keep(number, served, comparison)
    return Outcome(number, served, comparison, comparison.refused(()), promoted=False)


def compared(builder: Builder, accepted: Sequence[str] = ()) -> Outcome:
    """Compare the newest generation with the served one; `accepted` differences are meant."""
    coming, served = builder.coming(), builder.served()
    if coming is None:
        raise FailedPreconditionError(
            f"{builder.generations.name}: there is no generation of version {VERSION} to promote;"
            " build one with `usage-ledger projections rebuild`"
        )
    number = coming.number
    _refuse_unknown(builder, accepted, number)
    builder.catch_up(number, served)
    comparison = builder.compare_all(number, served)
    builder.keep(number, served, comparison)
    return Outcome(number, served, comparison, comparison.refused(accepted), promoted=False)


def change(builder: Builder, outcome: Outcome, accepted: Sequence[str] = ()) -> Outcome:
    """Serve a generation that was compared, unless a number differs by now."""
    assert not outcome.refused, "a number differs that nobody meant"
    changing = _Change(builder, outcome.generation, outcome.served, outcome.comparison, accepted)
    promoted = changing.run()
    return outcome._replace(refused=outcome.comparison.refused(accepted), promoted=promoted)


def earlier_of(builder: Builder) -> int:
    """Give the generation that was served before; FailedPreconditionError if it cannot be again."""
    generations = builder.generations
    served = generations.served().get(VERSION)
    there = {each.number: each for each in generations.all() if each.dropped_at is None}
    earlier = [
        each.generation
        for each in generations.promotions()
        if each.generation in there and each.generation < (served or 0)
    ]
    if served is None or not earlier:
        raise FailedPreconditionError(
            f"{generations.name}: no generation was served before the one that is"
        )
    number = max(earlier)
    if there[number].version != VERSION:
        position = min(generations.progress(number).standing.values(), default=0)
        raise FailedPreconditionError(
            f"{generations.name}: generation {number} was folded by version"
            f" {there[number].version} of the folds, and this program has version {VERSION}. Start"
            f" the program that served it: it goes on from position {position}, and nothing need"
            " be done to the database"
        )
    paused = generations.progress(number).paused
    if paused:
        raise FailedPreconditionError(
            f"{generations.name}: in generation {number} {', '.join(sorted(paused))} are paused, so"
            " it cannot be served; build another one with `usage-ledger projections rebuild`"
        )
    return number


def roll_back(builder: Builder, number: int) -> None:
    """Serve an earlier generation again."""
    served = builder.served()
    builder.catch_up(number, served)
    _Change(builder, number, served, None, ()).run()


def refuse_drop(builder: Builder, number: int, *, force: bool) -> None:
    """Refuse to drop what is served, or may be."""
    generations = builder.generations
    serving = [version for version, served in generations.served().items() if served == number]
    if VERSION in serving:
        raise FailedPreconditionError(
            f"{generations.name}: generation {number} is served; promote another one, or roll back"
        )
    if serving and not force:
        raise FailedPreconditionError(
            f"{generations.name}: version {serving[0]} of the folds serves generation {number}, and"
            " needs it to be started again: give --force once nobody will"
        )


def drop(builder: Builder, number: int) -> None:
    """Forget the rows of a generation that is not served."""
    generations = builder.generations
    dropped_at = {each.number: each.dropped_at for each in generations.all()}
    if dropped_at[number] is not None and not generations.progress(number).standing:
        return  # nothing is left of it: a drop of several shards was interrupted
    builder.failpoint("before-drop")

    def dropped(count: int) -> None:
        builder.progressed(DROPPING, count, 0)
        builder.failpoint("dropping")

    generations.drop(number, builder.author, dropped)


def _refuse_unknown(builder: Builder, accepted: Sequence[str], number: int) -> None:
    """Refuse what is no kind of difference: a slip of the pen must not look like consent."""
    reader = builder.generations.reader()
    try:
        structure = reader.structure(number)
    finally:
        reader.close()
    known = {f"{table}.{column}" for table, columns in structure.items() for column in columns}
    known |= {f"{table}:{kind}" for table in structure for kind in (MISSING, ADDED)}
    for kind in accepted:
        if kind not in known:
            raise InvalidArgumentError(
                f"{kind!r} is no kind of difference: write it as it was told, such as"
                f" balances.booked_cents or entries:{ADDED}"
            )


class _Change:
    """Serves another generation in one transaction, in which nothing else is folded.

    Since the rows were compared events came in. Of the payers that these touch, balances are
    compared in the transaction itself, for each cent of an entry is in one.
    """

    def __init__(
        self,
        builder: Builder,
        number: int,
        served: int,
        comparison: Comparison | None,
        accepted: Sequence[str],
    ) -> None:
        """Without a comparison whatever differs may differ."""
        self._builder = builder
        self._number = number
        self._served = served
        self._comparison = comparison
        self._accepted = accepted
        self._columns = self._columns_of_balances()

    def _columns_of_balances(self) -> tuple[str, ...]:
        """Give the columns to compare, without the payer; none where the served ones are paused."""
        generations = self._builder.generations
        if self._comparison is None or BALANCES in generations.progress(self._served).paused:
            return ()
        reader = generations.reader()
        try:
            live, anew = self._builder.sides(reader, self._number, self._served)
        finally:
            reader.close()
        return tuple(
            name
            for name in anew.structure[BALANCES]
            if name in live.structure[BALANCES]
            and name != "payer"
            and f"{BALANCES}.{name}" not in self._accepted
        )

    def run(self) -> bool:
        """Change; or say no, and add to the comparison what nobody meant."""
        generations = self._builder.generations
        generations.announce(self._number)
        is_done = False
        try:
            is_done = self._run()
        finally:
            if not is_done:
                with contextlib.suppress(StoreUnavailableError):  # the next one takes it back
                    generations.announce(None)
        return is_done

    def _run(self) -> bool:
        builder, generations = self._builder, self._builder.generations
        for attempt in range(TRIES):
            builder.progressed(CHANGING, attempt, TRIES)
            builder.catch_up(self._number, self._served)
            if self._columns and not self._few_touched() and self._balances_differ():
                return False
            try:
                with (
                    builder.explaining(self._number),
                    generations.switch(self._served, self._number) as switch,
                ):
                    self._fold_all(switch)
                    if self._columns and self._touched_differ(switch):
                        return False
                    switch.promote(self._promotion())
                    builder.failpoint("before-change")
            except _NotNowError:
                continue
            builder.failpoint("after-change")
            return True
        raise UnavailableError(
            "the log grows faster than it is folded and compared: try again when less comes in"
        )

    def _few_touched(self) -> bool:
        touched = self._builder.touched
        return touched is not None and len(touched) <= PAYERS_MAX

    def _balances_differ(self) -> bool:
        """Compare all balances once more, beside what goes on."""
        assert self._comparison is not None
        once_more = self._builder.compare_all(self._number, self._served, projections=(BALANCES,))
        return self._adds(once_more)

    def _adds(self, found: Comparison) -> bool:
        assert self._comparison is not None
        self._comparison.kinds |= found.kinds
        self._comparison.examples |= found.examples
        return bool(found.refused(self._accepted))

    def _fold_all(self, switch: Switch) -> None:
        """Fold what is left before where the served generation stands."""
        target = switch.target()
        position = min(switch.folding.standing()[0].values())
        if target - position > REST_MAX:
            raise _NotNowError
        self._builder.fold_rest(switch.folding, target)

    def _touched_differ(self, switch: Switch) -> bool:
        """Compare the balances of the payers that were touched since all rows were compared."""
        if not self._few_touched():
            raise _NotNowError
        payers = sorted(self._builder.touched or ())
        live = switch.balances(self._served, self._columns, payers)
        anew = switch.balances(self._number, self._columns, payers)
        found = Comparison()
        columns = ("payer", *self._columns)
        for payer in payers:
            before, after = (rows.get(payer) for rows in (live, anew))
            if before != after:
                pair = (None if row is None else (payer, *row) for row in (before, after))
                found.add(difference_of(BALANCES, columns, 1, *pair))
        return self._adds(found)

    def _promotion(self) -> Promotion:
        now = int(time.time() * 1_000)
        accepted = ",".join(self._accepted)
        return Promotion(0, self._number, VERSION, now, self._builder.author, accepted)
