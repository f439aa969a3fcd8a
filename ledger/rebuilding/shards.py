"""The generations of every shard that the settings name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from ledger.errors import InvalidArgumentError, LedgerError, StartRefusedError
from ledger.rebuilding.building import Builder
from ledger.rebuilding.promoting import (
    Outcome,
    build,
    change,
    compared,
    drop,
    earlier_of,
    refuse_drop,
    roll_back,
)
from ledger.settings import Settings
from ledger.stores import OpenStore, data_dir_of, databases_of
from persistence import (
    FIRST,
    Generation,
    Generations,
    Progress,
    Promotion,
    StoreError,
    StoreRefusedError,
    WritableStore,
)
from persistence.sqlite import SQLiteGenerations
from projections import VERSION

# Roles that start together: one of them builds, and the others wait for it.
BUILT_BY_ANOTHER_SECONDS = 2.0

ShardProgressed = Callable[[int, str, int, int], None]  # shard, what, done, of how much

log = logging.getLogger(__name__)


class ShardGenerations(NamedTuple):
    """The generations of a shard, for people."""

    shard: int
    generations: list[Generation]
    progress: dict[int, Progress]  # by number
    served: dict[int, int]  # generation by version of the folds
    promotions: list[Promotion]


def open_generations(settings: Settings) -> list[Generations]:
    """Open the generations of every shard; StartRefusedError says what to change."""
    opened: list[Generations] = []
    try:
        if settings.store == "memory":
            raise StoreRefusedError('store is "memory", whose projections are built at every start')
        if settings.store == "postgres":
            databases = databases_of(settings, "projections")
            from persistence.postgres import PostgresGenerations  # noqa: PLC0415  # an extra

            for database in databases:
                opened.append(PostgresGenerations(database))  # noqa: PERF401  # closed if one fails
        else:
            for number in range(settings.shard_count):
                opened.append(SQLiteGenerations(data_dir_of(settings, number)))  # noqa: PERF401
    except StoreError as error:
        for each in opened:
            each.close()
        raise StartRefusedError(str(error)) from error
    return opened


def look(settings: Settings) -> list[ShardGenerations]:
    """Look at every shard and change nothing."""
    found = []
    with ExitStack() as stack:
        for shard, each in enumerate(open_generations(settings)):
            stack.enter_context(closing(each))
            known = each.all()
            found.append(
                ShardGenerations(
                    shard,
                    known,
                    {generation.number: each.progress(generation.number) for generation in known},
                    each.served(),
                    each.promotions(),
                )
            )
    return found


@contextmanager
def builders(
    settings: Settings,
    *,
    author: str,
    progressed: ShardProgressed,
    failpoint: Callable[[str], None],
) -> Iterator[list[Builder]]:
    """Claim the generations of every shard, for as long as the block lasts."""
    with ExitStack() as stack:
        made = []
        for shard, generations in enumerate(open_generations(settings)):
            stack.enter_context(closing(generations))
            made.append(_builder(generations, shard, author, progressed, failpoint))
        for builder in made:
            builder.generations.claim()
        yield made


def _builder(
    generations: Generations,
    shard: int,
    author: str,
    progressed: ShardProgressed,
    failpoint: Callable[[str], None],
) -> Builder:
    return Builder(
        generations,
        author=author,
        progressed=lambda what, done, of: progressed(shard, what, done, of),
        failpoint=failpoint,
    )


def build_all(made: Sequence[Builder]) -> dict[int, Outcome]:
    """Build and compare the next generation of every shard."""
    return {shard: build(builder) for shard, builder in enumerate(made)}


def promote_all(made: Sequence[Builder], accepted: Sequence[str]) -> dict[int, Outcome]:
    """Serve the newest generation of every shard, unless a number differs in one of them.

    They change one after the other; those that did before this was interrupted are left out.
    """
    outcomes = {shard: compared(made[shard], accepted) for shard in _not_changed(made)}
    if any(outcome.refused for outcome in outcomes.values()):
        return outcomes
    return {shard: change(made[shard], each, accepted) for shard, each in outcomes.items()}


def roll_back_all(made: Sequence[Builder]) -> Iterator[tuple[int, int]]:
    """Serve what was served before, shard by shard; give (shard, generation) of each.

    Nothing changes where one of them cannot. Those that did before this was interrupted are left
    out, and of a promotion that was, those that it has not reached.
    """
    stands = [_stand_of(builder) for builder in made]
    going = [
        shard
        for shard, stand in enumerate(stands)
        if not any(other.begun_at >= stand.promoted_at for other in stands if other is not stand)
    ]
    earlier = {shard: earlier_of(made[shard]) for shard in going}
    for shard, number in earlier.items():
        roll_back(made[shard], number)
        yield shard, number


def drop_all(made: Sequence[Builder], number: int, *, force: bool) -> Iterator[int]:
    """Forget the rows of a generation, shard by shard; give each shard that has none any more.

    Nothing is dropped where one of them may need it.
    """
    having = [
        shard
        for shard, builder in enumerate(made)
        if number in {each.number for each in builder.generations.all()}
    ]
    if not having:
        names = ", ".join(builder.generations.name for builder in made)
        raise InvalidArgumentError(f"{names}: there is no generation {number}")
    for shard in having:
        refuse_drop(made[shard], number, force=force)
    for shard in having:
        drop(made[shard], number)
        yield shard


class _Stand(NamedTuple):
    """When what a shard serves was begun, and first promoted.

    What is promoted together was begun before any of it was promoted, and after all that was
    promoted together before. Numbers would not tell: those of a shard that came later are lower.
    """

    begun_at: int
    promoted_at: int


def _stand_of(builder: Builder) -> _Stand:
    served = builder.generations.served().get(VERSION, FIRST)
    if served == FIRST:  # nobody has promoted it
        return _Stand(-1, 0)
    known = {each.number: each.begun_at for each in builder.generations.all()}
    promotions = builder.generations.promotions()
    first = min(each.promoted_at for each in promotions if each.generation == served)
    return _Stand(known[served], first)


def _not_changed(made: Sequence[Builder]) -> list[int]:
    """Leave out shards whose generation was promoted after those of the others were begun.

    The generation itself: one that is served again was promoted before.
    """
    begun = [coming.begun_at for builder in made if (coming := builder.coming()) is not None]
    return [
        shard
        for shard, builder in enumerate(made)
        if not begun or builder.coming() is not None or _stand_of(builder).promoted_at < max(begun)
    ]


def serve_own_version(
    settings: Settings,
    opened: Sequence[OpenStore],
    *,
    author: str,
    failpoint: Callable[[str], None],
) -> None:
    """Build what this version serves, where nobody has built and promoted it before the start.

    It takes as long as folding the log does, so `usage-ledger projections rebuild` is run before,
    while the older version serves. StartRefusedError when a number differs.
    """
    for shard, each in enumerate(opened):
        if each.store.serves() is None:
            _serve_own_version(settings, shard, each.store, author, failpoint)


def _serve_own_version(
    settings: Settings,
    shard: int,
    store: WritableStore,
    author: str,
    failpoint: Callable[[str], None],
) -> None:
    log.warning(
        "folding the whole log anew: nothing of version %d is served. Run `usage-ledger projections"
        " rebuild` and `promote` before a start, and it need not be waited for",
        VERSION,
    )
    while store.serves() is None:
        with closing(_alone(settings, shard)) as generations:
            try:
                generations.claim()
            except StoreRefusedError as error:
                log.warning("waiting at the start: %s", error)
                time.sleep(BUILT_BY_ANOTHER_SECONDS)
                continue
            builder = _builder(generations, shard, author, lambda *_: None, failpoint)
            try:
                outcome = build(builder)
                if not outcome.refused:
                    outcome = change(builder, outcome)
            except LedgerError as error:
                raise StartRefusedError(f"{generations.name}: {error}") from error
            if outcome.refused:
                raise StartRefusedError(
                    f"{generations.name}: {sentence(outcome)} If that is meant, run"
                    f" `usage-ledger projections promote {accepting(outcome)}`"
                )


def _alone(settings: Settings, shard: int) -> Generations:
    if settings.store == "postgres":
        from persistence.postgres import PostgresGenerations  # noqa: PLC0415  # an extra

        return PostgresGenerations(databases_of(settings, "projections")[shard])
    return SQLiteGenerations(data_dir_of(settings, shard), alone=True)


def sentence(outcome: Outcome) -> str:
    """Say in what two generations differ."""
    kinds = ", ".join(f"{kind} ({outcome.comparison.kinds[kind]:,})" for kind in outcome.refused)
    return (
        f"generation {outcome.generation} differs from generation {outcome.served}, which is"
        f" served, at position {outcome.comparison.position}: {kinds}."
    )


def accepting(outcome: Outcome) -> str:
    """Give the options that say that the differences are meant."""
    return " ".join(f"--accept {kind}" for kind in outcome.refused)
